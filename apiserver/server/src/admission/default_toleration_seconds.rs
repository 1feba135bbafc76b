//! DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise.
//!
//! Follows `plugin/pkg/admission/defaulttolerationseconds/admission.go`.

use async_trait::async_trait;
use serde_json::{Value, json};
use skiff_api::machinery::status::Status;

use super::plugin::{Attributes, Operation, Plugin};

const TAINTS: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];
const SECONDS: i64 = 300;

pub struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&[Operation::Create, Operation::Update], "", "pods")
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        if let Some(pod) = attributes.object.as_mut() {
            add(pod);
        }
        Ok(())
    }
}

fn add(pod: &mut Value) {
    let tolerations = pod["spec"]["tolerations"].as_array();
    let missing: Vec<&str> = TAINTS
        .into_iter()
        .filter(|taint| !tolerations.is_some_and(|list| list.iter().any(|t| speaks_of(t, taint))))
        .collect();
    if missing.is_empty() {
        return;
    }
    let Some(list) = pod["spec"].as_object_mut().and_then(|spec| {
        spec.entry("tolerations")
            .or_insert_with(|| json!([]))
            .as_array_mut()
    }) else {
        return;
    };
    for key in missing {
        list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}));
    }
}

/// The toleration is for this taint's key (or all keys), and for the effect NoExecute (or all).
fn speaks_of(toleration: &Value, taint: &str) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or("");
    (text("key").is_empty() || text("key") == taint) && matches!(text("effect"), "" | "NoExecute")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added() {
        for (given, added) in [
            (json!([]), vec![TAINTS[0], TAINTS[1]]),
            (
                json!([{"key": TAINTS[0], "operator": "Exists"}]),
                vec![TAINTS[1]],
            ),
            (
                json!([{"key": TAINTS[0], "effect": "NoSchedule"}]),
                vec![TAINTS[0], TAINTS[1]],
            ),
            (json!([{"operator": "Exists"}]), vec![]),
            (
                json!([{"operator": "Exists", "effect": "NoSchedule"}]),
                vec![TAINTS[0], TAINTS[1]],
            ),
        ] {
            let mut pod = json!({"spec": {"tolerations": given}});
            let before = given.as_array().unwrap().len();
            add(&mut pod);
            let keys: Vec<&str> = pod["spec"]["tolerations"].as_array().unwrap()[before..]
                .iter()
                .map(|t| t["key"].as_str().unwrap())
                .collect();
            assert_eq!(keys, added, "{given}");
        }
    }
}
