//! The cluster that the day is played on: the one that runs, or one that is started and ended by the demo.
//!
//! Invariant: a cluster that was started here ends with the demo, even when the demo is killed; one that was there is left as it was.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use skiff_nodeagent::network::cluster::set_cable;
use skiff_podspec::runtime::has_containers;
use skiff_watching::{api::Api, client::Client};
use tokio::process::Child;

use super::{Wish, both, tell::progress, words::Words};
use crate::{
    cluster::{
        background::{self, Outlives},
        folders::Folders,
        objects::read,
        remote,
    },
    typed::Read,
};

/// So long a cluster that is named has to answer.
const ANSWER: Duration = Duration::from_secs(3);
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(20);

/// A node that takes customers in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOf {
    pub name: String,
    pub ip: IpAddr,
}

/// Where nodes and containers of the cluster are on this machine.
#[derive(Clone, Debug)]
struct Here {
    instance: String,
    run_dir: PathBuf,
}

/// See the module.
pub struct Ground {
    pub api: Api,
    pub nodes: Vec<NodeOf>,
    here: Option<Here>,
    own: Option<Own>,
}

/// A cluster that was started here.
struct Own {
    child: Child,
    folder: PathBuf,
}

impl Ground {
    /// The cluster that the kubeconfig names, if it runs and serves Ingresses; else one that is started, unless the kubeconfig was asked for.
    /// That one is made so that it can outlive the demo, if it is to be kept.
    pub async fn find(wish: &Wish, words: &Words) -> anyhow::Result<Ground> {
        match running(wish, words).await {
            Ok(Some(ground)) => return Ok(ground),
            Ok(None) => {}
            // who names a cluster wants no other
            Err(error) if !wish.kubeconfig.is_empty() => return Err(error),
            Err(error) => progress(&words.say("not-usable", &[&format!("{error:#}")])),
        }
        start(usize::try_from(wish.nodes)?, wish.keep, words).await
    }

    /// Whether its nodes and containers can be got at from this machine.
    pub fn is_here(&self) -> bool {
        self.here.is_some()
    }

    /// Pulls the cable of a node, or plugs it in again.
    pub async fn cable(&self, node: &str, plugged: bool) -> anyhow::Result<()> {
        let here = self.here.as_ref().context("the nodes are not here")?;
        Ok(set_cable(&here.instance, &here.run_dir, node, plugged).await?)
    }

    /// Kills the process of a pod's container, as the kernel would.
    pub async fn kill(&self, pod: &str) -> anyhow::Result<()> {
        let here = self.here.as_ref().context("the containers are not here")?;
        let (instance, name) = (here.instance.clone(), pod.to_owned());
        // it reads of every process of the machine
        let found = tokio::task::spawn_blocking(move || process_of(&instance, &name)).await?;
        let pid = found.with_context(|| format!("no process of the pod {pod} was found"))?;
        Ok(kill(pid, Signal::SIGKILL)?)
    }

    /// Ends a cluster that was started here, or leaves it running.
    pub async fn end(self, keep: bool) -> anyhow::Result<()> {
        match self.own {
            Some(own) if !keep => own.end(END).await,
            // one that is kept is nobody's child from here on
            _ => Ok(()),
        }
    }

    /// Where a cluster that was started here has its things.
    pub fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.as_path())
    }
}

impl Own {
    /// Ends it, by force if it has not within `limit`, and removes all of it; says all that went wrong.
    async fn end(mut self, limit: Duration) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        if let Err(error) = self.interrupt() {
            failed.push(format!("cannot interrupt the cluster: {error}"));
        }
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => failed.push(format!("cannot wait for the cluster: {error}")),
            Err(_) => {
                failed.push(format!(
                    "the cluster did not end within {limit:?} and was killed"
                ));
                if let Err(error) = self.child.kill().await {
                    failed.push(format!("cannot kill it: {error}"));
                }
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            failed.push(format!("cannot remove {}: {error}", self.folder.display()));
        }
        match failed.is_empty() {
            true => Ok(()),
            false => bail!("{}", failed.join("; ")),
        }
    }

    fn interrupt(&self) -> anyhow::Result<()> {
        match self.child.id() {
            Some(pid) => Ok(kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?),
            None => Ok(()),
        }
    }
}

