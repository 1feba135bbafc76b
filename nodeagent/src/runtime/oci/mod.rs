//! The built-in runtime: real containers with nothing else installed on the machine.
//!
//! Invariant: what runs is what the run folder says: each sandbox is a folder there, kept by a shim process that lives on
//! when the agent does not; removing a sandbox leaves no process, mount, cgroup or file (but the pod's logs).
//! Plays the part of containerd's CRI plugin (`internal/cri/server`).

mod capability;
mod cause;
mod cgroup;
mod client;
mod create;
mod devices;
mod image_volumes;
mod measure;
mod overlay;
mod program;
mod propagation;
mod protocol;
mod seccomp;
mod shim;
mod signals;
mod spec;
mod state;
mod teardown;
mod user;
mod watch;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use self::{
    cgroup::Cgroups,
    program::Program,
    protocol::Request,
    state::{ContainerRecord, SandboxDir, SandboxRecord, ShimRecord},
};
pub use self::{program::SUBCOMMAND as SHIM_SUBCOMMAND, shim::shim_main};
use super::{
    ContainerSpec, Depth, Error, ExecSpec, Groups, Limits, Measured, Runtime, RuntimeEvent,
    SandboxSpec, SandboxState, Streams, Usage,
};
use crate::{disk, image::Store, outcome};

/// Events kept for a listener that is slow.
const EVENTS: usize = 1024;

/// Where the runtime keeps its things.
#[derive(Clone, Debug)]
pub struct OciConfig {
    /// Sockets and states; best on a tmpfs: `/run/skiff/<instance>`.
    pub run_dir: PathBuf,
    /// Containers' writable layers, on a disk that overlayfs can write to.
    pub data_dir: PathBuf,
    /// The parent of all cgroups, from the hierarchy's root: `skiff/<instance>`.
    pub cgroup: String,
}

/// The runtime; clones share it.
#[derive(Clone)]
pub struct OciRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    config: OciConfig,
    images: Store,
    program: Program,
    cgroups: Cgroups,
    events: broadcast::Sender<RuntimeEvent>,
    /// container → sandbox, as far as known; the folders are the truth.
    homes: Mutex<HashMap<String, String>>,
    /// Sandboxes whose shims end because they are told to.
    stopping: Mutex<HashSet<String>>,
    /// Making sandboxes (shared) keeps the pruning of empty cgroups (alone) away.
    tree: tokio::sync::RwLock<()>,
}

impl OciRuntime {
    /// Opens the runtime over its folders and finds what a former agent left running. Call inside a tokio runtime.
    pub fn open(config: OciConfig, images: Store) -> Result<Self, Error> {
        let unsupported = |what: &str, hint: String| Error::Unsupported {
            what: what.to_owned(),
            hint,
        };
        if !nix::unistd::geteuid().is_root() {
            return Err(unsupported(
                "the right to run containers",
                "run as root, or use simulated nodes".into(),
            ));
        }
        let cgroups = Cgroups::detect().map_err(|err| unsupported("cgroups", err.to_string()))?;
        let io = |err: io::Error| Error::Failed {
            what: "open the runtime".into(),
            reason: err.to_string(),
        };
        for folder in [&config.run_dir, &config.data_dir] {
            fs::create_dir_all(folder).map_err(|err| {
                io(io::Error::new(
                    err.kind(),
                    format!("{}: {err}", folder.display()),
                ))
            })?;
        }
        private(&config.run_dir)
            .and_then(|()| private(&config.data_dir))
            .map_err(io)?;
        overlay::require(&config.data_dir)?;
        let program = Program::seal().map_err(io)?;
        let inner = Inner {
            config,
            images,
            program,
            cgroups,
            events: broadcast::channel(EVENTS).0,
            homes: Mutex::default(),
            stopping: Mutex::default(),
            tree: tokio::sync::RwLock::default(),
        };
        let runtime = Self {
            inner: Arc::new(inner),
        };
        for id in state::names(&runtime.inner.config.run_dir).map_err(io)? {
            let dir = runtime.inner.dir(&id);
            // Without a record nothing was begun in it, or all but the folder is gone.
            match dir.record().exists() {
                true => watch::spawn(&runtime.inner, id),
                false => fs::remove_dir_all(&dir.0).map_err(io)?,
            }
        }
        Ok(runtime)
    }

