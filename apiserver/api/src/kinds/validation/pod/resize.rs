//! `/resize`: cpu and memory of running containers. Follows `pkg/apis/core/validation/validation.go` (ValidatePodResize) and
//! `pkg/registry/core/pod/strategy.go` (podResizeStrategy).
//!
//! Invariant: nothing but amounts of cpu and memory changes, none is taken away, and the class of service stays.

use super::{MIRROR, Options, is_sidecar, pod_and_spec};
use crate::kinds::prelude::*;

const LISTS: [&str; 2] = ["containers", "initContainers"];
const CHANGEABLE: [&str; 2] = ["cpu", "memory"];

/// Everything but resources and resize policies is as it was; containers of other names are left for validation to refuse.
pub fn keep_all_else(new: &mut Value, old: &Value) {
    let lists_differ = |new: &Value| {
        LISTS
            .iter()
            .any(|list| new.at("spec").list(list).len() != old.at("spec").list(list).len())
    };
    if lists_differ(new) {
        return;
    }
    let mut spec = old.at("spec").clone();
    if let (Some(spec), Some(given)) = (
        spec.as_object_mut(),
        new.get_mut("spec").and_then(Value::as_object_mut),
    ) {
        carry(given, spec, "resources");
        for list in LISTS {
            containers(given.remove(list), spec, list);
        }
    }
    new["spec"] = spec;
    if let Some(status) = old.some("status") {
        new["status"] = status.clone();
    }
}

fn carry(from: &mut Map<String, Value>, to: &mut Map<String, Value>, name: &str) {
    match from.remove(name) {
        Some(value) => {
            to.insert(name.into(), value);
        }
        None => {
            to.remove(name);
        }
    }
}

fn containers(given: Option<Value>, spec: &mut Map<String, Value>, list: &str) {
    let Some(Value::Array(mut given)) = given else {
        return;
    };
    let kept = spec.get_mut(list).and_then(Value::as_array_mut);
    let same = kept.as_ref().is_some_and(|kept| {
        kept.iter()
            .zip(&given)
            .all(|(a, b)| a.text("name") == b.text("name"))
    });
    if !same {
        spec.insert(list.into(), Value::Array(given));
        return;
    }
    for (kept, given) in kept.into_iter().flatten().zip(&mut given) {
        if let (Some(kept), Some(given)) = (kept.as_object_mut(), given.as_object_mut()) {
            carry(given, kept, "resources");
            carry(given, kept, "resizePolicy");
        }
    }
}

pub fn validate(new: &Value, old: &Value, qos: fn(&Value) -> &'static str) -> Errors {
    let mut errors = Errors::default();
    pod_and_spec(new, &Options::of_pod(Some(old)), &mut errors);
    let alone = |why: &str| {
        let mut errors = Errors::default();
        errors.forbidden(&Path::NAMELESS, why);
        errors
    };
    if old.at("metadata").at("annotations").some(MIRROR).is_some() {
        return alone("static pods cannot be resized");
    }
    if old.at("spec").at("os").text("name") == "windows" {
        return alone("windows pods cannot be resized");
    }
    let path = Path::new("spec");
    let class = old
        .at("status")
        .text_ptr("qosClass")
        .unwrap_or_else(|| qos(old));
    if class != qos(new) {
        errors.invalid(
            &path,
            new.at("status").text("qosClass"),
            "Pod QOS Class may not change as a result of resizing",
        );
    }
    if old
        .at("status")
        .list("containerStatuses")
        .iter()
        .find(|status| status.at("state").some("running").is_some())
        .is_some_and(|status| status.some("resources").is_none())
    {
        errors.forbidden(&path, "Pod running on node without support for resize");
    }
    amounts(new.at("spec"), old.at("spec"), &path, &mut errors);
    errors
}

