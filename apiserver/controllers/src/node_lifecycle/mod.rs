//! The node lifecycle controller: notices nodes that fall silent, says so in their conditions and taints, and marks their pods not ready.
//!
//! Invariant: one task owns what is known of the nodes' health; when all nodes are silent the fault is taken to be ours, and nobody is
//! evicted. Follows pkg/controller/nodelifecycle/node_lifecycle_controller.go.

pub mod health;
mod taints;
mod zones;

use std::collections::HashMap;

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, ObjectReference},
};
use serde_json::json;
use skiff_podspec::pod::Pod;
use tokio::sync::Notify;

use self::{
    health::{Health, Verdict},
    taints::{NOT_READY, UNREACHABLE},
    zones::Zones,
};
use crate::{options::Options, pods, prelude::*};

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    options: Arc<Options>,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    leases: Informer<Lease>,
}

/// `node-lifecycle-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "node_lifecycle_controller_pods",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("node-controller"),
            options: context.options.clone(),
            nodes: context.informer(),
            pods: context.informer(),
            leases: context.informer(),
        },
    );
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    c.each(&c.nodes);
    c.on(&c.nodes, move |_, change, _| {
        let stays = matches!(change, Change::Updated { old, new } if health::ready_status(old) == health::ready_status(new));
        if !stays {
            notify.notify_one();
        }
    });
    let (controller, _) = c.parts();
    let stop = context.stop.clone();
    let monitoring = async move {
        let mut known = Known::default();
        loop {
            controller.look_at_all(&mut known).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = controller.clock.sleep(controller.options.node_monitor_period) => {}
                () = changed.notified() => {}
            }
        }
    };
    Ok(c.workers_and(monitoring))
}

/// How often a node is marked when others change it meanwhile.
const TAINT_TRIES: usize = 5;

/// What the monitoring task remembers.
#[derive(Default)]
struct Known {
    nodes: HashMap<String, (Option<String>, Health)>,
    /// Nodes whose pods could not be marked.
    unmarked: std::collections::HashSet<String>,
    zones: Zones,
}

/// Conditions and labels as soon as a node changes.
impl Reconcile<Key> for Controller {
    const NAME: &'static str = "node-lifecycle-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key) else {
            return Ok(Next::DONE);
        };
        if let Some(new) = taints::with_condition_taints(&node, self.clock.time()) {
            self.write_taints(&node, new).await?;
        }
        let missing = taints::missing_labels(&node);
        if !missing.is_empty() {
            let patch = json!({"metadata": {"labels": missing}});
            self.api
                .amend::<Node>(key, PatchType::Strategic, &patch)
                .await?;
        }
        Ok(Next::DONE)
    }
}

