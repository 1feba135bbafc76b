//! `nodeSelector` and node affinity, required and preferred. Follows `plugins/nodeaffinity/node_affinity.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, NodeSelectorTerm};
use skiff_podspec::{
    affinity::{self, UnreadableTerms},
    spec,
};

use crate::{
    framework::{self, ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
};

pub struct NodeAffinity;

/// Whether the pod's `nodeSelector` and its required affinity let it onto the node.
pub fn matches(pod: &PodInfo, node: &Node) -> bool {
    pod.affinity().required.admits(node)
}

/// The nodes that all terms name; none when one of them names none.
fn named(terms: &[NodeSelectorTerm]) -> Option<BTreeSet<String>> {
    let of_term = |term: &NodeSelectorTerm| {
        let fields = term
            .match_fields
            .iter()
            .flatten()
            .filter(|field| field.key == "metadata.name" && field.operator == "In");
        let sets = fields.map(|field| {
            field
                .values
                .iter()
                .flatten()
                .cloned()
                .collect::<BTreeSet<_>>()
        });
        sets.reduce(|a, b| &a & &b)
    };
    let sets: Option<Vec<_>> = terms.iter().map(of_term).collect();
    sets.filter(|sets| !sets.is_empty())
        .map(|sets| sets.into_iter().flatten().collect())
}

impl Plugin<State> for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn pre_filter(&self, _: View, pod: &PodInfo, _: &mut State) -> First {
        let (spec, required) = (spec(&pod.pod), affinity::required(spec(&pod.pod)));
        if required.is_none() && spec.node_selector.is_none() {
            return First::Skip;
        }
        match required.and_then(|required| named(&required.node_selector_terms)) {
            None => First::Any,
            Some(names) if names.is_empty() => {
                First::No(Rejection::unresolvable("pod affinity terms conflict"))
            }
            Some(names) => First::Only(names),
        }
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        Rejection::unresolvable_unless(
            matches(pod, &node.node),
            "node(s) didn't match Pod's node affinity/selector",
        )
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(
        &self,
        _: View,
        pod: &PodInfo,
        _: &mut State,
        _: &[&NodeInfo],
    ) -> Result<bool, UnreadableTerms> {
        pod.affinity().preferred.as_ref().map_err(Clone::clone)?;
        let affinity = affinity::of_pod(spec(&pod.pod));
        Ok(affinity.is_some_and(|a| {
            a.preferred_during_scheduling_ignored_during_execution
                .is_some()
        }))
    }

    fn score(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
        // what cannot be read was refused before any node was scored
        pod.affinity()
            .preferred
            .as_ref()
            .map_or(0, |preferred| preferred.score(&node.node))
    }

    fn normalize(&self, _: &State, scores: &mut [i64]) {
        framework::normalize(scores, false);
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => matches(pod, node),
            ClusterEvent::NodeUpdated { old, new } => !matches(pod, old) && matches(pod, new),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_by_name() {
        let field =
            |names: &[&str]| json!({"key": "metadata.name", "operator": "In", "values": names});
        #[rustfmt::skip]
        let cases = [
            (json!([{"matchFields": [field(&["a", "b"])]}]), Some(vec!["a", "b"])),
            (json!([{"matchFields": [field(&["a", "b"]), field(&["b"])]}, {"matchFields": [field(&["c"])]}]), Some(vec!["b", "c"])),
            (json!([{"matchFields": [field(&["a"]), field(&["b"])]}]), Some(vec![])),
            (json!([{"matchFields": [field(&["a"])]}, {"matchExpressions": [{"key": "k", "operator": "Exists"}]}]), None),
            (json!([]), None),
        ];
        for (terms, wanted) in cases {
            let read: Vec<NodeSelectorTerm> = serde_json::from_value(terms.clone()).unwrap();
            assert_eq!(
                named(&read).map(|names| names.into_iter().collect::<Vec<_>>()),
                wanted.map(|w| w.into_iter().map(String::from).collect()),
                "{terms}"
            );
        }
    }
}