fn amounts(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let mut munged = new.clone();
    let set = |spec: &Value| {
        ["requests", "limits"].iter().any(|list| {
            spec.at("resources")
                .map(list)
                .is_some_and(|list| !list.is_empty())
        })
    };
    if set(old) || set(new) {
        pod_level(new, old, &mut munged, path, errors);
    }
    let before = errors.len();
    same_containers(new, old, path, errors);
    if errors.len() > before {
        return;
    }
    for list in ["initContainers", "containers"] {
        for (index, (now, had)) in new.list(list).iter().zip(old.list(list)).enumerate() {
            let at = path.child(list);
            let at = at.index(index);
            none_removed(
                now.at("resources"),
                had.at("resources"),
                "resource",
                &at.child("resources"),
                errors,
            );
        }
    }
    for list in LISTS {
        for (index, (now, had)) in munged
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .zip(old.list(list))
            .enumerate()
        {
            let changed = now != had;
            forget_compute(now, had);
            // claims of devices that are new are not looked at, only those that were there
            if let Some(resources) = now.get_mut("resources").and_then(Value::as_object_mut) {
                resources.remove("claims");
            }
            let at = path.child(list);
            if now != had {
                match list {
                    "containers" => {
                        errors.forbidden(path, "only cpu and memory resources are mutable")
                    }
                    _ => errors.forbidden(
                        &at.index(index),
                        "only cpu and memory resources for init or sidecar containers are mutable",
                    ),
                }
            }
            if list == "initContainers" && changed && !is_sidecar(now) {
                for _ in now
                    .list("resizePolicy")
                    .iter()
                    .filter(|policy| policy.text("restartPolicy") == "RestartContainer")
                {
                    errors.forbidden(&at.index(index), "non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
                }
            }
        }
    }
    if errors.is_empty() && munged != *old {
        errors.forbidden(path, "only cpu and memory resources are mutable");
    }
}

fn pod_level(new: &Value, old: &Value, munged: &mut Value, path: &Path, errors: &mut Errors) {
    let at = path.child("resources");
    if old.some("resources").is_some() {
        if new.some("resources").is_none() {
            return errors.forbidden(&at, "pod-level resources cannot be removed");
        }
        none_removed(
            new.at("resources"),
            old.at("resources"),
            "pod-level resource",
            &at,
            errors,
        );
    }
    forget_compute(munged, old);
    if munged.some("resources") != old.some("resources") {
        errors.forbidden(
            path,
            "only cpu and memory resources are mutable at pod-level",
        );
    }
}

fn same_containers(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    for list in LISTS {
        let (now, before, at) = (new.list(list), old.list(list), path.child(list));
        if now.len() != before.len() {
            errors.forbidden(&at, format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (index, _) in now
            .iter()
            .zip(before)
            .enumerate()
            .filter(|(_, (now, had))| now.text("name") != had.text("name"))
        {
            errors.forbidden(
                &at.index(index).child("name"),
                format!("{list} may not be renamed or reordered on resize"),
            );
        }
    }
}

fn none_removed(new: &Value, old: &Value, what: &str, path: &Path, errors: &mut Errors) {
    for list in ["requests", "limits"] {
        if old
            .entries(list)
            .any(|(name, _)| new.at(list).some(name).is_none())
        {
            errors.forbidden(
                &path.child(list),
                format!("{what} {list} cannot be removed"),
            );
        }
    }
}

/// Puts the old amounts of cpu and memory in the place of the new ones.
fn forget_compute(owner: &mut Value, old: &Value) {
    let Some(owner) = owner.as_object_mut() else {
        return;
    };
    let before = old.at("resources");
    if let Some(resources) = owner.get_mut("resources").and_then(Value::as_object_mut) {
        for list in ["requests", "limits"] {
            let had = before.at(list);
            // what was taken away is put back to what may change
            if had.is_object() && resources.get(list).is_none_or(Value::is_null) {
                resources.insert(list.into(), json!({}));
            }
            if let Some(amounts) = resources.get_mut(list).and_then(Value::as_object_mut) {
                for name in CHANGEABLE {
                    match had.some(name) {
                        Some(amount) => amounts.insert(name.into(), amount.clone()),
                        None => amounts.remove(name),
                    };
                }
                if amounts.is_empty() {
                    resources.remove(list);
                }
            }
        }
        if resources.is_empty() && old.some("resources").is_none() {
            owner.remove("resources");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        let pod = |resources: Value| {
            let mut pod = super::super::tests::pod();
            pod["spec"]["containers"][0]["resources"] = resources;
            pod
        };
        let old = pod(json!({"requests": {"cpu": "1"}}));
        let qos: fn(&Value) -> &'static str = |_| "Burstable";
        for (new, wanted) in [
            (pod(json!({"requests": {"cpu": "2"}})), vec![]),
            (
                pod(json!({"requests": {"cpu": "2", "memory": "1Gi"}})),
                vec![],
            ),
            (
                pod(json!({})),
                vec![
                    "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                ],
            ),
            (
                pod(json!({"requests": {"cpu": "1", "ephemeral-storage": "1"}})),
                vec!["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                pod(json!({"requests": {"cpu": "2"}, "claims": [{"name": "x"}]})),
                vec![
                    "spec.containers[0].resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty",
                ],
            ),
        ] {
            assert_eq!(validate(&new, &old, qos).texts(), wanted);
        }
        let fickle: fn(&Value) -> &'static str = |pod| {
            if pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1" {
                "Burstable"
            } else {
                "Guaranteed"
            }
        };
        assert!(
            validate(&pod(json!({"requests": {"cpu": "2"}})), &old, fickle)
                .message()
                .contains("Pod QOS Class may not change")
        );
    }

    #[test]
    fn only_resources_are_taken() {
        let old = super::super::tests::pod();
        let mut new = old.clone();
        new["spec"]["hostname"] = "h".into();
        new["spec"]["containers"][0]["image"] = "j".into();
        new["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
        keep_all_else(&mut new, &old);
        assert_eq!(new["spec"]["containers"][0]["image"], "i");
        assert_eq!(
            new["spec"]["containers"][0]["resources"]["limits"]["cpu"],
            "1"
        );
        assert!(new["spec"].get("hostname").is_none());
    }
}
