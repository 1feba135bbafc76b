//! StatefulSets. Follows `pkg/apis/apps/validation/validation.go` (ValidateStatefulSetSpec) and
//! `pkg/registry/apps/statefulset/strategy.go`.
//!
//! Invariant: of the spec only counts, the template and the strategies change.

use crate::kinds::prelude::*;
use crate::kinds::rows::apps::defaults;
use crate::kinds::rows::core::pod::disabled;
use crate::kinds::validation::checks::{dns_label, invalid_shown, labels, nonnegative, one_of};
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::workload::{amount_of, at_most_all, count_or_percent};
use crate::kinds::validation::{pod, workload};
use crate::machinery::object_meta;
use crate::machinery::selector::Selector;

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::stateful_set,
    prepare_for_create: |new| prepare(new, None),
    prepare_for_update: |new, old| prepare(new, Some(old)),
    validate: |new| {
        let mut errors = Errors::default();
        let how = How {
            options: Options::of(None),
            skip_template: false,
            update: false,
        };
        spec(new.at("spec"), &how, &Path::new("spec"), &mut errors);
        errors
    },
    validate_update,
    validate_status_update,
    warnings,
    ..Strategy::DEFAULT
};

/// Behind a feature gate that is off: dropped, unless it was there before.
fn prepare(new: &mut Value, old: Option<&Value>) {
    let rolling = |set: &Value| {
        set.at("spec")
            .at("updateStrategy")
            .at("rollingUpdate")
            .some("maxUnavailable")
            .is_some()
    };
    if !old.is_some_and(rolling)
        && let Some(rolling) = new
            .pointer_mut("/spec/updateStrategy/rollingUpdate")
            .and_then(Value::as_object_mut)
    {
        rolling.remove("maxUnavailable");
    }
    disabled::drop_from_template(&mut new["spec"], old.map(|old| old.at("spec")));
}

fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let mut out = workload::template_warnings(new, old, false);
    for (index, claim) in new
        .at("spec")
        .list("volumeClaimTemplates")
        .iter()
        .enumerate()
    {
        let path = Path::new("spec.volumeClaimTemplates");
        let at = path.index(index);
        pod::warnings::claim_spec(
            claim.at("spec"),
            &if old.is_some() { at.child("Spec") } else { at },
            &mut out,
        );
    }
    if new.at("spec").int("revisionHistoryLimit") < 0 {
        out.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".into());
    }
    out
}

/// What a check leaves out.
struct How {
    options: Options,
    /// The old template was bad already.
    skip_template: bool,
    /// The claims and the service's name are fixed: an update does not look at them again.
    update: bool,
}

