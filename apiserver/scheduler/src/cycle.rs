//! The owner of cache and queue: hears what changes, takes pods one after another, filters and scores nodes, and sends bindings out.
//!
//! Invariant: a pod is counted on its node from the moment of the decision. Follows `pkg/scheduler/schedule_one.go`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use rand::Rng;
use serde_json::{Value, json};
use skiff_watching::api::Api;
use tokio::sync::{Semaphore, mpsc::UnboundedSender};

use crate::{
    Event, Heard, Options,
    cache::{Cache, NodeInfo},
    events,
    framework::{self, Rejection},
    plugins::{
        inter_pod_affinity,
        volume_binding::{self, Plan},
    },
    pod::PodInfo,
    queue::Queue,
    volumes::{Name, Store, Volumes, name_of},
};

/// Pods decided on between two looks at what changed.
const ROUND: usize = 64;
/// Enough nodes that fit: more are not looked for in large clusters.
const ENOUGH: usize = 100;

/// How long a pod waits for its volumes on the node that it was given.
const VOLUMES_DEADLINE: Duration = Duration::from_secs(600);

/// A pod that has its node, and waits there for its claims to be bound.
struct Pending {
    pod: Arc<PodInfo>,
    node: String,
    claims: Vec<Name>,
    since: Instant,
}

pub struct Scheduler {
    api: Api,
    options: Options,
    tell: UnboundedSender<Heard>,
    cache: Cache,
    queue: Queue,
    slots: Arc<Semaphore>,
    /// Where the search for nodes begins: every node gets its turn.
    start: usize,
    /// Pods whose bindings are under way.
    assumed: HashMap<Arc<str>, Arc<PodInfo>>,
    volumes: Volumes,
    namespaces: Store<Namespace>,
    pending: HashMap<Arc<str>, Pending>,
}

impl Scheduler {
    pub fn new(api: Api, options: Options, tell: UnboundedSender<Heard>) -> Scheduler {
        let slots = Arc::new(Semaphore::new(options.parallelism.max(1)));
        Scheduler {
            api,
            options,
            tell,
            cache: Cache::default(),
            queue: Queue::default(),
            slots,
            start: 0,
            assumed: HashMap::new(),
            volumes: Volumes::default(),
            namespaces: Store::default(),
            pending: HashMap::new(),
        }
    }

    pub fn has_active(&self) -> bool {
        self.queue.has_active()
    }

    pub fn has_waiting(&self) -> bool {
        self.queue.has_waiting() || !self.pending.is_empty()
    }

