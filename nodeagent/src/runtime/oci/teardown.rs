//! Ending sandboxes and containers, and leaving nothing behind.
//!
//! Invariant: a teardown goes on past what fails and reports all that failed; doing it again does what was left.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
    sys::{
        signal::Signal,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use super::{
    Inner,
    cause::During,
    client, failed,
    protocol::Request,
    state::{
        self, ContainerDir, ContainerRecord, SandboxDir, SandboxRecord, ShimRecord, StatusRecord,
    },
};
use crate::{
    outcome::{self, IfThere},
    runtime::{ContainerPhase, Error, SandboxState},
};

/// How long a shim may take to end after it has said that it does.
const LAST_BREATH: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(2);

impl Inner {
    /// Ends all processes of the sandbox and its shim; without a shim, what it left running.
    pub async fn stop(&self, sandbox: &str) -> Result<(), Error> {
        let record = match self.sandbox(sandbox) {
            Err(Error::NotFound(_)) => return Ok(()),
            other => other?,
        };
        self.stopping.lock().insert(sandbox.to_owned());
        if self.alive(sandbox) {
            let told = client::call(&self.dir(sandbox), &Request::Shutdown).await;
            let deadline = Instant::now() + LAST_BREATH;
            while self.alive(sandbox) {
                if Instant::now() > deadline {
                    told?;
                    return Err(failed("stop the sandbox", "its shim does not end"));
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        self.reap_shim(sandbox);
        self.settle(&record)
    }

    /// Where this agent is the first process of its namespace, the shims' remains are its own to collect.
    fn reap_shim(&self, sandbox: &str) {
        if let Ok(Some(shim)) = state::read_if_there::<ShimRecord>(&self.dir(sandbox).shim()) {
            // Elsewhere it is not our child.
            waitpid(Pid::from_raw(shim.pid), Some(WaitPidFlag::WNOHANG)).ok();
        }
    }

    /// Whether the sandbox's shim is dead; then its containers have been settled.
    pub async fn sandbox_is_dead(&self, dir: &SandboxDir) -> bool {
        let Some(id) = dir
            .0
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            return true;
        };
        let deadline = Instant::now() + Duration::from_millis(200);
        while self.alive(&id) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.sandbox(&id)
            .is_ok_and(|record| self.settle(&record).is_ok())
    }

    /// After the shim's end: kills what it kept, and writes down the end of containers that nobody saw.
    pub fn settle(&self, record: &SandboxRecord) -> Result<(), Error> {
        let dir = self.dir(&record.id);
        let io = |err: io::Error| failed("settle the sandbox", err);
        if let Some(pause) = state::read_if_there::<ShimRecord>(&dir.pause()).map_err(io)?
            && pause.alive()
        {
            outcome::kill_if_alive(pause.pid, Signal::SIGKILL);
        }
        for id in dir.container_ids().map_err(io)? {
            let container = dir.container(&id);
            let status: Option<StatusRecord> =
                state::read_if_there(&container.status()).map_err(io)?;
            if status
                .as_ref()
                .is_none_or(|status| status.phase != ContainerPhase::Exited)
            {
                self.cgroups.kill(&format!("{}/{id}", record.cgroup));
                // Where there is no folder for it, it is being removed.
                let written = state::write(&container.status(), &StatusRecord::lost(status));
                written.if_there().map_err(io)?;
            }
        }
        Ok(())
    }

    /// Takes away all that belongs to a container which does not run. Blocks.
    pub fn discard_container(&self, home: &SandboxDir, id: &str) -> Result<(), Error> {
        let dir = home.container(id);
        let mut failures = Failures::default();
        if let Ok(Some(record)) = state::read_if_there::<ContainerRecord>(&dir.record()) {
            failures.note("its cgroup", self.cgroups.remove(&record.cgroup));
        }
        for place in std::iter::once(dir.rootfs()).chain(image_mounts(&dir)) {
            failures.note("its root file system", unmount(&place));
        }
        failures.note(
            "its writable layer",
            remove_all(&self.config.data_dir.join(id)),
        );
        failures.note("its folder", remove_all(&dir.0));
        self.homes.lock().remove(id);
        failures.into_result(&format!("remove the container {id}"))
    }

    /// Takes away all that belongs to a sandbox which does not run. Blocks.
    pub fn remove_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        let dir = self.dir(sandbox);
        let mut failures = Failures::default();
        for id in dir.container_ids().unwrap_or_default() {
            failures.note(
                "a container",
                self.discard_container(&dir, &id).map_err(io::Error::other),
            );
        }
        failures.note("its /dev/shm", unmount(&dir.shm()));
        if let Ok(record) = self.sandbox(sandbox)
            && !self.cgroup_is_shared(&record)
        {
            failures.note("its cgroup", self.cgroups.remove(&record.cgroup));
        }
        // The record goes last: what is left is found again as long as it is there.
        if failures.0.is_empty() {
            failures.note(
                "its folder",
                remove_all_but(&dir.0, &dir.record()).and_then(|()| remove_all(&dir.0)),
            );
        }
        if failures.0.is_empty() {
            self.stopping.lock().remove(sandbox);
        }
        self.cgroups
            .prune(&format!("/{}", self.config.cgroup.trim_matches('/')));
        failures.into_result(&format!("remove the sandbox {sandbox}"))
    }

    /// A pod that got a new sandbox has the same cgroup for both.
    fn cgroup_is_shared(&self, record: &SandboxRecord) -> bool {
        let others = state::names(&self.config.run_dir).unwrap_or_default();
        others.iter().filter(|id| **id != record.id).any(|id| {
            self.sandbox(id)
                .is_ok_and(|other| other.cgroup == record.cgroup)
        })
    }

    /// All sandboxes with their containers, as the disk tells, each for itself. Blocks.
    pub fn list_now(&self) -> Result<Vec<SandboxState>, Error> {
        let ids =
            state::names(&self.config.run_dir).map_err(|err| failed("list sandboxes", err))?;
        let mut sandboxes = Vec::new();
        for id in ids {
            match self.sandbox(&id) {
                Err(Error::NotFound(_)) => {} // being made or removed
                other => sandboxes.push(self.sandbox_state(other?)),
            }
        }
        Ok(sandboxes)
    }

    fn sandbox_state(&self, record: SandboxRecord) -> SandboxState {
        let dir = self.dir(&record.id);
        let ready = self.alive(&record.id);
        let mut failures = Failures::default();
        if !ready
            && dir.shim().exists()
            && let Err(err) = self.settle(&record)
        {
            failures.0.push(err.to_string());
        }
        let mut containers = Vec::new();
        let ids = dir.container_ids().unwrap_or_else(|err| {
            failures.note("its containers", Err(err));
            Vec::new()
        });
        for id in ids {
            match dir.container(&id).state().if_there() {
                Ok(state) => containers.extend(state),
                Err(err) => failures.note("a container", Err(err)),
            }
        }
        containers.sort_by_key(|container| container.created_at);
        let trouble = (!failures.0.is_empty()).then(|| failures.0.join("; "));
        SandboxState {
            id: record.id,
            spec: record.spec,
            ready,
            created_at: record.created_at,
            containers,
            ips: vec![],
            trouble,
        }
    }
}

/// What went wrong during a teardown.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn note(&mut self, what: &str, outcome: io::Result<()>) {
        if let Err(err) = outcome {
            self.0.push(format!("{what}: {err}"));
        }
    }

    fn into_result(self, what: &str) -> Result<(), Error> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(failed(what, self.0.join("; "))),
        }
    }
}

/// Where images are mounted for a container whose mounts reach the host.
fn image_mounts(dir: &ContainerDir) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = fs::read_dir(dir.image_volumes())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    // What is bound lies on top of what it is bound from.
    places.sort();
    places
}

fn unmount(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // Not there, or nothing mounted on it.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn remove_all(folder: &Path) -> io::Result<()> {
    /// A shim that ends writes its last words into the folder.
    const TRIES: usize = 50;
    for _ in 1..TRIES {
        match fs::remove_dir_all(folder) {
            Err(err) if err.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(Duration::from_millis(10))
            }
            removed => return removed.if_there().map(drop),
        }
    }
    fs::remove_dir_all(folder)
}

/// All that is in the folder but one file.
fn remove_all_but(folder: &Path, kept: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder).if_there()?.into_iter().flatten() {
        let entry = entry?;
        if entry.path() == kept {
            continue;
        }
        let removed = if entry.file_type()?.is_dir() {
            remove_all(&entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed
            .if_there()
            .during(format_args!("remove {}", entry.path().display()))?;
    }
    Ok(())
}
