//! HorizontalPodAutoscalers: what may be scaled, between which counts, on what and how fast.
//!
//! Follows `pkg/apis/autoscaling/validation/validation.go` and what
//! `pkg/registry/autoscaling/horizontalpodautoscaler/strategy.go` lets an update leave as it was.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{nonnegative, required_segment};
use crate::kinds::validation::pod::resources::{container_resource_name, quantity};

const MAX_PERIOD_SECONDS: i64 = 1800;
const MAX_STABILIZATION_SECONDS: i64 = 3600;

/// What is asked of the version that a reference to an object names.
#[derive(Clone, Copy)]
struct Reference {
    no_group: bool,
    any_version: bool,
}

/// What an update may leave as it was, though it would be refused anew.
struct Options {
    least_replicas: i64,
    target: Reference,
    object: Reference,
}

impl Options {
    fn of(new: &Value, old: Option<&Value>) -> Options {
        let target = new.at("scaleTargetRef");
        let before = old.map(|old| old.at("scaleTargetRef"));
        let same = before.is_some_and(|before| {
            before.text("apiVersion") == target.text("apiVersion")
                && before.text("kind") == target.text("kind")
        });
        let object = Reference {
            no_group: true,
            any_version: false,
        };
        let wrong_before = old.is_some_and(|old| {
            old.list("metrics").iter().any(|metric| {
                metric.text("type") == "Object"
                    && metric
                        .some("object")
                        .is_some_and(|of| wrong_version(of.at("describedObject"), object).is_some())
            })
        });
        Options {
            least_replicas: if old.and_then(|old| old.int_ptr("minReplicas")) == Some(0) {
                0
            } else {
                1
            },
            target: Reference {
                no_group: !same && target.text("kind") == "ReplicationController",
                any_version: same,
            },
            object: Reference {
                any_version: wrong_before,
                ..object
            },
        }
    }
}

pub fn validate(autoscaler: &Value) -> Errors {
    let new = autoscaler.at("spec");
    spec(new, &Options::of(new, None))
}

pub fn validate_update(new: &Value, old: &Value) -> Errors {
    spec(
        new.at("spec"),
        &Options::of(new.at("spec"), Some(old.at("spec"))),
    )
}

pub fn validate_status(autoscaler: &Value) -> Errors {
    let (status, path) = (autoscaler.at("status"), Path::new("status"));
    let mut errors = Errors::default();
    for name in ["currentReplicas", "desiredReplicas"] {
        nonnegative(status.int(name), &path.child(name), &mut errors);
    }
    errors
}

fn spec(spec: &Value, options: &Options) -> Errors {
    let path = Path::new("spec");
    let mut errors = Errors::default();
    let (least, most) = (spec.int_ptr("minReplicas"), spec.int("maxReplicas"));
    if let Some(least) = least.filter(|least| *least < options.least_replicas) {
        errors.invalid(
            &path.child("minReplicas"),
            least,
            format!(
                "must be greater than or equal to {}",
                options.least_replicas
            ),
        );
    }
    let max_path = path.child("maxReplicas");
    match most {
        0 => errors.required(&max_path, "must be set and greater than 0"),
        ..0 => errors.invalid(&max_path, most, "must be greater than or equal to 1"),
        _ => {}
    }
    if least.is_some_and(|least| most < least) {
        errors.invalid(
            &max_path,
            most,
            "must be greater than or equal to `minReplicas`",
        );
    }
    reference(
        spec.at("scaleTargetRef"),
        options.target,
        &path.child("scaleTargetRef"),
        &mut errors,
    );
    let (metrics, metrics_path) = (spec.list("metrics"), path.child("metrics"));
    for (index, one) in metrics.iter().enumerate() {
        metric(one, options.object, &metrics_path.index(index), &mut errors);
    }
    if least == Some(0)
        && !metrics
            .iter()
            .any(|metric| matches!(metric.text("type"), "Object" | "External"))
    {
        errors.forbidden(&metrics_path, "must specify at least one Object or External metric to support scaling to zero replicas");
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(of) = spec.at("behavior").some(direction) {
            rules(of, &path.child("behavior").child(direction), &mut errors);
        }
    }
    errors
}

/// Why the version of a referred object is none.
fn wrong_version(of: &Value, asked: Reference) -> Option<String> {
    let version = of.text("apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match version.matches('/').count() {
        _ if asked.any_version => None,
        2.. => Some(format!("unexpected GroupVersion string: {version}")),
        _ if group.is_empty() && !asked.no_group => {
            Some("apiVersion must specify API group".into())
        }
        _ => None,
    }
}

fn reference(of: &Value, asked: Reference, path: &Path, errors: &mut Errors) {
    for name in ["kind", "name"] {
        required_segment(of.text(name), &path.child(name), errors);
    }
    if let Some(why) = wrong_version(of, asked) {
        errors.invalid(&path.child("apiVersion"), of.text("apiVersion"), why);
    }
}

