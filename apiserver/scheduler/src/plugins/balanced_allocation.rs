//! Nodes whose cpu and memory the pod makes used more alike are better. Follows `plugins/noderesources/balanced_allocation.go`.

use crate::{
    framework::{BEST, ClusterEvent, Plugin, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
    resources::Requests,
};
use skiff_podspec::affinity::UnreadableTerms;

pub struct NodeResourcesBalancedAllocation;

/// 100 less the standard deviation of the used shares; what a node has nothing of does not count.
fn balance(used: [i64; 2], has: [i64; 2]) -> i64 {
    let shares: Vec<f64> = used
        .iter()
        .zip(has)
        .filter(|(_, has)| *has != 0)
        .map(|(used, has)| (*used as f64 / has as f64).min(1.0))
        .collect();
    let deviation = if let [a, b] = shares[..] {
        ((a - b) / 2.0).abs()
    } else {
        0.0
    };
    ((1.0 - deviation) * BEST as f64) as i64
}

impl Plugin<State> for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    /// Pods that ask for nothing unbalance nothing.
    fn pre_score(
        &self,
        _: View,
        pod: &PodInfo,
        _: &mut State,
        _: &[&NodeInfo],
    ) -> Result<bool, UnreadableTerms> {
        let asks = |requests: &Requests| requests.all.cpu != 0 || requests.all.memory != 0;
        Ok(pod.requests.as_ref().is_ok_and(asks))
    }

    fn score(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let Ok(requests) = &pod.requests else {
            return 0;
        };
        let (used, has) = (
            [node.requested.cpu, node.requested.memory],
            [node.allocatable.cpu, node.allocatable.memory],
        );
        let with = [used[0] + requests.all.cpu, used[1] + requests.all.memory];
        BEST / 2 + (BEST / 2 + balance(with, has) - balance(used, has)) / 2
    }

    fn hopes(&self, _: &PodInfo, _: &ClusterEvent) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (used, has, wanted) in [
            ([0, 0], [10, 10], 100),
            ([5, 5], [10, 10], 100),
            ([10, 0], [10, 10], 50),
            ([3, 6], [10, 10], 85),
            ([3, 6], [10, 0], 100),
            ([30, 5], [10, 10], 75),
        ] {
            assert_eq!(balance(used, has), wanted, "{used:?} of {has:?}");
        }
    }
}