/// The process of a pod's first container that says of itself whose it is.
fn process_of(instance: &str, pod: &str) -> Option<Pid> {
    let name = format!("POD_NAME={pod}");
    let is_it = |folder: &Path| {
        let read = |file: &str| fs::read(folder.join(file)).unwrap_or_default();
        let group = String::from_utf8_lossy(&read("cgroup")).contains(instance);
        group
            && read("environ")
                .split(|byte| *byte == 0)
                .any(|one| one == name.as_bytes())
    };
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        is_it(&entry.path()).then_some(pid)
    });
    pids.next().map(Pid::from_raw)
}

/// The cluster that the kubeconfig names; nothing if it names none.
///
/// # Errors
/// Why the day cannot be played on it.
async fn running(wish: &Wish, words: &Words) -> anyhow::Result<Option<Ground>> {
    let remote = match wish.kubeconfig.as_str() {
        "" => remote::of_kubeconfig("")?,
        path => Some(remote::of_file(Path::new(path))?),
    };
    let Some(remote) = remote else {
        return Ok(None);
    };
    let api = Api::new(Client::remote(&remote)?, "skiff-demo");
    let server = remote.server;
    let late = |_| words.say("no-answer", &[&server]);
    let class = api.get_text("/apis/networking.k8s.io/v1/ingressclasses/skiff");
    let class = tokio::time::timeout(ANSWER, class).await.map_err(late);
    class
        .map_err(anyhow::Error::msg)?
        .with_context(|| server.clone())?;
    let found = tokio::time::timeout(ANSWER, nodes(&api)).await;
    let found = found.map_err(late).map_err(anyhow::Error::msg)?;
    let nodes = found.with_context(|| server.clone())?;
    if nodes.is_empty() {
        bail!("{}", words.say("no-nodes", &[&server]));
    }
    progress(&words.say("runs", &[&server]));
    Ok(Some(Ground {
        here: here(&wish.data_dir, &server),
        api,
        nodes,
        own: None,
    }))
}

/// Where the cluster of this address is on this machine, if it is the one of this folder and may be got at.
fn here(data: &str, server: &str) -> Option<Here> {
    let folders = Folders::at(data).ok()?;
    let record = folders.record().filter(|_| folders.is_held())?;
    let may = nix::unistd::geteuid().is_root() && record.server == server;
    may.then(|| Here {
        run_dir: folders.run(),
        instance: folders.instance,
    })
}

/// The nodes that are ready and run real containers.
async fn nodes(api: &Api) -> anyhow::Result<Vec<NodeOf>> {
    let list = read(api, "/api/v1/nodes").await?;
    Ok(list.list("items").iter().filter_map(node_of).collect())
}

fn node_of(node: &Value) -> Option<NodeOf> {
    let status = node.at("status");
    let ready = status
        .list("conditions")
        .iter()
        .any(|of| of.text("type") == "Ready" && of.text("status") == "True");
    let runtime = status.at("nodeInfo").text("containerRuntimeVersion");
    let addresses = status.list("addresses");
    let internal = addresses
        .iter()
        .find(|of| of.text("type") == "InternalIP")?;
    let node = NodeOf {
        name: node.at("metadata").text("name").to_owned(),
        ip: internal.text("address").parse().ok()?,
    };
    Some(node).filter(|_| ready && has_containers(runtime))
}

async fn start(count: usize, keep: bool, words: &Words) -> anyhow::Result<Ground> {
    if !nix::unistd::geteuid().is_root() {
        bail!("{}", words.word("needs-root"));
    }
    progress(&words.say("starts", &[&count]));
    let folder = std::env::temp_dir().join(format!("skiff-black-friday-{}", std::process::id()));
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let kubeconfig = folder.join("kubeconfig");
    let started = async {
        let folders = Folders::at(&folder.join("data").to_string_lossy())?;
        let child = up(count, &folders, &kubeconfig, keep)?;
        anyhow::Ok((folders, child))
    };
    let (folders, child) = match started.await {
        Ok(started) => started,
        Err(error) => {
            let removed = fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()));
            return both(Err(error), removed);
        }
    };
    let mut own = Own { child, folder };
    let connected = async {
        let ready = background::wait_until_ready(&folders, &mut own.child);
        tokio::time::timeout(START, ready)
            .await
            .context("the cluster is not ready in time")??;
        let remote = remote::of_file(&kubeconfig)?;
        let api = Api::new(Client::remote(&remote)?, "skiff-demo");
        Ok((nodes(&api).await?, api))
    };
    match connected.await {
        Ok((nodes, api)) => Ok(Ground {
            here: Some(Here {
                run_dir: folders.run(),
                instance: folders.instance,
            }),
            api,
            nodes,
            own: Some(own),
        }),
        Err(error) => {
            let error: anyhow::Error = error;
            let error = error.context(background::said(&folders));
            both(Err(error), own.end(END).await)
        }
    }
}

