//! The node agent: brings up the node's tasks and hands each pod to a task of its own.
//!
//! Invariant: what the agent started ends with it, but for containers: those run on and are taken up again by the next agent.
//! Follows `pkg/kubelet/kubelet.go`.

mod leftovers;
mod rotate;

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_watching::{
    api::Api as Server,
    clock::Clock,
    follow::{Seen, Selection, follow},
    task::boxed,
    unreadable::Unreadable,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{
        context::{Context, Parts},
        machine::Machine,
        nodes::Nodes,
        observer::Observer,
        puller::Puller,
    },
    api,
    config::Config,
    events::Recorder,
    figures::Figures,
    node::{lease, register},
    objects::Objects,
    pod::{
        admission::Rejection,
        allocation::Granted,
        handle::{Handle, Verdict},
        names::{is_terminal, name, namespace, phase, reference, uid},
    },
    runtime::{SharedRuntime, counted::Counted},
    time,
    worker::{self, eviction, resize},
};

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("cannot {what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error("node API: {0}")]
    Api(#[from] api::server::Error),
}

/// Runs a node until `stop` is cancelled.
pub async fn run(config: Config, parts: Parts, stop: CancellationToken) -> Result<(), Error> {
    make_folders(&config).map_err(|(dir, source)| Error::Io {
        what: format!("make {}", dir.display()),
        source,
    })?;
    let node = Arc::new(context(config, parts, stop.child_token()));
    let mut tasks = JoinSet::new();
    if let Some(api) = node.config.api.clone() {
        let server = api::server::Server::bind(node.clone(), &api).await?;
        node.api_port.store(server.port(), Ordering::Relaxed);
        tasks.spawn(boxed(server.serve()));
    }
    tokio::select! {
        () = register_until_done(&node) => {}
        () = node.stop.cancelled() => return Ok(()),
    }
    register::event(&node, "Starting", "Starting kubelet.".to_owned());
    tasks.spawn(boxed(lease::keep(node.clone())));
    tasks.spawn(boxed(register::keep_status(node.clone())));
    tasks.spawn(boxed(resize::grant::keep(node.clone())));
    if !node.config.simulated {
        tasks.spawn(boxed(rotate::keep(node.clone())));
        tasks.spawn(boxed(eviction::keep(node.clone())));
    }
    dispatch(&node).await;
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the node agent broke off");
        }
    }
    Ok(())
}

/// The agent's folders. That of the pods holds secrets: it is the agent's alone.
fn make_folders(config: &Config) -> Result<(), (PathBuf, std::io::Error)> {
    let pods = config.pods_dir();
    for (dir, mode) in [
        (&config.data_dir, None),
        (&config.log_dir, None),
        (&pods, Some(0o700)),
    ] {
        let made = std::fs::create_dir_all(dir).and_then(|()| {
            mode.map_or(Ok(()), |mode| {
                std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))
            })
        });
        made.map_err(|error| (dir.clone(), error))?;
    }
    Ok(())
}

fn context(config: Config, parts: Parts, stop: CancellationToken) -> Context {
    let Parts {
        client,
        runtime,
        images,
        network,
        nodes,
    } = parts;
    let figures = Arc::<Figures>::default();
    let runtime: SharedRuntime = Arc::new(Counted::new(runtime, figures.clone()));
    let api = Server::new(client, "kubelet");
    let (recorder, events) = Recorder::start(api.clone(), &config.node_name, stop.clone());
    let unreadable = Unreadable::new(&events);
    let nodes =
        nodes.unwrap_or_else(|| Nodes::follow_one(&api, &unreadable, &config.node_name, &stop));
    Context {
        events: recorder,
        objects: Objects::new(api.clone(), unreadable.clone(), stop.clone()),
        observer: Observer::start(runtime.clone(), figures.clone(), stop.clone()),
        puller: Puller::default(),
        machine: Machine::read(&config, &runtime.version()),
        nodes,
        allocations: Default::default(),
        pods: Default::default(),
        figures,
        api_port: Default::default(),
        host_ips: config.host_ips(),
        api,
        unreadable,
        runtime,
        images,
        network,
        config,
        stop,
    }
}

/// Tries until the node is registered.
async fn register_until_done(node: &Context) {
    let mut pause = Duration::from_millis(100);
    loop {
        match register::register(node).await {
            Ok(registered) => return node.nodes.put(registered),
            Err(error) => {
                tracing::warn!(%error, node = node.config.node_name, "node not registered; trying again")
            }
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(7));
    }
}

/// The tasks of the pods.
struct Dispatcher<'a> {
    node: &'a Arc<Context>,
    workers: JoinSet<String>,
}

/// Follows the node's pods and gives each its task.
async fn dispatch(node: &Arc<Context>) {
    let own = Selection {
        field: Some(("spec.nodeName", node.config.node_name.clone())),
        ..Selection::default()
    };
    let mut changes = follow::<Pod>(
        &node.api,
        &Clock::system(),
        &node.unreadable,
        own,
        &node.stop,
    );
    let mut dispatcher = Dispatcher {
        node,
        workers: JoinSet::new(),
    };
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Some(seen) => dispatcher.take(seen).await,
                None => break,
            },
            Some(ended) = dispatcher.workers.join_next() => match ended {
                Ok(uid) => _ = node.pods.write().remove(&uid),
                Err(error) => tracing::error!(%error, "a pod's task broke off"),
            },
            () = node.stop.cancelled() => break,
        }
    }
    while dispatcher.workers.join_next().await.is_some() {}
}

