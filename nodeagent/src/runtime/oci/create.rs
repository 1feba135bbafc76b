//! Making sandboxes and containers: folders, records and the OCI document; the shim does the rest.
//!
//! Invariant: what fails half way is taken away again before the error is told.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use super::{
    Inner, capability,
    cause::During,
    failed, image_volumes, propagation, seccomp, signals, spec,
    state::{self, ContainerRecord, ProcessRights, SandboxDir, SandboxRecord, ShimRecord, now},
    user::Accounts,
};
use crate::{
    outcome::{IfThere, is_a_favour},
    runtime::{ContainerPhase, ContainerSpec, Error, SandboxSpec},
};
use skiff_api::machinery::quote::GoQuoted;

/// Why a container cannot join the processes that it is to see.
#[derive(thiserror::Error, Debug)]
enum NotJoined {
    #[error(transparent)]
    Holder(#[from] io::Error),
    #[error("invalid target container: container {} does not exist", GoQuoted(.0))]
    Missing(String),
    #[error(
        "invalid target container: container {target} does not belong to sandbox {sandbox}",
        target = GoQuoted(.target),
        sandbox = GoQuoted(.sandbox)
    )]
    Elsewhere { target: String, sandbox: String },
    #[error("invalid target container: {0}")]
    Unreadable(#[source] io::Error),
    #[error("invalid target container: container {target} is in CONTAINER_{phase} state", target = GoQuoted(.target))]
    NotRunning { target: String, phase: String },
}

fn not_created(reason: impl ToString) -> Error {
    failed("create the container", reason)
}

impl Inner {
    /// Makes the sandbox's folder and starts its shim. Blocks.
    pub fn make_sandbox(&self, spec: SandboxSpec) -> Result<String, Error> {
        let id = state::new_id();
        let dir = self.dir(&id);
        let group = |name: &str| {
            format!(
                "/{}/{}",
                self.config.cgroup.trim_matches('/'),
                name.trim_matches('/')
            )
        };
        let record = SandboxRecord {
            id: id.clone(),
            created_at: now(),
            cgroup: group(&spec.cgroup),
            shim_cgroup: group("shims"),
            spec,
        };
        let describe = || {
            fs::create_dir(&dir.0).during(format_args!("mkdir {}", dir.0.display()))?;
            fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o711))
                .during(format_args!("chmod {}", dir.0.display()))?;
            state::write(&dir.record(), &record)
        };
        let made = describe()
            .map_err(|err| failed("make the sandbox's folder", err))
            .and_then(|()| self.program.start_shim(&dir.0));
        if let Err(err) = made {
            is_a_favour(
                "the rest of a failed sandbox removed",
                self.remove_sandbox(&id),
            );
            return Err(err);
        }
        Ok(id)
    }

    /// Fills the folder of a new container and answers its id. Blocks.
    pub fn prepare_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String, Error> {
        let record = self.sandbox(sandbox)?;
        if !self.alive(sandbox) {
            return Err(not_created(format!(
                "sandbox {sandbox} is not ready",
                sandbox = GoQuoted(&sandbox)
            )));
        }
        let id = state::new_id();
        let dir = self.dir(sandbox);
        self.describe_container(&record, &dir, &id, spec)
            .inspect_err(|_| {
                let discarded = self.discard_container(&dir, &id);
                is_a_favour("the rest of a failed container removed", discarded);
            })?;
        Ok(id)
    }

    fn describe_container(
        &self,
        sandbox: &SandboxRecord,
        home: &SandboxDir,
        id: &str,
        mut spec: ContainerSpec,
    ) -> Result<(), Error> {
        let image = self
            .images
            .rootfs(&spec.image_id)
            .map_err(|err| match err {
                crate::image::Error::NotFound(_) => Error::NoImage(spec.image_id.clone()),
                other => failed("use the image", other),
            })?;
        let identity = Accounts::of(&image.layers)
            .resolve(&image.config.user, &spec.security)
            .map_err(not_created)?;
        let capabilities = capability::of(&spec.security).map_err(not_created)?;
        let stop_signal = signals::parse(&image.config.stop_signal).map_err(not_created)?;
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let dir = home.container(id);
        let image_volumes = image_volumes::resolve(&mut spec, &dir, &self.images)?;
        for mount in spec.mounts.iter().filter(|mount| mount.image.is_none()) {
            propagation::check(mount, &mountinfo)?;
            make_source(&mount.host_path).map_err(|err| {
                not_created(format!(
                    "failed to mkdir {}: {err}",
                    mount.host_path.display()
                ))
            })?;
        }
        let cgroup = format!("{}/{id}", sandbox.cgroup);
        let joined = self
            .joined_pid(&sandbox.id, home, spec.target.as_deref())
            .map_err(not_created)?;
        let shm = if sandbox.spec.host_ipc {
            "/dev/shm".into()
        } else {
            home.shm()
        };
        let config = spec::config(&spec::Inputs {
            spec: &spec,
            image: &image.config,
            identity: &identity,
            capabilities: &capabilities,
            hostname: &sandbox.spec.hostname,
            shared_pid: joined,
            host_pid: sandbox.spec.host_pid,
            shm: &shm,
            cgroup: &cgroup,
            cgroups: &self.cgroups,
            rootfs: &dir.rootfs(),
        })?;
        let record = ContainerRecord {
            id: id.to_owned(),
            created_at: now(),
            log_path: sandbox.spec.log_path(&spec),
            writable: self.config.data_dir.join(id),
            cgroup,
            stop_signal,
            working_dir: spec::working_dir(&spec, &image.config),
            uid: identity.uid,
            user: Some(identity.user()),
            bidirectional: spec.mounts.iter().any(spec::is_bidirectional),
            process: ProcessRights {
                capabilities: capabilities.into_iter().collect(),
                seccomp: seccomp::wanted(&spec.security),
            },
            layers: image.layers,
            image_volumes,
            spec,
        };
        let write = || {
            make_folder(&dir.rootfs())?;
            if let Some(folder) = record.log_path.parent() {
                make_folder(folder)?;
            }
            make_writable(&record)?;
            state::write(&dir.config(), &config)?;
            state::write(&dir.record(), &record)
        };
        write().map_err(|err| failed("make the container's folder", err))
    }
}

