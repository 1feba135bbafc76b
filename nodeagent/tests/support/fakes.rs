//! A runtime and an image store in memory.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use skiff_nodeagent::{
    disk::Held,
    image::{self, Credentials, Image, ImageStore, Loaded},
    runtime::{
        self, ContainerPhase, ContainerSpec, ContainerState, Depth, ExecSpec, Groups, Limits,
        Measured, OfPod, Runtime, RuntimeEvent, SandboxSpec, SandboxState, Streams, Usage,
    },
    time,
};
use tokio::{io::AsyncWriteExt, sync::broadcast};

/// A runtime whose containers do what their commands say: `["exit", "3"]` ends at once, anything else runs on.
pub struct FakeRuntime {
    pub sandboxes: Mutex<BTreeMap<String, SandboxState>>,
    pub specs: Mutex<HashMap<String, ContainerSpec>>,
    /// How often removing a sandbox fails from now on.
    pub failing_removals: AtomicU64,
    events: broadcast::Sender<RuntimeEvent>,
    next: AtomicU64,
}

impl FakeRuntime {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            sandboxes: Mutex::default(),
            specs: Mutex::default(),
            failing_removals: AtomicU64::new(0),
            events: broadcast::channel(256).0,
            next: AtomicU64::new(1),
        })
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.next.fetch_add(1, Ordering::SeqCst))
    }

    fn change(
        &self,
        container: &str,
        change: impl FnOnce(&mut ContainerState),
    ) -> Result<(), runtime::Error> {
        let mut sandboxes = self.sandboxes.lock();
        let found = sandboxes.values_mut().find_map(|sandbox| {
            let id = sandbox.id.clone();
            sandbox
                .containers
                .iter_mut()
                .find(|state| state.id == container)
                .map(|state| (id, state))
        });
        let (sandbox, state) =
            found.ok_or_else(|| runtime::Error::NotFound(container.to_owned()))?;
        let before = state.phase;
        change(state);
        let (container, after) = (container.to_owned(), state.phase);
        if before != after {
            let event = match after {
                ContainerPhase::Exited => RuntimeEvent::ContainerExited { sandbox, container },
                _ => RuntimeEvent::ContainerStarted { sandbox, container },
            };
            // Some tests have no agent that listens.
            self.events.send(event).ok();
        }
        Ok(())
    }

    /// Ends the running container of that name.
    /// The sandbox of the only pod that there is.
    pub fn sandbox(&self) -> SandboxState {
        self.sandboxes.lock().values().next().unwrap().clone()
    }

    pub fn finish(&self, name: &str, code: i32) {
        let id = self
            .sandboxes
            .lock()
            .values()
            .flat_map(|sandbox| &sandbox.containers)
            .find(|state| state.name == name && state.phase == ContainerPhase::Running)
            .unwrap()
            .id
            .clone();
        self.change(&id, |state| end(state, code)).unwrap();
    }

    /// Ends the container of that id.
    pub fn end(&self, id: &str, code: i32) {
        self.change(id, |state| end(state, code)).unwrap();
    }

    pub fn running(&self) -> Vec<String> {
        self.sandboxes
            .lock()
            .values()
            .flat_map(|sandbox| &sandbox.containers)
            .filter(|state| state.phase == ContainerPhase::Running)
            .map(|state| state.id.clone())
            .collect()
    }
}

