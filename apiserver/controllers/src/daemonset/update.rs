//! Rolling updates of a DaemonSet: which old pods go, and where new ones come first.
//!
//! Invariant: pure; no more pods are missing, or on top, than the strategy allows. Follows pkg/controller/daemon/update.go.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};
use skiff_podspec::parts::{HasSpec, Meta};
use skiff_podspec::pod::Pod;

use super::placement::{Placement, Plan, is_current, rolling};
use crate::{fraction::scaled, pods};

/// The new and the old pod of a node; `None` when there are several of one sort.
fn new_and_old(
    set: &DaemonSet,
    pods: &[Arc<Pod>],
    hash: &str,
) -> Option<(Option<Arc<Pod>>, Option<Arc<Pod>>)> {
    let alive = pods.iter().filter(|pod| !pods::is_deleting(pod)).cloned();
    let (mut new, mut old): (Vec<_>, Vec<_>) = alive.partition(|pod| is_current(set, pod, hash));
    (new.len() <= 1 && old.len() <= 1).then(|| (new.pop(), old.pop()))
}

/// The next step of a rolling update; nothing for other strategies.
pub fn plan(set: &DaemonSet, placement: &Placement<'_>, hash: &str, now: Timestamp) -> Plan {
    let is_rolling = set
        .spec()
        .update_strategy
        .as_ref()
        .and_then(|s| s.type_.as_deref())
        .is_none_or(|t| t == "RollingUpdate");
    if !is_rolling {
        return Plan::default();
    }
    let wanting: Vec<&Arc<Node>> = placement
        .nodes
        .iter()
        .filter(|node| placement.should_run(node).0)
        .collect();
    let desired = i32::try_from(wanting.len()).unwrap_or(i32::MAX);
    let (surge, mut unavailable) = rolling(set).map_or((0, 1), |r| {
        (
            scaled(r.max_surge.as_ref(), desired, true),
            scaled(r.max_unavailable.as_ref(), desired, true),
        )
    });
    if desired > 0 && surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    if surge == 0 {
        replace(set, placement, &wanting, hash, unavailable, now)
    } else {
        surge_first(set, placement, &wanting, hash, surge, now)
    }
}

fn available(set: &DaemonSet, pod: &Pod, now: Timestamp) -> bool {
    pods::is_available(pod, set.spec().min_ready_seconds.unwrap_or(0), now)
}

/// Old pods go first, unavailable ones at once.
fn replace(
    set: &DaemonSet,
    placement: &Placement<'_>,
    wanting: &[&Arc<Node>],
    hash: &str,
    most: i32,
    now: Timestamp,
) -> Plan {
    let none = Vec::new();
    let empty = wanting
        .iter()
        .filter(|node| !placement.by_node.contains_key(node.metadata.name()))
        .map(|_| &none);
    let (mut missing, mut at_once, mut candidates) = (0, Vec::new(), Vec::new());
    for pods in placement.by_node.values().chain(empty) {
        match new_and_old(set, pods, hash) {
            None | Some((None, None) | (Some(_), Some(_))) => missing += 1,
            Some((Some(new), None)) => missing += i32::from(!available(set, &new, now)),
            Some((None, Some(old))) if !available(set, &old, now) => {
                at_once.push(old);
                missing += 1;
            }
            Some((None, Some(old))) => candidates.push(old),
        }
    }
    let room = usize::try_from(most - missing).unwrap_or(0);
    at_once.extend(candidates.into_iter().take(room));
    Plan {
        create: Vec::new(),
        delete: at_once,
    }
}

/// New pods come first; an old one goes when its successor is available.
fn surge_first(
    set: &DaemonSet,
    placement: &Placement<'_>,
    wanting: &[&Arc<Node>],
    hash: &str,
    most: i32,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let (mut surging, mut up) = (0, 0);
    let (mut candidates, mut unwanted) = (Vec::new(), Vec::new());
    let should_run = |node: &str| wanting.iter().any(|n| n.metadata.name() == node);
    for (node, pods) in &placement.by_node {
        let Some((new, old)) = new_and_old(set, pods, hash) else {
            surging += 1;
            continue;
        };
        up += i32::from(
            old.as_ref()
                .or(new.as_ref())
                .is_some_and(|pod| available(set, pod, now)),
        );
        match (new, old) {
            (_, None) => {}
            (None, Some(old)) => match (available(set, &old, now), should_run(node)) {
                (false, false) => plan.delete.push(old),
                (false, true) => plan.create.push(node.clone()),
                (true, false) => unwanted.push(old),
                (true, true) => candidates.push(node.clone()),
            },
            (Some(new), Some(_)) if !available(set, &new, now) => surging += 1,
            (Some(_), Some(old)) => plan.delete.push(old),
        }
    }
    let spare = usize::try_from(up - i32::try_from(wanting.len()).unwrap_or(i32::MAX)).unwrap_or(0);
    plan.delete.extend(unwanted.into_iter().take(spare));
    plan.create.extend(
        candidates
            .into_iter()
            .take(usize::try_from(most - surging).unwrap_or(0)),
    );
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemonset::placement::tests::{node, set},
        pods::tests::pod,
    };
    use k8s_openapi::api::apps::v1::RollingUpdateDaemonSet;
    use k8s_openapi::{
        api::apps::v1::DaemonSetUpdateStrategy, apimachinery::pkg::util::intstr::IntOrString,
    };

    fn case(surge: i32, unavailable: i32, old_ready: [bool; 3]) -> (usize, usize) {
        let mut set = set();
        let rolling = RollingUpdateDaemonSet {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        };
        set.spec.as_mut().unwrap().update_strategy = Some(DaemonSetUpdateStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(rolling),
        });
        let nodes = ["a", "b", "c"].map(|n| node(n, &[]));
        let by_node = ["a", "b", "c"]
            .into_iter()
            .zip(old_ready)
            .map(|(n, ready)| {
                (
                    n.to_string(),
                    vec![Arc::new(pod(n, n, "Running", ready.then_some(1)))],
                )
            })
            .collect();
        let placement = Placement::new(&set, &nodes, by_node);
        let plan = plan(&set, &placement, "new", Timestamp::from_second(9).unwrap());
        (plan.create.len(), plan.delete.len())
    }

    #[test]
    fn steps() {
        assert_eq!(case(0, 1, [true, true, true]), (0, 1));
        assert_eq!(case(0, 2, [true, true, true]), (0, 2));
        assert_eq!(
            case(0, 1, [false, true, true]),
            (0, 1),
            "the one that is down anyway"
        );
        assert_eq!(case(0, 0, [true, true, true]), (0, 1));
        assert_eq!(case(1, 0, [true, true, true]), (1, 0));
        assert_eq!(case(1, 0, [false, true, true]), (2, 0));
    }
}
