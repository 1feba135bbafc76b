//! Terms by which pods mean other pods: a topology key, labels, namespaces. Read once a pod.
//!
//! Invariant: a term that cannot be read selects nothing (the server lets none in). Follows `pkg/scheduler/framework/types.go` (AffinityTerm).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Namespace, PodAffinityTerm, WeightedPodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use skiff_api::machinery::selector::Selector;
use skiff_podspec::parts::HasSpec;
use skiff_podspec::pod::Pod;

use crate::volumes::Store;

/// A selector of labels; none selects nothing.
pub fn selector(selector: Option<&LabelSelector>) -> Selector {
    skiff_podspec::selector::of(selector).unwrap_or(Selector::Nothing)
}

/// One term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub key: String,
    pub pods: Selector,
    namespaces: BTreeSet<String>,
    /// Namespaces by their labels, besides those named.
    by_labels: Selector,
}

/// The namespaces that a term means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Names {
    All,
    These(BTreeSet<String>),
}

impl Names {
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Names::All => true,
            Names::These(names) => names.contains(namespace),
        }
    }
}

impl Term {
    fn read(term: &PodAffinityTerm, own: &str) -> Term {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(own.to_string());
        }
        let by_labels = selector(term.namespace_selector.as_ref());
        Term {
            key: term.topology_key.clone(),
            pods: selector(term.label_selector.as_ref()),
            namespaces,
            by_labels,
        }
    }

    /// The namespaces by name.
    pub fn names(&self, namespaces: &Store<Namespace>) -> Names {
        if self.by_labels.is_everything() {
            return Names::All;
        }
        let mut names = self.namespaces.clone();
        if self.by_labels != Selector::Nothing {
            let meant = namespaces
                .all()
                .filter(|namespace| self.by_labels.matches(&namespace.metadata.labels.as_ref()));
            names.extend(meant.filter_map(|namespace| namespace.metadata.name.clone()));
        }
        Names::These(names)
    }

    /// Whether the term means a pod of this namespace with these labels.
    pub fn matches(
        &self,
        own: &str,
        labels: &BTreeMap<String, String>,
        namespaces: &Store<Namespace>,
    ) -> bool {
        let labelled = || {
            let namespace = namespaces.get("", own);
            self.by_labels
                .matches(&namespace.and_then(|namespace| namespace.metadata.labels.as_ref()))
        };
        self.pods.matches(labels) && (self.namespaces.contains(own) || labelled())
    }
}

/// Why a pod names a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// It must be near those pods.
    Near,
    /// It must not be near them.
    Apart,
    /// It would rather be near them (a positive weight), or not (a negative one).
    Rather(i32),
}

/// A term and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    pub wish: Wish,
    pub term: Term,
}

/// All terms of a pod.
#[derive(Debug, Default)]
pub struct Terms {
    pub near: Vec<Term>,
    pub apart: Vec<Term>,
    /// With their weights; negative where the pod would rather not be near.
    pub rather: Vec<(i32, Term)>,
}

impl Terms {
    pub fn read(pod: &Pod) -> Terms {
        let own = pod.metadata.namespace.as_deref().unwrap_or("");
        let Some(affinity) = pod.spec().affinity.as_ref() else {
            return Terms::default();
        };
        let near = affinity.pod_affinity.clone().unwrap_or_default();
        let apart = affinity.pod_anti_affinity.clone().unwrap_or_default();
        let required = |terms: Option<Vec<PodAffinityTerm>>| {
            let terms = terms.iter().flatten();
            terms.map(|term| Term::read(term, own)).collect()
        };
        let weighted = |terms: Option<Vec<WeightedPodAffinityTerm>>, sign: i32| -> Vec<_> {
            let terms = terms.iter().flatten();
            terms
                .map(|w| (sign * w.weight, Term::read(&w.pod_affinity_term, own)))
                .collect()
        };
        let mut rather = weighted(near.preferred_during_scheduling_ignored_during_execution, 1);
        rather.extend(weighted(
            apart.preferred_during_scheduling_ignored_during_execution,
            -1,
        ));
        Terms {
            near: required(near.required_during_scheduling_ignored_during_execution),
            apart: required(apart.required_during_scheduling_ignored_during_execution),
            rather,
        }
    }

    /// Each with what it is for.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        let near = self.near.iter().map(|term| (Wish::Near, term));
        let apart = self.apart.iter().map(|term| (Wish::Apart, term));
        let rather = self
            .rather
            .iter()
            .map(|(weight, term)| (Wish::Rather(*weight), term));
        near.chain(apart).chain(rather).map(|(wish, term)| Held {
            wish,
            term: term.clone(),
        })
    }
}
