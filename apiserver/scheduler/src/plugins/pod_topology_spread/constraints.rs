//! Constraints as they are read from a pod, and those that every pod without any has. Follows `plugins/podtopologyspread/{common,plugin}.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, TopologySpreadConstraint};
use skiff_api::machinery::selector::Selector;
use skiff_podspec::parts::HasSpec;

use crate::{
    framework::View,
    plugins::{node_affinity, taint_toleration},
    pod::PodInfo,
    tally::Matcher,
    terms::{Names, selector},
};

pub const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What happens where a constraint does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    DoNotSchedule,
    ScheduleAnyway,
}

/// One constraint.
#[derive(Clone, Debug)]
pub struct Constraint {
    pub max_skew: i64,
    pub key: String,
    pub pods: Selector,
    pub min_domains: usize,
    /// Nodes that the pod's own affinity leaves out do not count.
    honors_affinity: bool,
    /// Nodes whose taints the pod does not bear do not count.
    pub honors_taints: bool,
}

impl Constraint {
    fn read(constraint: &TopologySpreadConstraint, pod: &PodInfo) -> Constraint {
        let mut pods = selector(constraint.label_selector.as_ref());
        let labels = constraint
            .match_label_keys
            .iter()
            .flatten()
            .filter_map(|key| Some((key.as_str(), pod.labels().get(key)?.as_str())));
        let labels: Vec<_> = labels.collect();
        if !labels.is_empty() && pods != Selector::Nothing {
            pods = Selector::all(
                Selector::from_set(labels)
                    .requirements()
                    .iter()
                    .chain(pods.requirements())
                    .cloned()
                    .collect(),
            );
        }
        Constraint {
            max_skew: i64::from(constraint.max_skew),
            key: constraint.topology_key.clone(),
            pods,
            min_domains: constraint
                .min_domains
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(1),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// Whether the node counts for the pod.
    pub fn counts(&self, pod: &PodInfo, node: &Node) -> bool {
        (!self.honors_affinity || node_affinity::matches(pod, node))
            && (!self.honors_taints || taint_toleration::bears(pod, node))
    }

    /// The pods that are counted. A selector that leaves everything in counts none.
    pub fn matcher(&self, namespace: &str) -> Matcher {
        let pods = if self.pods.is_everything() {
            Selector::Nothing
        } else {
            self.pods.clone()
        };
        Matcher {
            groups: vec![(Names::These(BTreeSet::from([namespace.to_string()])), pods)],
            living: true,
        }
    }
}

fn given(pod: &PodInfo) -> &[TopologySpreadConstraint] {
    pod.pod
        .spec()
        .topology_spread_constraints
        .as_deref()
        .unwrap_or_default()
}

/// Whether the pod says itself how it is to be spread.
pub fn has_own(pod: &PodInfo) -> bool {
    !given(pod).is_empty()
}

/// The pod's own constraints.
pub fn own(pod: &PodInfo, action: Action) -> Vec<Constraint> {
    let word = if action == Action::DoNotSchedule {
        "DoNotSchedule"
    } else {
        "ScheduleAnyway"
    };
    given(pod)
        .iter()
        .filter(|constraint| constraint.when_unsatisfiable == word)
        .map(|constraint| Constraint::read(constraint, pod))
        .collect()
}

/// What holds for pods that say nothing: those of one service or owner are spread over hosts and zones, if that can be.
pub fn default(view: View, pod: &PodInfo) -> Vec<Constraint> {
    let pods = view.owners.selector_of(pod);
    if pods.is_everything() {
        return Vec::new();
    }
    let constraint = |key: &str, max_skew| Constraint {
        max_skew,
        key: key.to_string(),
        pods: pods.clone(),
        min_domains: 1,
        honors_affinity: true,
        honors_taints: false,
    };
    vec![constraint(HOSTNAME, 3), constraint(ZONE, 5)]
}

/// Whether the node has the labels of all constraints.
pub fn all_keys(constraints: &[Constraint], node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    constraints
        .iter()
        .all(|constraint| labels.is_some_and(|labels| labels.contains_key(&constraint.key)))
}