/// The sources that a metric may have, in the order in which upstream looks at them: type, field, and how the source is checked.
type Source = (
    &'static str,
    &'static str,
    fn(&Value, Reference, &Path, &mut Errors),
);

const SOURCES: [Source; 5] = [
    ("Object", "object", object),
    ("External", "external", |of, _, path, errors| {
        external(of, path, errors)
    }),
    ("Pods", "pods", |of, _, path, errors| pods(of, path, errors)),
    ("Resource", "resource", |of, _, path, errors| {
        resource(of, path, errors)
    }),
    (
        "ContainerResource",
        "containerResource",
        |of, _, path, errors| container_resource(of, path, errors),
    ),
];
const TYPES: [&str; 5] = [
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];

fn metric(metric: &Value, asked: Reference, path: &Path, errors: &mut Errors) {
    let (kind, type_path) = (metric.text("type"), path.child("type"));
    if kind.is_empty() {
        errors.required(&type_path, "must specify a metric source type");
    }
    let expected = SOURCES.iter().find(|(name, ..)| *name == kind);
    if expected.is_none() {
        errors.not_supported(&type_path, kind, &TYPES);
    }
    let present: Vec<&Source> = SOURCES
        .iter()
        .filter(|(_, field, _)| metric.some(field).is_some())
        .collect();
    if let Some((_, field, check)) = present.first() {
        check(metric.at(field), asked, &path.child(field), errors);
    }
    match expected {
        Some((_, field, _)) if metric.some(field).is_none() => errors.required(
            &path.child(field),
            "must populate information for the given metric source",
        ),
        Some(_) => {}
        None => errors.not_supported(&type_path, kind, &TYPES),
    }
    if present.len() > 1 {
        for (_, field, _) in present.iter().filter(|(name, ..)| *name != kind) {
            errors.forbidden(
                &path.child(field),
                "must populate the given metric source only",
            );
        }
    }
}

fn object(of: &Value, asked: Reference, path: &Path, errors: &mut Errors) {
    reference(
        of.at("describedObject"),
        asked,
        &path.child("describedObject"),
        errors,
    );
    identifier(of.at("metric"), &path.child("metric"), errors);
    target(of.at("target"), &path.child("target"), errors);
    if !has_either(of.at("target"), "value") {
        errors.required(
            &path.child("target").child("averageValue"),
            "must set either a target value or averageValue",
        );
    }
}

fn external(of: &Value, path: &Path, errors: &mut Errors) {
    identifier(of.at("metric"), &path.child("metric"), errors);
    let (to, target_path) = (of.at("target"), path.child("target"));
    target(to, &target_path, errors);
    if !has_either(to, "value") {
        errors.required(
            &target_path.child("averageValue"),
            "must set either a target value for metric or a per-pod target",
        );
    }
    if to.some("value").is_some() && to.some("averageValue").is_some() {
        errors.forbidden(
            &target_path.child("value"),
            "may not set both a target value for metric and a per-pod target",
        );
    }
}

fn pods(of: &Value, path: &Path, errors: &mut Errors) {
    identifier(of.at("metric"), &path.child("metric"), errors);
    target(of.at("target"), &path.child("target"), errors);
    if of.at("target").some("averageValue").is_none() {
        errors.required(
            &path.child("target").child("averageValue"),
            "must specify a positive target averageValue",
        );
    }
}

fn container_resource(of: &Value, path: &Path, errors: &mut Errors) {
    let name_path = path.child("name");
    match of.text("name") {
        "" => errors.required(&name_path, "must specify a resource name"),
        name => container_resource_name(name, &name_path, errors),
    }
    let container_path = path.child("container");
    match of.text("container") {
        "" => errors.required(&container_path, "must specify a container"),
        name => checks::dns_label(name, &container_path, errors),
    }
    utilization(of.at("target"), &path.child("target"), errors);
}

fn resource(of: &Value, path: &Path, errors: &mut Errors) {
    if of.text("name").is_empty() {
        errors.required(&path.child("name"), "must specify a resource name");
    }
    utilization(of.at("target"), &path.child("target"), errors);
}

/// The target of a resource: a share or a value.
fn utilization(to: &Value, path: &Path, errors: &mut Errors) {
    target(to, path, errors);
    if !has_either(to, "averageUtilization") {
        errors.required(
            &path.child("averageUtilization"),
            "must set either a target raw value or a target utilization",
        );
    }
    if to.some("averageUtilization").is_some() && to.some("averageValue").is_some() {
        errors.forbidden(
            &path.child("averageValue"),
            "may not set both a target raw value and a target utilization",
        );
    }
}

/// A target has an average value, or what is named.
fn has_either(target: &Value, name: &str) -> bool {
    target.some("averageValue").is_some() || target.some(name).is_some()
}

