//! Registering the node, and keeping its status true.
//!
//! Invariant: labels that others put on the node stay; only the node's own defaults are brought up to date. It registers once: a node that somebody
//! deletes stays away until its agent starts anew.
//! Follows `pkg/kubelet/kubelet_node_status.go`.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use k8s_openapi::{
    api::core::v1::{Node, NodeSpec, NodeStatus, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;
use skiff_watching::{
    Error,
    api::{PatchType, item},
};

use super::status;
use crate::{
    agent::{context::Context, machine::architecture},
    events::Type,
    time,
};

/// The labels that the node gives itself.
pub fn own_labels(node: &Context) -> BTreeMap<String, String> {
    let hostname = node
        .config
        .addresses
        .iter()
        .find(|address| address.type_ == "Hostname")
        .map_or(&node.config.node_name, |address| &address.address);
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), hostname.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), architecture().to_owned()),
        ("beta.kubernetes.io/os".to_owned(), "linux".to_owned()),
        (
            "beta.kubernetes.io/arch".to_owned(),
            architecture().to_owned(),
        ),
    ]);
    labels.extend(node.config.labels.clone());
    labels
}

/// Creates the Node, or brings the present one up to date. Answers it.
pub async fn register(node: &Context) -> Result<Node, Error> {
    let name = &node.config.node_name;
    let annotation = (
        "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
        "true".to_owned(),
    );
    let fresh = Node {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(own_labels(node)),
            annotations: Some(BTreeMap::from([annotation])),
            ..Default::default()
        },
        spec: Some(NodeSpec {
            taints: (!node.config.taints.is_empty()).then(|| node.config.taints.clone()),
            ..Default::default()
        }),
        status: Some(compute(node, &NodeStatus::default()).await),
    };
    match node.api.create(&fresh).await {
        Err(error) if error.is_already_exists() => {}
        answer => return answer,
    }
    let labels = json!({"metadata": {"labels": own_labels(node), "annotations": fresh.metadata.annotations}});
    node.api
        .patch_object(&item::<Node>("", name), PatchType::Merge, &labels)
        .await
}

/// Keeps the status true until the agent stops: writes when something changed, and every so often when nothing did.
pub async fn keep_status(node: Arc<Context>) {
    let mut written = None;
    loop {
        // What others wrote to it is part of it.
        let current = node
            .nodes
            .get(&node.config.node_name)
            .and_then(|known| known.status.clone())
            .unwrap_or_default();
        let fresh = compute(&node, &current).await;
        let due = written
            .is_none_or(|at: jiff::Timestamp| time::since(at) >= node.config.intervals.status);
        if due || status::differs(&current, &fresh) {
            match write(&node, &current, &fresh).await {
                Ok(answer) => {
                    let ready = |status: &NodeStatus| {
                        status.conditions.iter().flatten().any(|condition| {
                            condition.type_ == "Ready" && condition.status == "True"
                        })
                    };
                    if written.is_some() && ready(&current) != ready(&fresh) {
                        let (reason, word) = if ready(&fresh) {
                            ("NodeReady", "NodeReady")
                        } else {
                            ("NodeNotReady", "NodeNotReady")
                        };
                        event(
                            &node,
                            reason,
                            format!("Node {} status is now: {word}", node.config.node_name),
                        );
                    }
                    written = Some(time::now());
                    node.nodes.put(answer);
                }
                Err(error) => {
                    tracing::warn!(%error, node = node.config.node_name, "node status not written")
                }
            }
        }
        tokio::select! {
            () = time::sleep(node.config.intervals.status_check) => {}
            () = node.stop.cancelled() => return,
        }
    }
}

/// An event about the node.
pub fn event(node: &Context, reason: &str, message: String) {
    let name = Some(node.config.node_name.clone());
    let object = ObjectReference {
        kind: Some("Node".to_owned()),
        uid: name.clone(),
        name,
        ..Default::default()
    };
    node.events.record(object, Type::Normal, reason, message);
}

async fn write(node: &Context, current: &NodeStatus, fresh: &NodeStatus) -> Result<Node, Error> {
    let path = item::<Node>("", &node.config.node_name) + "/status";
    node.api
        .patch_object(&path, PatchType::Strategic, &status::patch(current, fresh))
        .await
}

async fn compute(node: &Context, old: &NodeStatus) -> NodeStatus {
    let images = node.images.list().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "images not listed");
        Vec::new()
    });
    let trouble =
        node.runtime.list().await.err().map(|error| {
            format!("container runtime status check may not have completed yet: {error}")
        });
    let facts = status::Facts {
        machine: &node.machine,
        addresses: &node.config.addresses,
        api_port: node.api_port.load(Ordering::Relaxed),
        images: &images,
        trouble: trouble.as_deref(),
        low_memory: !node.config.simulated && low_memory(),
        low_disk: !node.config.simulated && low_disk(node),
        low_pids: false,
        now: time::api_now(),
    };
    status::generate(&facts, old)
}

/// Less than 100 MiB is available, upstream's default threshold for eviction.
fn low_memory() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    available.is_some_and(|kib| kib < 100 * 1024)
}

/// Less than 100 MiB of disk is free. Upstream's tenth of the disk would taint many a developer's machine, where nothing is evicted anyway.
fn low_disk(node: &Context) -> bool {
    let dir = node.config.data_dir.ancestors().find(|dir| dir.exists());
    let disk = dir.and_then(|dir| nix::sys::statvfs::statvfs(dir).ok());
    disk.is_some_and(|disk| disk.blocks_available() * disk.fragment_size() < 100 << 20)
}
