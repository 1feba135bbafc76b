//! What runs containers: a trait with several makers (`oci`, `simulated`, later `cri`). One maker a folder or file, one line here.
//!
//! Invariant: whatever a runtime started it can list again after the agent was killed and came back.
//! Follows the shape of upstream's CRI (`staging/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`) where it has one.

pub mod counted;
pub mod oci;
pub mod simulated;
mod usage;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::broadcast,
};

pub use usage::{
    Depth, Groups, Measured, Memory, More, OfPod, Pressure, Stall, Swap, Throttling, Usage,
};

use crate::{disk, time};

/// The namespaces that the containers of a pod share, and who keeps them.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SandboxSpec {
    pub pod_uid: String,
    pub namespace: String,
    pub name: String,
    /// The pod's own, unless the pod is in the host's network and this is the machine's: then it shares the machine's.
    pub hostname: String,
    /// Path of the network namespace made for the pod; `None` means the host's (hostNetwork).
    pub netns: Option<PathBuf>,
    pub host_pid: bool,
    pub host_ipc: bool,
    pub share_process_namespace: bool,
    pub sysctls: BTreeMap<String, String>,
    /// Where `<container>/<restart>.log` files go (`/var/log/pods/<ns>_<name>_<uid>`), in CRI log format.
    pub log_dir: PathBuf,
    /// cgroup parent below the runtime's root, e.g. `burstable/pod<uid>`, with the pod's own limits.
    pub cgroup: String,
    pub cgroup_limits: Limits,
    /// Kept and given back by [`Runtime::list`], uninterpreted.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl SandboxSpec {
    /// Where the container's output goes.
    pub fn log_path(&self, container: &ContainerSpec) -> PathBuf {
        let file = format!("{}.log", container.restart_count);
        self.log_dir.join(&container.name).join(file)
    }
}

/// cgroup limits in the units of the kernel's own files (v1 names; the runtime converts for v2).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// cpu.shares, 2..=262144.
    pub cpu_shares: Option<u64>,
    /// microseconds in each `cpu_period_us`.
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    /// bytes.
    pub memory_bytes: Option<i64>,
    pub pids: Option<i64>,
    /// -1000..=1000.
    pub oom_score_adj: Option<i32>,
}

impl Limits {
    /// These, with those that `other` has in their place.
    pub fn merged(&self, other: &Self) -> Self {
        Self {
            cpu_shares: other.cpu_shares.or(self.cpu_shares),
            cpu_quota_us: other.cpu_quota_us.or(self.cpu_quota_us),
            cpu_period_us: other.cpu_period_us.or(self.cpu_period_us),
            memory_bytes: other.memory_bytes.or(self.memory_bytes),
            pids: other.pids.or(self.pids),
            oom_score_adj: other.oom_score_adj.or(self.oom_score_adj),
        }
    }
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub read_only: bool,
    /// `MountPropagation`: None, HostToContainer, Bidirectional.
    pub propagation: String,
    /// In place of a folder of the host.
    #[serde(default)]
    pub image: Option<ImageMount>,
}

