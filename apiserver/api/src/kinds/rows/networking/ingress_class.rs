//! IngressClasses: which controller, which never changes, and where its parameters are.
//!
//! Follows `ValidateIngressClass*` of `pkg/apis/networking/validation/validation.go` and `pkg/apis/networking/v1/defaults.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{IMMUTABLE, one_of, required_segment};

const LONGEST: usize = 250;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

fn defaults(class: &mut Value) {
    if let Some(parameters) = fill::inner(fill::spec(class), "parameters") {
        fill::absent(parameters, "scope", "Cluster");
    }
}

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, root) = (class.at("spec"), Path::new("spec"));
    let (controller, path) = (spec.text("controller"), root.child("controller"));
    if controller.len() > LONGEST {
        errors.too_long(&path, LONGEST as i64);
    }
    domain_prefixed_path(controller, &path, &mut errors);
    if let Some(parameters) = spec.some("parameters") {
        self::parameters(parameters, &root.child("parameters"), &mut errors);
    }
    errors
}

fn domain_prefixed_path(value: &str, path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        return errors.required(path, "");
    }
    for (said, value) in names::is_domain_prefixed_path(value) {
        errors.invalid(path, value, said);
    }
}

fn parameters(parameters: &Value, path: &Path, errors: &mut Errors) {
    if let Some(group) = parameters.text_ptr("apiGroup") {
        checks::subdomain(group, &path.child("apiGroup"), errors);
    }
    required_segment(parameters.text("kind"), &path.child("kind"), errors);
    required_segment(parameters.text("name"), &path.child("name"), errors);
    let namespace_path = path.child("namespace");
    let namespace = parameters.text_ptr("namespace");
    match parameters.text_ptr("scope") {
        None => errors.required(&path.child("scope"), ""),
        Some("Namespace") => match namespace {
            None => errors.required(&namespace_path, "`parameters.scope` is set to 'Namespace'"),
            Some(namespace) => checks::dns_label(namespace, &namespace_path, errors),
        },
        Some("Cluster") => {
            if namespace.is_some() {
                errors.forbidden(&namespace_path, "`parameters.scope` is set to 'Cluster'");
            }
        }
        Some(other) => one_of(
            other,
            &["Cluster", "Namespace"],
            &path.child("scope"),
            errors,
        ),
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let now = new.at("spec").text("controller");
    if now != old.at("spec").text("controller") {
        errors.invalid(&Path::new("spec").child("controller"), now, IMMUTABLE);
    }
    errors.extend(validate(new));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_and_parameters() {
        let class = |parameters: Value| json!({"spec": {"controller": "example.com/c", "parameters": parameters}});
        for (class, said) in [
            (
                class(json!({"kind": "A", "name": "b", "scope": "Cluster"})),
                "[]",
            ),
            (
                class(json!({"kind": "A", "name": "b", "scope": "Namespace"})),
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ),
            (
                class(json!({"kind": "A", "scope": "Cluster"})),
                "spec.parameters.name: Required value",
            ),
            (
                class(json!({"kind": "A", "name": "b", "scope": "x"})),
                "spec.parameters.scope: Unsupported value: \"x\": supported values: \"Cluster\", \"Namespace\"",
            ),
        ] {
            assert_eq!(validate(&class).message(), said);
        }
        let mut other = class(json!({"kind": "A", "name": "b"}));
        defaults(&mut other);
        assert_eq!(other["spec"]["parameters"]["scope"], "Cluster");
        other["spec"]["controller"] = "example.com/d".into();
        let said = "spec.controller: Invalid value: \"example.com/d\": field is immutable";
        assert_eq!(
            validate_update(
                &other,
                &class(json!({"kind": "A", "name": "b", "scope": "Cluster"}))
            )
            .message(),
            said
        );
    }
}
