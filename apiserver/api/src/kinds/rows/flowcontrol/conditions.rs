//! The conditions of FlowSchemas and PriorityLevelConfigurations: each has a type, and no two have the same.
//!
//! Follows `Validate{FlowSchema,PriorityLevelConfiguration}Status` of `pkg/apis/flowcontrol/validation/validation.go`.

use serde_json::Value;

use crate::{
    kinds::validation::read::Read,
    machinery::field::{Errors, Path},
};

pub fn validate(object: &Value, errors: &mut Errors) {
    let path = Path::new("status.conditions");
    let types: Vec<&str> = object.at("status").list("conditions").iter().map(|condition| condition.text("type")).collect();
    for (index, name) in types.iter().enumerate() {
        let at = path.index(index);
        if types[..index].contains(name) {
            errors.duplicate(&at.child("type"), *name);
        }
        if name.is_empty() {
            errors.required(&at.child("type"), "");
        }
    }
}

/// Of a write of the status alone.
pub fn of_status(new: &Value, _: &Value) -> Errors {
    let mut errors = Errors::default();
    validate(new, &mut errors);
    errors
}
