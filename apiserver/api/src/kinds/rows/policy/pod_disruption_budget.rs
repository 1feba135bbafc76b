//! PodDisruptionBudgets: how many must stay, or how many may go, not both.
//!
//! Follows `pkg/apis/policy/validation/validation.go` and `pkg/registry/policy/poddisruptionbudget/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    invalid_shown, is_good, label_selector, nonnegative, one_of,
};
use crate::kinds::validation::conditions::conditions;
use crate::kinds::validation::workload::{at_most_all, count_or_percent};

pub const STRATEGY: Strategy = Strategy {
    validate: |budget| spec(budget.at("spec"), false),
    validate_update: |new, old| {
        let selector = old.at("spec").some("selector");
        spec(
            new.at("spec"),
            !is_good(|errors| label_selector(selector, false, &Path::new(""), errors)),
        )
    },
    validate_status_update: |new, _| status(new.at("status")),
    ..Strategy::DEFAULT
};

fn spec(spec: &Value, odd_values: bool) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("spec");
    if spec.some("minAvailable").is_some() && spec.some("maxUnavailable").is_some() {
        let shown = internal::json(spec, "policy.PodDisruptionBudgetSpec");
        invalid_shown(
            &shown,
            "minAvailable and maxUnavailable cannot be both set",
            &path,
            &mut errors,
        );
    }
    for name in ["minAvailable", "maxUnavailable"] {
        if let Some(count) = spec.some(name) {
            count_or_percent(count, &path.child(name), &mut errors);
            at_most_all(count, &path.child(name), &mut errors);
        }
    }
    label_selector(
        spec.some("selector"),
        odd_values,
        &path.child("selector"),
        &mut errors,
    );
    if let Some(policy) = spec.text_ptr("unhealthyPodEvictionPolicy") {
        one_of(
            policy,
            &["AlwaysAllow", "IfHealthyBudget"],
            &path.child("unhealthyPodEvictionPolicy"),
            &mut errors,
        );
    }
    errors
}

fn status(status: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("status");
    conditions(
        status.list("conditions"),
        &path.child("conditions"),
        &mut errors,
    );
    for name in [
        "disruptionsAllowed",
        "currentHealthy",
        "desiredHealthy",
        "expectedPods",
    ] {
        nonnegative(status.int(name), &path.child(name), &mut errors);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_both_bounds() {
        for (given, said) in [
            (json!({"minAvailable": "50%"}), "[]"),
            (
                json!({"minAvailable": "101%"}),
                "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"maxUnavailable": -1}),
                "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"minAvailable": 1, "maxUnavailable": 1}),
                "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":null,\"MaxUnavailable\":1,\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
            ),
        ] {
            assert_eq!(spec(&given, false).message(), said);
        }
    }
}
