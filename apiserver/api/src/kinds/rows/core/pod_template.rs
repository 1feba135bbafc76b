//! PodTemplates. Follows `pkg/registry/core/podtemplate/strategy.go`.
//!
//! Invariant: the same rules as for the templates of controllers.

use crate::kinds::prelude::*;
use crate::kinds::rows::core::pod::{defaults, disabled};
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::{pod, workload};

pub const STRATEGY: Strategy = Strategy {
    defaults: |object| {
        if let Some(map) = object.as_object_mut() {
            defaults::template(map);
        }
    },
    prepare_for_create: |new| disabled::drop_from_template(new, None),
    prepare_for_update: |new, old| disabled::drop_from_template(new, Some(old)),
    validate: |new| validate(new, None),
    validate_update: |new, old| validate(new, Some(old)),
    warnings,
    ..Strategy::DEFAULT
};

fn validate(new: &Value, old: Option<&Value>) -> Errors {
    Errors::of(|errors| {
        pod::validate_template(
            new.at("template"),
            &Options::of(old.map(|old| old.at("template"))),
            &Path::new("template"),
            errors,
        )
    })
}

fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let mut out = Warnings::new();
    if workload::is_new_generation(new, old) {
        pod::warnings::warnings(new.at("template"), Some(&Path::new("template")), &mut out);
    }
    out
}