    /// Work that waits for the disk or for processes, away from the runtime's threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|err| failed("use the runtime", err))?
    }

    /// Has the shim stop or remove a container. None: there is no such container.
    async fn end(&self, container: &str, request: &Request) -> Result<Option<SandboxDir>, Error> {
        let home = match self.inner.container(container) {
            Err(Error::NotFound(_)) => return Ok(None),
            other => other?.0,
        };
        match client::call(&home, request).await {
            // A container that its shim does not know was never made; one without a shim has been ended with it.
            Ok(()) | Err(Error::NotFound(_)) => Ok(Some(home)),
            Err(_) if self.inner.sandbox_is_dead(&home).await => Ok(Some(home)),
            Err(err) => Err(err),
        }
    }
}

impl Inner {
    fn dir(&self, sandbox: &str) -> SandboxDir {
        SandboxDir(self.config.run_dir.join(sandbox))
    }

    fn sandbox(&self, id: &str) -> Result<SandboxRecord, Error> {
        state::read_if_there(&self.dir(id).record())
            .map_err(|err| failed("read the sandbox's record", err))?
            .ok_or_else(|| Error::NotFound(id.to_owned()))
    }

    /// Whether the sandbox's shim lives.
    fn alive(&self, id: &str) -> bool {
        matches!(state::read_if_there::<ShimRecord>(&self.dir(id).shim()), Ok(Some(shim)) if shim.alive())
    }

    /// The sandbox that a container is in.
    fn home(&self, container: &str) -> Result<SandboxDir, Error> {
        if let Some(sandbox) = self.homes.lock().get(container) {
            return Ok(self.dir(sandbox));
        }
        let sandboxes =
            state::names(&self.config.run_dir).map_err(|err| failed("list sandboxes", err))?;
        let found = sandboxes
            .into_iter()
            .find(|sandbox| self.dir(sandbox).container(container).record().exists());
        let sandbox = found.ok_or_else(|| Error::NotFound(container.to_owned()))?;
        self.homes
            .lock()
            .insert(container.to_owned(), sandbox.clone());
        Ok(self.dir(&sandbox))
    }

    fn container(&self, id: &str) -> Result<(SandboxDir, ContainerRecord), Error> {
        let home = self.home(id)?;
        match state::read_if_there(&home.container(id).record())
            .map_err(|err| failed("read the container's record", err))?
        {
            Some(record) => Ok((home, record)),
            None => {
                self.homes.lock().remove(id);
                Err(Error::NotFound(id.to_owned()))
            }
        }
    }

    fn tell(&self, event: RuntimeEvent) {
        outcome::nobody_may_wait(self.events.send(event));
    }
}

fn failed(what: &str, reason: impl ToString) -> Error {
    Error::Failed {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

fn private(folder: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711))
}

#[async_trait]
impl Runtime for OciRuntime {
    fn version(&self) -> String {
        format!("skiff-oci://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<String, Error> {
        let _tree = self.inner.tree.read().await;
        let id = self.blocking(move |inner| inner.make_sandbox(spec)).await?;
        watch::begin(&self.inner, &id).await?;
        Ok(id)
    }

    async fn stop_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        self.inner.stop(sandbox).await
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        if let Err(Error::NotFound(_)) = self.inner.sandbox(sandbox) {
            return Ok(());
        }
        self.inner.stop(sandbox).await?;
        let _tree = self.inner.tree.write().await;
        let sandbox = sandbox.to_owned();
        self.blocking(move |inner| inner.remove_sandbox(&sandbox))
            .await
    }

    async fn create_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String, Error> {
        let _tree = self.inner.tree.read().await;
        let home = sandbox.to_owned();
        let id = self
            .blocking(move |inner| inner.prepare_container(&home, spec))
            .await?;
        let made = client::call(
            &self.inner.dir(sandbox),
            &Request::Create { id: id.clone() },
        )
        .await;
        if let Err(err) = made {
            let (home, id) = (sandbox.to_owned(), id.clone());
            let discard = move |inner: &Inner| inner.discard_container(&inner.dir(&home), &id);
            let discarded = self.blocking(discard).await;
            outcome::is_a_favour("the rest of a failed container removed", discarded);
            return Err(err);
        }
        self.inner
            .homes
            .lock()
            .insert(id.clone(), sandbox.to_owned());
        Ok(id)
    }

