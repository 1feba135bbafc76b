//! On which nodes a DaemonSet's pods should be, and which of those that are there should not.
//!
//! Invariant: pure. Follows pkg/controller/daemon/daemon_controller.go (podsShouldBeOnNode, NodeShouldRunDaemonPod) and
//! util/daemonset_util.go.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetStatus, RollingUpdateDaemonSet},
    core::v1::{
        Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
        PodSpec, Toleration,
    },
};
use skiff_podspec::parts::{HasSpec, HasStatus, Meta};
use skiff_podspec::pod::{AnySpec, Pod};
use skiff_podspec::{
    affinity::{self, Required},
    tolerations::{ENDS, KEEPS_OFF, taints, tolerates_all},
};

use super::HASH_LABEL;
use crate::{fraction::scaled, owners::controller_ref, pods};

const GENERATION_ANNOTATION: &str = "deprecated.daemonset.template.generation";
const GENERATION_LABEL: &str = "pod-template-generation";
const NAME_FIELD: &str = "metadata.name";

/// Taints that every daemon tolerates: key and effect; the last one only with the host's network.
const TOLERATED: [(&str, &str); 7] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ("node.kubernetes.io/network-unavailable", "NoSchedule"),
];

/// What is to be done.
#[derive(Default)]
pub struct Plan {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    /// Pods that go.
    pub delete: Vec<Arc<Pod>>,
}

/// What is to be done on one node.
#[derive(Default)]
pub struct Verdict {
    pub create: Option<String>,
    pub delete: Vec<Arc<Pod>>,
    /// Pods that ended badly, to be deleted as their back-off allows.
    pub failed: Vec<Arc<Pod>>,
    /// Pods that ended well, to be deleted.
    pub succeeded: Vec<Arc<Pod>>,
}

/// A set, the nodes, and its pods on them.
pub struct Placement<'a> {
    pub set: &'a DaemonSet,
    pub nodes: &'a [Arc<Node>],
    pub by_node: BTreeMap<String, Vec<Arc<Pod>>>,
    tolerations: Vec<Toleration>,
    required: Option<Required>,
}

/// What a rolling update may do; `None` for other strategies.
pub fn rolling(set: &DaemonSet) -> Option<&RollingUpdateDaemonSet> {
    let strategy = set.spec().update_strategy.as_ref()?;
    strategy
        .rolling_update
        .as_ref()
        .filter(|_| strategy.type_.as_deref() == Some("RollingUpdate"))
}

/// Whether a node may have an old and a new pod for a while.
fn allows_surge(set: &DaemonSet) -> bool {
    rolling(set).is_some_and(|r| scaled(r.max_surge.as_ref(), 1, true) > 0)
}

fn spec(set: &DaemonSet) -> Option<&PodSpec> {
    set.spec().template.spec.as_ref()
}

fn with_tolerations(spec: &impl AnySpec) -> Vec<Toleration> {
    let mut all = spec.tolerations().clone().unwrap_or_default();
    let count = if *spec.host_network() == Some(true) {
        TOLERATED.len()
    } else {
        TOLERATED.len() - 1
    };
    for (key, effect) in &TOLERATED[..count] {
        let toleration = Toleration {
            key: Some(key.to_string()),
            operator: Some("Exists".into()),
            effect: Some(effect.to_string()),
            ..Default::default()
        };
        match all.iter_mut().find(|t| {
            t.key == toleration.key
                && t.effect == toleration.effect
                && t.operator == toleration.operator
                && t.value == toleration.value
        }) {
            Some(same) => *same = toleration,
            None => all.push(toleration),
        }
    }
    all
}

/// The generation of the template that older versions counted by.
fn generation(set: &DaemonSet) -> Option<i64> {
    set.metadata
        .annotations
        .as_ref()?
        .get(GENERATION_ANNOTATION)?
        .parse()
        .ok()
}

/// Whether the pod is of the present template.
pub fn is_current(set: &DaemonSet, pod: &Pod, hash: &str) -> bool {
    let label = |key: &str| pod.metadata.labels.as_ref().and_then(|l| l.get(key));
    label(HASH_LABEL).is_some_and(|h| h == hash)
        || generation(set).is_some_and(|g| label(GENERATION_LABEL) == Some(&g.to_string()))
}

/// The node that a pod is on, or that its affinity names.
pub fn target(pod: &Pod) -> Option<&str> {
    let spec = pod.spec();
    if let Some(node) = spec.node_name.as_deref().filter(|n| !n.is_empty()) {
        return Some(node);
    }
    let fields = affinity::required(spec)?
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten());
    let named = fields
        .filter(|r| r.key == NAME_FIELD && r.operator == "In")
        .find_map(|r| r.values.as_ref())?;
    if named.len() == 1 {
        named.first().map(String::as_str)
    } else {
        None
    }
}

/// Bound ones first, then by age.
pub fn sort(pods: &mut [Arc<Pod>]) {
    pods.sort_by_key(|pod| {
        (
            pods::node_name(pod).is_empty(),
            pod.metadata.creation_timestamp.as_ref().map(|t| t.0),
            pod.metadata.name.clone(),
        )
    });
}

