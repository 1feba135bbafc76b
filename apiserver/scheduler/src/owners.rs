//! Services and controllers by which pods belong together.
//!
//! Follows `pkg/scheduler/framework/plugins/helper/spread.go`.

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{ReplicationController, Service},
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
        let mut labels: std::collections::BTreeMap<&str, &str> = Default::default();
        let has = |(key, value): (&String, &String)| pod.labels().get(key) == Some(value);
        for service in self.services.of_namespace(&pod.namespace) {
            let Some(selector) = service.spec().selector.as_ref() else {
                continue;
            };
            if selector.iter().all(has) {
                labels.extend(
                    selector
                        .iter()
                        .map(|(key, value)| (key.as_str(), value.as_str())),
                );
            }
        }
        let mut more: Vec<Requirement> = Vec::new();
        let owner = pod
            .pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true));
        if let Some(owner) = owner {
            match (owner.api_version.as_str(), owner.kind.as_str()) {
                ("v1", "ReplicationController") => {
                    let found = self
                        .controllers
                        .get(&pod.namespace, &owner.name)
                        .and_then(|found| found.spec().selector.as_ref());
                    labels.extend(
                        found
                            .into_iter()
                            .flatten()
                            .map(|(key, value)| (key.as_str(), value.as_str())),
                    );
                }
                ("apps/v1", "ReplicaSet") => {
                    let found = self
                        .sets
                        .get(&pod.namespace, &owner.name)
                        .and_then(|found| found.spec.as_ref());
                    more.extend(
                        found.into_iter().flat_map(|spec| {
                            selector(Some(&spec.selector)).requirements().to_vec()
                        }),
                    );
                }
                ("apps/v1", "StatefulSet") => {
                    let found = self
                        .stateful
                        .get(&pod.namespace, &owner.name)
                        .and_then(|found| found.spec.as_ref());
                    more.extend(
                        found.into_iter().flat_map(|spec| {
                            selector(Some(&spec.selector)).requirements().to_vec()
                        }),
                    );
                }
                _ => {}
            }
        }
        let selector = Selector::from_set(labels);
        if more.is_empty() {
            selector
        } else {
            Selector::all(
                selector
                    .requirements()
                    .iter()
                    .cloned()
                    .chain(more)
                    .collect(),
            )
        }
    }
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
