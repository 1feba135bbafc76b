//! What agent and shim keep on disk about a sandbox and its containers, so that either may die and come back.
//!
//! Invariant: every file has one writer at a time (`sandbox.json` and `container.json`: the agent; `shim.json` and
//! `status.json`: the shim while it lives, then the agent) and is replaced by renaming, so that a reader sees a whole one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::cause::During;
use crate::{
    disk,
    outcome::IfThere,
    runtime::{ContainerPhase, ContainerSpec, ContainerState, SandboxSpec, User},
};

/// Exit code of containers whose keeper died, so that theirs was lost (containerd's `unknownExitCode`).
pub const UNKNOWN_EXIT: i32 = 255;

/// One of a container's image volumes, as its record has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageVolume {
    /// Lower folders for overlayfs, the topmost first.
    pub layers: Vec<PathBuf>,
    /// Within the image; empty for all of it.
    pub sub_path: String,
    /// What is bound into the container.
    pub place: PathBuf,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub id: String,
    pub spec: SandboxSpec,
    pub created_at: Timestamp,
    /// The pod's cgroup, from the hierarchy's root.
    pub cgroup: String,
    /// Where the shim itself runs: out of the pod's limits, and out of the agent's unit.
    pub shim_cgroup: String,
}

/// Who keeps the sandbox. The start time tells a reused process id from the real one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShimRecord {
    pub pid: i32,
    pub start_time: u64,
}

/// All that the shim needs to make one container, besides its OCI spec in `config.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub id: String,
    pub spec: ContainerSpec,
    pub created_at: Timestamp,
    pub log_path: PathBuf,
    /// Lower folders for overlayfs, the topmost first.
    pub layers: Vec<PathBuf>,
    #[serde(default)]
    pub image_volumes: Vec<ImageVolume>,
    /// Holds `upper` and `work`, on a real disk.
    pub writable: PathBuf,
    /// From the hierarchy's root.
    pub cgroup: String,
    pub stop_signal: i32,
    pub working_dir: String,
    /// Owner of the container's standard streams.
    pub uid: u32,
    #[serde(default)]
    pub user: Option<User>,
    /// Some of its mounts must reach the host.
    pub bidirectional: bool,
    pub process: ProcessRights,
}

/// What the process may do, applied by our own executor just before `execve`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProcessRights {
    /// Capability names (`CAP_CHOWN`), all of them.
    pub capabilities: Vec<String>,
    pub seccomp: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusRecord {
    pub phase: ContainerPhase,
    pub pid: Option<i32>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    /// Why it could not be started.
    #[serde(default)]
    pub message: String,
}

impl StatusRecord {
    pub fn created(pid: i32) -> Self {
        Self {
            phase: ContainerPhase::Created,
            pid: Some(pid),
            started_at: None,
            finished_at: None,
            exit_code: None,
            signal: None,
            oom_killed: false,
            message: String::new(),
        }
    }

    /// The state of a container of which nobody saw the end.
    pub fn lost(before: Option<Self>) -> Self {
        let before = before.unwrap_or_else(|| Self::created(0));
        Self {
            phase: ContainerPhase::Exited,
            pid: None,
            finished_at: Some(now()),
            exit_code: Some(UNKNOWN_EXIT),
            ..before
        }
    }
}

/// Paths below one sandbox's folder in the run folder.
#[derive(Clone, Debug)]
pub struct SandboxDir(pub PathBuf);

impl SandboxDir {
    pub const SOCKET: &'static str = "shim.sock";

    pub fn record(&self) -> PathBuf {
        self.0.join("sandbox.json")
    }

    pub fn shim(&self) -> PathBuf {
        self.0.join("shim.json")
    }

    /// The holder of a shared pid namespace, as a [`ShimRecord`].
    pub fn pause(&self) -> PathBuf {
        self.0.join("pause.json")
    }

