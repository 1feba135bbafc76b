//! What pods require of each other. Follows `plugins/interpodaffinity/filtering.go`.

use super::{Places, State, all_match, matcher};
use crate::{
    framework::{Rejection, View},
    node::NodeInfo,
    pod::PodInfo,
    terms::Wish,
};

/// The terms that must keep the pod off, of the pods that run: by topology.
fn unwelcome(view: View, pod: &PodInfo) -> Places {
    let (mut found, mut known) = (Places::default(), std::collections::HashMap::new());
    for node in view.cache.nodes().filter(|node| !node.held.is_empty()) {
        for (number, count) in &node.held {
            let Some(held) = view.cache.held(*number) else {
                continue;
            };
            if held.wish == Wish::Apart
                && *known.entry(*number).or_insert_with(|| {
                    held.term
                        .matches(&pod.namespace, pod.labels(), view.namespaces)
                })
            {
                found.add(node, &held.term.key, i64::from(*count));
            }
        }
    }
    found
}

/// Looks at all pods once.
pub fn count(view: View, pod: &PodInfo) -> State {
    let (near, apart) = (&pod.terms.near, &pod.terms.apart);
    let mut state = State {
        unwelcome: unwelcome(view, pod),
        matches_itself: all_match(near, pod, view.namespaces),
        ..State::default()
    };
    if !near.is_empty() {
        let counts = view.cache.count(&matcher(near, view.namespaces));
        for node in view.cache.nodes() {
            let count = i64::from(counts.get(node.place).copied().unwrap_or(0));
            near.iter()
                .filter(|_| count > 0)
                .for_each(|term| state.near.add(node, &term.key, count));
        }
    }
    for term in apart {
        let counts = view.cache.count(&matcher([term], view.namespaces));
        for node in view.cache.nodes() {
            let count = i64::from(counts.get(node.place).copied().unwrap_or(0));
            if count > 0 {
                state.apart.add(node, &term.key, count);
            }
        }
    }
    state
}

/// Another pod is thought to come or to leave.
pub fn change(
    state: &mut State,
    view: View,
    pod: &PodInfo,
    other: &PodInfo,
    node: &NodeInfo,
    by: i64,
) {
    let meant = other
        .terms
        .apart
        .iter()
        .filter(|term| term.matches(&pod.namespace, pod.labels(), view.namespaces));
    meant.for_each(|term| state.unwelcome.add(node, &term.key, by));
    if all_match(&pod.terms.near, other, view.namespaces) {
        pod.terms
            .near
            .iter()
            .for_each(|term| state.near.add(node, &term.key, by));
    }
    let meant = pod
        .terms
        .apart
        .iter()
        .filter(|term| term.matches(&other.namespace, other.labels(), view.namespaces));
    meant.for_each(|term| state.apart.add(node, &term.key, by));
}

/// Whether the pods that the new one must be near are near; the first of its kind need not wait for itself.
fn is_near(state: &State, pod: &PodInfo, node: &NodeInfo) -> bool {
    let terms = &pod.terms.near;
    if terms.iter().any(|term| node.label(&term.key).is_none()) {
        return false;
    }
    terms.iter().all(|term| state.near.at(node, &term.key) > 0)
        || state.near.is_empty() && state.matches_itself
}

/// Why the pod's or others' terms keep it off the node.
pub fn filter(state: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if !is_near(state, pod, node) {
        return Err(Rejection::unresolvable(
            "node(s) didn't match pod affinity rules",
        ));
    }
    if pod
        .terms
        .apart
        .iter()
        .any(|term| state.apart.at(node, &term.key) > 0)
    {
        return Err(Rejection::new(
            "node(s) didn't match pod anti-affinity rules",
        ));
    }
    if state
        .unwelcome
        .0
        .keys()
        .any(|key| state.unwelcome.at(node, key) > 0)
    {
        return Err(Rejection::new(
            "node(s) didn't satisfy existing pods anti-affinity rules",
        ));
    }
    Ok(())
}
