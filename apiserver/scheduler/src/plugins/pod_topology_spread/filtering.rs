//! Constraints that must hold. Follows `plugins/podtopologyspread/filtering.go`.

use std::collections::HashMap;

use super::constraints::{Constraint, all_keys};
use crate::{
    framework::{Rejection, View},
    node::NodeInfo,
    pod::PodInfo,
};

/// One constraint, and how many pods each value of its label has.
#[derive(Clone, Debug)]
struct Counted {
    constraint: Constraint,
    by_value: HashMap<String, i64>,
    least: i64,
}

impl Counted {
    fn find_least(&mut self) {
        self.least = self
            .by_value
            .values()
            .copied()
            .min()
            .unwrap_or(i64::from(i32::MAX));
    }

    /// What the fullest value may exceed. With fewer values than wanted, those that are missing count as empty ones.
    fn least(&self) -> i64 {
        if self.by_value.len() < self.constraint.min_domains {
            0
        } else {
            self.least
        }
    }
}

/// All constraints of a pod that must hold.
#[derive(Clone, Debug, Default)]
pub struct Hard(Vec<Counted>);

/// Adds up the counts of all nodes that count.
pub fn count(view: View, pod: &PodInfo, constraints: Vec<Constraint>) -> Hard {
    let nodes: Vec<&NodeInfo> = view
        .cache
        .nodes()
        .filter(|node| all_keys(&constraints, &node.node))
        .collect();
    let counted = constraints.into_iter().map(|constraint| {
        let counts = view.cache.count(&constraint.matcher(&pod.namespace));
        let mut by_value: HashMap<String, i64> = HashMap::new();
        for node in nodes
            .iter()
            .filter(|node| constraint.counts(pod, &node.node))
        {
            let Some(value) = node.label(&constraint.key) else {
                continue;
            };
            let count = i64::from(counts.get(node.place).copied().unwrap_or(0));
            match by_value.get_mut(value) {
                Some(sum) => *sum += count,
                None => drop(by_value.insert(value.to_string(), count)),
            }
        }
        let mut counted = Counted {
            constraint,
            by_value,
            least: 0,
        };
        counted.find_least();
        counted
    });
    Hard(counted.collect())
}

/// Another pod is thought to come or to leave.
pub fn change(hard: &mut Hard, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, by: i64) {
    let all_there = hard
        .0
        .iter()
        .all(|counted| node.label(&counted.constraint.key).is_some());
    if other.namespace != pod.namespace || !all_there {
        return;
    }
    for counted in &mut hard.0 {
        if !counted.constraint.pods.matches(other.labels())
            || !counted.constraint.counts(pod, &node.node)
        {
            continue;
        }
        let value = node.label(&counted.constraint.key).unwrap_or_default();
        *counted.by_value.entry(value.to_string()).or_default() += by;
        counted.find_least();
    }
}

/// Whether one pod more on the node leaves every constraint in force.
pub fn filter(hard: &Hard, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    for counted in &hard.0 {
        let Some(value) = node.label(&counted.constraint.key) else {
            return Err(Rejection::unresolvable(
                "node(s) didn't match pod topology spread constraints (missing required label)",
            ));
        };
        let itself = i64::from(counted.constraint.pods.matches(pod.labels()));
        let there = counted.by_value.get(value).copied().unwrap_or(0);
        if there + itself - counted.least() > counted.constraint.max_skew {
            return Err(Rejection::new(
                "node(s) didn't match pod topology spread constraints",
            ));
        }
    }
    Ok(())
}