    /// The pod's own `/dev/shm`.
    pub fn shm(&self) -> PathBuf {
        self.0.join("shm")
    }

    pub fn containers(&self) -> PathBuf {
        self.0.join("c")
    }

    pub fn container(&self, id: &str) -> ContainerDir {
        ContainerDir(self.containers().join(id))
    }

    /// Ids of the containers that have a folder.
    pub fn container_ids(&self) -> io::Result<Vec<String>> {
        names(&self.containers())
    }
}

/// Paths below one container's folder.
#[derive(Clone, Debug)]
pub struct ContainerDir(pub PathBuf);

impl ContainerDir {
    pub fn record(&self) -> PathBuf {
        self.0.join("container.json")
    }

    pub fn status(&self) -> PathBuf {
        self.0.join("status.json")
    }

    /// The OCI runtime specification's document.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.0.join("rootfs")
    }

    /// Where the content of images that are volumes is.
    pub fn image_volumes(&self) -> PathBuf {
        self.0.join("images")
    }

    /// What is bound into the container for one of its mounts.
    pub fn image_volume(&self, number: usize) -> PathBuf {
        self.image_volumes().join(number.to_string())
    }

    /// Where libcontainer keeps its own state.
    pub fn libcontainer(&self) -> PathBuf {
        self.0.join("lc")
    }

    pub fn state(&self) -> io::Result<ContainerState> {
        let record: ContainerRecord = read(&self.record())?;
        let status: Option<StatusRecord> = read_if_there(&self.status())?;
        let status = status.unwrap_or_else(|| StatusRecord {
            pid: None,
            ..StatusRecord::created(0)
        });
        Ok(ContainerState {
            id: record.id,
            name: record.spec.name,
            restart_count: record.spec.restart_count,
            image_id: record.spec.image_id,
            phase: status.phase,
            pid: status.pid,
            created_at: record.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            exit_code: status.exit_code,
            signal: status.signal,
            oom_killed: status.oom_killed,
            message: status.message,
            user: record.user,
            limits: record.spec.limits,
            annotations: record.spec.annotations,
            log_path: record.log_path,
        })
    }
}

/// The time that goes into states and logs: containers live in the machine's time, whatever the cluster's clock says.
pub fn now() -> Timestamp {
    crate::time::now()
}

pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let bytes = fs::read(path).during(format_args!("read {}", path.display()))?;
    serde_json::from_slice(&bytes)
        .map_err(|err| io::Error::other(format!("{}: {err}", path.display())))
}

pub fn read_if_there<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    read(path).if_there()
}

pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    disk::write_whole(path, &bytes).during(format_args!("write {}", path.display()))
}

/// Names in a folder; none when there is no such folder.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder).if_there()?.into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// Start time of a process in clock ticks since boot; `None` when it has gone or is a zombie.
pub fn process_start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; fields count from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

impl ShimRecord {
    /// The process as it is now; `None` when it has gone.
    pub fn of(pid: i32) -> Option<Self> {
        process_start_time(pid).map(|start_time| Self { pid, start_time })
    }

    pub fn alive(&self) -> bool {
        process_start_time(self.pid) == Some(self.start_time)
    }
}

/// A new id as containerd makes them: 64 hexadecimal digits.
pub fn new_id() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let pid = std::process::id() as i32;
        let start_time = process_start_time(pid).unwrap();
        assert!(ShimRecord { pid, start_time }.alive());
        assert!(
            !ShimRecord {
                pid,
                start_time: start_time + 1
            }
            .alive()
        );
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        assert!(read_if_there::<StatusRecord>(&path).unwrap().is_none());
        write(&path, &StatusRecord::created(7)).unwrap();
        assert_eq!(read::<StatusRecord>(&path).unwrap().pid, Some(7));
        assert_eq!(names(folder.path()).unwrap(), ["status.json"]);
        assert_eq!(StatusRecord::lost(None).exit_code, Some(255));
    }
}
