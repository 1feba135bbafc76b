//! The pods that would have to leave one node. Follows `plugins/defaultpreemption/default_preemption.go` (SelectVictimsOnNode).

use std::{
    cmp::{Ordering, Reverse},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use skiff_api::machinery::selector::Selector;
use skiff_podspec::parts::{HasSpec, HasStatus};

use crate::{
    framework::{Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
    run,
    terms::selector,
    volumes::Store,
};

/// Who would have to leave, the most important first.
#[derive(Debug)]
pub struct Victims {
    pub pods: Vec<Arc<PodInfo>>,
    /// How many of them a budget would keep.
    pub violations: usize,
}

/// When the pod began to run; now, if it did not yet.
pub fn started(pod: &PodInfo, now: Timestamp) -> Timestamp {
    pod.pod
        .status()
        .start_time
        .as_ref()
        .map_or(now, |time| time.0)
}

/// The more important pods come first: of higher priority, or running longer.
pub fn by_importance(a: &PodInfo, b: &PodInfo, now: Timestamp) -> Ordering {
    (Reverse(a.priority), started(a, now)).cmp(&(Reverse(b.priority), started(b, now)))
}

/// Splits pods into those that a budget would keep and the rest, each in its order.
fn by_budgets(
    pods: Vec<Arc<PodInfo>>,
    budgets: &Store<PodDisruptionBudget>,
) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut left: Vec<(&PodDisruptionBudget, Selector, i32)> = budgets
        .all()
        .map(|budget| {
            let meant = selector(budget.spec().selector.as_ref());
            (
                &**budget,
                meant,
                budget.status().disruptions_allowed.unwrap_or(0),
            )
        })
        .collect();
    let mut kept = |pod: &PodInfo| {
        let mut violated = false;
        for (budget, meant, allowed) in &mut left {
            let concerned = budget.metadata.namespace.as_deref() == Some(&pod.namespace)
                && !meant.is_everything()
                && meant.matches(pod.labels());
            let counted = budget
                .status()
                .disrupted_pods
                .as_ref()
                .is_some_and(|pods| pods.contains_key(&pod.name));
            if concerned && !counted && !pod.labels().is_empty() {
                *allowed -= 1;
                violated |= *allowed < 0;
            }
        }
        violated
    };
    pods.into_iter().partition(|pod| kept(pod))
}

/// Lets all pods that matter less leave in thought, and takes back as many as can stay.
pub fn on_node(
    view: View,
    state: &State,
    pod: &PodInfo,
    node: &NodeInfo,
    budgets: &Store<PodDisruptionBudget>,
    now: Timestamp,
) -> Result<Victims, Rejection> {
    let (mut state, mut node) = (state.clone(), node.clone());
    let mut less: Vec<Arc<PodInfo>> = node
        .pods
        .values()
        .filter(|other| other.priority < pod.priority)
        .cloned()
        .collect();
    if less.is_empty() {
        return Err(Rejection::unresolvable(
            "No preemption victims found for incoming pod",
        ));
    }
    let leave = |state: &mut State, node: &mut NodeInfo, other: &PodInfo| {
        node.remove(&other.uid);
        run::change(view, state, pod, other, node, -1);
    };
    less.iter()
        .for_each(|other| leave(&mut state, &mut node, other));
    run::filter(view, &state, pod, &node)?;
    less.sort_by(|a, b| by_importance(a, b, now));
    let (kept, rest) = by_budgets(less, budgets);
    let (mut pods, mut violations) = (Vec::new(), 0);
    for (other, is_kept) in kept
        .into_iter()
        .map(|other| (other, true))
        .chain(rest.into_iter().map(|other| (other, false)))
    {
        node.add(other.clone());
        run::change(view, &mut state, pod, &other, &node, 1);
        if run::filter(view, &state, pod, &node).is_err() {
            leave(&mut state, &mut node, &other);
            violations += usize::from(is_kept);
            pods.push(other);
        }
    }
    pods.sort_by(|a, b| by_importance(a, b, now));
    Ok(Victims { pods, violations })
}
