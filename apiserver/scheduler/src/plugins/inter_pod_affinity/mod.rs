//! Pods near others or apart from them: what is required, what is preferred, by the new pod and by those that run already.
//!
//! Invariant: what is counted is counted once a pod, over all nodes, and asked node by node. Follows `plugins/interpodaffinity`.

mod filtering;
mod scoring;

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Namespace, Node};

use skiff_podspec::affinity::UnreadableTerms;

use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State as Attempt,
    pod::PodInfo,
    tally::Matcher,
    terms::Term,
    volumes::Store,
};

pub struct InterPodAffinity;

/// Numbers by a label's key and value.
#[derive(Clone, Debug, Default)]
struct Places(HashMap<String, HashMap<String, i64>>);

impl Places {
    fn add(&mut self, node: &NodeInfo, key: &str, by: i64) {
        let Some(value) = node.label(key) else { return };
        if !self.0.contains_key(key) {
            self.0.insert(key.to_string(), HashMap::new());
        }
        let Some(values) = self.0.get_mut(key) else {
            return;
        };
        match values.get_mut(value) {
            Some(count) => *count += by,
            None => drop(values.insert(value.to_string(), by)),
        }
    }

    fn at(&self, node: &NodeInfo, key: &str) -> i64 {
        let count = |value: &str| self.0.get(key)?.get(value).copied();
        node.label(key).and_then(count).unwrap_or(0)
    }

    /// Whether nothing is counted anywhere.
    fn is_empty(&self) -> bool {
        self.0
            .values()
            .flat_map(HashMap::values)
            .all(|count| *count == 0)
    }
}

/// What was found for one pod.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Pods that it must be near.
    near: Places,
    /// Pods that it must not be near.
    apart: Places,
    /// Pods that must not be near it.
    unwelcome: Places,
    /// The pod is the kind that it wants to be near.
    matches_itself: bool,
    /// What preferences add up to.
    wishes: Places,
}

/// The pods that all of these terms mean.
fn matcher<'a>(
    terms: impl IntoIterator<Item = &'a Term>,
    namespaces: &Store<Namespace>,
) -> Matcher {
    Matcher {
        groups: terms
            .into_iter()
            .map(|term| (term.names(namespaces), term.pods.clone()))
            .collect(),
        living: false,
    }
}

