//! What a pod asks for must be free; of the nodes where it is, the emptier is better. Follows `plugins/noderesources/{fit,least_allocated}.go`.

use crate::{
    cache::NodeInfo,
    framework::{Normalize, Plugin, Rejection, Score},
    pod::PodInfo,
};

pub const PLUGIN: Plugin =
    Plugin { name: "NodeResourcesFit", filter: Some(filter), score: Some(Score { weight: 1, score: least_allocated, normalize: Normalize::No }) };

fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    let mut reasons = Vec::new();
    let mut hopeless = false;
    if node.pods.len() as i64 + 1 > node.max_pods {
        reasons.push("Too many pods".to_string());
    }
    let wanted = &pod.requests;
    let (has, used) = (&node.allocatable, &node.requested);
    let mut check = |name: &str, wanted: i64, has: i64, used: i64| {
        if wanted > 0 && wanted > has - used {
            reasons.push(format!("Insufficient {name}"));
            hopeless |= wanted > has;
        }
    };
    check("cpu", wanted.cpu, has.cpu, used.cpu);
    check("memory", wanted.memory, has.memory, used.memory);
    check("ephemeral-storage", wanted.ephemeral, has.ephemeral, used.ephemeral);
    for (name, amount) in &wanted.other {
        check(name, *amount, has.other.get(name).copied().unwrap_or(0), used.other.get(name).copied().unwrap_or(0));
    }
    (!reasons.is_empty()).then_some(Rejection { reasons, unresolvable: hopeless })
}

/// The free share of cpu and memory, 0 to 100.
fn least_allocated(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let free = |has: i64, used: i64| if has == 0 || used > has { 0 } else { (has - used) * 100 / has };
    let cpu = free(node.allocatable.cpu, node.nonzero.0 + pod.nonzero.0);
    let memory = free(node.allocatable.memory, node.nonzero.1 + pod.nonzero.1);
    (cpu + memory) / 2
}
