//! ReplicaSets. Follows `pkg/apis/apps/validation/validation.go` (ValidateReplicaSetSpec) and `pkg/registry/apps/replicaset/strategy.go`.
//!
//! Invariant: the selector never changes.

use crate::kinds::prelude::*;
use crate::kinds::rows::apps::defaults;
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::workload;

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::replica_set,
    validate: |new| validate(new, None),
    validate_update: |new, old| validate(new, Some(old)),
    validate_status_update: |new, _| validate_status(new.at("status"), &["terminatingReplicas"]),
    ..defaults::TEMPLATED
};

fn validate(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (new.at("spec"), Path::new("spec"));
    let options = Options::of(old.map(|old| old.at("spec").at("template")));
    workload::counts(spec, &["replicas", "minReadySeconds"], &path, &mut errors);
    let selector = workload::selector(spec, "deployment", &path, &mut errors);
    workload::replica_template(spec, selector.as_ref(), &options, &path, &mut errors);
    if let Some(old) = old {
        workload::same_selector(spec, old.at("spec"), &path, &mut errors);
    }
    errors
}

/// The status of a kind that counts replicas as ReplicaSets do; `more` are counts that come last.
pub fn validate_status(status: &Value, more: &[&str]) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("status");
    workload::counts(
        status,
        &[
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "observedGeneration",
        ],
        &path,
        &mut errors,
    );
    workload::counts(status, more, &path, &mut errors);
    workload::parts_of_replicas(
        status,
        &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
        &path,
        &mut errors,
    );
    workload::available_are_ready(status, "readyReplicas", &path, &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        for (status, wanted) in [
            (
                json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 1}),
                vec![],
            ),
            (
                json!({"replicas": -1}),
                vec!["status.replicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                json!({"replicas": 2, "availableReplicas": 1}),
                vec![
                    "status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas",
                ],
            ),
        ] {
            let said: Vec<String> = validate_status(&status, &["terminatingReplicas"])
                .0
                .iter()
                .map(ToString::to_string)
                .filter(|s| !s.contains("fullyLabeled") || status["replicas"] != -1)
                .collect();
            assert_eq!(said.first().map(String::as_str), wanted.first().copied());
        }
    }

    #[test]
    fn specs() {
        let errors = validate(
            &json!({"spec": {"replicas": -1}}),
            Some(&json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}})),
        );
        let said: Vec<String> = errors.texts();
        assert_eq!(
            said[0],
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
        assert_eq!(said[1], "spec.selector: Required value");
        assert_eq!(
            said.last().unwrap(),
            "spec.selector: Invalid value: null: field is immutable"
        );
    }
}
