//! Constraints that hold as well as can be, those of pods that say nothing among them. Follows `plugins/podtopologyspread/scoring.go`.

use std::collections::HashMap;

use super::constraints::{Action, Constraint, HOSTNAME, all_keys, default, has_own, own};
use crate::{
    framework::{BEST, View},
    node::NodeInfo,
    pod::PodInfo,
    tally::Counts,
};

/// The score of a node that lacks a label: it is none of those that are compared.
const OUTSIDE: i64 = -1;

#[derive(Clone, Debug)]
struct Counted {
    constraint: Constraint,
    /// The label is the host's name: what counts are the node's own pods.
    by_node: Option<Counts>,
    by_value: HashMap<String, i64>,
    /// Topologies with few values are not watered down by those with many.
    weight: f64,
}

/// All such constraints of a pod.
#[derive(Clone, Debug, Default)]
pub struct Soft {
    counted: Vec<Counted>,
    /// Nodes must have the labels of all constraints to be compared.
    needs_all: bool,
}

/// Adds up what is needed to compare `nodes`.
pub fn count(view: View, pod: &PodInfo, nodes: &[&NodeInfo]) -> Soft {
    let needs_all = has_own(pod);
    let constraints = if needs_all {
        own(pod, Action::ScheduleAnyway)
    } else {
        default(view, pod)
    };
    let compared: Vec<&&NodeInfo> = nodes
        .iter()
        .filter(|node| !needs_all || all_keys(&constraints, &node.node))
        .collect();
    let counting: Vec<&NodeInfo> = view
        .cache
        .nodes()
        .filter(|node| !needs_all || all_keys(&constraints, &node.node))
        .collect();
    let counted = constraints.iter().map(|constraint| {
        let counts = view.cache.count(&constraint.matcher(&pod.namespace));
        if constraint.key == HOSTNAME {
            let weight = weight(compared.len());
            return Counted {
                constraint: constraint.clone(),
                by_node: Some(counts),
                by_value: HashMap::new(),
                weight,
            };
        }
        // a node without the label counts as one with an empty value, as upstream has it
        let mut by_value: HashMap<String, i64> = HashMap::new();
        for node in &compared {
            let value = node.label(&constraint.key).unwrap_or_default();
            if !by_value.contains_key(value) {
                by_value.insert(value.to_string(), 0);
            }
        }
        let weight = weight(by_value.len());
        for node in counting
            .iter()
            .filter(|node| constraint.counts(pod, &node.node))
        {
            if let Some(sum) = by_value.get_mut(node.label(&constraint.key).unwrap_or_default()) {
                *sum += i64::from(counts.get(node.place).copied().unwrap_or(0));
            }
        }
        Counted {
            constraint: constraint.clone(),
            by_node: None,
            by_value,
            weight,
        }
    });
    Soft {
        counted: counted.collect(),
        needs_all,
    }
}

fn weight(values: usize) -> f64 {
    (values as f64 + 2.0).ln()
}

impl Soft {
    pub fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    /// The pods that are there already, weighted; fewer are better.
    pub fn score(&self, node: &NodeInfo) -> i64 {
        if self.needs_all
            && self
                .counted
                .iter()
                .any(|counted| node.label(&counted.constraint.key).is_none())
        {
            return OUTSIDE;
        }
        let mut score = 0.0;
        for counted in &self.counted {
            let Some(value) = node.label(&counted.constraint.key) else {
                continue;
            };
            let count = match &counted.by_node {
                Some(counts) => i64::from(counts.get(node.place).copied().unwrap_or(0)),
                None => counted.by_value.get(value).copied().unwrap_or(0),
            };
            score += count as f64 * counted.weight + (counted.constraint.max_skew - 1) as f64;
        }
        score.round() as i64
    }
}

/// The fewest become the best.
pub fn normalize(scores: &mut [i64]) {
    let inside = scores.iter().copied().filter(|score| *score != OUTSIDE);
    let (least, most) = (inside.clone().min().unwrap_or(0), inside.max().unwrap_or(0));
    for score in scores {
        *score = match *score {
            OUTSIDE => 0,
            _ if most == 0 => BEST,
            score => BEST * (most + least - score) / most,
        };
    }
}