impl Controller {
    fn say(&self, node: &str, uid: Option<&String>, reason: &str, message: String) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.into()),
            uid: uid.cloned(),
            ..Default::default()
        };
        self.recorder
            .about(about, EventType::Normal, reason, message);
    }

    /// One look at every node.
    async fn look_at_all(&self, known: &mut Known) {
        let nodes = self.nodes.list();
        self.greet_and_part(&nodes, known);
        let mut ready = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let verdict = self.look_at(node, known).await;
            if node
                .metadata
                .label("node.kubernetes.io/exclude-disruption")
                .is_none()
            {
                ready.push((zones::of(node), verdict.is_none_or(|v| v.is_ready())));
            }
        }
        match known.zones.judge(&ready, self.clock.now()) {
            zones::Turn::None => {}
            zones::Turn::AllLost => {
                for node in &nodes {
                    self.report(
                        taints::without(node, &[UNREACHABLE, NOT_READY]).map(|new| (node, new)),
                    )
                    .await;
                }
            }
            zones::Turn::Found => {
                let now = self.clock.now();
                known
                    .nodes
                    .values_mut()
                    .for_each(|(_, health)| health.start_anew(now));
            }
        }
        for name in known.zones.due(self.clock.now()) {
            if let Err(error) = self.mark_for_eviction(&name).await {
                tracing::debug!(node = name, %error, "cannot change taints, will try again");
                if let Some(node) = self.nodes.get(&Key::cluster(&name)) {
                    known
                        .zones
                        .give_back(&zones::of(&node), &name, error.is_conflict());
                }
            }
        }
    }

    /// Adds the evicting taint that a node's condition asks for. The server is asked for the node: the cache may not have the condition yet that was written
    /// a moment ago, and others write taints at the same time.
    async fn mark_for_eviction(&self, name: &str) -> Result<(), Error> {
        for left in (0..TAINT_TRIES).rev() {
            let node: Node = match self.api.get("", name).await {
                Err(error) if error.is_not_found() => return Ok(()),
                node => node?,
            };
            let Some(new) = taints::evicting(&node, self.clock.time()) else {
                return Ok(());
            };
            match self.write_taints(&node, new).await {
                Err(error) if error.is_conflict() && left > 0 => {}
                written => return written,
            }
        }
        Ok(())
    }

    async fn report(&self, change: Option<(&Arc<Node>, Vec<k8s_openapi::api::core::v1::Taint>)>) {
        let Some((node, new)) = change else { return };
        if let Err(error) = self.write_taints(node, new).await {
            tracing::debug!(node = node.metadata.name(), %error, "cannot change taints, will try again");
        }
    }

    fn greet_and_part(&self, nodes: &[Arc<Node>], known: &mut Known) {
        for node in nodes {
            let (node_name, uid) = (node.metadata.name(), &node.metadata.uid);
            if !known.nodes.contains_key(node_name) {
                self.say(
                    node_name,
                    uid.as_ref(),
                    "RegisteredNode",
                    format!("Node {node_name} event: Registered Node {node_name} in Controller"),
                );
                known
                    .nodes
                    .insert(node_name.into(), (uid.clone(), Health::default()));
            }
        }
        known.nodes.retain(|node_name, (uid, _)| {
            let stays = self.nodes.get(&Key::cluster(node_name)).is_some();
            if !stays {
                self.say(
                    node_name,
                    uid.as_ref(),
                    "RemovingNode",
                    format!("Node {node_name} event: Removing Node {node_name} from Controller"),
                );
                known.zones.forget(node_name);
            }
            stays
        });
    }

    async fn look_at(&self, node: &Arc<Node>, known: &mut Known) -> Option<Verdict> {
        let node_name = node.metadata.name().to_string();
        let renewed = self
            .leases
            .get(&Key::new("kube-node-lease", &node_name))
            .and_then(|l| l.spec.as_ref()?.renew_time.clone());
        let (_, health) = known.nodes.get_mut(&node_name)?;
        let (verdict, update) = health.examine(
            node,
            renewed.map(|t| t.0),
            self.options.node_monitor_grace_period,
            self.clock.now(),
        );
        if let Some(update) = update
            && let Err(error) = self.api.update_status(&update).await
        {
            tracing::debug!(node = node_name, %error, "cannot write conditions, will look again");
            health.start_over();
            return Some(verdict);
        }
        match verdict.now.as_deref() {
            Some("True") => {
                known.zones.forget(&node_name);
                self.report(
                    taints::without(node, &[UNREACHABLE, NOT_READY]).map(|new| (node, new)),
                )
                .await;
            }
            Some("False" | "Unknown")
                if taints::has(node, UNREACHABLE) || taints::has(node, NOT_READY) =>
            {
                self.report(
                    taints::swapped(
                        node,
                        verdict.now.as_deref() == Some("Unknown"),
                        self.clock.time(),
                    )
                    .map(|new| (node, new)),
                )
                .await;
            }
            Some("False" | "Unknown") => known.zones.queue(&zones::of(node), &node_name),
            _ => {}
        }
        let lost_now =
            verdict.before == "True" && verdict.now.as_deref().is_some_and(|now| now != "True");
        if lost_now {
            self.say(
                &node_name,
                node.metadata.uid.as_ref(),
                "NodeNotReady",
                format!("Node {node_name} status is now: NodeNotReady"),
            );
        }
        if lost_now || (known.unmarked.contains(&node_name) && verdict.before != "True") {
            if self.mark_pods(&node_name).await {
                known.unmarked.remove(&node_name);
            } else {
                known.unmarked.insert(node_name);
            }
        } else {
            known.unmarked.remove(&node_name);
        }
        Some(verdict)
    }

    /// Says of all pods of a node that they are not ready; false when that failed for one.
    async fn mark_pods(&self, node: &str) -> bool {
        let mut all = true;
        for pod in self.pods.in_group(node).into_iter().filter(pods::is_ready) {
            let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": self.clock.time()});
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
            match self
                .api
                .amend_status::<Pod>(&Key::of(&pod.metadata), PatchType::Strategic, &patch)
                .await
            {
                Ok(Some(_)) => self
                    .recorder
                    .warning(&*pod, "NodeNotReady", "Node is not ready"),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(pod = pod.metadata.name(), %error, "cannot mark pod not ready, will try again");
                    all = false;
                }
            }
        }
        all
    }

    async fn write_taints(
        &self,
        node: &Node,
        new: Vec<k8s_openapi::api::core::v1::Taint>,
    ) -> Result<(), Error> {
        let taints = if new.is_empty() {
            serde_json::Value::Null
        } else {
            json!(new)
        };
        let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints}});
        self.api
            .amend::<Node>(&Key::of(&node.metadata), PatchType::Merge, &patch)
            .await
            .map(drop)
    }
}
