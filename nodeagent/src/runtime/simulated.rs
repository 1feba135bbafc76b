//! A runtime without containers: what runs is only said to run. For clusters of thousands of nodes in one process.
//!
//! Invariant: a simulated container goes through the same phases in the same order as a real one, and what it does is set
//! by annotations alone; what only a real container could do (exec, attach) is refused with an error that says so.
//! Comparable to upstream's hollow nodes (`pkg/kubelet/cri/remote/fake`, `cmd/kubemark`).

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ipnet::IpNet;
use parking_lot::Mutex;
use skiff_api::machinery::gonum;
use skiff_podspec::runtime::SIMULATED;
use tokio::sync::{broadcast, watch};

mod addresses;
mod load;

pub use load::{CPU, Load, MEMORY};

use super::{
    ContainerPhase, ContainerSpec, ContainerState, Depth, Error, ExecSpec, Groups, Limits,
    Measured, OfPod, Runtime, RuntimeEvent, SandboxSpec, SandboxState, Streams, Usage,
};
use crate::{disk, outcome, time};
use addresses::Addresses;
use load::Meters;

/// Exit code of the container; 0 when absent. Only with `run-for`, or when it is stopped.
pub const EXIT_CODE: &str = "skiff.dev/exit-code";
/// How long the container runs (`10s`, `1m30s`, or seconds); for ever when absent, but one that others wait for ends well at once then.
pub const RUN_FOR: &str = "skiff.dev/run-for";
/// How long starting it takes; no time when absent.
pub const START_DELAY: &str = "skiff.dev/start-delay";

const EVENTS: usize = 4096;
/// 128 + SIGTERM: how a container ends that is stopped and says nothing else.
const TERMINATED: i32 = 143;

/// The runtime; clones share it.
#[derive(Clone)]
pub struct SimulatedRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    events: broadcast::Sender<RuntimeEvent>,
}

struct State {
    sandboxes: BTreeMap<String, SandboxState>,
    /// container → (sandbox, its end).
    containers: HashMap<String, (String, Behaviour)>,
    /// What each that ever ran uses.
    meters: Meters,
    addresses: Addresses,
}

/// What the annotations say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Behaviour {
    exit_code: Option<i32>,
    run_for: Option<Duration>,
    start_delay: Duration,
    load: Load,
    /// Closed when the container is removed or has ended, so that its timer ends.
    gone: GoneSwitch,
}

impl Behaviour {
    /// The same of a container for whose end others wait: where nothing is said of how long it runs, it makes way.
    fn that_ends(mut self) -> Self {
        if self.run_for.is_none() {
            self.run_for = Some(Duration::ZERO);
            self.exit_code = Some(0);
        }
        self
    }
}

/// A switch that compares as equal, so that behaviours can be compared.
#[derive(Clone, Debug)]
struct GoneSwitch(Arc<watch::Sender<bool>>);

impl PartialEq for GoneSwitch {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
impl Eq for GoneSwitch {}

impl SimulatedRuntime {
    /// A runtime whose pods get addresses from `range` (the node's podCIDR).
    pub fn new(range: IpNet) -> Self {
        Self::of(&[range])
    }

    /// A runtime whose pods get an address from each range (the node's podCIDRs).
    pub fn of(ranges: &[IpNet]) -> Self {
        let state = State {
            sandboxes: BTreeMap::new(),
            containers: HashMap::new(),
            meters: Meters::default(),
            addresses: Addresses::of(ranges),
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                events: broadcast::channel(EVENTS).0,
            }),
        }
    }
}

impl Inner {
    fn tell(&self, event: RuntimeEvent) {
        outcome::nobody_may_wait(self.events.send(event));
    }

    /// Ends a container that runs or waits; others stay as they are.
    fn end(&self, container: &str, exit_code: i32) {
        let sandbox = {
            let mut state = self.state.lock();
            let Ok((sandbox, behaviour)) = state.home(container) else {
                return;
            };
            let found = state.find(container).ok();
            let Some(found) = found.filter(|c| c.phase != ContainerPhase::Exited) else {
                return;
            };
            let now = time::now();
            found.phase = ContainerPhase::Exited;
            found.finished_at = Some(now);
            found.exit_code = Some(exit_code);
            found.signal = (exit_code > 128).then_some(exit_code - 128);
            state.meters.stop(container, now);
            behaviour.gone.0.send_replace(true);
            sandbox
        };
        self.tell(RuntimeEvent::ContainerExited {
            sandbox,
            container: container.to_owned(),
        });
    }
}

