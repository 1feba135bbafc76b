//! The cluster that the day is played on: the one that runs, or one that is started and ended by the demo.
//!
//! Invariant: a cluster that was started here ends with the demo, even when the demo is killed; one that was there is left as it was.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use skiff_nodeagent::network::cluster::set_cable;
use skiff_watching::{
    api::Api,
    client::{Client, Remote},
};
use tokio::process::{Child, Command};

use super::{Wish, view::progress, words::Words};
use crate::{
    cluster::{folders::Folders, objects::read},
    kubeconfig::{Config, Overrides, Resolved},
    typed::Read,
};

/// So long a cluster that is named has to answer.
const ANSWER: Duration = Duration::from_secs(3);
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);
/// What the cluster writes, beside its data.
const LOG: &str = "log";
/// What `up` says when it is ready.
const READY: &str = "Ctrl-C ends it.";

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
    /// The cluster that the kubeconfig names, if it runs and serves Ingresses; else one that is started.
    /// That one is made so that it can outlive the demo, if it is to be kept.
    pub async fn find(wish: &Wish, words: &Words) -> anyhow::Result<Ground> {
        match running(wish, words).await {
            Some(ground) => Ok(ground),
            None => start(usize::try_from(wish.nodes)?, wish.keep, words).await,
        }
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
    pub fn kill(&self, pod: &str) -> anyhow::Result<()> {
        let here = self.here.as_ref().context("the containers are not here")?;
        let pid = process_of(&here.instance, pod)
            .with_context(|| format!("no process of the pod {pod} was found"))?;
        Ok(kill(pid, Signal::SIGKILL)?)
    }

    /// Ends a cluster that was started here, or leaves it running.
    pub async fn end(self, keep: bool) -> anyhow::Result<()> {
        let Some(mut own) = self.own else {
            return Ok(());
        };
        if keep {
            // from here on it is nobody's child
            return Ok(());
        }
        own.interrupt()?;
        let ended = tokio::time::timeout(END, own.child.wait()).await;
        if ended.is_err() {
            own.child.kill().await?;
        }
        fs::remove_dir_all(&own.folder)
            .with_context(|| format!("cannot remove {}", own.folder.display()))?;
        if ended.is_err() {
            bail!(
                "the cluster did not end within {} s and was killed",
                END.as_secs()
            );
        }
        Ok(())
    }

    /// Where a cluster that was started here has its things.
    pub fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.as_path())
    }
}

impl Own {
    fn log(&self) -> PathBuf {
        self.folder.join(LOG)
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

fn remote(resolved: &Resolved) -> anyhow::Result<Remote> {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone());
    let credentials = &resolved.credentials;
    if credentials.exec.is_some() || credentials.basic.is_some() {
        bail!("only certificates and tokens are shown to a server here");
    }
    let identity = match &credentials.certificate {
        Some((certificate, key)) => Some((text(certificate)?, text(key)?)),
        None => None,
    };
    Ok(Remote {
        server: resolved.server.clone(),
        authority: resolved.authority.as_ref().map(text).transpose()?,
        identity,
        token: credentials.token.clone(),
    })
}

fn connect(kubeconfig: &str) -> anyhow::Result<Option<(String, Api)>> {
    let config = Config::load(kubeconfig)?;
    if config.current_context.is_empty() {
        return Ok(None);
    }
    let resolved = config.resolve(&Overrides::default())?;
    let client = Client::remote(&remote(&resolved)?)?;
    Ok(Some((resolved.server, Api::new(client, "skiff-demo"))))
}

/// The cluster that the kubeconfig names, unless the day cannot be played on it; then it is said why.
async fn running(wish: &Wish, words: &Words) -> Option<Ground> {
    let (server, api) = match connect(&wish.kubeconfig) {
        Ok(found) => found?,
        Err(error) => {
            progress(&words.say("not-usable", &[&format!("{error:#}")]));
            return None;
        }
    };
    let class = "/apis/networking.k8s.io/v1/ingressclasses/skiff";
    match tokio::time::timeout(ANSWER, api.get_text(class)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            progress(&words.say("not-usable", &[&format!("{server}: {error}")]));
            return None;
        }
        Err(_) => {
            progress(&words.say("no-answer", &[&server]));
            return None;
        }
    }
    let nodes = nodes(&api).await.ok().filter(|nodes| !nodes.is_empty());
    let Some(nodes) = nodes else {
        progress(&words.say("no-nodes", &[&server]));
        return None;
    };
    progress(&words.say("runs", &[&server]));
    Some(Ground {
        here: here(&wish.data_dir, &server),
        api,
        nodes,
        own: None,
    })
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
    Some(node).filter(|_| ready && !runtime.starts_with("skiff-simulated"))
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
    let (data, kubeconfig) = (folder.join("data"), folder.join("kubeconfig"));
    let child = up(count, &folder, &data, &kubeconfig, keep)?;
    let mut own = Own { child, folder };
    let connected = async {
        wait_until_ready(&mut own).await?;
        let found = connect(&kubeconfig.to_string_lossy())?;
        let (_, api) = found.context("the cluster wrote no kubeconfig")?;
        Ok((nodes(&api).await?, api))
    };
    let folders = Folders::at(&data.to_string_lossy())?;
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
            let log = fs::read_to_string(own.log()).unwrap_or_default();
            own.interrupt()?;
            let _ = tokio::time::timeout(END, own.child.wait()).await;
            let _ = fs::remove_dir_all(&own.folder);
            Err::<_, anyhow::Error>(error).context(log)
        }
    }
}

/// `skiff up` with what makes a node's loss known soon, in a group of its own so that the terminal's Ctrl-C is the demo's alone.
///
/// Unless it is to be kept, it ends when the demo does, whichever way.
fn up(
    count: usize,
    folder: &Path,
    data: &Path,
    kubeconfig: &Path,
    keep: bool,
) -> anyhow::Result<Child> {
    let log = fs::File::create(folder.join(LOG))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("skiff")
        .args(["up", "--listen=127.0.0.1:0"])
        .arg(format!("--nodes={count}"))
        .arg(format!("--data-dir={}", data.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args([
            "--node-monitor-period=500ms",
            "--node-monitor-grace-period=8s",
        ])
        .args([
            "--node-lease-duration=8s",
            "--horizontal-pod-autoscaler-sync-period=5s",
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    if keep {
        return command.spawn().context("cannot start a cluster");
    }
    let parent = std::process::id();
    // SAFETY: between fork and exec it makes two system calls and allocates nothing
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGINT)?;
            match std::os::unix::process::parent_id() == parent {
                true => Ok(()),
                // it died before it was asked for a signal
                false => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            }
        });
    }
    command.spawn().context("cannot start a cluster")
}

/// Waits until `up` has written into its log that it is ready. It writes into a file, as it may outlive the demo.
async fn wait_until_ready(own: &mut Own) -> anyhow::Result<()> {
    let log = own.log();
    let ready = async {
        loop {
            let said = fs::read_to_string(&log)?;
            if said.lines().any(|line| line == READY) {
                return Ok(());
            }
            if let Some(status) = own.child.try_wait()? {
                bail!("the cluster did not start ({status})");
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(START, ready)
        .await
        .context("the cluster is not ready in time")?
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

    #[test]
    fn a_server_that_cannot_be_shown_who_asks() {
        let mut resolved = Resolved {
            server: "https://a".into(),
            ..Resolved::default()
        };
        assert!(remote(&resolved).is_ok());
        resolved.credentials.basic = Some(("a".into(), "b".into()));
        assert!(remote(&resolved).is_err());
    }
}