    pub fn wake(&mut self) {
        let now = Instant::now();
        let late: Vec<Arc<str>> =
            self.pending.iter().filter(|(_, pending)| now.saturating_duration_since(pending.since) > VOLUMES_DEADLINE).map(|(uid, _)| uid.clone()).collect();
        late.iter().for_each(|uid| self.bound(uid, Err("its volumes were not bound in time".into())));
        self.queue.wake(now);
    }

    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Pod(event) => self.hear_pod(event),
            Heard::Node(event) => self.hear_node(event),
            Heard::Claim(event) => {
                self.volumes.claims.hear(event);
                self.storage_changed();
            }
            Heard::Volume(event) => {
                self.volumes.volumes.hear(event);
                self.storage_changed();
            }
            Heard::Class(event) => {
                self.volumes.classes.hear(event);
                self.storage_changed();
            }
            Heard::Namespace(event) => {
                self.namespaces.hear(event);
                self.queue.changed_for(Instant::now(), |pod| !pod.terms.near.is_empty() || !pod.terms.apart.is_empty());
            }
            Heard::Bound { uid, done } => self.bound(&uid, done),
        }
    }

    /// Pods whose claims are bound now go on, others may hope.
    fn storage_changed(&mut self) {
        let is_bound = |(namespace, name): &Name| self.volumes.claims.get(namespace, name).is_some_and(|claim| volume_binding::is_bound(claim));
        let done: Vec<Arc<str>> = self.pending.iter().filter(|(_, pending)| pending.claims.iter().all(is_bound)).map(|(uid, _)| uid.clone()).collect();
        for uid in done {
            if let Some(pending) = self.pending.remove(&uid) {
                self.bind(pending.pod, pending.node);
            }
        }
        self.queue.changed_for(Instant::now(), volume_binding::concerns);
    }

    fn hear_pod(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) => self.put_pod(pod),
            Event::Delete(pod) => self.gone(pod.metadata.uid.as_deref().unwrap_or("")),
        }
    }

    fn put_pod(&mut self, pod: Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let spec = pod.spec.as_ref();
        let node = spec.and_then(|s| s.node_name.clone()).filter(|name| !name.is_empty());
        let ended = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
        if ended {
            return self.gone(&uid);
        }
        let own = spec.and_then(|s| s.scheduler_name.as_deref()).unwrap_or("default-scheduler") == self.options.scheduler_name;
        let gated = spec.and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty());
        let deleting = pod.metadata.deletion_timestamp.is_some();
        let info = Arc::new(PodInfo::new(pod));
        match node {
            Some(node) => {
                self.queue.remove(&uid);
                self.cache.put_pod(&node, info);
                if self.queue.has_waiting() {
                    self.queue.changed_for(Instant::now(), |pod| !pod.terms.near.is_empty());
                }
            }
            None if self.assumed.contains_key(&*uid) => {}
            None if own && !gated && !deleting => self.queue.put(info),
            None => self.queue.remove(&uid),
        }
    }

    fn gone(&mut self, uid: &str) {
        self.queue.remove(uid);
        if self.pending.remove(uid).is_some() {
            self.assumed.remove(uid);
            self.volumes.release(uid);
        }
        if self.cache.remove_pod(uid) {
            self.queue.changed(Instant::now());
        }
    }

    fn hear_node(&mut self, event: Event<Node>) {
        let better = match event {
            Event::Apply(node) => self.cache.put_node(node),
            Event::Delete(node) => {
                self.cache.remove_node(node.metadata.name.as_deref().unwrap_or(""));
                false
            }
        };
        if better {
            self.queue.changed(Instant::now());
        }
    }

    fn bound(&mut self, uid: &str, done: Result<(), String>) {
        self.volumes.release(uid);
        self.pending.remove(uid);
        let Some(pod) = self.assumed.remove(uid) else { return };
        if let Err(error) = done {
            tracing::debug!(%error, pod = pod.name, "a binding failed");
            self.cache.remove_pod(uid);
            self.queue.wait(pod, true, Instant::now());
        }
    }

    /// Decides on the next pods in line.
    pub fn schedule_some(&mut self) {
        for _ in 0..ROUND {
            let Some(pod) = self.queue.pop() else { return };
            match self.choose(&pod) {
                Ok((node, plan)) => {
                    self.cache.put_pod(&node, pod.clone());
                    self.assumed.insert(pod.uid.clone(), pod.clone());
                    if plan.is_empty() { self.bind(pod, node) } else { self.prepare_volumes(pod, node, &plan) }
                }
                Err(message) => {
                    self.report(&pod, &message);
                    self.queue.wait(pod, false, Instant::now());
                }
            }
        }
    }

    /// Promises the pod its volumes, asks for them, and lets it wait for them.
    fn prepare_volumes(&mut self, pod: Arc<PodInfo>, node: String, plan: &Plan) {
        for (volume, _) in &plan.bind {
            self.volumes.promise(volume.metadata.name.as_deref().unwrap_or(""), &pod.uid);
        }
        let (api, tell, uid, patches) = (self.api.clone(), self.tell.clone(), pod.uid.clone(), plan.patches(&node));
        let claims = plan.claims().map(|claim| name_of(&claim.metadata)).collect();
        self.pending.insert(pod.uid.clone(), Pending { pod, node, claims, since: Instant::now() });
        tokio::spawn(async move {
            for (path, patch) in patches {
                if let Err(error) = send(&api, Method::PATCH, &path, "application/merge-patch+json", &patch).await {
                    let _ = tell.send(Heard::Bound { uid, done: Err(error) });
                    return;
                }
            }
        });
    }

    /// The node for a pod and what its volumes need there, or why there is none.
    fn choose(&mut self, pod: &PodInfo) -> Result<(String, Plan), String> {
        let count = self.cache.len();
        let claims = match volume_binding::pre_filter(pod, &self.volumes) {
            Ok(claims) => claims,
            Err(why) => return Err(events::pod_error(count, &why)),
        };
        let enough = if count <= ENOUGH { count } else { (count / 2).max(ENOUGH) };
        let start = if count == 0 { 0 } else { self.start % count };
        let others = inter_pod_affinity::pre_filter(pod, self.cache.nodes(), &self.namespaces);
        let mut fitting: Vec<&NodeInfo> = Vec::new();
        let mut plans: Vec<Plan> = Vec::new();
        let mut rejections: Vec<Rejection> = Vec::new();
        let mut looked = 0;
        for node in self.cache.nodes().skip(start).chain(self.cache.nodes().take(start)) {
            looked += 1;
            let fits = framework::filter(pod, node).map_or_else(|| volume_binding::filter(&claims, node, &self.volumes), Err);
            match fits.and_then(|plan| inter_pod_affinity::filter(pod, &others, node).map(|()| plan)) {
                Ok(plan) => {
                    fitting.push(node);
                    plans.push(plan);
                }
                Err(rejection) => rejections.push(rejection),
            }
            if fitting.len() >= enough {
                break;
            }
        }
        self.start = start + looked;
        if fitting.is_empty() {
            return Err(events::fit_error(count, &rejections));
        }
        let scores = framework::scores(pod, &fitting);
        let best = scores.iter().copied().max().unwrap_or(0);
        let candidates: Vec<usize> = (0..fitting.len()).filter(|index| scores[*index] == best).collect();
        let picked = candidates[rand::rng().random_range(0..candidates.len())];
        Ok((fitting[picked].name.clone(), plans.swap_remove(picked)))
    }

    fn bind(&self, pod: Arc<PodInfo>, node: String) {
        let (api, slots, tell) = (self.api.clone(), self.slots.clone(), self.tell.clone());
        let scheduler = self.options.scheduler_name.clone();
        let clock = self.options.clock.clone();
        tokio::spawn(async move {
            let Ok(_slot) = slots.acquire().await else { return };
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": &*pod.uid},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
            let path = format!("/api/v1/namespaces/{}/pods/{}/binding", pod.namespace, pod.name);
            let done = send(&api, Method::POST, &path, "application/json", &binding).await;
            let succeeded = done.is_ok();
            let _ = tell.send(Heard::Bound { uid: pod.uid.clone(), done });
            if succeeded {
                let note = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
                let event = events::event(&pod, &scheduler, "Normal", "Scheduled", "Binding", &note, clock.now());
                post_event(&api, &pod, &event).await;
            }
        });
    }

    fn report(&self, pod: &Arc<PodInfo>, message: &str) {
        let (api, pod, message) = (self.api.clone(), pod.clone(), message.to_string());
        let (scheduler, clock) = (self.options.scheduler_name.clone(), self.options.clock.clone());
        tokio::spawn(async move {
            let event = events::event(&pod, &scheduler, "Warning", "FailedScheduling", "Scheduling", &message, clock.now());
            post_event(&api, &pod, &event).await;
            if let Some(patch) = events::unschedulable(&pod, &message, clock.now()) {
                let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace, pod.name);
                if let Err(error) = send(&api, Method::PATCH, &path, "application/strategic-merge-patch+json", &patch).await {
                    tracing::debug!(%error, pod = pod.name, "the condition was not written");
                }
            }
        });
    }
}

async fn post_event(api: &Api, pod: &PodInfo, event: &Value) {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", pod.namespace);
    if let Err(error) = send(api, Method::POST, &path, "application/json", event).await {
        tracing::debug!(%error, pod = pod.name, "an event was not written");
    }
}

async fn send(api: &Api, method: Method, path: &str, kind: &str, body: &Value) -> Result<(), String> {
    api.send(method, path, Some(kind), None, body.to_string().into_bytes()).await.map(|_| ()).map_err(|error| error.to_string())
}