impl State {
    /// The sandbox that a container is in, and what its annotations say.
    fn home(&self, container: &str) -> Result<(String, Behaviour), Error> {
        let home = self.containers.get(container).cloned();
        home.ok_or_else(|| Error::NotFound(container.to_owned()))
    }

    fn find(&mut self, container: &str) -> Result<&mut ContainerState, Error> {
        let (sandbox, _) = self.home(container)?;
        let all = self
            .sandboxes
            .get_mut(&sandbox)
            .map(|home| &mut home.containers);
        let found = all
            .into_iter()
            .flatten()
            .find(|state| state.id == container);
        found.ok_or_else(|| Error::NotFound(container.to_owned()))
    }
}

fn behaviour(annotations: &BTreeMap<String, String>) -> Result<Behaviour, Error> {
    let bad = |key: &str, value: &str| Error::Failed {
        what: "simulate the container".into(),
        reason: format!("annotation {key} has the value {value:?}"),
    };
    let duration = |key: &str| {
        annotations
            .get(key)
            .map(|value| parse_duration(value).ok_or_else(|| bad(key, value)))
            .transpose()
    };
    let exit_code = annotations
        .get(EXIT_CODE)
        .map(|value| value.parse().map_err(|_| bad(EXIT_CODE, value)))
        .transpose()?;
    Ok(Behaviour {
        exit_code,
        run_for: duration(RUN_FOR)?,
        start_delay: duration(START_DELAY)?.unwrap_or_default(),
        load: Load::read(annotations).map_err(|(key, value)| bad(key, &value))?,
        gone: GoneSwitch(Arc::new(watch::channel(false).0)),
    })
}

/// Go's notation (`1h2m3s`, `1.5s`, `200ms`), or plain seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let nanoseconds = gonum::duration(text).ok()?;
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

fn simulated(what: &str) -> Error {
    Error::Unsupported {
        what: format!("{what} here"),
        hint: "the node is simulated: its containers do not really run".into(),
    }
}

#[async_trait]
impl Runtime for SimulatedRuntime {
    fn version(&self) -> String {
        format!("{SIMULATED}://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<String, Error> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut state = self.inner.state.lock();
        let full = || Error::Failed {
            what: "give the pod an address".into(),
            reason: "no addresses are free in the node's range".into(),
        };
        // Pods in the host's network have the node's own address, which the agent knows.
        let ips = if spec.netns.is_some() {
            state.addresses.take().ok_or_else(full)?
        } else {
            vec![]
        };
        let sandbox = SandboxState {
            id: id.clone(),
            spec,
            ready: true,
            created_at: time::now(),
            containers: vec![],
            ips,
            trouble: None,
        };
        state.sandboxes.insert(id.clone(), sandbox);
        Ok(id)
    }

    async fn stop_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        let running: Vec<String> = {
            let mut state = self.inner.state.lock();
            let Some(found) = state.sandboxes.get_mut(sandbox) else {
                return Ok(());
            };
            found.ready = false;
            found
                .containers
                .iter()
                .map(|container| container.id.clone())
                .collect()
        };
        running
            .iter()
            .for_each(|container| self.inner.end(container, 128 + libc::SIGKILL));
        Ok(())
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        self.stop_sandbox(sandbox).await?;
        let mut state = self.inner.state.lock();
        if let Some(gone) = state.sandboxes.remove(sandbox) {
            state.addresses.give_back(&gone.ips);
            for container in gone.containers {
                state.containers.remove(&container.id);
                state.meters.remove(&container.id);
            }
        }
        Ok(())
    }