impl Inner {
    /// A process whose pid namespace the container is to be in: the target's, or that of the pod's own holder.
    fn joined_pid(
        &self,
        sandbox: &str,
        home: &SandboxDir,
        target: Option<&str>,
    ) -> Result<Option<i32>, NotJoined> {
        let Some(target) = target else {
            let pause: Option<ShimRecord> = state::read_if_there(&home.pause())?;
            return Ok(pause.map(|pause| pause.pid));
        };
        let named = target.to_owned();
        let Ok(place) = self.home(target) else {
            return Err(NotJoined::Missing(named));
        };
        if place.0 != home.0 {
            return Err(NotJoined::Elsewhere {
                target: named,
                sandbox: sandbox.to_owned(),
            });
        }
        let state = place
            .container(target)
            .state()
            .map_err(NotJoined::Unreadable)?;
        match (state.phase, state.pid) {
            (ContainerPhase::Running, Some(pid)) => Ok(Some(pid)),
            (phase, _) => Err(NotJoined::NotRunning {
                target: named,
                phase: format!("{phase:?}").to_uppercase(),
            }),
        }
    }
}

/// The root folder that the container sees has the rights of the image's.
fn make_writable(record: &ContainerRecord) -> io::Result<()> {
    let upper = record.writable.join("upper");
    make_folder(&upper)?;
    make_folder(&record.writable.join("work"))?;
    if let Some(top) = record.layers.first() {
        let meta = fs::metadata(top).during(format_args!("stat {}", top.display()))?;
        std::os::unix::fs::chown(&upper, Some(meta.uid()), Some(meta.gid()))
            .during(format_args!("chown {}", upper.display()))?;
        fs::set_permissions(&upper, meta.permissions())
            .during(format_args!("chmod {}", upper.display()))?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).during(format_args!("mkdir {}", path.display()))
}

/// A missing source of a bind mount becomes a folder, as with every CRI runtime.
fn make_source(path: &Path) -> io::Result<()> {
    match path.symlink_metadata().if_there()? {
        None => fs::create_dir_all(path),
        Some(_) => Ok(()),
    }
}
