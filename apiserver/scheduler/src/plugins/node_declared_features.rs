//! Pods that need what only some nodes can do go to nodes that say so. Follows `plugins/nodedeclaredfeatures/nodedeclaredfeatures.go` and
//! `component-helpers/nodedeclaredfeatures`.

use k8s_openapi::api::core::v1::Node;
use skiff_podspec::{parts::HasStatus, pod::Spec};

use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
};

pub struct NodeDeclaredFeatures;

/// A feature and which pods need it to be run.
type Feature = (&'static str, fn(&Spec) -> bool);

const FEATURES: [Feature; 2] = [
    ("RestartAllContainersOnContainerExits", |spec| {
        let containers = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        containers
            .flat_map(|container| container.restart_policy_rules.iter().flatten())
            .any(|rule| rule.action == "RestartAllContainers")
    }),
    ("UserNamespacesHostNetworkSupport", |spec| {
        spec.host_network == Some(true) && spec.host_users == Some(false)
    }),
];

fn needed(pod: &PodInfo) -> impl Iterator<Item = &'static str> {
    FEATURES
        .into_iter()
        .filter(|(_, needs)| pod.pod.spec.as_ref().is_some_and(needs))
        .map(|(name, _)| name)
}

fn declared(node: &Node) -> &[String] {
    node.status()
        .declared_features
        .as_deref()
        .unwrap_or_default()
}

impl Plugin<State> for NodeDeclaredFeatures {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatures"
    }

    fn pre_filter(&self, _: View, pod: &PodInfo, _: &mut State) -> First {
        if needed(pod).next().is_some() {
            First::Any
        } else {
            First::Skip
        }
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let has = |feature: &str| declared(&node.node).iter().any(|name| name == feature);
        Rejection::unresolvable_unless(
            needed(pod).all(has),
            "node(s) didn't match Pod's required features",
        )
    }

    fn hopes(&self, _: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { old, new } => declared(old) != declared(new),
            ClusterEvent::Own { old, new } => !needed(old).eq(needed(new)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    #[test]
    fn nodes_that_do_not_say_that_they_can_are_not_asked_to() {
        let mut world = World::default();
        world.node("a", json!({}));
        world.node(
            "b",
            json!({"status": {"declaredFeatures": ["RestartAllContainersOnContainerExits"]}}),
        );
        let refused = "node(s) didn't match Pod's required features";
        let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}});
        let containers = json!([{"name": "main", "restartPolicyRules": [rule]}]);
        assert_eq!(
            world.tried(
                &NodeDeclaredFeatures,
                &pod("p", json!({"spec": {"containers": containers}}))
            ),
            [refused, ""]
        );
        assert_eq!(
            world.tried(
                &NodeDeclaredFeatures,
                &pod(
                    "p",
                    json!({"spec": {"hostNetwork": true, "hostUsers": false}})
                )
            ),
            [refused, refused]
        );
        assert_eq!(
            world.tried(
                &NodeDeclaredFeatures,
                &pod("p", json!({"spec": {"hostNetwork": true}}))
            ),
            ["", ""]
        );
    }
}
