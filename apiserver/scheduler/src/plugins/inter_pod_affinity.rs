//! Pods that must run near others, or must not: required affinity and anti-affinity, the new pod's own and that of pods that run already.
//!
//! Invariant: what is counted is counted once a pod, over all nodes, and asked node by node. Follows `plugins/interpodaffinity/filtering.go`. It
//! looks at more than pod and node, so the cycle calls it beside the table of plugins.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::{Namespace, Pod, PodAffinityTerm};
use serde_json::json;
use skiff_api::machinery::selector::Selector;

use crate::{cache::NodeInfo, framework::Rejection, pod::PodInfo, volumes::Store};

/// One required term, read once.
#[derive(Debug)]
pub struct Term {
    key: String,
    pods: Selector,
    namespaces: Vec<String>,
    /// Namespaces by their labels, besides those named.
    by_labels: Option<Selector>,
}

/// A pod's required terms.
#[derive(Debug, Default)]
pub struct Terms {
    pub near: Vec<Term>,
    pub apart: Vec<Term>,
}

fn selector(selector: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>) -> Selector {
    // a selector that cannot be read was not let in by the server; it selects nothing then
    selector.and_then(|selector| Selector::from_label_selector(Some(&json!(selector))).ok()).unwrap_or(Selector::Nothing)
}

impl Term {
    fn read(term: &PodAffinityTerm, own: &str) -> Term {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(own.to_string());
        }
        let by_labels = term.namespace_selector.as_ref().map(|labels| selector(Some(labels)));
        Term { key: term.topology_key.clone(), pods: selector(term.label_selector.as_ref()), namespaces, by_labels }
    }

    fn matches(&self, pod: &PodInfo, namespaces: &Store<Namespace>) -> bool {
        let labels = || namespaces.get("", &pod.namespace).and_then(|namespace| namespace.metadata.labels.clone()).unwrap_or_default();
        let named = self.namespaces.contains(&pod.namespace) || self.by_labels.as_ref().is_some_and(|selector| selector.matches(&labels()));
        let empty = Default::default();
        named && self.pods.matches(pod.pod.metadata.labels.as_ref().unwrap_or(&empty))
    }
}

impl Terms {
    pub fn read(pod: &Pod) -> Terms {
        let own = pod.metadata.namespace.as_deref().unwrap_or("");
        let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return Terms::default() };
        let near = affinity.pod_affinity.as_ref().and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let apart = affinity.pod_anti_affinity.as_ref().and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let read = |terms: Option<&Vec<PodAffinityTerm>>| terms.into_iter().flatten().map(|term| Term::read(term, own)).collect();
        Terms { near: read(near), apart: read(apart) }
    }
}

/// A label of nodes and its value.
type Place = (String, String);

/// Where a pod's terms find others.
#[derive(Debug, Default)]
pub struct Found {
    near: HashMap<Place, usize>,
    apart: HashSet<Place>,
    /// Where pods run that would not have this one near.
    unwelcome: HashSet<Place>,
    /// The pod is the kind that it wants to be near.
    matches_itself: bool,
}

fn place(node: &NodeInfo, key: &str) -> Option<Place> {
    node.node.metadata.labels.as_ref()?.get(key).map(|value| (key.to_string(), value.clone()))
}

fn is_near(terms: &[Term], pod: &PodInfo, namespaces: &Store<Namespace>) -> bool {
    !terms.is_empty() && terms.iter().all(|term| term.matches(pod, namespaces))
}

/// Looks at all pods once.
pub fn pre_filter<'n>(pod: &PodInfo, nodes: impl Iterator<Item = &'n NodeInfo>, namespaces: &Store<Namespace>) -> Found {
    let mut found = Found { matches_itself: is_near(&pod.terms.near, pod, namespaces), ..Found::default() };
    let has_terms = !pod.terms.near.is_empty() || !pod.terms.apart.is_empty();
    for node in nodes.filter(|node| has_terms || node.apart > 0) {
        for other in node.pods.values().filter(|other| has_terms || !other.terms.apart.is_empty()) {
            if is_near(&pod.terms.near, other, namespaces) {
                pod.terms.near.iter().filter_map(|term| place(node, &term.key)).for_each(|place| *found.near.entry(place).or_default() += 1);
            }
            let apart = pod.terms.apart.iter().filter(|term| term.matches(other, namespaces));
            found.apart.extend(apart.filter_map(|term| place(node, &term.key)));
            let unwelcome = other.terms.apart.iter().filter(|term| term.matches(pod, namespaces));
            found.unwelcome.extend(unwelcome.filter_map(|term| place(node, &term.key)));
        }
    }
    found
}

