//! Leases: for how long, and how often they changed hands.
//!
//! Invariant: who should hold a lease is not kept, as long as nobody elects by it. Follows `pkg/apis/coordination/validation/validation.go` and
//! `pkg/registry/coordination/lease/strategy.go`.

use crate::kinds::prelude::*;

pub const STRATEGY: Strategy = Strategy {
    prepare_for_create: |lease| drop_election(lease, None),
    prepare_for_update: |new, old| drop_election(new, Some(old)),
    validate: spec,
    validate_update: |new, _| spec(new),
    ..Strategy::DEFAULT
};

fn drop_election(lease: &mut Value, old: Option<&Value>) {
    for name in ["strategy", "preferredHolder"] {
        if old.is_none_or(|old| old.at("spec").some(name).is_none()) {
            fill::spec(lease).remove(name);
        }
    }
}

fn spec(lease: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (lease.at("spec"), Path::new("spec"));
    if let Some(seconds) = spec
        .int_ptr("leaseDurationSeconds")
        .filter(|seconds| *seconds <= 0)
    {
        errors.invalid(
            &path.child("leaseDurationSeconds"),
            seconds,
            "must be greater than 0",
        );
    }
    if let Some(count) = spec.int_ptr("leaseTransitions").filter(|count| *count < 0) {
        errors.invalid(
            &path.child("leaseTransitions"),
            count,
            "must be greater than or equal to 0",
        );
    }
    if !spec.text("preferredHolder").is_empty() && spec.text("strategy").is_empty() {
        errors.forbidden(
            &path.child("preferredHolder"),
            "may only be specified if `strategy` is defined",
        );
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_transitions() {
        for (given, said) in [
            (
                json!({"leaseDurationSeconds": 1, "leaseTransitions": 0}),
                "[]",
            ),
            (
                json!({"leaseDurationSeconds": 0}),
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            ),
            (
                json!({"leaseTransitions": -1}),
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ),
        ] {
            assert_eq!(spec(&json!({"spec": given})).message(), said);
        }
        let mut lease =
            json!({"spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "a"}});
        drop_election(&mut lease, None);
        assert_eq!(lease, json!({"spec": {}}));
    }
}
