//! RuntimeClass: a pod has the overhead of its class, and goes where the class can run.
//!
//! Invariant: no pod has an overhead that its class does not name. Follows `plugin/pkg/admission/runtimeclass/admission.go` and
//! `pkg/util/tolerations/tolerations.go`.

use async_trait::async_trait;
use serde_json::{Map, Value};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{meta::child_mut, read::Read, status::Status};

use super::{
    amounts,
    plugin::{Attributes, Operation, Plugin},
};

pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&[Operation::Create], "", "pods")
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(class) = class_of(attributes)? else {
            return Ok(());
        };
        set_overhead(attributes, &class)?;
        set_scheduling(attributes, &class)
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let Some(pod) = &attributes.object else {
            return Ok(());
        };
        let given = pod.at("spec").get("overhead");
        let class = class_of(attributes)?;
        match class.as_ref().and_then(|class| class.get("overhead")) {
            Some(overhead)
                if amounts::read(overhead.at("podFixed"))?
                    != amounts::read(given.unwrap_or(&Value::Null))? =>
            {
                Err(attributes.forbidden(OTHER_OVERHEAD))
            }
            None if given.is_some() || attributes.emptied.has(&["spec", "overhead"]) => Err(attributes.forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")),
            _ => Ok(()),
        }
    }
}

const OTHER_OVERHEAD: &str =
    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// The pod's class.
fn class_of(attributes: &Attributes<'_>) -> Result<Option<Value>, Status> {
    let Some(name) = attributes
        .object
        .as_ref()
        .and_then(|pod| pod.at("spec").text_ptr("runtimeClassName"))
    else {
        return Ok(None);
    };
    match attributes.look_up("runtimeclasses.node.k8s.io", "", name)? {
        Some(class) => Ok(Some(class)),
        None => Err(attributes.forbidden(format_args!(
            "pod rejected: RuntimeClass {name} not found",
            name = GoQuoted(&name)
        ))),
    }
}

fn set_overhead(attributes: &mut Attributes<'_>, class: &Value) -> Result<(), Status> {
    let Some(overhead) = class.get("overhead") else {
        return Ok(());
    };
    let wanted = overhead.at("podFixed");
    let given = match &attributes.object {
        Some(pod) => amounts::read(pod.at("spec").at("overhead"))?,
        None => return Ok(()),
    };
    if !given.is_empty() && given != amounts::read(wanted)? {
        return Err(attributes.forbidden(OTHER_OVERHEAD));
    }
    if let Some(pod) = attributes.object.as_mut().filter(|_| wanted.is_object()) {
        child_mut(pod, "spec").insert("overhead".into(), wanted.clone());
    }
    Ok(())
}

fn set_scheduling(attributes: &mut Attributes<'_>, class: &Value) -> Result<(), Status> {
    let Some(scheduling) = class.get("scheduling") else {
        return Ok(());
    };
    let none = Map::new();
    let given = |pod: &Value| {
        pod.at("spec")
            .map("nodeSelector")
            .cloned()
            .unwrap_or_default()
    };
    let mut selector = attributes.object.as_ref().map(given).unwrap_or_default();
    for (key, wanted) in scheduling.map("nodeSelector").unwrap_or(&none) {
        let text = |value: &Value| value.as_str().unwrap_or("").to_string();
        if let Some(had) = selector.get(key).filter(|had| *had != wanted) {
            return Err(attributes.forbidden(format_args!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(wanted),
                text(had)
            )));
        }
        selector.insert(key.clone(), wanted.clone());
    }
    let Some(pod) = attributes.object.as_mut() else {
        return Ok(());
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let tolerations = merged(
        [
            list(pod.at("spec").at("tolerations")),
            list(scheduling.at("tolerations")),
        ]
        .concat(),
    );
    let spec = child_mut(pod, "spec");
    for (name, value) in [
        ("nodeSelector", Value::from(selector)),
        ("tolerations", tolerations.into()),
    ] {
        if value.as_object().is_none_or(|map| !map.is_empty())
            && value.as_array().is_none_or(|list| !list.is_empty())
        {
            spec.insert(name.into(), value);
        }
    }
    Ok(())
}

/// Tolerations without those that another one includes; of equal ones the first stays.
fn merged(all: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::with_capacity(all.len());
    for (at, one) in all.iter().enumerate() {
        let later = all[at + 1..]
            .iter()
            .any(|other| other != one && includes(other, one));
        if !later && !kept.iter().any(|other| includes(other, one)) {
            kept.push(one.clone());
        }
    }
    kept
}

/// Whether `wide` tolerates all that `narrow` does.
fn includes(wide: &Value, narrow: &Value) -> bool {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or("").to_string();
    let differ = |name: &str| text(wide, name) != text(narrow, name);
    if wide == narrow {
        return true;
    }
    let every_key = text(wide, "key").is_empty() && text(wide, "operator") == "Exists";
    if differ("key") && !every_key || differ("effect") && !text(wide, "effect").is_empty() {
        return false;
    }
    if text(wide, "effect") == "NoExecute"
        && let Some(longest) = wide.int_ptr("tolerationSeconds")
        && narrow
            .int_ptr("tolerationSeconds")
            .is_none_or(|seconds| seconds > longest)
    {
        return false;
    }
    match text(wide, "operator").as_str() {
        "" | "Equal" => text(narrow, "operator") == "Equal" && !differ("value"),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_that_others_include_are_left_out() {
        let exists = json!({"key": "a", "operator": "Exists"});
        let equal = json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"});
        let brief = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let long = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
        let all = json!({"operator": "Exists"});
        for (given, wanted) in [
            (vec![&equal, &exists], vec![&exists]),
            (vec![&exists, &equal, &exists], vec![&exists]),
            (vec![&brief, &long], vec![&long]),
            (vec![&equal, &brief], vec![&equal, &brief]),
            (vec![&equal, &brief, &all], vec![&all]),
        ] {
            let own = |list: Vec<&Value>| list.into_iter().cloned().collect::<Vec<_>>();
            assert_eq!(merged(own(given)), own(wanted));
        }
    }
}
