//! Services and controllers by which pods belong together.
//!
//! Follows `pkg/scheduler/framework/plugins/helper/spread.go`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, StatefulSet},
        core::v1::{ReplicationController, Service},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use skiff_api::machinery::selector::{Requirement, Selector};
use skiff_podspec::parts::HasSpec;

use crate::{pod::PodInfo, terms::selector, volumes::Store};

/// All of them.
#[derive(Default)]
pub struct Owners {
    pub services: Store<Service>,
    pub controllers: Store<ReplicationController>,
    pub sets: Store<ReplicaSet>,
    pub stateful: Store<StatefulSet>,
}

impl Owners {
    /// What the pods have in common that belong together with this one; everything when it belongs to nobody.
    pub fn selector_of(&self, pod: &PodInfo) -> Selector {
        let mut all: Vec<Requirement> = Vec::new();
        let has = |(key, value): (&String, &String)| pod.labels().get(key) == Some(value);
        let services = self.services.of_namespace(&pod.namespace);
        let mut labels: BTreeMap<&str, &str> = services
            .filter_map(|service| service.spec().selector.as_ref())
            .filter(|selector| selector.iter().all(has))
            .flat_map(|selector| selector.iter().map(texts))
            .collect();
        let mut owners = pod.pod.metadata.owner_references.iter().flatten();
        if let Some(owner) = owners.find(|owner| owner.controller == Some(true)) {
            let (namespace, name) = (pod.namespace.as_str(), owner.name.as_str());
            match (owner.api_version.as_str(), owner.kind.as_str()) {
                ("v1", "ReplicationController") => {
                    let found = self.controllers.get(namespace, name);
                    let found = found.and_then(|found| found.spec().selector.as_ref());
                    labels.extend(found.into_iter().flatten().map(texts));
                }
                ("apps/v1", "ReplicaSet") => {
                    let found = self
                        .sets
                        .get(namespace, name)
                        .and_then(|set| set.spec.as_ref());
                    all = found.map_or(all, |spec| requirements(&spec.selector));
                }
                ("apps/v1", "StatefulSet") => {
                    let found = self.stateful.get(namespace, name);
                    let found = found.and_then(|set| set.spec.as_ref());
                    all = found.map_or(all, |spec| requirements(&spec.selector));
                }
                _ => {}
            }
        }
        let selector = Selector::from_set(labels);
        if all.is_empty() {
            return selector;
        }
        Selector::all(selector.requirements().iter().cloned().chain(all).collect())
    }
}

fn texts<'a>((key, value): (&'a String, &'a String)) -> (&'a str, &'a str) {
    (key, value)
}

fn requirements(labels: &LabelSelector) -> Vec<Requirement> {
    selector(Some(labels)).requirements().to_vec()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{heard::Event, pod::tests::pod};

    #[test]
    fn what_belongs_together() {
        let mut owners = Owners::default();
        let service = |name: &str, selector| json!({"metadata": {"name": name, "namespace": "ns"}, "spec": {"selector": selector}});
        for service in [
            service("all", json!({"app": "a"})),
            service("other", json!({"app": "b"})),
            service("none", json!(null)),
        ] {
            owners.services.hear(Event::Apply(Arc::new(
                serde_json::from_value(service).unwrap(),
            )));
        }
        let set = json!({"metadata": {"name": "set", "namespace": "ns"}, "spec": {"selector": {"matchLabels": {"app": "a", "hash": "1"}}}});
        owners
            .sets
            .hear(Event::Apply(Arc::new(serde_json::from_value(set).unwrap())));
        let owner = |name: &str| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "u", "controller": true}]);
        for (labels, owner, wanted) in [
            (json!({"app": "a", "hash": "1"}), json!([]), "app=a"),
            (
                json!({"app": "a", "hash": "1"}),
                owner("set"),
                "app=a,app=a,hash=1",
            ),
            (
                json!({"app": "c", "hash": "1"}),
                owner("set"),
                "app=a,hash=1",
            ),
            (json!({"app": "c"}), owner("gone"), ""),
            (json!({}), json!([]), ""),
        ] {
            let pod = pod(
                "p",
                json!({"metadata": {"labels": labels, "ownerReferences": owner}}),
            );
            assert_eq!(
                owners.selector_of(&pod).to_string(),
                wanted,
                "{labels} {owner}"
            );
        }
    }
}
