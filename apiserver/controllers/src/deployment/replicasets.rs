//! A Deployment's ReplicaSets: which is the new one, and sums over them.
//!
//! Invariant: the new set is the oldest whose template equals the Deployment's, the hash label aside.
//! Follows pkg/controller/deployment/util/deployment_util.go.

use std::{cmp::Ordering, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_podspec::parts::{HasSpec, HasStatus, Meta};

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// All sets of a Deployment.
pub struct Sets {
    /// The one with the present template.
    pub new: Option<ReplicaSet>,
    /// All others, oldest first.
    pub old: Vec<ReplicaSet>,
}

impl Sets {
    /// Sorts out which is which.
    pub fn of(deployment: &Deployment, sets: Vec<Arc<ReplicaSet>>) -> Self {
        let mut sets: Vec<ReplicaSet> = sets.into_iter().map(Arc::unwrap_or_clone).collect();
        sets.sort_by(by_age);
        let template = deployment.spec.as_ref().map(|s| &s.template);
        let new = sets
            .iter()
            .position(|set| same_template(template, set.spec().template.as_ref()));
        let new = new.map(|index| sets.remove(index));
        Self { new, old: sets }
    }

    /// New and old together.
    pub fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new)
    }

    /// Those that should have pods.
    pub fn active(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.all().filter(|set| replicas(set) > 0)
    }
}

/// Oldest first; of the same second, by name.
pub fn by_age(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    let age = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|t| t.0);
    age(a)
        .cmp(&age(b))
        .then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

/// By revision, then by age.
pub fn by_revision(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    match (revision(a), revision(b)) {
        (Some(x), Some(y)) if x != y => x.cmp(&y),
        _ => by_age(a, b),
    }
}

/// Whether two templates are alike but for the hash label.
pub fn same_template(a: Option<&PodTemplateSpec>, b: Option<&PodTemplateSpec>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    if a.spec != b.spec {
        return false;
    }
    let without_hash = |template: &PodTemplateSpec| {
        let mut meta = template.metadata.clone().unwrap_or_default();
        meta.labels.get_or_insert_default().remove(HASH_LABEL);
        meta.annotations.get_or_insert_default();
        meta.creation_timestamp = None;
        meta
    };
    without_hash(a) == without_hash(b)
}

/// How many pods the set should have.
pub fn replicas(set: &ReplicaSet) -> i32 {
    set.spec().replicas.unwrap_or(1)
}

/// How many it has.
pub fn actual(set: &ReplicaSet) -> i32 {
    set.status().replicas
}

/// How many of them are available.
pub fn available(set: &ReplicaSet) -> i32 {
    set.status().available_replicas.unwrap_or(0)
}

/// The value of an annotation.
pub fn annotation<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.annotation(key)
}

/// The set's revision; 0 when it has none, `None` when it is not a number.
pub fn revision(set: &ReplicaSet) -> Option<i64> {
    annotation(set, REVISION).map_or(Some(0), |text| text.parse().ok())
}

/// Sets one annotation; true when it was another.
pub fn annotate(meta: &mut ObjectMeta, key: &str, value: String) -> bool {
    let annotations = meta.annotations.get_or_insert_default();
    if annotations.get(key) == Some(&value) {
        return false;
    }
    annotations.insert(key.into(), value);
    true
}

/// The set that a change of scale goes to when nothing is being rolled out: the only active one, or the newest when none is.
pub fn active_or_latest(sets: &Sets) -> Option<&ReplicaSet> {
    let mut active = sets.active();
    match (active.next(), active.next()) {
        (Some(only), None) => Some(only),
        (None, _) => sets
            .new
            .as_ref()
            .or_else(|| sets.old.iter().max_by(|a, b| by_age(a, b))),
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use k8s_openapi::{
        api::apps::v1::{ReplicaSetSpec, ReplicaSetStatus},
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    };

    /// A set for tests: created at a second, with wanted and available replicas.
    pub fn set(name: &str, created: i64, replicas: i32, available: i32) -> ReplicaSet {
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(name.into()),
                creation_timestamp: Some(Time(jiff::Timestamp::from_second(created).unwrap())),
                ..Default::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                ..Default::default()
            }),
            status: Some(ReplicaSetStatus {
                replicas,
                available_replicas: Some(available),
                ..Default::default()
            }),
        }
    }

    #[test]
    fn where_a_change_of_scale_goes() {
        let name = |sets: &Sets| active_or_latest(sets).and_then(|s| s.metadata.name.clone());
        let case = |new: Option<ReplicaSet>, old: Vec<ReplicaSet>| name(&Sets { new, old });
        assert_eq!(case(None, vec![]), None);
        assert_eq!(
            case(Some(set("new", 3, 0, 0)), vec![set("a", 1, 0, 0)]).as_deref(),
            Some("new")
        );
        assert_eq!(
            case(None, vec![set("a", 1, 0, 0), set("b", 2, 0, 0)]).as_deref(),
            Some("b")
        );
        assert_eq!(
            case(Some(set("new", 3, 0, 0)), vec![set("a", 1, 2, 2)]).as_deref(),
            Some("a")
        );
        assert_eq!(
            case(Some(set("new", 3, 1, 0)), vec![set("a", 1, 2, 2)]),
            None
        );
    }
}
