//! Network policies: what is planned, as tables, and what is enforced, by connections between real network namespaces.

mod cases;
mod changes;
mod cost;
mod life;
mod planned;
mod town;
mod truth;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use skiff_watching::typed::Wire;

use super::{super::view::ObjectName, read::Policy};

/// A policy of a namespace, as an API server would tell of it.
pub fn policy(namespace: &str, name: &str, spec: &Value) -> (ObjectName, Policy) {
    let object = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
    let object = NetworkPolicy::from_value(&object).unwrap();
    (ObjectName::new(namespace, name), Policy::of(&object))
}

/// YAML as JSON.
pub fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}
