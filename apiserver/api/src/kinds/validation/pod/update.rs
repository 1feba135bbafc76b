//! What an update may change of a pod. Follows `pkg/apis/core/validation/validation.go` (ValidatePodUpdate,
//! ValidatePodEphemeralContainersUpdate).
//!
//! Invariant: but for images, a shorter deadline, more tolerations, fewer gates (and more selectors while gated) a spec stays as it is.

use super::{MIRROR, Options, annotations, pod_and_spec, tolerations};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{invalid_shown, range};
use crate::kinds::validation::diff;
use crate::machinery::quote::go_quote;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// PUT or PATCH of a pod.
pub fn validate(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let options = Options::of_pod(Some(old));
    pod_and_spec(new, &options, &mut errors);
    annotations::validate_update(
        new,
        old,
        &options,
        &Path::new("metadata").child("annotations"),
        &mut errors,
    );
    // stopped early or not, what it found is all that is said
    let _ = spec_update(new.at("spec"), old.at("spec"), &options, &mut errors);
    errors
}

/// Stopped early: what comes after would only repeat what was said.
struct Stop;

fn spec_update(
    new: &Value,
    old: &Value,
    options: &Options,
    errors: &mut Errors,
) -> Result<(), Stop> {
    let path = Path::new("spec");
    for list in ["containers", "initContainers"] {
        images(new.list(list), old.list(list), &path.child(list), errors)?;
    }
    deadline(new, old, &path.child("activeDeadlineSeconds"), errors)?;
    tolerations::only_added(
        new.list("tolerations"),
        old.list("tolerations"),
        options,
        &path.child("tolerations"),
        errors,
    );
    only_fewer_gates(
        new.list("schedulingGates"),
        old.list("schedulingGates"),
        &path.child("schedulingGates"),
        errors,
    );
    if new == old {
        return Ok(());
    }
    let mut munged = new.clone();
    forget_what_may_change(&mut munged, old);
    if !old.list("schedulingGates").is_empty() {
        gated(&mut munged, old, &path, errors);
    }
    if munged != *old {
        let difference = diff::unified(
            &internal::pretty(old, "core.PodSpec"),
            &internal::pretty(&munged, "core.PodSpec"),
        );
        errors.forbidden(
            &path,
            format!("pod updates may not change fields other than {UPDATABLE}\n{difference}"),
        );
    }
    Ok(())
}

fn images(new: &[Value], old: &[Value], path: &Path, errors: &mut Errors) -> Result<(), Stop> {
    if new.len() != old.len() {
        errors.forbidden(path, "pod updates may not add or remove containers");
        return Err(Stop);
    }
    for (index, container) in new.iter().enumerate() {
        let at = path.index(index);
        if container.text("image").is_empty() {
            errors.required(&at.child("image"), "");
        }
        super::containers::image_has_no_blanks(container, &at, errors);
    }
    Ok(())
}

/// A deadline may be set, or come sooner.
fn deadline(new: &Value, old: &Value, path: &Path, errors: &mut Errors) -> Result<(), Stop> {
    match (
        new.int_ptr("activeDeadlineSeconds"),
        old.int_ptr("activeDeadlineSeconds"),
    ) {
        (Some(now), _) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            range(now, 0, i32::MAX.into(), path, errors);
            Err(Stop)
        }
        (Some(now), Some(before)) if now > before => {
            errors.invalid(path, now, "must be less than or equal to previous value");
            Err(Stop)
        }
        (None, Some(_)) => {
            errors.invalid(
                path,
                Value::Null,
                "must not update from a positive integer to nil value",
            );
            Ok(())
        }
        _ => Ok(()),
    }
}