    async fn create_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String, Error> {
        let mut behaviour = behaviour(&spec.annotations)?;
        if spec.ends {
            behaviour = behaviour.that_ends();
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut state = self.inner.state.lock();
        let home = state
            .sandboxes
            .get_mut(sandbox)
            .ok_or_else(|| Error::NotFound(sandbox.to_owned()))?;
        let container = ContainerState::created(id.clone(), &home.spec, spec);
        home.containers.push(container);
        state
            .containers
            .insert(id.clone(), (sandbox.to_owned(), behaviour));
        Ok(id)
    }

    async fn start_container(&self, container: &str) -> Result<(), Error> {
        let (_, Behaviour { start_delay, .. }) = self.inner.state.lock().home(container)?;
        if !start_delay.is_zero() {
            tokio::time::sleep(start_delay).await;
        }
        let (sandbox, behaviour, log_path) = {
            let mut state = self.inner.state.lock();
            let (sandbox, behaviour) = state.home(container)?;
            let found = state.find(container)?;
            match found.phase {
                ContainerPhase::Running => return Ok(()),
                ContainerPhase::Exited => {
                    return Err(Error::Failed {
                        what: "start the container".into(),
                        reason: "it has ended".into(),
                    });
                }
                ContainerPhase::Created => {}
            }
            let now = time::now();
            found.phase = ContainerPhase::Running;
            found.started_at = Some(now);
            let log_path = found.log_path.clone();
            state.meters.start(container, behaviour.load, now);
            (sandbox, behaviour, log_path)
        };
        if let Err(err) = write_log(&log_path) {
            tracing::debug!(container, %err, "a simulated container has no log");
        }
        self.inner.tell(RuntimeEvent::ContainerStarted {
            sandbox,
            container: container.to_owned(),
        });
        if let Some(run_for) = behaviour.run_for {
            let (inner, id, mut gone) = (
                Arc::clone(&self.inner),
                container.to_owned(),
                behaviour.gone.0.subscribe(),
            );
            skiff_watching::task::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(run_for) => inner.end(&id, behaviour.exit_code.unwrap_or(0)),
                    _ = gone.wait_for(|gone| *gone) => {}
                }
            });
        }
        Ok(())
    }

    async fn stop_container(&self, container: &str, _grace: Duration) -> Result<(), Error> {
        let home = self.inner.state.lock().home(container);
        if let Ok((_, behaviour)) = home {
            self.inner
                .end(container, behaviour.exit_code.unwrap_or(TERMINATED));
        }
        Ok(())
    }

    async fn remove_container(&self, container: &str) -> Result<(), Error> {
        self.inner.end(container, 128 + libc::SIGKILL);
        let mut state = self.inner.state.lock();
        state.meters.remove(container);
        if let Some((sandbox, _)) = state.containers.remove(container)
            && let Some(home) = state.sandboxes.get_mut(&sandbox)
        {
            home.containers.retain(|c| c.id != container);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<SandboxState>, Error> {
        Ok(self
            .inner
            .state
            .lock()
            .sandboxes
            .values()
            .cloned()
            .collect())
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.inner.events.subscribe()
    }

    async fn exec(&self, _container: &str, _spec: ExecSpec) -> Result<Streams, Error> {
        Err(simulated("exec"))
    }

    async fn attach(&self, _container: &str, _spec: ExecSpec) -> Result<Streams, Error> {
        Err(simulated("attach"))
    }

    async fn reopen_log(&self, _container: &str) -> Result<(), Error> {
        Ok(()) // its one line was written when it started
    }

    async fn update_container(
        &self,
        container: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let mut state = self.inner.state.lock();
        let found = state.find(container)?;
        let mut noted = found.annotations.clone();
        noted.extend(annotations.clone());
        let load = behaviour(&noted)?.load;
        found.limits = found.limits.merged(limits);
        found.annotations = noted;
        state.meters.change(container, load, time::now());
        Ok(())
    }

    async fn update_sandbox(
        &self,
        sandbox: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let mut state = self.inner.state.lock();
        let spec = &mut state
            .sandboxes
            .get_mut(sandbox)
            .ok_or_else(|| Error::NotFound(sandbox.to_owned()))?
            .spec;
        spec.cgroup_limits = spec.cgroup_limits.merged(limits);
        spec.annotations.extend(annotations.clone());
        Ok(())
    }

    async fn usage(&self, container: &str) -> Result<Usage, Error> {
        let state = self.inner.state.lock();
        state.home(container)?;
        // one that was not started yet has used nothing
        Ok(state
            .meters
            .read(container, time::now())
            .unwrap_or_default())
    }

    async fn measure(&self, pods: Vec<Groups>, _depth: Depth) -> Result<Measured, Error> {
        let (state, now) = (self.inner.state.lock(), time::now());
        let of = |id: &String| state.meters.read(id, now);
        let pods = pods.iter().map(|pod| {
            let containers: Vec<Option<Usage>> = pod.containers.iter().map(of).collect();
            OfPod {
                whole: Some(load::sum(containers.iter().flatten(), now)),
                containers,
            }
        });
        Ok(Measured {
            pods: pods.collect(),
            machine: state.meters.all(now),
        })
    }

    async fn disk_usage(&self, container: &str) -> Result<disk::Held, Error> {
        self.usage(container).await.map(|_| disk::Held::default())
    }
}

/// What a running container uses, with whose it is.
pub struct InUse {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub started: jiff::Timestamp,
    pub usage: Usage,
}

impl SimulatedRuntime {
    /// What all running containers use, and the node with those that have ended.
    pub fn in_use(&self) -> (Usage, Vec<InUse>) {
        let (state, now) = (self.inner.state.lock(), time::now());
        let mut all = Vec::new();
        for sandbox in state.sandboxes.values() {
            let running = sandbox
                .containers
                .iter()
                .filter(|of| of.phase == ContainerPhase::Running);
            all.extend(running.filter_map(|container| {
                Some(InUse {
                    namespace: sandbox.spec.namespace.clone(),
                    pod: sandbox.spec.name.clone(),
                    container: container.name.clone(),
                    started: container.started_at?,
                    usage: state.meters.read(&container.id, now)?,
                })
            }));
        }
        (state.meters.all(now), all)
    }
}

fn write_log(path: &std::path::Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    writeln!(
        file,
        "{:.9} stdout F this container is simulated",
        time::now()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(folder: &std::path::Path) -> SandboxSpec {
        SandboxSpec {
            pod_uid: "u".into(),
            namespace: "n".into(),
            name: "p".into(),
            netns: Some("/simulated".into()),
            log_dir: folder.to_owned(),
            ..Default::default()
        }
    }

    fn container(annotations: &[(&str, &str)]) -> ContainerSpec {
        let pair = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        ContainerSpec {
            name: "c".into(),
            image_id: "i".into(),
            annotations: annotations.iter().map(pair).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn durations() {
        for (text, wanted) in [
            ("10", 10_000),
            ("1m30s", 90_000),
            ("200ms", 200),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(wanted)),
                "{text}"
            );
        }
        for text in ["", "s", "1x", "-3", "1m3"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    /// One that others wait for ends by itself; what its pod says of ends is said of it, too.
    #[tokio::test]
    async fn who_is_waited_for_makes_way() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = SimulatedRuntime::new("10.0.0.0/24".parse().unwrap());
        let pod = runtime.run_sandbox(sandbox(folder.path())).await.unwrap();
        for (annotations, wanted) in [
            (&[][..], 0),
            (&[(RUN_FOR, "1ms")], 0),
            (&[(RUN_FOR, "1ms"), (EXIT_CODE, "3")], 3),
            // how the others end when they are stopped
            (&[(EXIT_CODE, "3")], 0),
        ] {
            let mut events = runtime.events();
            let spec = ContainerSpec {
                ends: true,
                ..container(annotations)
            };
            let id = runtime.create_container(&pod, spec).await.unwrap();
            runtime.start_container(&id).await.unwrap();
            let ended = async {
                while !matches!(
                    events.recv().await.unwrap(),
                    RuntimeEvent::ContainerExited { .. }
                ) {}
            };
            let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
            assert!(ended.is_ok(), "{annotations:?}");
            let code = runtime.inner.state.lock().find(&id).unwrap().exit_code;
            assert_eq!(code, Some(wanted), "{annotations:?}");
        }
    }

    #[tokio::test]
    async fn a_container_lives_as_annotated() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = SimulatedRuntime::new("10.0.0.0/24".parse().unwrap());
        let mut events = runtime.events();
        let pod = runtime.run_sandbox(sandbox(folder.path())).await.unwrap();
        let job = runtime
            .create_container(
                &pod,
                container(&[(EXIT_CODE, "3"), (RUN_FOR, "1ms"), (START_DELAY, "1ms")]),
            )
            .await
            .unwrap();
        runtime.start_container(&job).await.unwrap();
        assert!(matches!(
            events.recv().await.unwrap(),
            RuntimeEvent::ContainerStarted { .. }
        ));
        assert!(
            matches!(events.recv().await.unwrap(), RuntimeEvent::ContainerExited { container, .. } if container == job)
        );
        let server = runtime
            .create_container(&pod, container(&[]))
            .await
            .unwrap();
        runtime.start_container(&server).await.unwrap();
        runtime
            .stop_container(&server, Duration::ZERO)
            .await
            .unwrap();
        let state = runtime.list().await.unwrap().remove(0);
        assert_eq!(
            state
                .containers
                .iter()
                .map(|c| c.exit_code)
                .collect::<Vec<_>>(),
            [Some(3), Some(143)]
        );
        assert_eq!(state.ips, ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
        assert!(
            std::fs::read_to_string(folder.path().join("c/0.log"))
                .unwrap()
                .contains("stdout F this container is simulated")
        );
        let refused = runtime
            .exec(&server, ExecSpec::default())
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(refused.contains("the node is simulated"), "{refused}");
        runtime.remove_sandbox(&pod).await.unwrap();
        assert!(runtime.list().await.unwrap().is_empty());
        assert!(
            runtime
                .create_container("gone", container(&[(EXIT_CODE, "x")]))
                .await
                .is_err()
        );
    }
}
