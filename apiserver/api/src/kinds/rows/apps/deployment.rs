//! Deployments. Follows `pkg/apis/apps/validation/validation.go` (ValidateDeploymentSpec) and `pkg/registry/apps/deployment/strategy.go`.
//!
//! Invariant: the selector never changes, and an update of all pods at once is either possible or refused.

use crate::kinds::prelude::*;
use crate::kinds::rows::apps::defaults;
use crate::kinds::validation::checks::{invalid_or_null, nonnegative};
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::workload;
use crate::kinds::validation::workload::{
    amount_of, at_most_all, count_or_percent, unsupported_shown,
};

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::deployment,
    prepare_for_status_update: |new, old| match old.at("metadata").some("labels") {
        Some(labels) => new["metadata"]["labels"] = labels.clone(),
        None => {
            new.meta_mut().remove("labels");
        }
    },
    validate: |new| validate(new, None),
    validate_update: |new, old| validate(new, Some(old)),
    validate_status_update,
    ..defaults::TEMPLATED
};

fn validate(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (new.at("spec"), Path::new("spec"));
    let options = Options::of(old.map(|old| old.at("spec").at("template")));
    nonnegative(spec.int("replicas"), &path.child("replicas"), &mut errors);
    let selector = workload::selector(spec, "deployment", &path, &mut errors);
    workload::replica_template(spec, selector.as_ref(), &options, &path, &mut errors);
    strategy(spec.at("strategy"), &path.child("strategy"), &mut errors);
    workload::counts(
        spec,
        &["minReadySeconds", "revisionHistoryLimit"],
        &path,
        &mut errors,
    );
    if let Some(deadline) = spec.int_ptr("progressDeadlineSeconds") {
        let at = path.child("progressDeadlineSeconds");
        nonnegative(deadline, &at, &mut errors);
        if deadline <= spec.int("minReadySeconds") {
            invalid_or_null(
                spec.some("progressDeadlineSeconds"),
                "must be greater than minReadySeconds",
                &at,
                &mut errors,
            );
        }
    }
    if let Some(old) = old {
        workload::same_selector(spec, old.at("spec"), &path, &mut errors);
    }
    errors
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("rollingUpdate");
    match (strategy.text("type"), strategy.some("rollingUpdate")) {
        ("Recreate", Some(_)) => errors.forbidden(
            &at,
            "may not be specified when strategy `type` is 'Recreate'",
        ),
        ("Recreate", None) => {}
        ("RollingUpdate", None) => {
            errors.required(&at, "this should be defaulted and never be nil")
        }
        ("RollingUpdate", Some(rolling)) => rolling_update(rolling, &at, errors),
        _ => unsupported_shown(
            &internal::json(strategy, "apps.DeploymentStrategy"),
            &["Recreate", "RollingUpdate"],
            path,
            errors,
        ),
    }
}

fn rolling_update(rolling: &Value, path: &Path, errors: &mut Errors) {
    let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
    let at = path.child("maxUnavailable");
    count_or_percent(unavailable, &at, errors);
    count_or_percent(surge, &path.child("maxSurge"), errors);
    if amount_of(unavailable) == 0 && amount_of(surge) == 0 {
        errors.invalid(
            &at,
            unavailable.clone(),
            "may not be 0 when `maxSurge` is 0",
        );
    }
    at_most_all(unavailable, &at, errors);
}

fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let (status, path) = (new.at("status"), Path::new("status"));
    const COUNTS: &[&str] = &[
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    workload::counts(status, COUNTS, &path, &mut errors);
    workload::parts_of_replicas(
        status,
        &["updatedReplicas", "readyReplicas", "availableReplicas"],
        &path,
        &mut errors,
    );
    workload::available_are_ready(status, "readyReplicas", &path, &mut errors);
    workload::collisions_only_grow(status, old.at("status"), &path, &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies() {
        for (given, wanted) in [
            (
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}}),
                vec![],
            ),
            (
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}),
                vec![
                    "s.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
                ],
            ),
            (
                json!({"type": "Recreate", "rollingUpdate": {}}),
                vec![
                    "s.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
                ],
            ),
            (
                json!({"type": "x"}),
                vec![
                    "s: Unsupported value: {\"Type\":\"x\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\"",
                ],
            ),
        ] {
            let mut errors = Errors::default();
            strategy(&given, &Path::new("s"), &mut errors);
            assert_eq!(errors.texts(), wanted);
        }
    }

    #[test]
    fn statuses() {
        let status = |status: Value| json!({"status": status});
        let errors = validate_status_update(
            &status(json!({"replicas": 1, "readyReplicas": 2})),
            &status(json!({"collisionCount": 1})),
        );
        assert_eq!(
            errors.message(),
            "[status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas, status.collisionCount: Invalid value: 0: cannot be decremented]"
        );
    }
}
