//! What policies, and their bindings, have in common: parameters, variables, what they are about.
//!
//! Follows `validateParamKind`, `validateParamRef` and `validateVariable` of `pkg/apis/admissionregistration/validation/validation.go`.

use super::webhooks::FAILURE_POLICIES;
use super::{conditions, rules, static_names};
use crate::kinds::prelude::*;
use crate::kinds::validation::cel;
use crate::kinds::validation::checks::{label_selector, one_of, subdomain};
use crate::machinery::cel::admission::{Compiler, Gives};

/// What policies and their bindings do alike.
pub const COMMON: Strategy = Strategy {
    warnings: static_names::warnings,
    ..Strategy::DEFAULT
};

pub fn defaults(policy: &mut Value) {
    let spec = fill::spec(policy);
    fill::absent(spec, "failurePolicy", "Fail");
    rules::resources_defaults(spec, "matchConstraints");
}

pub fn binding_defaults(binding: &mut Value) {
    rules::resources_defaults(fill::spec(binding), "matchResources");
}

/// From the failure policy to the parameters.
pub fn begin(spec: &Value, path: &Path, errors: &mut Errors) {
    rules::required_choice(spec, "failurePolicy", FAILURE_POLICIES, path, errors);
    if let Some(kind) = spec.some("paramKind") {
        param_kind(kind, &path.child("paramKind"), errors);
    }
}

/// `matchConstraints`: at least one rule, by which the types of expressions are known.
pub fn constraints(spec: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("matchConstraints");
    let Some(constraints) = spec.some("matchConstraints") else {
        return errors.required(&at, "");
    };
    rules::match_resources(constraints, &at, errors);
    if constraints.list("resourceRules").is_empty() {
        errors.required(&at.child("resourceRules"), "");
    }
}

/// What compiles the expressions of a policy: with parameters where it names a kind of them, and with its variables, none yet.
pub fn compiler(spec: &Value) -> Compiler {
    Compiler::new(spec.some("paramKind").is_some()).with_variables()
}

/// `matchConditions`, unless an update leaves them and their parameters as they were; then `variables`, which `compiler` learns.
pub fn conditions_and_variables(
    spec: &Value,
    old: Option<&Value>,
    compiler: &mut Compiler,
    path: &Path,
    errors: &mut Errors,
) {
    let same = |name: &str| old.is_some_and(|old| old.some(name) == spec.some(name));
    if !(same("paramKind") && same("matchConditions")) {
        conditions::validate(spec, spec.some("paramKind").is_some(), path, errors);
    }
    for (index, one) in spec.list("variables").iter().enumerate() {
        variable(one, compiler, &path.child("variables").index(index), errors);
    }
}

/// An expression of a policy that must be there, and gives this.
pub fn expression(
    of: &Value,
    gives: Gives,
    missing: &str,
    compiler: &Compiler,
    path: &Path,
    errors: &mut Errors,
) {
    let text = of.text("expression");
    cel::needed(text, missing, &path.child("expression"), errors, || {
        compiler.compile(text, gives)
    });
}

fn variable(variable: &Value, compiler: &mut Compiler, path: &Path, errors: &mut Errors) {
    let (name, at) = (variable.text("name"), path.child("name"));
    if cel::is_blank(name) {
        errors.required(&at, "name is not specified");
    } else if !cel::is_identifier(name) {
        errors.invalid(&at, name, "must be a valid CEL identifier");
    }
    let (text, at) = (variable.text("expression"), path.child("expression"));
    cel::needed(text, "expression is not specified", &at, errors, || {
        compiler.variable(name, text)
    });
}

fn param_kind(kind: &Value, path: &Path, errors: &mut Errors) {
    group_version(kind.text("apiVersion"), &path.child("apiVersion"), errors);
    let (name, at) = (kind.text("kind"), path.child("kind"));
    let wrong = names::is_dns1035_label(&name.to_lowercase());
    if name.is_empty() {
        errors.required(&at, "");
    } else if !wrong.is_empty() {
        errors.invalid(
            &at,
            name,
            format!(
                "may have mixed case, but should otherwise match: {}",
                wrong.join(",")
            ),
        );
    }
}

fn group_version(given: &str, path: &Path, errors: &mut Errors) {
    let parts: Vec<&str> = given.split('/').collect();
    let (group, version) = match parts[..] {
        [""] => return errors.required(path, ""),
        [version] => ("", version),
        [group, version] => (group, version),
        _ => {
            return errors.invalid(
                path,
                given,
                format!("unexpected GroupVersion string: {given}"),
            );
        }
    };
    let wrong = names::is_dns1123_subdomain(group);
    if !group.is_empty() && !wrong.is_empty() {
        errors.invalid(path, group, wrong.join(","));
    }
    let wrong = names::is_dns1035_label(version);
    if version.is_empty() {
        errors.invalid(path, given, "version must be specified");
    } else if !wrong.is_empty() {
        errors.invalid(path, version, wrong.join(","));
    }
}

