//! The extension points that plugins fill: which nodes can take a pod, and which of those it had best go to.
//!
//! Invariant: plugins are pure: what they say hangs on the pod and the node alone. Follows `pkg/scheduler/framework/interface.go`.

use crate::{cache::NodeInfo, plugins, pod::PodInfo};

/// Why a node cannot take a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Upstream's text; several for resources.
    pub reasons: Vec<String>,
    /// Removing other pods would not help.
    pub unresolvable: bool,
}

impl Rejection {
    pub fn new(reason: impl Into<String>) -> Rejection {
        Rejection { reasons: vec![reason.into()], unresolvable: false }
    }
    pub fn unresolvable(reason: impl Into<String>) -> Rejection {
        Rejection { reasons: vec![reason.into()], unresolvable: true }
    }
}

/// One plugin, as functions in a table.
pub struct Plugin {
    #[allow(dead_code, reason = "tells a reader of the table which plugin a line is")]
    pub name: &'static str,
    /// `None` when the node can take the pod.
    pub filter: Option<fn(&PodInfo, &NodeInfo) -> Option<Rejection>>,
    pub score: Option<Score>,
}

/// How a plugin compares nodes.
pub struct Score {
    pub weight: i64,
    /// Any number; what is larger is better, unless `reverse`.
    pub score: fn(&PodInfo, &NodeInfo) -> i64,
    pub normalize: Normalize,
}

/// How raw scores become 0 to 100.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Normalize {
    /// They are already.
    No,
    /// The largest becomes 100.
    Scale,
    /// The smallest becomes 100.
    Reverse,
}

/// All plugins in upstream's order, one line each.
pub const PLUGINS: &[Plugin] = &[
    plugins::node_unschedulable::PLUGIN,
    plugins::node_name::PLUGIN,
    plugins::taint_toleration::PLUGIN,
    plugins::node_affinity::PLUGIN,
    plugins::node_ports::PLUGIN,
    plugins::node_resources_fit::PLUGIN,
    plugins::balanced_allocation::PLUGIN,
];

/// The first rejection of a node.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    PLUGINS.iter().filter_map(|plugin| plugin.filter).find_map(|filter| filter(pod, node))
}

/// The weighted scores of nodes, in their order.
pub fn scores(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    for score in PLUGINS.iter().filter_map(|plugin| plugin.score.as_ref()) {
        let raw: Vec<i64> = nodes.iter().map(|node| (score.score)(pod, node)).collect();
        for (total, value) in totals.iter_mut().zip(normalized(&raw, score.normalize)) {
            *total += value * score.weight;
        }
    }
    totals
}

fn normalized(raw: &[i64], how: Normalize) -> Vec<i64> {
    let most = raw.iter().copied().max().unwrap_or(0);
    match how {
        Normalize::No => raw.to_vec(),
        Normalize::Scale if most == 0 => vec![0; raw.len()],
        Normalize::Reverse if most == 0 => vec![100; raw.len()],
        Normalize::Scale => raw.iter().map(|value| value * 100 / most).collect(),
        Normalize::Reverse => raw.iter().map(|value| 100 - value * 100 / most).collect(),
    }
}