impl Dispatcher<'_> {
    async fn take(&mut self, seen: Seen<Pod>) {
        match seen {
            Seen::Listed(mut pods) => {
                let listed: HashSet<String> = pods.iter().map(|pod| uid(pod).to_owned()).collect();
                // Who was there first is taken first.
                pods.sort_by(|a, b| {
                    a.metadata
                        .creation_timestamp
                        .cmp(&b.metadata.creation_timestamp)
                });
                for pod in pods {
                    self.apply(pod).await;
                }
                self.node
                    .pods
                    .read()
                    .iter()
                    .filter(|(uid, _)| !listed.contains(*uid))
                    .for_each(|(_, handle)| self.let_go(handle));
                resize::grant::retry(self.node);
                self.take_up_orphans().await;
            }
            Seen::Applied(pod) => self.apply(pod).await,
            Seen::Deleted(pod) => {
                if let Some(handle) = self.node.pods.read().get(uid(&pod)) {
                    self.let_go(handle);
                }
            }
        }
    }

    /// The API has no such pod any more. If it was deleted by force, something of it may still run for a moment: that is in nobody's way.
    /// As `GetActivePods` in `pkg/kubelet/kubelet_pods.go`.
    fn let_go(&self, handle: &Handle) {
        handle.vanish();
        self.node.allocations.remove(uid(&handle.pod()));
    }

    async fn apply(&mut self, pod: Pod) {
        let uid = uid(&pod).to_owned();
        let pod = Arc::new(pod);
        let known = self.node.pods.read().get(&uid).cloned();
        if let Some(handle) = known {
            let before = handle.desired();
            let view = || handle.state.lock().view.clone();
            handle.startup.heard(&pod, view, &self.node.figures);
            handle.update(pod);
            self.resize(&before, &handle);
            return;
        }
        // A pod of the same name with another uid has taken the place of one that is gone.
        for (_, older) in self
            .node
            .pods
            .read()
            .iter()
            .filter(|(_, older)| same_name(&older.pod(), &pod))
        {
            self.let_go(older);
        }
        let handle = Arc::new(Handle::new(pod.clone()));
        if pod.metadata.deletion_timestamp.is_some() {
            handle.ending.cancel();
            self.node.allocations.note(&pod);
        } else if !is_terminal(phase(&pod)) {
            self.admit(&handle).await;
        }
        self.start(uid, handle);
    }

    /// A pod that asks for other resources than before is granted them, or told why not.
    fn resize(&self, before: &Pod, handle: &Handle) {
        if Granted::of(before) == Granted::of(&handle.desired()) {
            return;
        }
        if handle.wants_resize() {
            resize::grant::retry(self.node);
        } else if handle.state.lock().resize.clear_pending() {
            // It asks for what it has: nothing waits any more.
            handle.wake.notify_one();
        }
    }

    /// Takes the pod, or gives it the verdict that it is turned away. One after the other, so that two pods never get the same room.
    async fn admit(&self, handle: &Handle) {
        if let Err(error) = handle.take_up_granted(&self.node.config) {
            tracing::warn!(%error, pod = name(&handle.pod()), "what the pod was granted is not known; it is taken as it asks now");
        }
        let pod = handle.pod();
        let Err(rejection) = self.try_to_admit(&pod).await else {
            if let Err(error) = handle.grant(&self.node.config, Granted::of(&pod)) {
                tracing::warn!(%error, pod = name(&pod), "what the pod was granted is not noted down");
            }
            return;
        };
        let message = rejection.message.clone();
        self.node
            .events
            .warn(reference(&pod), &rejection.reason, message);
        handle.state.lock().failed = Some(Verdict::rejected(rejection));
    }

    async fn try_to_admit(&self, pod: &Pod) -> Result<(), Rejection> {
        let Some(known) = self.node.nodes.get(&self.node.config.node_name) else {
            return Err(Rejection::without_node());
        };
        match self.node.allocations.add(pod, &known) {
            Err(rejection) if rejection.is_about_labels() => {}
            answer => return answer,
        }
        // The label may be newer than what is known of the node.
        match self
            .node
            .api
            .get::<Node>("", &self.node.config.node_name)
            .await
        {
            Ok(fresh) => {
                self.node.nodes.put(fresh.clone());
                self.node.allocations.add(pod, &fresh)
            }
            Err(error) => {
                tracing::warn!(%error, "node not read anew; its labels are judged as last seen");
                self.node.allocations.add(pod, &known)
            }
        }
    }

    fn start(&mut self, uid: String, handle: Arc<Handle>) {
        self.node.pods.write().insert(uid.clone(), handle.clone());
        let node = self.node.clone();
        self.workers.spawn(async move {
            worker::run::run(node, handle).await;
            uid
        });
    }

    /// Pods that the runtime has and the API has not are ended.
    async fn take_up_orphans(&mut self) {
        let sandboxes = match self.node.runtime.list().await {
            Ok(sandboxes) => sandboxes,
            Err(error) => return tracing::warn!(%error, "orphaned pods not looked for"),
        };
        let mut orphans: HashMap<String, Pod> = HashMap::new();
        for sandbox in sandboxes {
            let spec = sandbox.spec;
            if !self.node.pods.read().contains_key(&spec.pod_uid) {
                let mut pod = Pod::default();
                pod.metadata.name = Some(spec.name);
                pod.metadata.namespace = Some(spec.namespace);
                pod.metadata.uid = Some(spec.pod_uid.clone());
                orphans.insert(spec.pod_uid, pod);
            }
        }
        for (uid, pod) in orphans {
            tracing::info!(
                pod = name(&pod),
                namespace = namespace(&pod),
                "pod is gone from the API; it is ended"
            );
            let handle = Arc::new(Handle::new(Arc::new(pod)));
            handle.vanish();
            self.start(uid, handle);
        }
        leftovers::clear(self.node).await;
    }
}

fn same_name(a: &Pod, b: &Pod) -> bool {
    a.metadata.name == b.metadata.name && a.metadata.namespace == b.metadata.namespace
}
