//! What a pod asks for must be free; of the nodes where it is, the emptier is better. Follows `plugins/noderesources/{fit,least_allocated}.go`.

use k8s_openapi::api::core::v1::Node;

use crate::{
    framework::{BEST, ClusterEvent, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
    resources::Resources,
};

pub struct NodeResourcesFit;

/// What is missing on a node; each with whether the node has too little even when it is empty.
fn missing(wanted: &Resources, node: &NodeInfo) -> Vec<(String, bool)> {
    let mut missing = Vec::new();
    if node.pods.len() as i64 + 1 > node.max_pods {
        missing.push(("Too many pods".to_string(), false));
    }
    let (has, used) = (&node.allocatable, &node.requested);
    let names = ["cpu", "memory", "ephemeral-storage"]
        .into_iter()
        .chain(wanted.other.keys().map(String::as_str));
    for name in names {
        let wanted = wanted.get(name);
        if wanted > 0 && wanted > has.get(name) - used.get(name) {
            missing.push((format!("Insufficient {name}"), wanted > has.get(name)));
        }
    }
    missing
}

/// Whether the node's change gives the pod more of what it asks for, and the node alone has room for it.
fn has_grown(pod: &PodInfo, old: &Node, new: &Node) -> bool {
    let (old, new) = (
        NodeInfo::new(old.clone().into(), 0),
        NodeInfo::new(new.clone().into(), 0),
    );
    let Ok(requests) = &pod.requests else {
        return true;
    };
    let names = ["cpu", "memory", "ephemeral-storage"]
        .into_iter()
        .chain(requests.all.other.keys().map(String::as_str));
    let more = |name: &str| {
        requests.all.get(name) > 0 && new.allocatable.get(name) > old.allocatable.get(name)
    };
    missing(&requests.all, &new).is_empty()
        && (new.max_pods > old.max_pods || names.into_iter().any(more))
}

fn has_shrunk(pod: &PodInfo, old: &PodInfo, new: &PodInfo) -> bool {
    let (Ok(wanted), Ok(old), Ok(new)) = (&pod.requests, &old.requests, &new.requests) else {
        return true;
    };
    let names = ["cpu", "memory", "ephemeral-storage"]
        .into_iter()
        .chain(wanted.all.other.keys().map(String::as_str));
    names
        .into_iter()
        .any(|name| wanted.all.get(name) > 0 && old.all.get(name) > new.all.get(name))
}

impl Plugin<State> for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let requests = pod
            .requests
            .as_ref()
            .map_err(|error| Rejection::unresolvable(error.to_string()))?;
        if node.unreadable > 0 {
            return Err(Rejection::unresolvable(
                "node(s) had amounts that cannot be read",
            ));
        }
        let missing = missing(&requests.all, node);
        if missing.is_empty() {
            return Ok(());
        }
        let unresolvable = missing.iter().any(|(_, hopeless)| *hopeless);
        Err(Rejection {
            reasons: missing.into_iter().map(|(reason, _)| reason).collect(),
            unresolvable,
            ..Rejection::default()
        })
    }

    fn weight(&self) -> i64 {
        1
    }

    /// The free share of cpu and memory, 0 to 100; what a node has nothing of does not count.
    fn score(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let Ok(requests) = &pod.requests else {
            return 0;
        };
        let wanted = [
            (requests.scored.0, node.compared.0, node.allocatable.cpu),
            (requests.scored.1, node.compared.1, node.allocatable.memory),
        ];
        let shares: Vec<i64> = wanted
            .into_iter()
            .filter(|(_, _, has)| *has != 0)
            .map(|(wanted, used, has)| {
                if used + wanted > has {
                    0
                } else {
                    (has - used - wanted) * BEST / has
                }
            })
            .collect();
        if shares.is_empty() {
            0
        } else {
            shares.iter().sum::<i64>() / shares.len() as i64
        }
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodDeleted(_) => true,
            ClusterEvent::PodUpdated { old, new } => has_shrunk(pod, old, new),
            ClusterEvent::Own { old, new } => new.has_less(old),
            ClusterEvent::NodeAdded(node) => pod
                .requests
                .as_ref()
                .is_ok_and(|r| missing(&r.all, &NodeInfo::new(node.clone(), 0)).is_empty()),
            ClusterEvent::NodeUpdated { old, new } => has_grown(pod, old, new),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    fn node(allocatable: Value) -> NodeInfo {
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": allocatable}});
        NodeInfo::new(Arc::new(serde_json::from_value(node).unwrap()), 0)
    }

    fn asking(name: &str, requests: Value) -> Arc<PodInfo> {
        pod(
            name,
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}),
        )
    }

    #[test]
    fn what_does_not_fit() {
        let world = World::default();
        let full = |allocatable: Value| {
            let mut node = node(allocatable);
            node.add(asking(
                "there",
                json!({"cpu": "1", "memory": "1Gi", "example.com/gpu": "1"}),
            ));
            node
        };
        let has = json!({"cpu": "2", "memory": "2Gi", "pods": "2", "example.com/gpu": "1"});
        #[rustfmt::skip]
        let cases = [
            (full(has.clone()), json!({"cpu": "1"}), vec![], false),
            (full(has.clone()), json!({"cpu": "1001m"}), vec!["Insufficient cpu"], false),
            (full(has.clone()), json!({"cpu": "3", "memory": "1Gi"}), vec!["Insufficient cpu"], true),
            (full(has.clone()), json!({"cpu": "2", "memory": "3Gi"}), vec!["Insufficient cpu", "Insufficient memory"], true),
            (full(has.clone()), json!({"example.com/gpu": "1"}), vec!["Insufficient example.com/gpu"], false),
            (full(has.clone()), json!({"example.com/fpga": "1"}), vec!["Insufficient example.com/fpga"], true),
            (full(json!({"cpu": "2", "pods": "1"})), json!({}), vec!["Too many pods"], false),
            (node(json!({"cpu": "lots", "pods": "1"})), json!({}), vec!["node(s) had amounts that cannot be read"], true),
            (node(has.clone()), json!({"cpu": "lots"}), vec!["the quantity \"lots\" of cpu cannot be read"], true),
        ];
        for (node, requests, reasons, unresolvable) in cases {
            let found = NodeResourcesFit
                .filter(
                    world.view(),
                    &State::default(),
                    &asking("p", requests.clone()),
                    &node,
                )
                .err()
                .unwrap_or_default();
            assert_eq!(
                (found.reasons, found.unresolvable),
                (
                    reasons.into_iter().map(String::from).collect(),
                    unresolvable
                ),
                "{requests}"
            );
        }
    }

    #[test]
    fn the_emptier_is_better() {
        let world = World::default();
        let score = |allocatable: Value, requests: Value| {
            NodeResourcesFit.score(
                world.view(),
                &State::default(),
                &asking("p", requests),
                &node(allocatable),
            )
        };
        assert_eq!(
            score(
                json!({"cpu": "4", "memory": "10Gi"}),
                json!({"cpu": "3", "memory": "5Gi"})
            ),
            (25 + 50) / 2
        );
        assert_eq!(
            score(json!({"cpu": "4"}), json!({"cpu": "3"})),
            25,
            "what the node has nothing of does not count"
        );
        assert_eq!(
            score(json!({"cpu": "1", "memory": "2000Mi"}), json!({})),
            (90 + 90) / 2,
            "defaults count"
        );
    }
}
