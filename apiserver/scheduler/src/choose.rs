//! One attempt: the node for a pod and what its volumes need there, or why there is none and who would have to leave for it.
//!
//! Invariant: an attempt changes nothing but where the next one begins to look. Follows `pkg/scheduler/schedule_one.go` (schedulePod,
//! findNodesThatFitPod, schedulingAlgorithm).

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use rand::RngExt;

use crate::{
    broken::Broken,
    diagnosis::Diagnosis,
    framework::{Plugins, View},
    node::NodeInfo,
    plugins::{
        State,
        volume_binding::{self, Plan},
    },
    pod::PodInfo,
    preemption::{self, Found},
    queue::Why,
    run::{self, Narrowed},
    volumes::Store,
};

/// Enough nodes that fit: more are not looked for in large clusters.
const ENOUGH: usize = 100;

/// Where the search for nodes begins: every node gets its turn.
#[derive(Default)]
pub struct Sampling {
    start: usize,
}

/// Where the pod goes.
#[derive(Debug)]
pub struct Choice {
    pub node: String,
    pub plan: Plan,
}

/// Why it goes nowhere.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    /// `Unschedulable` or `SchedulerError`.
    pub reason: &'static str,
    pub why: Why,
    /// The node that it is promised; an empty name takes a promise back.
    pub nominate: Option<String>,
    /// Who is to leave that node.
    pub victims: Vec<Arc<PodInfo>>,
    /// It was looked whether others could leave.
    pub searched: bool,
}

impl Failure {
    /// Something went wrong.
    pub fn broken(why: Broken) -> Failure {
        Failure {
            message: why.to_string(),
            reason: "SchedulerError",
            why: Why::Error,
            nominate: Some(String::new()),
            victims: Vec::new(),
            searched: false,
        }
    }

    fn no_nodes() -> Failure {
        Failure {
            why: Why::NoNodes,
            ..Failure::rejected(
                "no nodes available to schedule pods".into(),
                Plugins::default(),
                Some(String::new()),
            )
        }
    }

    fn rejected(message: String, by: Plugins, nominate: Option<String>) -> Failure {
        Failure {
            message,
            reason: "Unschedulable",
            why: Why::Rejected(by),
            nominate,
            victims: Vec::new(),
            searched: false,
        }
    }
}

/// How many nodes that fit are enough.
fn enough(nodes: usize) -> usize {
    if nodes < ENOUGH {
        return nodes;
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ENOUGH)
}

/// Finds the pod a node.
pub fn choose(
    view: View,
    pod: &PodInfo,
    sampling: &mut Sampling,
    budgets: &Store<PodDisruptionBudget>,
    now: Timestamp,
) -> Result<Choice, Failure> {
    let all = view.cache.len();
    if all == 0 {
        return Err(Failure::no_nodes());
    }
    let mut state = State::default();
    let narrowed = match run::pre_filter(view, pod, &mut state) {
        Ok(narrowed) => narrowed,
        // (the last two words come from upstream's search for claims to give back, which finds no state of its own then)
        Err(rejection) => {
            let message = format!(
                "0/{all} nodes are available: {}. not found",
                rejection.reasons.join(", ")
            );
            return Err(Failure::rejected(message, rejection.by, None));
        }
    };
    let (fitting, found) = find(view, &state, pod, &narrowed, sampling);
    if fitting.is_empty() {
        return Err(no_fit(view, &state, pod, &found, budgets, now));
    }
    let node = pick(view, &mut state, pod, &fitting).map_err(Failure::broken)?;
    match volume_binding::plan(&state.claims, node, view.volumes) {
        Ok(plan) => Ok(Choice {
            node: node.name.clone(),
            plan,
        }),
        Err(rejection) => Err(Failure::rejected(
            rejection.reasons.join(", "),
            found.by(),
            None,
        )),
    }
}

/// The nodes that can take the pod: the one that it was promised alone, if it can; and why others cannot.
fn find<'a>(
    view: View<'a>,
    state: &State,
    pod: &PodInfo,
    narrowed: &Narrowed,
    sampling: &mut Sampling,
) -> (Vec<&'a NodeInfo>, Diagnosis) {
    let mut found = match &narrowed.nodes {
        Some(_) => Diagnosis::with_absent(
            format!(
                "node(s) didn't satisfy plugin(s) [{}]",
                run::names(narrowed.by).join(" ")
            ),
            narrowed.by,
        ),
        None => Diagnosis::default(),
    };
    let mut fits = |node: &NodeInfo| {
        run::filter(view, state, pod, node)
            .map_err(|rejection| found.reject(&node.name, rejection))
            .is_ok()
    };
    let promised = pod.nominated().and_then(|name| view.cache.get(name));
    if let Some(node) = promised.filter(|node| fits(node)) {
        return (vec![node], found);
    }
    if let Some(names) = &narrowed.nodes {
        let named = names.iter().filter_map(|name| view.cache.get(name));
        let fitting = named.filter(|node| fits(node)).collect();
        return (fitting, found);
    }
    let mut fitting = Vec::new();
    let (all, mut looked) = (view.cache.len(), 0);
    let enough = enough(all);
    for node in view.cache.nodes_from(sampling.start % all) {
        looked += 1;
        if fits(node) {
            fitting.push(node);
        }
        if fitting.len() >= enough {
            break;
        }
    }
    sampling.start = (sampling.start + looked) % all;
    (fitting, found)
}

/// The best node; chance decides between equals.
fn pick<'a>(
    view: View,
    state: &mut State,
    pod: &PodInfo,
    fitting: &[&'a NodeInfo],
) -> Result<&'a NodeInfo, Broken> {
    if let [only] = fitting {
        return Ok(only);
    }
    let scores = run::scores(view, state, pod, fitting)?;
    let best = scores.iter().copied().max().unwrap_or(0);
    let candidates: Vec<usize> = (0..fitting.len())
        .filter(|index| scores[*index] == best)
        .collect();
    Ok(fitting[candidates[rand::rng().random_range(0..candidates.len())]])
}

/// No node can take the pod: is there one where others could leave for it?
fn no_fit(
    view: View,
    state: &State,
    pod: &PodInfo,
    found: &Diagnosis,
    budgets: &Store<PodDisruptionBudget>,
    now: Timestamp,
) -> Failure {
    let all = view.cache.len();
    let message = found.message(all);
    // upstream's first answer is of claims of devices, of which the pod has none
    let vain = |why: &str| format!("{message} no new claims to deallocate, preemption: {why}");
    let failure = match preemption::search(view, state, pod, found, budgets, now) {
        Found::NotEligible(why) => Failure::rejected(vain(why), found.by(), None),
        Found::Nothing(why) => Failure::rejected(vain(&why), found.by(), Some(String::new())),
        Found::Room { node, victims } => Failure {
            victims,
            ..Failure::rejected(message, found.by(), Some(node))
        },
    };
    Failure {
        searched: true,
        ..failure
    }
}

#[cfg(test)]
mod tests;
