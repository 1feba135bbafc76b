//! CSINodes: the drivers of a node, each once, whose names and keys stay.
//!
//! Follows `ValidateCSINode*` of `pkg/apis/storage/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::IMMUTABLE;
use crate::kinds::validation::pod::volume_remote::csi_driver_name;

pub const STRATEGY: Strategy = Strategy {
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

const LONGEST_ID: usize = 256;

fn validate(node: &Value) -> Errors {
    let mut errors = Errors::default();
    let spec = Path::new("spec");
    let (drivers, path) = (node.at("spec").list("drivers"), spec.child("drivers"));
    for (index, one) in drivers.iter().enumerate() {
        let path = path.index(index);
        driver(one, &path, &mut errors);
        if drivers[..index]
            .iter()
            .any(|before| before.text("name") == one.text("name"))
        {
            errors.duplicate(&path.child("name"), one.text("name"));
        }
        keys(one, &path, &mut errors);
    }
    errors
}

fn driver(driver: &Value, path: &Path, errors: &mut Errors) {
    csi_driver_name(driver.text("name"), &path.child("name"), errors);
    let (id, id_path) = (driver.text("nodeID"), path.child("nodeID"));
    if id.is_empty() {
        errors.required(&id_path, "");
    }
    if id.len() > LONGEST_ID {
        errors.invalid(
            &id_path,
            id,
            format!("must be {LONGEST_ID} characters or less"),
        );
    }
    if let Some(count) = driver.at("allocatable").int_ptr("count") {
        checks::nonnegative(count, &path.child("allocatable").child("count"), errors);
    }
}

fn keys(driver: &Value, path: &Path, errors: &mut Errors) {
    let keys: Vec<&str> = driver.texts("topologyKeys").collect();
    for (index, key) in keys.iter().enumerate() {
        if key.is_empty() {
            errors.required(path, "");
        }
        if keys[..index].contains(key) {
            errors.duplicate(path, *key);
        }
        checks::qualified_name(key, path, errors);
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    let without_count = |driver: &Value| {
        let mut driver = driver.clone();
        if let Some(map) = driver.as_object_mut() {
            map.remove("allocatable");
        }
        driver
    };
    for before in old.at("spec").list("drivers") {
        for now in new
            .at("spec")
            .list("drivers")
            .iter()
            .filter(|now| now.text("name") == before.text("name"))
        {
            let now = without_count(now);
            if now != without_count(before) {
                checks::invalid_shown(
                    &internal::json(&now, "storage.CSINodeDriver"),
                    IMMUTABLE,
                    &Path::new("spec").child("drivers"),
                    &mut errors,
                );
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_stand_once_and_stay() {
        let node = |drivers: Value| json!({"spec": {"drivers": drivers}});
        let one = json!({"name": "a.example.com", "nodeID": "n", "topologyKeys": ["zone"]});
        assert!(validate(&node(json!([one]))).is_empty());
        assert_eq!(
            validate(&node(json!([one, one]))).message(),
            "spec.drivers[1].name: Duplicate value: \"a.example.com\""
        );
        let mut counted = one.clone();
        counted["allocatable"] = json!({"count": 5});
        assert!(validate_update(&node(json!([counted])), &node(json!([one]))).is_empty());
        let mut other = one.clone();
        other["nodeID"] = "m".into();
        let shown =
            r#"{"Name":"a.example.com","NodeID":"m","TopologyKeys":["zone"],"Allocatable":null}"#;
        assert_eq!(
            validate_update(&node(json!([other])), &node(json!([one]))).message(),
            format!("spec.drivers: Invalid value: {shown}: field is immutable")
        );
    }
}