fn spec(spec: &Value, how: &How, path: &Path, errors: &mut Errors) {
    match spec.text("podManagementPolicy") {
        "" => errors.required(&path.child("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => errors.invalid(
            &path.child("podManagementPolicy"),
            other,
            "must be 'OrderedReady' or 'Parallel'",
        ),
    }
    update_strategy(
        spec.at("updateStrategy"),
        &path.child("updateStrategy"),
        errors,
    );
    if let Some(policy) = spec.some("persistentVolumeClaimRetentionPolicy") {
        for name in ["whenDeleted", "whenScaled"] {
            one_of(
                policy.text(name),
                &["Retain", "Delete"],
                &path
                    .child("persistentVolumeClaimRetentionPolicy")
                    .child(name),
                errors,
            );
        }
    }
    if !how.update {
        for (index, claim) in spec.list("volumeClaimTemplates").iter().enumerate() {
            pod::claim_spec(
                claim.at("spec"),
                pod::ClaimOptions::default(),
                &path
                    .child("volumeClaimTemplates")
                    .index(index)
                    .child("spec"),
                errors,
            );
        }
    }
    workload::counts(spec, &["replicas", "minReadySeconds"], path, errors);
    nonnegative(
        spec.at("ordinals").int("start"),
        &path.child("ordinals.start"),
        errors,
    );
    let service = spec.text("serviceName");
    if !how.update && !service.is_empty() {
        dns_label(service, &path.child("serviceName"), errors);
    }
    match workload::selector(spec, "statefulset", path, errors) {
        None => invalid_shown(
            &workload::shown_selector(spec.some("selector")),
            "",
            &path.child("selector"),
            errors,
        ),
        Some(selector) => template(spec, &selector, how, &path.child("template"), errors),
    }
    workload::runs_for_ever(
        spec.at("template"),
        "StatefulSet",
        &path.child("template"),
        errors,
    );
}

fn update_strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("rollingUpdate");
    match (strategy.text("type"), strategy.some("rollingUpdate")) {
        ("", _) => errors.required(path, ""),
        ("OnDelete", Some(rolling)) => {
            let shown = internal::json(rolling, "apps.RollingUpdateStatefulSetStrategy");
            invalid_shown(
                &shown,
                "only allowed for updateStrategy 'RollingUpdate'",
                &at,
                errors,
            );
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        ("RollingUpdate", Some(rolling)) => rolling_update(rolling, &at, errors),
        _ => invalid_shown(
            &internal::json(strategy, "apps.StatefulSetUpdateStrategy"),
            "must be 'RollingUpdate' or 'OnDelete'",
            path,
            errors,
        ),
    }
}

fn rolling_update(rolling: &Value, path: &Path, errors: &mut Errors) {
    nonnegative(rolling.int("partition"), &path.child("partition"), errors);
    if let Some(unavailable) = rolling.some("maxUnavailable") {
        let at = path.child("maxUnavailable");
        count_or_percent(unavailable, &at, errors);
        if amount_of(unavailable) == 0 {
            errors.invalid(&at, unavailable.clone(), "cannot be 0");
        }
        at_most_all(unavailable, &at, errors);
    }
}

fn template(spec: &Value, selector: &Selector, how: &How, path: &Path, errors: &mut Errors) {
    let given = spec.at("template");
    workload::template_matches(selector, given, path, errors);
    let (metadata, inner) = (given.at("metadata"), given.at("spec"));
    if !how.skip_template {
        let changed = !inner.text("subdomain").is_empty()
            || !inner.text("hostname").is_empty()
            || !spec.list("volumeClaimTemplates").is_empty();
        if changed {
            pod::validate_template(
                &as_the_controller_makes_it(spec),
                &how.options,
                path,
                errors,
            );
        } else {
            pod::validate_template(given, &how.options, path, errors);
        }
    }
    let notes = path.child("annotations");
    labels(metadata, "labels", &path.child("labels"), errors);
    object_meta::annotations(metadata.some("annotations"), &notes, errors);
    pod::validate_annotations(metadata, inner, &how.options, &notes, errors);
}

/// The controller names the host and mounts the claims: what the template says of them is not looked at.
fn as_the_controller_makes_it(spec: &Value) -> Value {
    let mut template = spec.at("template").clone();
    let claims: Vec<&str> = spec
        .list("volumeClaimTemplates")
        .iter()
        .map(|claim| claim.at("metadata").text("name"))
        .collect();
    if let Some(inner) = template.get_mut("spec").and_then(Value::as_object_mut) {
        inner.remove("subdomain");
        inner.remove("hostname");
        let mut volumes: Vec<Value> = Vec::new();
        for name in &claims {
            if !volumes.iter().any(|volume| volume.text("name") == *name) {
                volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
            }
        }
        let own = inner.remove("volumes");
        volumes.extend(
            own.as_ref()
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter(|volume| !claims.contains(&volume.text("name")))
                .cloned(),
        );
        inner.insert("volumes".into(), volumes.into());
    }
    template
}

/// What an update may change.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let (now, before) = (new.at("spec"), old.at("spec"));
    let mut how = How {
        options: Options::of(Some(before.at("template"))),
        skip_template: false,
        update: true,
    };
    let mut old_errors = Errors::default();
    spec(before, &how, &Path::new(""), &mut old_errors);
    how.skip_template = !old_errors.is_empty();
    let path = Path::new("spec");
    spec(now, &how, &path, &mut errors);
    let names = |spec: &Value| {
        spec.as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let fixed = names(now)
        .into_iter()
        .chain(names(before))
        .filter(|name| !CHANGEABLE.contains(&name.as_str()));
    if fixed
        .into_iter()
        .any(|name| now.some(&name) != before.some(&name))
    {
        errors.forbidden(
            &path,
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
    errors
}

fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let (status, path) = (new.at("status"), Path::new("status"));
    const COUNTS: &[&str] = &[
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    workload::counts(status, COUNTS, &path, &mut errors);
    workload::parts_of_replicas(
        status,
        &[
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        ],
        &path,
        &mut errors,
    );
    workload::available_are_ready(status, "status.readyReplicas", &path, &mut errors);
    workload::collisions_only_grow(status, old.at("status"), &path, &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(change: impl Fn(&mut Value)) -> Value {
        let pod = json!({"terminationGracePeriodSeconds": 30, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]});
        let mut set = json!({"metadata": {"name": "a"}, "spec": {"podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}});
        change(&mut set["spec"]);
        set
    }

    #[test]
    fn specs() {
        for (set, wanted) in [
            (set(|_| {}), vec![]),
            (
                set(|s| s["podManagementPolicy"] = "x".into()),
                vec![
                    "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'",
                ],
            ),
            (
                set(|s| {
                    s["updateStrategy"] =
                        json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}})
                }),
                vec![
                    "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'",
                ],
            ),
            (
                set(|s| s["template"]["spec"]["hostname"] = "Not Looked At".into()),
                vec![],
            ),
            (
                set(|s| s["volumeClaimTemplates"] = json!([])),
                vec!["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
            ),
            (
                set(|s| s["template"]["metadata"]["labels"] = json!({"a": "c"})),
                vec![
                    "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
                ],
            ),
        ] {
            assert_eq!((STRATEGY.validate)(&set).texts(), wanted);
        }
    }

    #[test]
    fn updates() {
        let old = set(|_| {});
        assert!(validate_update(&set(|s| s["replicas"] = 3.into()), &old).is_empty());
        assert!(
            validate_update(&set(|s| s["serviceName"] = "x".into()), &old)
                .message()
                .contains("updates to statefulset spec for fields other than")
        );
    }
}