/// `skiff up` with what makes a node's loss known soon. Unless it is to be kept, it ends when the demo does, whichever way.
fn up(count: usize, folders: &Folders, kubeconfig: &Path, keep: bool) -> anyhow::Result<Child> {
    let args = [
        "--listen=127.0.0.1:0".to_owned(),
        format!("--nodes={count}"),
        format!("--data-dir={}", folders.data.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--node-monitor-period=100ms".to_owned(),
        "--node-monitor-grace-period=1s".to_owned(),
        "--horizontal-pod-autoscaler-sync-period=5s".to_owned(),
    ];
    let outlives = match keep {
        true => Outlives::Us,
        false => Outlives::Nobody,
    };
    background::start(folders, args, outlives)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_that_customers_can_come_by() {
        let node = |ready: &str, runtime: &str, kind: &str| {
            json!({"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": ready}],
                "nodeInfo": {"containerRuntimeVersion": runtime}, "addresses": [{"type": kind, "address": "10.0.0.1"}]}})
        };
        let real = ("skiff-oci://1", "InternalIP");
        let found = node_of(&node("True", real.0, real.1)).unwrap();
        assert_eq!(
            (found.name.as_str(), found.ip),
            ("a", IpAddr::from([10, 0, 0, 1]))
        );
        for (ready, runtime, kind) in [
            ("Unknown", real.0, real.1),
            ("True", "skiff-simulated://1", real.1),
            ("True", real.0, "Hostname"),
        ] {
            assert_eq!(node_of(&node(ready, runtime, kind)), None);
        }
    }

    fn wish(kubeconfig: &Path) -> Wish {
        let mut wish = crate::demo::tests::wish();
        wish.kubeconfig = kubeconfig.display().to_string();
        wish
    }

    #[tokio::test]
    async fn a_kubeconfig_that_was_asked_for_must_be_usable() {
        let words = Words::of("en").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        // nobody listens at a port that was let go of
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let config = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a}}}}]\nclusters: [{{name: a, cluster: {{server: 'https://{address}', insecure-skip-tls-verify: true}}}}]"
        );
        for (text, named) in [
            (None, "no such file"),
            (Some("{"), "config"),
            (Some("{}"), "no current context"),
            (Some(config.as_str()), &address.to_string()),
        ] {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let found = Ground::find(&wish(&file), &words).await;
            let error = format!("{:#}", found.err().unwrap());
            assert!(error.contains(named), "{text:?}: {error}");
        }
    }

    /// A cluster that is a shell.
    async fn own(script: &str) -> (tempfile::TempDir, Own) {
        use tokio::io::AsyncReadExt;
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("folder");
        fs::create_dir(&folder).unwrap();
        // what a background job ignores, its shells cannot hear
        let mut child = tokio::process::Command::new("env")
            .args(["--default-signal=INT", "sh", "-c", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 1];
        let out = child.stdout.as_mut().unwrap();
        out.read_exact(&mut said).await.unwrap();
        (around, Own { child, folder })
    }

    #[tokio::test]
    async fn a_cluster_is_ended_and_nothing_of_it_stays() {
        let (_around, willing) = own("trap 'exit 0' INT; echo; while :; do sleep 0.01; done").await;
        let folder = willing.folder.clone();
        willing.end(END).await.unwrap();
        assert!(!folder.exists());

        let (_around, deaf) = own("trap '' INT; echo; exec sleep 600").await;
        let (folder, pid) = (deaf.folder.clone(), deaf.child.id().unwrap());
        fs::remove_dir(&folder).unwrap();
        let error = deaf.end(Duration::from_millis(50)).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("was killed") && error.contains("cannot remove"),
            "{error}"
        );
        let pid = Pid::from_raw(i32::try_from(pid).unwrap());
        assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
    }
}
