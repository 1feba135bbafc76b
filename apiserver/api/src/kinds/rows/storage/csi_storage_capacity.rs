//! CSIStorageCapacities: how much there is of a class, where; both stay.
//!
//! Follows `ValidateCSIStorageCapacity*` of `pkg/apis/storage/validation/validation.go`, `GetWarningsForCSIStorageCapacity` of
//! `pkg/api/storage/util.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{immutable, is_good, label_selector};
use crate::kinds::validation::pod::resources::quantity;
use crate::kinds::validation::pod::warnings::deprecated_node_label;

pub const STRATEGY: Strategy = Strategy {
    validate: |capacity| validate(capacity, false),
    validate_update,
    warnings,
    ..Strategy::DEFAULT
};

fn validate(capacity: &Value, odd_values: bool) -> Errors {
    let mut errors = Errors::default();
    label_selector(
        capacity.some("nodeTopology"),
        odd_values,
        &Path::new("nodeTopology"),
        &mut errors,
    );
    checks::subdomain(
        capacity.text("storageClassName"),
        &Path::new("storageClassName"),
        &mut errors,
    );
    if let Some(amount) = capacity
        .some("capacity")
        .filter(|amount| quantity(amount).sign() < 0)
    {
        errors.invalid(
            &Path::new("capacity"),
            amount.clone(),
            "must be greater than or equal to 0",
        );
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let odd_before =
        !is_good(|errors| label_selector(old.some("nodeTopology"), false, &Path::new(""), errors));
    let mut errors = validate(new, odd_before);
    if new.some("nodeTopology") != old.some("nodeTopology") {
        match new.some("nodeTopology") {
            Some(topology) => errors.invalid_object(
                &Path::new("nodeTopology"),
                topology,
                "meta.v1.LabelSelector",
                checks::IMMUTABLE,
            ),
            None => errors.invalid(&Path::new("nodeTopology"), Value::Null, checks::IMMUTABLE),
        }
    }
    immutable(
        new.some("storageClassName"),
        old.some("storageClassName"),
        &Path::new("storageClassName"),
        &mut errors,
    );
    errors
}

fn warnings(capacity: &Value, _: Option<&Value>) -> Warnings {
    let topology = capacity.at("nodeTopology");
    let mut told = Vec::new();
    for (index, one) in topology.list("matchExpressions").iter().enumerate() {
        let key = one.text("key");
        told.extend(
            deprecated_node_label(key)
                .map(|text| format!("nodeTopology.matchExpressions[{index}].key: {key} is {text}")),
        );
    }
    for (key, _) in topology.entries("matchLabels") {
        told.extend(
            deprecated_node_label(key)
                .map(|text| format!("nodeTopology.matchLabels.{key}: {text}")),
        );
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_and_place_stay() {
        let of = |class: &str, zone: &str| json!({"storageClassName": class, "nodeTopology": {"matchLabels": {"zone": zone}}, "capacity": "1Gi"});
        assert!(validate_update(&of("a", "z"), &of("a", "z")).is_empty());
        let said = r#"[nodeTopology: Invalid value: {"matchLabels":{"zone":"y"}}: field is immutable, storageClassName: Invalid value: "b": field is immutable]"#;
        assert_eq!(
            validate_update(&of("b", "y"), &of("a", "z")).message(),
            said
        );
        let negative = json!({"storageClassName": "a", "capacity": "-1"});
        assert_eq!(
            validate(&negative, false).message(),
            "capacity: Invalid value: \"-1\": must be greater than or equal to 0"
        );
    }
}