/// Whether all terms mean the pod; without terms, none does.
fn all_match(terms: &[Term], pod: &PodInfo, namespaces: &Store<Namespace>) -> bool {
    !terms.is_empty()
        && terms
            .iter()
            .all(|term| term.matches(&pod.namespace, pod.labels(), namespaces))
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a String> {
    node.metadata.labels.as_ref()?.get(key)
}

/// Without the namespaces' labels, hints hope too often rather than not at all.
fn may_mean(terms: &[Term], pod: &PodInfo) -> bool {
    !terms.is_empty() && terms.iter().all(|term| term.pods.matches(pod.labels()))
}

impl Plugin<Attempt> for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn pre_filter(&self, view: View, pod: &PodInfo, state: &mut Attempt) -> First {
        state.pods = filtering::count(view, pod);
        match pod.terms.near.is_empty()
            && pod.terms.apart.is_empty()
            && state.pods.unwelcome.is_empty()
        {
            true => First::Skip,
            false => First::Any,
        }
    }

    fn filter(
        &self,
        _: View,
        state: &Attempt,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        filtering::filter(&state.pods, pod, node)
    }

    fn change(
        &self,
        view: View,
        state: &mut Attempt,
        pod: &PodInfo,
        other: &PodInfo,
        node: &NodeInfo,
        by: i64,
    ) {
        filtering::change(&mut state.pods, view, pod, other, node, by);
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(
        &self,
        view: View,
        pod: &PodInfo,
        state: &mut Attempt,
        _: &[&NodeInfo],
    ) -> Result<bool, UnreadableTerms> {
        state.pods.wishes = scoring::count(view, pod);
        Ok(!state.pods.wishes.0.is_empty())
    }

    fn score(&self, _: View, state: &Attempt, _: &PodInfo, node: &NodeInfo) -> i64 {
        state
            .pods
            .wishes
            .0
            .keys()
            .map(|key| state.pods.wishes.at(node, key))
            .sum()
    }

    fn normalize(&self, _: &Attempt, scores: &mut [i64]) {
        scoring::normalize(scores);
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let (near, apart) = (&pod.terms.near, &pod.terms.apart);
        match event {
            ClusterEvent::PodAdded(other) => may_mean(near, other),
            ClusterEvent::PodDeleted(other) => {
                may_mean(apart, other) || may_mean(&other.terms.apart, pod)
            }
            ClusterEvent::PodUpdated { old, new } => {
                !may_mean(near, old) && may_mean(near, new)
                    || may_mean(apart, old) && !may_mean(apart, new)
            }
            ClusterEvent::Own { old, new } => old.labels() != new.labels(),
            ClusterEvent::NodeAdded(node) => {
                !apart.is_empty() || near.iter().any(|term| label(node, &term.key).is_some())
            }
            ClusterEvent::NodeUpdated { old, new } => {
                let changed = |term: &Term| label(old, &term.key) != label(new, &term.key);
                near.iter()
                    .any(|term| changed(term) && label(new, &term.key).is_some())
                    || apart
                        .iter()
                        .any(|term| changed(term) && label(old, &term.key).is_some())
            }
            ClusterEvent::Namespace => !near.is_empty() || !apart.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{plugins::tests::World, pod::tests::pod};

    fn of(name: &str, namespace: &str, app: &str, affinity: Value) -> Arc<PodInfo> {
        pod(
            name,
            json!({"metadata": {"namespace": namespace, "labels": {"app": app}}, "spec": {"affinity": affinity}}),
        )
    }

    fn term(app: &str, key: &str, rest: Value) -> Value {
        let mut term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}});
        rest.as_object()
            .into_iter()
            .flatten()
            .for_each(|(key, value)| term[key] = value.clone());
        term
    }

    fn terms(kind: &str, app: &str, key: &str, rest: Value) -> Value {
        json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term(app, key, rest)]}})
    }

    fn preferred(kind: &str, app: &str, key: &str, weight: i32) -> Value {
        json!({kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": term(app, key, json!({}))}]}})
    }

    fn world() -> World {
        let mut world = World::default();
        for (name, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
            world.node(
                name,
                json!({"metadata": {"labels": {"zone": zone, "host": name}}}),
            );
        }
        world
    }

    #[test]
    fn near_and_apart() {
        let mut world = world();
        world
            .cache
            .put_pod("n1", of("leader", "ns", "leader", Value::Null));
        world.cache.put_pod(
            "n3",
            of(
                "shy",
                "ns",
                "shy",
                terms("podAntiAffinity", "loud", "zone", json!({})),
            ),
        );
        world.namespace("ns", json!({"team": "x"}));
        let (no_near, no_apart) = (
            "node(s) didn't match pod affinity rules",
            "node(s) didn't match pod anti-affinity rules",
        );
        let unwelcome = "node(s) didn't satisfy existing pods anti-affinity rules";
        #[rustfmt::skip]
        let cases = [
            ("ns", "x", Value::Null, ["", "", ""]),
            ("ns", "x", terms("podAffinity", "leader", "host", json!({})), ["", no_near, no_near]),
            ("ns", "x", terms("podAffinity", "leader", "zone", json!({})), ["", "", no_near]),
            ("ns", "x", terms("podAffinity", "leader", "rack", json!({})), [no_near; 3]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({})), [no_near; 3]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({"namespaces": ["ns"]})), ["", "", no_near]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({"namespaceSelector": {"matchLabels": {"team": "x"}}})), ["", "", no_near]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({"namespaceSelector": {}})), ["", "", no_near]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({"namespaceSelector": {"matchLabels": {"team": "y"}}})), [no_near; 3]),
            ("ns", "first", terms("podAffinity", "first", "zone", json!({})), ["", "", ""]),
            ("ns", "x", terms("podAntiAffinity", "leader", "zone", json!({})), [no_apart, no_apart, ""]),
            ("ns", "x", terms("podAntiAffinity", "leader", "host", json!({})), [no_apart, "", ""]),
            ("ns", "loud", Value::Null, ["", "", unwelcome]),
            ("other", "loud", Value::Null, ["", "", ""]),
        ];
        for (namespace, app, affinity, expected) in cases {
            assert_eq!(
                world.tried(
                    &InterPodAffinity,
                    &of("new", namespace, app, affinity.clone())
                ),
                expected,
                "{namespace} {app} {affinity}"
            );
        }
        world.cache.remove_pod("shy");
        assert_eq!(
            world.tried(&InterPodAffinity, &of("new", "ns", "loud", Value::Null)),
            ["", "", ""],
            "what left holds nothing"
        );
    }

    #[test]
    fn preferences() {
        let mut world = world();
        world
            .cache
            .put_pod("n1", of("leader", "ns", "leader", Value::Null));
        world.cache.put_pod(
            "n2",
            of(
                "friend",
                "ns",
                "friend",
                preferred("podAffinity", "guest", "host", 40),
            ),
        );
        world.cache.put_pod(
            "n3",
            of(
                "needy",
                "ns",
                "needy",
                terms("podAffinity", "guest", "host", json!({})),
            ),
        );
        world.cache.put_pod(
            "n3",
            of(
                "shy",
                "ns",
                "shy",
                preferred("podAntiAffinity", "loud", "zone", 10),
            ),
        );
        #[rustfmt::skip]
        let cases = [
            ("x", Value::Null, [0, 0, 0]),
            ("x", preferred("podAffinity", "leader", "host", 5), [200, 0, 0]),
            ("x", preferred("podAffinity", "leader", "zone", 5), [200, 200, 0]),
            ("x", preferred("podAntiAffinity", "leader", "zone", 5), [0, 0, 200]),
            // 40 for the friend's wish, 1 for the requirement of what runs
            ("guest", Value::Null, [0, 200, 4]),
            ("loud", Value::Null, [200, 200, 0]),
        ];
        for (app, affinity, expected) in cases {
            let pod = of("new", "ns", app, affinity.clone());
            let mut state = Attempt::default();
            let nodes: Vec<&NodeInfo> = world.cache.nodes().collect();
            let plugin = &InterPodAffinity as &crate::plugins::Plugin;
            let scored = plugin
                .pre_score(world.view(), &pod, &mut state, &nodes)
                .unwrap();
            let mut scores: Vec<i64> = nodes
                .iter()
                .map(|node| plugin.score(world.view(), &state, &pod, node))
                .collect();
            plugin.normalize(&state, &mut scores);
            let weighted: Vec<i64> = scores
                .into_iter()
                .map(|score| if scored { score * plugin.weight() } else { 0 })
                .collect();
            assert_eq!(weighted, expected, "{app} {affinity}");
        }
    }

    #[test]
    fn pods_that_are_thought_away() {
        let mut world = world();
        let leader = of("leader", "ns", "leader", Value::Null);
        world.cache.put_pod("n1", leader.clone());
        let pod = of(
            "new",
            "ns",
            "x",
            terms("podAntiAffinity", "leader", "zone", json!({})),
        );
        let mut state = Attempt::default();
        crate::run::pre_filter(world.view(), &pod, &mut state).unwrap();
        let node = world.cache.get("n1").unwrap();
        assert!(
            InterPodAffinity
                .filter(world.view(), &state, &pod, node)
                .is_err()
        );
        crate::run::change(world.view(), &mut state, &pod, &leader, node, -1);
        assert!(
            InterPodAffinity
                .filter(world.view(), &state, &pod, node)
                .is_ok()
        );
    }
}