fn only_fewer_gates(new: &[Value], old: &[Value], path: &Path, errors: &mut Errors) {
    for (index, gate) in new.iter().enumerate() {
        let name = gate.text("name");
        if !old.iter().any(|had| had.text("name") == name) {
            errors.forbidden(
                &path.index(index).child("name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            );
        }
    }
}

fn set(map: &mut Map<String, Value>, name: &str, value: Option<&Value>) {
    match value {
        Some(value) => {
            map.insert(name.into(), value.clone());
        }
        None => {
            map.remove(name);
        }
    }
}

fn forget_what_may_change(munged: &mut Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        for (container, before) in munged
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .zip(old.list(list))
        {
            if let Some(container) = container.as_object_mut() {
                set(container, "image", before.some("image"));
            }
        }
    }
    let grace = munged.int_ptr("terminationGracePeriodSeconds");
    let Some(spec) = munged.as_object_mut() else {
        return;
    };
    for name in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        set(spec, name, old.some(name));
    }
    if old.int("terminationGracePeriodSeconds") < 0 && grace == Some(1) {
        set(
            spec,
            "terminationGracePeriodSeconds",
            old.some("terminationGracePeriodSeconds"),
        );
    }
}

/// A pod that waits for its gates may be narrowed to fewer nodes.
fn gated(munged: &mut Value, old: &Value, path: &Path, errors: &mut Errors) {
    if munged.some("nodeSelector") != old.some("nodeSelector") {
        let kept = old
            .entries("nodeSelector")
            .all(|(key, value)| munged.at("nodeSelector").some(key) == Some(value));
        if !kept {
            let shown = munged
                .some("nodeSelector")
                .map_or("null".into(), Value::to_string);
            invalid_shown(
                &shown,
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
                &path.child("nodeSelector"),
                errors,
            );
        }
        if let Some(spec) = munged.as_object_mut() {
            set(spec, "nodeSelector", old.some("nodeSelector"));
        }
    }
    let (now, before) = (
        munged.at("affinity").some("nodeAffinity"),
        old.at("affinity").some("nodeAffinity"),
    );
    if now == before {
        return;
    }
    node_affinity(
        now.unwrap_or(&Value::Null),
        before,
        &path.child("affinity").child("nodeAffinity"),
        errors,
    );
    let others = ["podAffinity", "podAntiAffinity"]
        .iter()
        .any(|name| munged.at("affinity").some(name).is_some());
    let Some(spec) = munged.as_object_mut() else {
        return;
    };
    if spec.contains_key("affinity") && old.some("affinity").is_none() && !others {
        spec.remove("affinity");
    } else if let Some(affinity) = spec
        .entry("affinity")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    {
        set(affinity, "nodeAffinity", before);
    }
}

fn node_affinity(new: &Value, old: Option<&Value>, path: &Path, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const TERM: &str = "core.NodeSelectorTerm";
    let Some(old) = old.and_then(|old| old.some(REQUIRED)) else {
        return;
    };
    let (now, before) = (
        new.at(REQUIRED).list("nodeSelectorTerms"),
        old.list("nodeSelectorTerms"),
    );
    let path = path.child(REQUIRED);
    let path = path.child("nodeSelectorTerms");
    if !before.is_empty() && before.len() != now.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let shown = internal::json_given(new.at(REQUIRED).some("nodeSelectorTerms"), TERM);
        return invalid_shown(&shown, why, &path, errors);
    }
    for (index, (term, had)) in now.iter().zip(before).enumerate() {
        if !only_adds(term, had) {
            invalid_shown(
                &internal::json(term, TERM),
                "only additions are allowed (no mutations or deletions)",
                &path.index(index),
                errors,
            );
        }
    }
}

fn only_adds(new: &Value, old: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    // a term without requirements matches nothing: any addition widens it
    let matched_nothing = lists.iter().all(|list| old.list(list).is_empty());
    if matched_nothing && lists.iter().any(|list| !new.list(list).is_empty()) {
        return false;
    }
    lists
        .iter()
        .all(|list| new.list(list).starts_with(old.list(list)))
}