fn end(state: &mut ContainerState, code: i32) {
    if state.phase != ContainerPhase::Exited {
        state.phase = ContainerPhase::Exited;
        state.exit_code = Some(code);
        state.finished_at = Some(time::now());
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn version(&self) -> String {
        "fake://1".to_owned()
    }

    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<String, runtime::Error> {
        let id = self.id("s");
        let ip = format!("10.0.0.{}", self.next.load(Ordering::SeqCst) % 250 + 1)
            .parse()
            .unwrap();
        let state = SandboxState {
            id: id.clone(),
            spec,
            ready: true,
            created_at: time::now(),
            containers: Vec::new(),
            ips: vec![ip],
            trouble: None,
        };
        self.sandboxes.lock().insert(id.clone(), state);
        Ok(id)
    }

    async fn stop_sandbox(&self, sandbox: &str) -> Result<(), runtime::Error> {
        if let Some(state) = self.sandboxes.lock().get_mut(sandbox) {
            state.ready = false;
            state
                .containers
                .iter_mut()
                .for_each(|container| end(container, 137));
        }
        Ok(())
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), runtime::Error> {
        let fails = self
            .failing_removals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok();
        if fails {
            return Err(runtime::Error::Failed {
                what: format!("remove the sandbox {sandbox}"),
                reason: "busy".to_owned(),
            });
        }
        self.sandboxes.lock().remove(sandbox);
        Ok(())
    }

    async fn create_container(
        &self,
        sandbox: &str,
        spec: ContainerSpec,
    ) -> Result<String, runtime::Error> {
        let id = self.id("c");
        let mut sandboxes = self.sandboxes.lock();
        let state = sandboxes
            .get_mut(sandbox)
            .ok_or_else(|| runtime::Error::NotFound(sandbox.to_owned()))?;
        let container = ContainerState::created(id.clone(), &state.spec, spec.clone());
        state.containers.push(container);
        self.specs.lock().insert(id.clone(), spec);
        Ok(id)
    }

    async fn start_container(&self, container: &str) -> Result<(), runtime::Error> {
        let spec = self.specs.lock()[container].clone();
        if spec.command.first().is_some_and(|word| word == "missing") {
            return Err(runtime::Error::Start(
                "exec: \"missing\": executable file not found in $PATH".to_owned(),
            ));
        }
        self.change(container, |state| {
            std::fs::write(
                &state.log_path,
                format!("{} stdout F hello from {}\n", time::now(), state.name),
            )
            .unwrap();
            state.phase = ContainerPhase::Running;
            state.started_at = Some(time::now());
        })?;
        if let [word, code] = &spec.command[..]
            && word == "exit"
        {
            self.change(container, |state| end(state, code.parse().unwrap()))?;
        }
        Ok(())
    }

    async fn stop_container(&self, container: &str, _: Duration) -> Result<(), runtime::Error> {
        self.change(container, |state| end(state, 143))
    }

    async fn remove_container(&self, container: &str) -> Result<(), runtime::Error> {
        self.sandboxes
            .lock()
            .values_mut()
            .for_each(|sandbox| sandbox.containers.retain(|state| state.id != container));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<SandboxState>, runtime::Error> {
        Ok(self.sandboxes.lock().values().cloned().collect())
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }

    async fn exec(&self, _: &str, spec: ExecSpec) -> Result<Streams, runtime::Error> {
        let (mut stdout, ours) = tokio::io::duplex(1024);
        let text = spec.command.join(" ");
        stdout.write_all(text.as_bytes()).await.unwrap();
        drop(stdout);
        let code = i32::from(spec.command.first().is_some_and(|word| word == "fail"));
        Ok(Streams {
            stdin: None,
            stdout: Some(Box::pin(ours)),
            stderr: None,
            resize: None,
            exit: Box::pin(async move { Ok(code) }),
        })
    }

    async fn attach(&self, container: &str, spec: ExecSpec) -> Result<Streams, runtime::Error> {
        self.exec(container, spec).await
    }

    async fn update_container(
        &self,
        container: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), runtime::Error> {
        self.change(container, |state| {
            state.limits = state.limits.merged(limits);
            state.annotations.extend(annotations.clone());
        })
    }

    async fn update_sandbox(
        &self,
        sandbox: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), runtime::Error> {
        let mut sandboxes = self.sandboxes.lock();
        let spec = &mut sandboxes
            .get_mut(sandbox)
            .ok_or_else(|| runtime::Error::NotFound(sandbox.to_owned()))?
            .spec;
        spec.cgroup_limits = spec.cgroup_limits.merged(limits);
        spec.annotations.extend(annotations.clone());
        Ok(())
    }

    async fn usage(&self, _: &str) -> Result<Usage, runtime::Error> {
        Ok(Usage {
            cpu_nanoseconds: 1_000_000,
            memory_bytes: 8192,
            working_set_bytes: 4096,
            ..Usage::default()
        })
    }

    async fn measure(&self, pods: Vec<Groups>, _: Depth) -> Result<Measured, runtime::Error> {
        let usage = self.usage("").await?;
        let usage = Usage {
            at: skiff_nodeagent::time::now(),
            ..usage
        };
        let of_pod = |pod: &Groups| OfPod {
            whole: Some(usage.clone()),
            containers: pod.containers.iter().map(|_| Some(usage.clone())).collect(),
        };
        Ok(Measured {
            machine: usage.clone(),
            pods: pods.iter().map(of_pod).collect(),
        })
    }

    async fn disk_usage(&self, _: &str) -> Result<Held, runtime::Error> {
        Ok(Held {
            bytes: 10_000,
            inodes: 3,
        })
    }
}

/// Images that are there, and `missing…`, which cannot be pulled.
pub struct FakeImages;

fn image(reference: &str) -> Image {
    Image {
        id: format!("sha256:{reference}"),
        tags: vec![format!("docker.io/library/{reference}")],
        digests: vec![format!("docker.io/library/{reference}@sha256:0")],
        size: 7,
        user: String::new(),
    }
}

#[async_trait]
impl ImageStore for FakeImages {
    async fn find(&self, reference: &str) -> Result<Option<Image>, image::Error> {
        Ok(reference.starts_with("here").then(|| image(reference)))
    }

    async fn pull(&self, reference: &str, _: &[Credentials]) -> Result<Image, image::Error> {
        if reference.starts_with("missing") {
            return Err(image::Error::Pull {
                reference: reference.to_owned(),
                reason: "no such manifest".to_owned(),
            });
        }
        Ok(image(reference))
    }

    async fn load(&self, _: &Path) -> Result<Vec<Loaded>, image::Error> {
        Ok(Vec::new())
    }

    async fn list(&self) -> Result<Vec<Image>, image::Error> {
        Ok(vec![image("here:1")])
    }

    async fn remove(&self, _: &str) -> Result<(), image::Error> {
        Ok(())
    }
}
