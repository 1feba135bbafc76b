//! `cluster-info dump`: what one wants to see of a cluster that is in trouble, on standard output or as files.
//! Invariant: a pod whose logs cannot be read is told of where its logs would stand; nothing else is passed over.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/clusterinfo/clusterinfo_dump.go`.

use crate::client::{self, Call, query, segment};
use crate::cmd::pods;
use crate::command::{Command, verb};
use crate::context::{Ctx, With};
use crate::error::{Result, bail, go_io, message};
use crate::flags::{Csv, Listed};
use crate::print::{self, Printer, order::Order};
use crate::typed::Read;
use serde_json::Value;
use std::path::{Path, PathBuf};

pub static COMMAND: Command = Command {
    name: "dump",
    usage: "[flags]",
    short: "Dump relevant information for debugging and diagnosis",
    long: "Show nodes, and of some namespaces events, what makes pods, pods and what they wrote.\n\n Without --output-directory all goes to standard output; with it, into files in that folder. Without --namespaces or --all-namespaces those are kube-system and the current one.",
    examples: "
      # Everything on standard output
      kubectl cluster-info dump
      # Into files
      kubectl cluster-info dump --output-directory=/path/to/cluster-state
      # Of all namespaces
      kubectl cluster-info dump --all-namespaces
      # Of some namespaces, into files
      kubectl cluster-info dump --namespaces default,kube-system --output-directory=/path/to/cluster-state",
    flags: &[print::FLAGS],
    defaults: &[("output", "json")],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// A folder for files; empty or - for standard output
    #[arg(long)]
    output_directory: String,
    /// The namespaces, separated by commas
    #[arg(long)]
    namespaces: Vec<Csv>,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How long to wait until a pod runs
    #[arg(long, default_value = "20s")]
    pod_running_timeout: f64,
}

/// What is dumped of a namespace before its pods: the file's name, group and version, plural.
const KINDS: &[(&str, &str, &str)] = &[
    ("events", "/api/v1", "events"),
    (
        "replication-controllers",
        "/api/v1",
        "replicationcontrollers",
    ),
    ("services", "/api/v1", "services"),
    ("daemonsets", "/apis/apps/v1", "daemonsets"),
    ("deployments", "/apis/apps/v1", "deployments"),
    ("replicasets", "/apis/apps/v1", "replicasets"),
    ("pods", "/api/v1", "pods"),
];

/// Where things are written, and how objects are.
struct Dump<'c> {
    ctx: &'c Ctx,
    folder: Option<PathBuf>,
    extension: &'static str,
    printer: Printer,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if f.pod_running_timeout <= 0.0 {
        bail!("--pod-running-timeout must be higher than zero");
    }
    let extension = match ctx.output() {
        "json" => ".json",
        "yaml" => ".yaml",
        _ => ".txt",
    };
    let folder = Some(f.output_directory.as_str()).filter(|d| !matches!(*d, "" | "-"));
    let mut dump = Dump {
        ctx: &ctx,
        folder: folder.map(PathBuf::from),
        extension,
        printer: Printer::new(&ctx, "")?.ordered(Order::Typed),
    };
    dump.list("nodes", "/api/v1/nodes").await?;
    for namespace in namespaces(&ctx).await? {
        dump.namespace(&namespace).await?;
    }
    match folder {
        Some(folder) => print::put(&format!("Cluster info dumped to {folder}\n")),
        None => Ok(()),
    }
}

async fn namespaces(ctx: &With<Flags>) -> Result<Vec<String>> {
    let f = ctx.flags();
    if f.all_namespaces {
        let list = ctx.client()?.json(&Call::get("/api/v1/namespaces")).await?;
        let names = list
            .list("items")
            .iter()
            .filter_map(|n| n.at("metadata").text_ptr("name"));
        return Ok(names.map(String::from).collect());
    }
    let named = f.namespaces.list();
    if named.is_empty() {
        Ok(vec!["kube-system".into(), ctx.namespace()?.0])
    } else {
        Ok(named)
    }
}

impl Dump<'_> {
    async fn list(&mut self, file: &str, path: &str) -> Result<Value> {
        let mut list = self.ctx.client()?.json(&Call::get(path)).await?;
        if self.printer.is_name() {
            self.write(&format!("{file}{}", self.extension), b"")?;
            bail!(
                "list types are not supported by name printing: {}",
                crate::typed::go_type(&list)
            );
        }
        if list.list("items").is_empty() {
            // what Go makes of an empty list
            list["items"] = Value::Null;
        }
        let text = self.printer.render(&list)?;
        self.write(&format!("{file}{}", self.extension), text.as_bytes())?;
        Ok(list)
    }

    async fn namespace(&mut self, namespace: &str) -> Result<()> {
        let mut last = Value::Null;
        for (file, root, plural) in KINDS {
            last = self
                .list(
                    &format!("{namespace}/{file}"),
                    &format!("{root}/namespaces/{}/{plural}", segment(namespace)),
                )
                .await?;
        }
        for pod in last.list("items") {
            let name = pod.at("metadata").text("name");
            let mut text = Vec::new();
            for container in pods::names(pod, &["initContainers", "containers"]) {
                self.container(namespace, name, &container, &mut text).await;
            }
            self.write(&format!("{namespace}/{name}/logs.txt"), &text)?;
        }
        Ok(())
    }

    async fn container(&self, namespace: &str, pod: &str, container: &str, to: &mut Vec<u8>) {
        let line = |word: &str| {
            format!("==== {word} logs for container {container} of pod {namespace}/{pod} ====\n")
        };
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/log{}",
            segment(namespace),
            segment(pod),
            query(&[("container", container)])
        );
        to.extend_from_slice(line("START").as_bytes());
        match self.logs(path, pod).await {
            Ok(text) => to.extend_from_slice(&text),
            Err(e) => to.extend_from_slice(format!("Request log error: {e}\n").as_bytes()),
        }
        to.extend_from_slice(line("END").as_bytes());
    }

    /// What a container wrote; a refusal is told by its code alone, as Go's clients tell those of answers that they do not decode.
    async fn logs(&self, path: String, pod: &str) -> Result<bytes::Bytes> {
        let call = Call::get(path).accept("*/*");
        let answer = self.ctx.client()?.answer(&call).await?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let code = answer.status.as_u16();
        Err(message!(
            "{} (get pods {pod})",
            client::generic(&call.method, code, &answer.text()).1
        ))
    }

    fn write(&self, file: &str, text: &[u8]) -> Result<()> {
        let Some(folder) = &self.folder else {
            return crate::remote::write_bytes(text);
        };
        let path = folder.join(file);
        let fail = |what: &str, at: &Path, e: &std::io::Error| {
            message!("{what} {}: {}", at.display(), go_io(e))
        };
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                message!("mkdir {}: not a directory", parent.display())
            }
            _ => fail("mkdir", parent, &e),
        })?;
        std::fs::write(&path, text).map_err(|e| fail("open", &path, &e))
    }
}