fn target(target: &Value, path: &Path, errors: &mut Errors) {
    let (kind, type_path) = (target.text("type"), path.child("type"));
    if kind.is_empty() {
        errors.required(&type_path, "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        errors.invalid(
            &type_path,
            kind,
            "must be either Utilization, Value, or AverageValue",
        );
    }
    for name in ["value", "averageValue"] {
        if let Some(value) = target
            .some(name)
            .filter(|value| quantity(value).sign() != 1)
        {
            errors.invalid(&path.child(name), value.clone(), "must be positive");
        }
    }
    if let Some(percent) = target
        .int_ptr("averageUtilization")
        .filter(|percent| *percent < 1)
    {
        errors.invalid(
            &path.child("averageUtilization"),
            percent,
            "must be greater than 0",
        );
    }
}

fn identifier(metric: &Value, path: &Path, errors: &mut Errors) {
    match metric.text("name") {
        "" => errors.required(&path.child("name"), "must specify a metric name"),
        name => checks::segment(name, &path.child("name"), errors),
    }
}

fn rules(rules: &Value, path: &Path, errors: &mut Errors) {
    let window_path = path.child("stabilizationWindowSeconds");
    if let Some(window) = rules.int_ptr("stabilizationWindowSeconds") {
        if window < 0 {
            errors.invalid(
                &window_path,
                window,
                "must be greater than or equal to zero",
            );
        }
        if window > MAX_STABILIZATION_SECONDS {
            errors.invalid(
                &window_path,
                window,
                format!("must be less than or equal to {MAX_STABILIZATION_SECONDS}"),
            );
        }
    }
    if let Some(policy) = rules.text_ptr("selectPolicy") {
        checks::one_of(
            policy,
            &["Disabled", "Max", "Min"],
            &path.child("selectPolicy"),
            errors,
        );
    }
    let (policies, policies_path) = (rules.list("policies"), path.child("policies"));
    if policies.is_empty() {
        errors.required(&policies_path, "must specify at least one Policy");
    }
    for (index, one) in policies.iter().enumerate() {
        policy(one, &policies_path.index(index), errors);
    }
    if let Some(tolerance) = rules
        .some("tolerance")
        .filter(|tolerance| quantity(tolerance).sign() < 0)
    {
        errors.invalid(
            &path.child("tolerance"),
            tolerance.clone(),
            "must be greater than or equal to 0",
        );
    }
}

fn policy(policy: &Value, path: &Path, errors: &mut Errors) {
    checks::one_of(
        policy.text("type"),
        &["Percent", "Pods"],
        &path.child("type"),
        errors,
    );
    for name in ["value", "periodSeconds"] {
        if policy.int(name) <= 0 {
            errors.invalid(
                &path.child(name),
                policy.int(name),
                "must be greater than zero",
            );
        }
    }
    let period = policy.int("periodSeconds");
    if period > MAX_PERIOD_SECONDS {
        errors.invalid(
            &path.child("periodSeconds"),
            period,
            format!("must be less than or equal to {MAX_PERIOD_SECONDS}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(change: impl FnOnce(&mut Value)) -> String {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
        let mut object = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}, "minReplicas": 1, "maxReplicas": 3, "metrics": [cpu]}});
        change(&mut object["spec"]);
        validate(&object).message()
    }

    #[test]
    fn counts_targets_and_metrics() {
        assert_eq!(said(|_| {}), "[]");
        assert_eq!(
            said(|spec| spec["maxReplicas"] = 0.into()),
            "[spec.maxReplicas: Required value: must be set and greater than 0, spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`]"
        );
        assert_eq!(
            said(|spec| spec["scaleTargetRef"]["apiVersion"] = "v1".into()),
            "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group"
        );
        assert_eq!(
            said(|spec| spec["scaleTargetRef"] =
                json!({"kind": "ReplicationController", "name": "a"})),
            "[]"
        );
        assert_eq!(
            said(|spec| spec["metrics"][0]["type"] = "Pods".into()),
            "spec.metrics[0].pods: Required value: must populate information for the given metric source"
        );
        assert_eq!(
            said(
                |spec| spec["metrics"][0]["pods"] = json!({"metric": {"name": "a"}, "target": {"type": "AverageValue", "averageValue": "1"}})
            ),
            "spec.metrics[0].pods: Forbidden: must populate the given metric source only"
        );
        assert_eq!(
            said(
                |spec| spec["behavior"] = json!({"scaleUp": {"policies": [{"type": "x", "value": 0, "periodSeconds": 1801}]}})
            ),
            "[spec.behavior.scaleUp.policies[0].type: Unsupported value: \"x\": supported values: \"Percent\", \"Pods\", spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero, spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800]"
        );
    }

    #[test]
    fn an_update_may_leave_what_would_be_refused_anew() {
        let with = |version: &str, least: i64| {
            json!({"spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": version}, "minReplicas": least, "maxReplicas": 3,
                "metrics": [{"type": "External", "external": {"metric": {"name": "a"}, "target": {"type": "Value", "value": "1"}}}]
            }})
        };
        assert!(validate_update(&with("v1", 0), &with("v1", 0)).is_empty());
        assert_eq!(
            validate_update(&with("v1", 0), &with("apps/v1", 1)).len(),
            2
        );
    }
}