/// `/ephemeralcontainers`: more of them, none changed.
pub fn ephemeral_containers(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let options = Options::of_pod(Some(old));
    pod_and_spec(new, &options, &mut errors);
    annotations::validate_update(
        new,
        old,
        &options,
        &Path::new("metadata").child("annotations"),
        &mut errors,
    );
    if old.at("metadata").at("annotations").some(MIRROR).is_some() {
        let mut errors = Errors::default();
        errors.forbidden(
            &Path::new(""),
            "static pods do not support ephemeral containers",
        );
        return errors;
    }
    let path = Path::new("spec.ephemeralContainers");
    let now = new.at("spec").list("ephemeralContainers");
    for had in old.at("spec").list("ephemeralContainers") {
        let name = had.text("name");
        match now.iter().rfind(|container| container.text("name") == name) {
            None => errors.forbidden(
                &path,
                format!(
                    "existing ephemeral containers {} may not be removed\n",
                    go_quote(name)
                ),
            ),
            Some(container) if container != had => {
                let shown = |of: &Value| internal::pretty(of, "core.EphemeralContainer");
                let difference = diff::unified(&shown(had), &shown(container));
                errors.forbidden(
                    &path,
                    format!(
                        "existing ephemeral containers {} may not be changed\n{difference}",
                        go_quote(name)
                    ),
                );
            }
            Some(_) => {}
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(change: impl Fn(&mut Value)) -> Value {
        let mut pod = super::super::tests::pod();
        change(&mut pod["spec"]);
        pod
    }

    fn said(new: &Value, old: &Value) -> Vec<String> {
        validate(new, old)
            .0
            .iter()
            .map(|error| error.to_string().lines().next().unwrap_or("").to_string())
            .collect()
    }

    #[test]
    fn changes() {
        let refused =
            format!("spec: Forbidden: pod updates may not change fields other than {UPDATABLE}");
        let plain = pod(|_| {});
        for (new, old, wanted) in [
            (pod(|s| s["containers"][0]["image"] = "j".into()), plain.clone(), vec![]),
            (pod(|s| s["hostname"] = "h".into()), plain.clone(), vec![refused.clone()]),
            (pod(|s| s["activeDeadlineSeconds"] = 5.into()), plain.clone(), vec![]),
            (
                pod(|s| s["activeDeadlineSeconds"] = 5.into()),
                pod(|s| s["activeDeadlineSeconds"] = 4.into()),
                vec!["spec.activeDeadlineSeconds: Invalid value: 5: must be less than or equal to previous value".to_string()],
            ),
            (
                plain.clone(),
                pod(|s| s["activeDeadlineSeconds"] = 4.into()),
                vec!["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value".to_string()],
            ),
            (pod(|s| s["terminationGracePeriodSeconds"] = 1.into()), pod(|s| s["terminationGracePeriodSeconds"] = (-5).into()), vec![]),
            (pod(|s| s["nodeSelector"] = json!({"a": "b"})), plain.clone(), vec![refused]),
            (pod(|s| s["nodeSelector"] = json!({"a": "b"})), pod(|s| s["schedulingGates"] = json!([{"name": "g"}])), vec![]),
            (
                pod(|s| s["schedulingGates"] = json!([{"name": "g"}])),
                plain,
                vec!["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'".to_string()],
            ),
        ] {
            assert_eq!(said(&new, &old), wanted);
        }
    }

    #[test]
    fn a_difference_is_shown() {
        let errors = validate(&pod(|s| s["hostname"] = "h".into()), &pod(|_| {}));
        assert!(
            errors
                .message()
                .contains("\n- \"Hostname\": \"\",\n+ \"Hostname\": \"h\",\n"),
            "{}",
            errors.message()
        );
    }

    #[test]
    fn ephemeral() {
        let old = pod(
            |s| s["ephemeralContainers"] = json!([{"name": "d", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]),
        );
        let mut new = old.clone();
        new["spec"]["ephemeralContainers"][0]["image"] = "j".into();
        assert!(
            ephemeral_containers(&new, &old)
                .message()
                .starts_with("spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed\n@@")
        );
        assert!(ephemeral_containers(&old, &old).is_empty());
    }
}