/// A new pod that can only go to this node.
pub fn new_pod(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let template = set
        .spec
        .as_ref()
        .map(|s| s.template.clone())
        .unwrap_or_default();
    let mut pod = pods::from_template(
        &template,
        set.metadata.namespace(),
        set.metadata.name(),
        controller_ref(set),
    );
    let labels = pod.metadata.labels.get_or_insert_default();
    if let Some(generation) = generation(set) {
        labels.insert(GENERATION_LABEL.into(), generation.to_string());
    }
    labels.insert(HASH_LABEL.into(), hash.into());
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(with_tolerations(spec));
    let requirement = NodeSelectorRequirement {
        key: NAME_FIELD.into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    let selector = NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_fields: Some(vec![requirement]),
            match_expressions: None,
        }],
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let node_affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    node_affinity.required_during_scheduling_ignored_during_execution = Some(selector);
    pod
}

impl<'a> Placement<'a> {
    /// Puts together what decisions are made from.
    pub fn new(
        set: &'a DaemonSet,
        nodes: &'a [Arc<Node>],
        by_node: BTreeMap<String, Vec<Arc<Pod>>>,
    ) -> Self {
        Self {
            set,
            nodes,
            by_node,
            tolerations: spec(set).map(with_tolerations).unwrap_or_default(),
            required: spec(set).map(Required::read),
        }
    }

    /// Whether a pod should be on the node, and whether one that is there may stay.
    pub fn should_run(&self, node: &Node) -> (bool, bool) {
        let (Some(spec), Some(required)) = (spec(self.set), &self.required) else {
            return (false, false);
        };
        let named = spec
            .node_name
            .as_deref()
            .filter(|n| !n.is_empty())
            .is_none_or(|n| Some(n) == node.metadata.name.as_deref());
        if !named || !required.admits(node) {
            return (false, false);
        }
        if tolerates_all(&self.tolerations, taints(node), &KEEPS_OFF) {
            return (true, true);
        }
        (false, tolerates_all(&self.tolerations, taints(node), &ENDS))
    }

    /// Whether what became of a node is for the set to see to: it lacks a pod there, has one that may not stay, or has one while it counts
    /// some as misplaced.
    pub fn is_concerned(&self, node: &Node, has_pod: bool) -> bool {
        let (should_run, may_stay) = self.should_run(node);
        if has_pod {
            !may_stay || self.set.status().number_misscheduled > 0
        } else {
            should_run
        }
    }

    /// What is to be done on each node, and with pods that wait for nodes that are gone.
    pub fn verdicts(&self, hash: &str, min_ready: i32, now: Timestamp) -> Vec<Verdict> {
        let mut verdicts: Vec<_> = self
            .nodes
            .iter()
            .map(|node| self.verdict(node, hash, min_ready, now))
            .collect();
        let known: HashSet<&str> = self.nodes.iter().map(|node| node.metadata.name()).collect();
        let lost = self
            .by_node
            .iter()
            .filter(|(node, _)| !known.contains(node.as_str()))
            .flat_map(|(_, pods)| pods);
        let delete = lost
            .filter(|pod| pods::node_name(pod).is_empty())
            .cloned()
            .collect();
        verdicts.push(Verdict {
            delete,
            ..Verdict::default()
        });
        verdicts
    }

    fn verdict(&self, node: &Node, hash: &str, min_ready: i32, now: Timestamp) -> Verdict {
        let (should_run, may_stay) = self.should_run(node);
        let node_name = node.metadata.name();
        let here = self.by_node.get(node_name);
        let mut verdict = Verdict::default();
        let Some(here) = here else {
            verdict.create = should_run.then(|| node_name.to_string());
            return verdict;
        };
        let alive = here.iter().filter(|pod| !pods::is_deleting(pod));
        if !may_stay {
            verdict.delete = alive.cloned().collect();
            return verdict;
        }
        let mut running = Vec::new();
        for pod in alive {
            match pods::phase(pod) {
                "Failed" => verdict.failed.push(pod.clone()),
                "Succeeded" => verdict.succeeded.push(pod.clone()),
                _ => running.push(pod.clone()),
            }
        }
        if !allows_surge(self.set) {
            verdict.delete.extend(running.into_iter().skip(1));
        } else if running.len() <= 1 {
            verdict.create = (running.is_empty() && should_run).then(|| node_name.to_string());
        } else {
            verdict
                .delete
                .extend(self.surplus(running, hash, min_ready, now));
        }
        verdict
    }