    async fn start_container(&self, container: &str) -> Result<(), Error> {
        let request = Request::Start {
            id: container.to_owned(),
        };
        client::call(&self.inner.container(container)?.0, &request).await
    }

    async fn stop_container(&self, container: &str, grace: Duration) -> Result<(), Error> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.end(
            container,
            &Request::Stop {
                id: container.to_owned(),
                grace_ms,
            },
        )
        .await?;
        Ok(())
    }

    async fn remove_container(&self, container: &str) -> Result<(), Error> {
        let request = Request::Remove {
            id: container.to_owned(),
        };
        let Some(home) = self.end(container, &request).await? else {
            return Ok(());
        };
        let id = container.to_owned();
        self.blocking(move |inner| inner.discard_container(&home, &id))
            .await
    }

    async fn list(&self) -> Result<Vec<SandboxState>, Error> {
        self.blocking(Inner::list_now).await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.inner.events.subscribe()
    }

    async fn exec(&self, container: &str, spec: ExecSpec) -> Result<Streams, Error> {
        let request = Request::Exec {
            id: container.to_owned(),
            exec: spec.clone(),
        };
        client::open(&self.inner.container(container)?.0, &request, &spec).await
    }

    async fn attach(&self, container: &str, spec: ExecSpec) -> Result<Streams, Error> {
        let request = Request::Attach {
            id: container.to_owned(),
            exec: spec.clone(),
        };
        client::open(&self.inner.container(container)?.0, &request, &spec).await
    }

    async fn reopen_log(&self, container: &str) -> Result<(), Error> {
        let request = Request::ReopenLog {
            id: container.to_owned(),
        };
        client::call(&self.inner.container(container)?.0, &request).await
    }

    async fn update_container(
        &self,
        container: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let (home, mut record) = self.inner.container(container)?;
        let (limits, noted) = (limits.clone(), annotations.clone());
        self.blocking(move |inner| {
            let write = || {
                inner.cgroups.limit(&record.cgroup, &limits)?;
                record.spec.limits = record.spec.limits.merged(&limits);
                record.spec.annotations.extend(noted);
                state::write(&home.container(&record.id).record(), &record)
            };
            write().map_err(|err| failed("update the container's resources", err))
        })
        .await
    }

    async fn update_sandbox(
        &self,
        sandbox: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let mut record = self.inner.sandbox(sandbox)?;
        let (limits, noted) = (limits.clone(), annotations.clone());
        self.blocking(move |inner| {
            let write = || {
                inner.cgroups.limit(&record.cgroup, &limits)?;
                record.spec.cgroup_limits = record.spec.cgroup_limits.merged(&limits);
                record.spec.annotations.extend(noted);
                state::write(&inner.dir(&record.id).record(), &record)
            };
            write().map_err(|err| failed("update the pod's resources", err))
        })
        .await
    }

    async fn usage(&self, container: &str) -> Result<Usage, Error> {
        let (_, record) = self.inner.container(container)?;
        self.blocking(move |inner| {
            inner
                .cgroups
                .usage(&record.cgroup, Depth::Main)
                .map_err(|err| failed("read the container's usage", err))
        })
        .await
    }

    async fn measure(&self, pods: Vec<Groups>, depth: Depth) -> Result<Measured, Error> {
        self.blocking(move |inner| {
            let parent = &inner.config.cgroup;
            Ok(inner.cgroups.measure(parent, &pods, depth))
        })
        .await
    }

    async fn disk_usage(&self, container: &str) -> Result<disk::Held, Error> {
        let (_, record) = self.inner.container(container)?;
        self.blocking(move |_| {
            disk::held(&record.writable.join("upper"))
                .map_err(|err| failed("measure the container's files", err))
        })
        .await
    }
}