/// Why the pod's or others' terms keep it off the node.
pub fn filter(pod: &PodInfo, found: &Found, node: &NodeInfo) -> Result<(), Rejection> {
    let places: Option<Vec<Place>> = pod.terms.near.iter().map(|term| place(node, &term.key)).collect();
    let near = places.is_some_and(|places| places.iter().all(|place| found.near.contains_key(place)) || found.near.is_empty() && found.matches_itself);
    if !near {
        return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
    }
    if pod.terms.apart.iter().filter_map(|term| place(node, &term.key)).any(|place| found.apart.contains(&place)) {
        return Err(Rejection::new("node(s) didn't match pod anti-affinity rules"));
    }
    let labels = node.node.metadata.labels.iter().flatten();
    if !found.unwelcome.is_empty() && labels.map(|(key, value)| (key.clone(), value.clone())).any(|place| found.unwelcome.contains(&place)) {
        return Err(Rejection::new("node(s) didn't satisfy existing pods anti-affinity rules"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::Event;
    use serde_json::Value;

    use super::*;
    use crate::cache::Cache;

    fn pod(name: &str, namespace: &str, app: &str, affinity: Value) -> Arc<PodInfo> {
        let meta = json!({"name": name, "uid": name, "namespace": namespace, "labels": {"app": app}});
        Arc::new(PodInfo::new(Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": {"containers": [], "affinity": affinity}})).unwrap())))
    }

    fn terms(kind: &str, app: &str, key: &str, rest: Value) -> Value {
        let mut term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}});
        rest.as_object().into_iter().flatten().for_each(|(key, value)| term[key] = value.clone());
        json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    }

    #[test]
    fn near_and_apart() {
        let mut cache = Cache::default();
        for (name, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
            cache.put_node(Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "labels": {"zone": zone, "host": name}}})).unwrap()));
        }
        cache.put_pod("n1", pod("leader", "ns", "leader", Value::Null));
        cache.put_pod("n3", pod("shy", "ns", "shy", terms("podAntiAffinity", "loud", "zone", json!({}))));
        let mut namespaces = Store::default();
        namespaces.hear(Event::Apply(Arc::new(serde_json::from_value::<Namespace>(json!({"metadata": {"name": "ns", "labels": {"team": "x"}}})).unwrap())));
        let (no_near, no_apart) = ("node(s) didn't match pod affinity rules", "node(s) didn't match pod anti-affinity rules");
        let unwelcome = "node(s) didn't satisfy existing pods anti-affinity rules";
        for (namespace, app, affinity, expected) in [
            ("ns", "x", Value::Null, ["", "", ""]),
            ("ns", "x", terms("podAffinity", "leader", "host", json!({})), ["", no_near, no_near]),
            ("ns", "x", terms("podAffinity", "leader", "zone", json!({})), ["", "", no_near]),
            ("ns", "x", terms("podAffinity", "leader", "rack", json!({})), [no_near; 3]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({})), [no_near; 3]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({"namespaces": ["ns"]})), ["", "", no_near]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({"namespaceSelector": {"matchLabels": {"team": "x"}}})), ["", "", no_near]),
            ("other", "x", terms("podAffinity", "leader", "zone", json!({"namespaceSelector": {"matchLabels": {"team": "y"}}})), [no_near; 3]),
            ("ns", "first", terms("podAffinity", "first", "zone", json!({})), ["", "", ""]),
            ("ns", "x", terms("podAntiAffinity", "leader", "zone", json!({})), [no_apart, no_apart, ""]),
            ("ns", "x", terms("podAntiAffinity", "leader", "host", json!({})), [no_apart, "", ""]),
            ("ns", "loud", Value::Null, ["", "", unwelcome]),
            ("other", "loud", Value::Null, ["", "", ""]),
        ] {
            let pod = pod("new", namespace, app, affinity.clone());
            let found = pre_filter(&pod, cache.nodes(), &namespaces);
            let reasons: Vec<String> = cache.nodes().map(|node| filter(&pod, &found, node).err().map(|r| r.reasons.join(", ")).unwrap_or_default()).collect();
            assert_eq!(reasons, expected, "{namespace} {app} {affinity}");
        }
    }
}