    /// With surge one pod of each template may be on a node, until the new one is available.
    fn surplus(
        &self,
        running: Vec<Arc<Pod>>,
        hash: &str,
        min_ready: i32,
        now: Timestamp,
    ) -> Vec<Arc<Pod>> {
        let is_new = |pod: &Arc<Pod>| pod.metadata.label(HASH_LABEL) == Some(hash);
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(is_new);
        let mut surplus: Vec<_> = new
            .iter()
            .skip(1)
            .chain(old.iter().skip(1))
            .cloned()
            .collect();
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!pods::is_ready(old) || pods::is_available(new, min_ready, now))
        {
            surplus.push(old.clone());
        }
        surplus
    }

    /// The numbers of the set's status.
    pub fn status(&self, hash: &str, now: Timestamp) -> DaemonSetStatus {
        let min_ready = self.set.spec().min_ready_seconds.unwrap_or(0);
        let mut status = DaemonSetStatus::default();
        let (mut updated, mut available) = (0, 0);
        for node in self.nodes {
            let here = self
                .by_node
                .get(node.metadata.name())
                .and_then(|pods| pods.first());
            if !self.should_run(node).0 {
                status.number_misscheduled += i32::from(here.is_some());
                continue;
            }
            status.desired_number_scheduled += 1;
            let Some(pod) = here else { continue };
            status.current_number_scheduled += 1;
            status.number_ready += i32::from(pods::is_ready(pod));
            available += i32::from(pods::is_available(pod, min_ready, now));
            updated += i32::from(is_current(self.set, pod, hash));
        }
        let nonzero = |count: i32| (count != 0).then_some(count);
        status.updated_number_scheduled = nonzero(updated);
        status.number_available = nonzero(available);
        status.number_unavailable = nonzero(status.desired_number_scheduled - available);
        status
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::pods::tests::pod;
    use k8s_openapi::api::{
        apps::v1::DaemonSetSpec,
        core::v1::{NodeSpec, PodTemplateSpec, Taint},
    };

    /// A node for tests.
    pub fn node(node_name: &str, taints: &[(&str, &str)]) -> Arc<Node> {
        let taints = taints
            .iter()
            .map(|(key, effect)| Taint {
                key: key.to_string(),
                effect: effect.to_string(),
                ..Default::default()
            })
            .collect();
        let mut node = Node {
            spec: Some(NodeSpec {
                taints: Some(taints),
                ..Default::default()
            }),
            ..Default::default()
        };
        node.metadata.name = Some(node_name.into());
        Arc::new(node)
    }

    /// A set for tests.
    pub fn set() -> DaemonSet {
        let template = PodTemplateSpec {
            spec: Some(PodSpec::default()),
            ..Default::default()
        };
        DaemonSet {
            spec: Some(DaemonSetSpec {
                template,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn one_pod_a_node_that_admits_it() {
        let set = set();
        let nodes = [
            node("a", &[]),
            node("b", &[("own", "NoSchedule")]),
            node("c", &[("own", "NoExecute")]),
            node("d", &[("node.kubernetes.io/unschedulable", "NoSchedule")]),
        ];
        let by_node = [("b", "kept"), ("c", "evicted")]
            .map(|(node, name)| {
                (
                    node.to_string(),
                    vec![Arc::new(pod(name, node, "Running", Some(1)))],
                )
            })
            .into();
        let placement = Placement::new(&set, &nodes, by_node);
        let verdicts = placement.verdicts("h", 0, Timestamp::UNIX_EPOCH);
        let created: Vec<_> = verdicts.iter().filter_map(|v| v.create.clone()).collect();
        let deleted: Vec<_> = verdicts
            .iter()
            .flat_map(|v| &v.delete)
            .map(|p| p.metadata.name.clone().unwrap())
            .collect();
        assert_eq!(
            (created, deleted),
            (
                vec!["a".to_string(), "d".to_string()],
                vec!["evicted".to_string()]
            )
        );
        let status = placement.status("h", Timestamp::UNIX_EPOCH);
        assert_eq!(
            (
                status.desired_number_scheduled,
                status.number_misscheduled,
                status.number_unavailable
            ),
            (2, 2, Some(2))
        );
    }

    #[test]
    fn which_nodes_concern_a_set() {
        let (mut good, mut misplaced) = (set(), set());
        good.status = Some(DaemonSetStatus::default());
        misplaced.status.get_or_insert_default().number_misscheduled = 1;
        for (taints, with_none, with_pod, with_misplaced) in [
            (&[][..], true, false, true),
            (&[("own", "NoSchedule")], false, false, true),
            (&[("own", "NoExecute")], false, true, true),
        ] {
            let node = node("a", taints);
            let concerned = |set, has_pod| {
                Placement::new(set, &[], BTreeMap::new()).is_concerned(&node, has_pod)
            };
            assert_eq!(concerned(&good, false), with_none, "{taints:?}");
            assert_eq!(concerned(&good, true), with_pod, "{taints:?}");
            assert_eq!(concerned(&misplaced, true), with_misplaced, "{taints:?}");
        }
    }

    #[test]
    fn new_pods_are_bound_to_their_node_by_affinity() {
        let pod = new_pod(&set(), "a", "h");
        assert_eq!(target(&pod), Some("a"));
        assert_eq!(pod.spec().tolerations.as_ref().unwrap().len(), 6);
    }
}
