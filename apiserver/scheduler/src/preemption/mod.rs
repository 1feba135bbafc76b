//! Room for pods that matter more: when a pod fits nowhere, pods that matter less may have to leave a node for it.
//!
//! Invariant: a search changes nothing; what it proposes is carried out apart from it. Follows
//! `pkg/scheduler/framework/preemption/{preemption,executor}.go` and `plugins/defaultpreemption/default_preemption.go`.

pub mod carry_out;
mod pick;
mod victims;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use rand::RngExt;
use skiff_podspec::parts::{HasSpec, HasStatus};

use crate::{
    diagnosis::Diagnosis,
    framework::{Plugins, Rejection, View},
    plugins::State,
    pod::PodInfo,
    volumes::Store,
};
use victims::Victims;

/// At least so many nodes are looked at, or a tenth of them.
const AT_LEAST: usize = 100;

/// What came of a search.
#[derive(Debug)]
pub enum Found {
    /// The pod may not make others leave.
    NotEligible(&'static str),
    /// No pod's leaving would help; why.
    Nothing(String),
    /// These are to leave that node.
    Room {
        node: String,
        victims: Vec<Arc<PodInfo>>,
    },
}

/// Whether a pod leaves because of a search like this one.
fn leaves_for_others(pod: &PodInfo) -> bool {
    let conditions = pod.pod.status().conditions.as_ref().into_iter().flatten();
    let target = conditions
        .into_iter()
        .find(|condition| condition.type_ == "DisruptionTarget");
    pod.is_deleting()
        && target.is_some_and(|condition| {
            condition.status == "True"
                && condition.reason.as_deref() == Some("PreemptionByScheduler")
        })
}

fn why_not(view: View, pod: &PodInfo, found: &Diagnosis) -> Option<&'static str> {
    if pod.pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let node = pod
        .nominated()
        .filter(|node| found.is_resolvable(node))
        .and_then(|node| view.cache.get(node))?;
    let leaving = node
        .pods
        .values()
        .any(|other| other.priority < pod.priority && leaves_for_others(other));
    leaving.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// Looks for the node where the fewest and least important pods would have to leave.
pub fn search(
    view: View,
    state: &State,
    pod: &PodInfo,
    found: &Diagnosis,
    budgets: &Store<PodDisruptionBudget>,
    now: Timestamp,
) -> Found {
    if let Some(why) = why_not(view, pod, found) {
        return Found::NotEligible(why);
    }
    let nodes: Vec<_> = view
        .cache
        .nodes()
        .filter(|node| found.is_resolvable(&node.name))
        .collect();
    let wanted = (nodes.len() / 10).max(AT_LEAST).min(nodes.len());
    let start = if nodes.is_empty() {
        0
    } else {
        rand::rng().random_range(0..nodes.len())
    };
    let mut reasons = Diagnosis::with_absent(
        "Preemption is not helpful for scheduling",
        Plugins::default(),
    );
    let mut candidates: Vec<(String, Victims)> = Vec::new();
    for node in nodes[start..].iter().chain(&nodes[..start]) {
        match victims::on_node(view, state, pod, node, budgets, now) {
            Ok(victims) => candidates.push((node.name.clone(), victims)),
            Err(rejection) => reasons.reject(
                &node.name,
                Rejection {
                    by: Plugins::default(),
                    ..rejection
                },
            ),
        }
        if candidates.len() >= wanted
            && candidates
                .iter()
                .any(|(_, victims)| victims.violations == 0)
        {
            break;
        }
    }
    match pick::best(candidates, now) {
        Some((node, victims)) => Found::Room {
            node,
            victims: victims.pods,
        },
        None => Found::Nothing(reasons.message(view.cache.len())),
    }
}