/// An image that is mounted as a volume is: never writable.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageMount {
    /// As [`crate::image::ImageStore`] resolved it.
    pub image_id: String,
    /// Within the image; empty for all of it.
    pub sub_path: String,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    pub name: String,
    /// Number of restarts before this one; part of the log file's name.
    pub restart_count: u32,
    /// The image as [`crate::image::ImageStore`] resolved it: its id (`sha256:…` of the config).
    pub image_id: String,
    /// Replaces the image's Entrypoint when not empty.
    pub command: Vec<String>,
    /// Replaces the image's Cmd when not empty (or when `command` is given).
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
    pub limits: Limits,
    pub security: Security,
    /// The container whose processes it is to see (its id): it joins that one's pid namespace.
    #[serde(default)]
    pub target: Option<String>,
    /// It is there to come to its end: others of the pod wait for that.
    #[serde(default)]
    pub ends: bool,
    /// Kept and given back by [`Runtime::list`], uninterpreted (e.g. a hash of the spec).
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Security {
    pub privileged: bool,
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub supplemental_groups: Vec<i64>,
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
    pub read_only_root: bool,
    pub allow_privilege_escalation: Option<bool>,
    /// `RuntimeDefault`, `Unconfined` or a profile's path.
    pub seccomp: Option<String>,
    /// procMount `Unmasked`.
    pub unmasked_proc: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ContainerPhase {
    Created,
    Running,
    Exited,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ContainerState {
    pub id: String,
    pub name: String,
    pub restart_count: u32,
    pub image_id: String,
    pub phase: ContainerPhase,
    pub pid: Option<i32>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// 128 + signal when a signal ended it.
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    /// Why it could not be started; empty when it could.
    pub message: String,
    /// As whom its process runs or ran.
    pub user: Option<User>,
    /// What its cgroup is limited to.
    pub limits: Limits,
    pub annotations: BTreeMap<String, String>,
    pub log_path: PathBuf,
}

impl ContainerState {
    /// Made, and not started yet.
    pub fn created(id: String, home: &SandboxSpec, spec: ContainerSpec) -> Self {
        Self {
            id,
            log_path: home.log_path(&spec),
            name: spec.name,
            restart_count: spec.restart_count,
            image_id: spec.image_id,
            phase: ContainerPhase::Created,
            pid: None,
            created_at: time::now(),
            started_at: None,
            finished_at: None,
            exit_code: None,
            signal: None,
            oom_killed: false,
            message: String::new(),
            user: None,
            limits: spec.limits,
            annotations: spec.annotations,
        }
    }
}

/// Whose a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct User {
    pub uid: i64,
    pub gid: i64,
    /// Ascending, `gid` among them.
    pub groups: Vec<i64>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SandboxState {
    pub id: String,
    pub spec: SandboxSpec,
    /// The process that keeps the namespaces lives.
    pub ready: bool,
    pub created_at: Timestamp,
    pub containers: Vec<ContainerState>,
    /// For runtimes that give the addresses themselves (`simulated`).
    pub ips: Vec<IpAddr>,
    /// What of it could not be read; the rest is then not the whole truth.
    #[serde(default)]
    pub trouble: Option<String>,
}

#[derive(Clone, Debug)]
pub enum RuntimeEvent {
    ContainerStarted {
        sandbox: String,
        container: String,
    },
    ContainerExited {
        sandbox: String,
        container: String,
    },
    /// The keeper of the sandbox died.
    SandboxLost {
        sandbox: String,
    },
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// The open ends of a process in a container. With a tty, `stderr` is `None` and `stdout` carries both.
pub struct Streams {
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    pub stderr: Option<Reader>,
    /// (columns, rows) as the client's window changes.
    pub resize: Option<tokio::sync::mpsc::Sender<(u16, u16)>>,
    /// Resolves with the exit code (128 + signal); for `attach`, when the container ends.
    pub exit: futures::future::BoxFuture<'static, Result<i32, Error>>,
}

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("container or sandbox {0} not found")]
    NotFound(String),
    #[error("image {0} not found")]
    NoImage(String),
    /// The process could not be started: the text is what goes into the container's status (`exec: "x": executable file not found in $PATH`).
    #[error("{0}")]
    Start(String),
    #[error("this machine lacks {what}: {hint}")]
    Unsupported { what: String, hint: String },
    #[error("cannot {what}: {reason}")]
    Failed { what: String, reason: String },
}

/// A container runtime. All calls are idempotent where that makes sense (stopping what is stopped, removing what is gone).
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// `status.nodeInfo.containerRuntimeVersion`, e.g. `skiff-oci://0.1.0`.
    fn version(&self) -> String;
    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<String, Error>;
    /// Kills what still runs and ends the keeper. Containers stay listed until removed.
    async fn stop_sandbox(&self, sandbox: &str) -> Result<(), Error>;
    /// Removes all that is left of it: containers, mounts, cgroups, run files. Logs stay.
    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), Error>;
    async fn create_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String, Error>;
    async fn start_container(&self, container: &str) -> Result<(), Error>;
    /// The image's stop signal (default TERM), then KILL after `grace`. Returns when it has ended.
    async fn stop_container(&self, container: &str, grace: Duration) -> Result<(), Error>;
    async fn remove_container(&self, container: &str) -> Result<(), Error>;
    async fn list(&self) -> Result<Vec<SandboxState>, Error>;
    fn events(&self) -> broadcast::Receiver<RuntimeEvent>;
    async fn exec(&self, container: &str, spec: ExecSpec) -> Result<Streams, Error>;
    async fn attach(&self, container: &str, spec: ExecSpec) -> Result<Streams, Error>;
    /// Goes on in a new log file at the same path, after the caller has renamed the old one (log rotation).
    async fn reopen_log(&self, container: &str) -> Result<(), Error> {
        Err(Error::Unsupported {
            what: format!("reopening the log of {container}"),
            hint: "this runtime keeps its logs by itself".into(),
        })
    }
    /// Changes what a running container is limited to, and what is noted beside it. Values that `limits` does not have stay.
    async fn update_container(
        &self,
        container: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error>;
    /// The same for the pod as a whole.
    async fn update_sandbox(
        &self,
        sandbox: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error>;
    /// What a container uses.
    async fn usage(&self, container: &str) -> Result<Usage, Error>;
    /// What these pods and all their containers use, and the machine; read at once.
    async fn measure(&self, pods: Vec<Groups>, depth: Depth) -> Result<Measured, Error>;
    /// How much of the disk the container's own files take: what it wrote beside its volumes.
    async fn disk_usage(&self, container: &str) -> Result<disk::Held, Error>;
}

pub type SharedRuntime = Arc<dyn Runtime>;
