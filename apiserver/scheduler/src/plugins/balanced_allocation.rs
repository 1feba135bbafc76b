//! Nodes whose cpu and memory are used alike are better. Follows `plugins/noderesources/balanced_allocation.go`.

use crate::{
    cache::NodeInfo,
    framework::{Normalize, Plugin, Score},
    pod::PodInfo,
};

pub const PLUGIN: Plugin = Plugin { name: "NodeResourcesBalancedAllocation", filter: None, score: Some(Score { weight: 1, score, normalize: Normalize::No }) };

/// 100 less the standard deviation of the used shares.
fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    // pods that ask for nothing unbalance nothing
    if pod.requests.cpu == 0 && pod.requests.memory == 0 {
        return 0;
    }
    let share = |used: i64, has: i64| if has == 0 { 0.0 } else { (used as f64 / has as f64).min(1.0) };
    let cpu = share(node.requested.cpu + pod.requests.cpu, node.allocatable.cpu);
    let memory = share(node.requested.memory + pod.requests.memory, node.allocatable.memory);
    ((1.0 - (cpu - memory).abs() / 2.0) * 100.0) as i64
}