/// What bindings of both kinds say: a policy, its parameters, what it is about.
pub fn binding(spec: &Value, path: &Path, errors: &mut Errors) {
    match spec.text("policyName") {
        "" => errors.required(&path.child("policyName"), ""),
        name => subdomain(name, &path.child("policyName"), errors),
    }
    if let Some(reference) = spec.some("paramRef") {
        param_ref(reference, &path.child("paramRef"), errors);
    }
    if let Some(resources) = spec.some("matchResources") {
        rules::match_resources(resources, &path.child("matchResources"), errors);
    }
}

fn param_ref(reference: &Value, path: &Path, errors: &mut Errors) {
    const ONE: &str = "name and selector are mutually exclusive";
    let (name, selector) = (reference.text("name"), reference.some("selector"));
    if !name.is_empty() {
        errors.invalid_all(&path.child("name"), name, names::is_path_segment_name(name));
        if selector.is_some() {
            errors.forbidden(&path.child("name"), ONE);
        }
    }
    label_selector(selector, false, &path.child("selector"), errors);
    match (name.is_empty(), selector) {
        (false, Some(_)) => errors.forbidden(&path.child("selector"), ONE),
        (true, None) => errors.required(path, "one of name or selector must be specified"),
        _ => {}
    }
    match reference.text("parameterNotFoundAction") {
        "" => errors.required(&path.child("parameterNotFoundAction"), ""),
        action => one_of(
            action,
            &["Deny", "Allow"],
            &path.child("parameterNotFoundAction"),
            errors,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(check: fn(&Value, &Path, &mut Errors), value: &Value) -> String {
        Errors::of(|errors| check(value, &Path::new("p"), errors)).message()
    }

    #[test]
    fn kinds_of_parameters() {
        for (kind, wanted) in [
            (json!({"apiVersion": "v1", "kind": "ConfigMap"}), "[]"),
            (json!({"apiVersion": "a.b/v1", "kind": "Rule"}), "[]"),
            (
                json!({}),
                "[p.apiVersion: Required value, p.kind: Required value]",
            ),
            (
                json!({"apiVersion": "a/b/c", "kind": "K"}),
                "p.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            ),
            (
                json!({"apiVersion": "a/", "kind": "K"}),
                "p.apiVersion: Invalid value: \"a/\": version must be specified",
            ),
        ] {
            assert_eq!(said(param_kind, &kind), wanted, "{kind}");
        }
        let odd = said(param_kind, &json!({"apiVersion": "A/V", "kind": "1"}));
        assert!(
            odd.starts_with(
                "[p.apiVersion: Invalid value: \"A\": a lowercase RFC 1123 subdomain must"
            ),
            "{odd}"
        );
        assert!(
            odd.contains(", p.apiVersion: Invalid value: \"V\": a DNS-1035 label must"),
            "{odd}"
        );
        assert!(odd.contains(", p.kind: Invalid value: \"1\": may have mixed case, but should otherwise match: a DNS-1035 label must"), "{odd}");
    }

    #[test]
    fn references_to_parameters() {
        for (reference, wanted) in [
            (
                json!({"name": "a", "parameterNotFoundAction": "Deny"}),
                "[]",
            ),
            (
                json!({"selector": {}, "parameterNotFoundAction": "Allow"}),
                "[]",
            ),
            (
                json!({"parameterNotFoundAction": "Allow"}),
                "p: Required value: one of name or selector must be specified",
            ),
            (
                json!({"name": "a"}),
                "p.parameterNotFoundAction: Required value",
            ),
            (
                json!({"name": "a/b", "parameterNotFoundAction": "x"}),
                "[p.name: Invalid value: \"a/b\": may not contain '/', p.parameterNotFoundAction: Unsupported value: \"x\": supported values: \"Deny\", \"Allow\"]",
            ),
            (
                json!({"name": "a", "selector": {}, "parameterNotFoundAction": "Allow"}),
                "[p.name: Forbidden: name and selector are mutually exclusive, p.selector: Forbidden: name and selector are mutually exclusive]",
            ),
        ] {
            assert_eq!(said(param_ref, &reference), wanted, "{reference}");
        }
    }

    #[test]
    fn variables() {
        for (given, wanted) in [
            (json!({"name": "a", "expression": "1"}), "[]"),
            (
                json!({"name": " ", "expression": " "}),
                "[p.name: Required value: name is not specified, p.expression: Required value: expression is not specified]",
            ),
            (
                json!({"name": "a-b", "expression": "1"}),
                "p.name: Invalid value: \"a-b\": must be a valid CEL identifier",
            ),
            (
                json!({"name": "a", "expression": "x"}),
                "p.expression: Invalid value: \"x\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^",
            ),
        ] {
            let check = |value: &Value, path: &Path, errors: &mut Errors| {
                variable(value, &mut compiler(&json!({})), path, errors);
            };
            assert_eq!(said(check, &given), wanted, "{given}");
        }
    }

    #[test]
    fn conditions_that_stay_are_not_looked_at() {
        let spec = json!({"matchConditions": [{}]});
        let count = |old: Option<&Value>| {
            Errors::of(|errors| {
                let path = Path::new("spec");
                conditions_and_variables(&spec, old, &mut compiler(&spec), &path, errors);
            })
            .len()
        };
        assert_eq!((count(None), count(Some(&spec))), (2, 0));
        assert_eq!(
            count(Some(
                &json!({"matchConditions": [{}], "paramKind": {"kind": "K"}})
            )),
            2
        );
    }
}
