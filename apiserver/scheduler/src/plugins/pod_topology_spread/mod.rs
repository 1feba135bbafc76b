//! Pods of a kind are spread over the values of a label of nodes: so that they differ by no more than `maxSkew`, or as well as can be.
//!
//! Invariant: counts are kept by the cache and only added up here. Follows `plugins/podtopologyspread`.

mod constraints;
mod filtering;
mod scoring;

use skiff_podspec::affinity::UnreadableTerms;

use skiff_podspec::parts::HasSpec;

use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State as Attempt,
    pod::PodInfo,
};

use constraints::{Action, Constraint, all_keys, own};

pub struct PodTopologySpread;

/// What was found for one pod.
#[derive(Clone, Debug, Default)]
pub struct State {
    hard: filtering::Hard,
    soft: scoring::Soft,
}

impl Plugin<Attempt> for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn pre_filter(&self, view: View, pod: &PodInfo, state: &mut Attempt) -> First {
        let constraints = own(pod, Action::DoNotSchedule);
        if constraints.is_empty() {
            return First::Skip;
        }
        state.spread.hard = filtering::count(view, pod, constraints);
        First::Any
    }

    fn filter(
        &self,
        _: View,
        state: &Attempt,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        filtering::filter(&state.spread.hard, pod, node)
    }

    fn change(
        &self,
        _: View,
        state: &mut Attempt,
        pod: &PodInfo,
        other: &PodInfo,
        node: &NodeInfo,
        by: i64,
    ) {
        filtering::change(&mut state.spread.hard, pod, other, node, by);
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(
        &self,
        view: View,
        pod: &PodInfo,
        state: &mut Attempt,
        nodes: &[&NodeInfo],
    ) -> Result<bool, UnreadableTerms> {
        state.spread.soft = scoring::count(view, pod, nodes);
        Ok(!state.spread.soft.is_empty())
    }

    fn score(&self, _: View, state: &Attempt, _: &PodInfo, node: &NodeInfo) -> i64 {
        state.spread.soft.score(node)
    }

    fn normalize(&self, _: &Attempt, scores: &mut [i64]) {
        scoring::normalize(scores);
    }

    fn hopes_for_taints(&self) -> bool {
        false
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let constraints = own(pod, Action::DoNotSchedule);
        let meant = |other: &PodInfo| {
            other.namespace == pod.namespace
                && constraints.iter().any(|c| c.pods.matches(other.labels()))
        };
        let relabelled = |old: &PodInfo, new: &PodInfo| {
            let means = |c: &Constraint, pod: &PodInfo| c.pods.matches(pod.labels());
            constraints.iter().any(|c| means(c, old) != means(c, new))
        };
        match event {
            ClusterEvent::PodAdded(other) | ClusterEvent::PodDeleted(other) => meant(other),
            ClusterEvent::Own { old, new } => {
                relabelled(old, new)
                    || new.has_other_tolerations(old) && constraints.iter().any(|c| c.honors_taints)
            }
            ClusterEvent::PodUpdated { old, new } => {
                new.namespace == pod.namespace && relabelled(old, new)
            }
            ClusterEvent::NodeAdded(node) => all_keys(&constraints, node),
            ClusterEvent::NodeUpdated { old, new } => {
                let label = |node: &k8s_openapi::api::core::v1::Node, key: &str| {
                    node.metadata
                        .labels
                        .as_ref()
                        .and_then(|labels| labels.get(key))
                        .cloned()
                };
                let taints = |node: &k8s_openapi::api::core::v1::Node| node.spec().taints.clone();
                let (was, is) = (all_keys(&constraints, old), all_keys(&constraints, new));
                was != is
                    || is
                        && (constraints
                            .iter()
                            .any(|c| label(old, &c.key) != label(new, &c.key))
                            || taints(old) != taints(new))
            }
            ClusterEvent::NodeDeleted(node) => all_keys(&constraints, node),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
