//! Which requests a webhook or policy is asked about.
//!
//! Follows `validateRuleWithOperations` of `pkg/apis/admissionregistration/validation/validation.go` and
//! `pkg/apis/admissionregistration/v1/defaults.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{label_selector, one_of};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// Of what changes objects: there is nothing to change in what goes.
const MUTATING_OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const RULES: [&str; 2] = ["resourceRules", "excludeResourceRules"];

/// What webhooks and `MatchResources` have alike.
pub fn match_defaults(owner: &mut Map<String, Value>) {
    fill::absent(owner, "matchPolicy", "Equivalent");
    for selector in ["namespaceSelector", "objectSelector"] {
        fill::absent(owner, selector, Map::new());
    }
}

pub fn rule_defaults(owner: &mut Map<String, Value>, list: &str) {
    for rule in fill::each(owner, list) {
        fill::absent(rule, "scope", "*");
    }
}

/// A `MatchResources` named `name`, where there is one.
pub fn resources_defaults(owner: &mut Map<String, Value>, name: &str) {
    let Some(resources) = fill::inner(owner, name) else {
        return;
    };
    match_defaults(resources);
    for list in RULES {
        rule_defaults(resources, list);
    }
}

/// A field behind a pointer: one of a list, where it is there.
pub fn choice(owner: &Value, name: &str, supported: &[&str], path: &Path, errors: &mut Errors) {
    if let Some(value) = owner.text_ptr(name) {
        one_of(value, supported, &path.child(name), errors);
    }
}

/// The same, and it must be there.
pub fn required_choice(
    owner: &Value,
    name: &str,
    supported: &[&str],
    path: &Path,
    errors: &mut Errors,
) {
    if owner.some(name).is_none() {
        errors.required(&path.child(name), "");
    }
    choice(owner, name, supported, path, errors);
}

pub fn match_policy(owner: &Value, path: &Path, errors: &mut Errors) {
    choice(owner, "matchPolicy", MATCH_POLICIES, path, errors);
}

/// A `MatchResources`.
pub fn match_resources(resources: &Value, path: &Path, errors: &mut Errors) {
    required_choice(resources, "matchPolicy", MATCH_POLICIES, path, errors);
    for name in ["namespaceSelector", "objectSelector"] {
        let at = path.child(name);
        match resources.some(name) {
            None => errors.required(&at, ""),
            selector => label_selector(selector, false, &at, errors),
        }
    }
    for list in RULES {
        for (index, rule) in resources.list(list).iter().enumerate() {
            named(rule, &path.child(list).index(index), errors);
        }
    }
}

/// The operations of policies that change objects.
pub fn mutating_operations(resources: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("resourceRules");
    for operation in resources
        .list("resourceRules")
        .iter()
        .flat_map(|rule| rule.texts("operations"))
    {
        one_of(
            operation,
            MUTATING_OPERATIONS,
            &at.child("operations"),
            errors,
        );
    }
}

fn named(rule: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("resourceNames");
    let given: Vec<&str> = rule.texts("resourceNames").collect();
    for (index, name) in given.iter().enumerate() {
        errors.invalid_all(&at.index(index), name, names::is_path_segment_name(name));
        if given[..index].contains(name) {
            errors.duplicate(&at.index(index), *name);
        }
    }
    validate(rule, path, errors);
}

/// A `RuleWithOperations`.
pub fn validate(rule: &Value, path: &Path, errors: &mut Errors) {
    alone(rule, "operations", "operations", path, errors);
    for (index, operation) in rule.texts("operations").enumerate() {
        one_of(
            operation,
            OPERATIONS,
            &path.child("operations").index(index),
            errors,
        );
    }
    alone(rule, "apiGroups", "API groups", path, errors);
    alone(rule, "apiVersions", "API versions", path, errors);
    for (index, _) in rule
        .texts("apiVersions")
        .enumerate()
        .filter(|(_, version)| version.is_empty())
    {
        errors.required(&path.child("apiVersions").index(index), "");
    }
    resources(rule, &path.child("resources"), errors);
    choice(rule, "scope", &["*", "Cluster", "Namespaced"], path, errors);
}

/// A list that is not empty, in which `*` stands alone.
fn alone(rule: &Value, name: &str, noun: &str, path: &Path, errors: &mut Errors) {
    let (given, at) = (rule.list(name), path.child(name));
    if given.is_empty() {
        errors.required(&at, "");
    }
    if given.len() > 1 && given.iter().any(|one| one == "*") {
        errors.invalid(
            &at,
            given.to_vec(),
            format!("if '*' is present, must not specify other {noun}"),
        );
    }
}

/// `RESOURCE`, `RESOURCE/SUBRESOURCE` and `*` in the place of each: no wildcard takes in what is named besides.
fn resources(rule: &Value, path: &Path, errors: &mut Errors) {
    let given = rule.list("resources");
    if given.is_empty() {
        errors.required(path, "");
    }
    let (mut all_subs_of, mut sub_of_all) = (Vec::new(), Vec::new());
    let mut names_a_resource = false;
    for (index, one) in rule.texts("resources").enumerate() {
        let at = path.index(index);
        if one.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let Some((resource, sub)) = one.split_once('/') else {
            // upstream looks at the last of them
            names_a_resource = one != "*";
            continue;
        };
        if all_subs_of.contains(&resource) {
            errors.invalid(
                &at,
                one,
                format!("if '{resource}/*' is present, must not specify {one}"),
            );
        }
        if sub_of_all.contains(&sub) {
            errors.invalid(
                &at,
                one,
                format!("if '*/{sub}' is present, must not specify {one}"),
            );
        }
        if sub == "*" {
            all_subs_of.push(resource);
        }
        if resource == "*" {
            sub_of_all.push(sub);
        }
    }
    let has = |name: &str| given.iter().any(|one| one == name);
    if given.len() > 1 && has("*/*") {
        errors.invalid(
            path,
            given.to_vec(),
            "if '*/*' is present, must not specify other resources",
        );
    }
    if has("*") && names_a_resource {
        errors.invalid(
            path,
            given.to_vec(),
            "if '*' is present, must not specify other resources without subresources",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(change: &[(&str, Value)]) -> String {
        let mut rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        for (name, value) in change {
            rule[*name] = value.clone();
        }
        Errors::of(|errors| named(&rule, &Path::new("r"), errors)).message()
    }

    #[test]
    fn rules() {
        for (change, wanted) in [
            (vec![], "[]"),
            (
                vec![("operations", json!([]))],
                "r.operations: Required value",
            ),
            (
                vec![("operations", json!(["*", "CREATE"]))],
                r#"r.operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations"#,
            ),
            (
                vec![("operations", json!(["x"]))],
                r#"r.operations[0]: Unsupported value: "x": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE""#,
            ),
            (
                vec![("apiGroups", json!(["*", "a"]))],
                r#"r.apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other API groups"#,
            ),
            (
                vec![("apiVersions", json!(["", "*"]))],
                r#"[r.apiVersions: Invalid value: ["","*"]: if '*' is present, must not specify other API versions, r.apiVersions[0]: Required value]"#,
            ),
            (
                vec![("scope", json!("x"))],
                r#"r.scope: Unsupported value: "x": supported values: "*", "Cluster", "Namespaced""#,
            ),
            (
                vec![("resourceNames", json!(["a", "a", "a/b"]))],
                r#"[r.resourceNames[1]: Duplicate value: "a", r.resourceNames[2]: Invalid value: "a/b": may not contain '/']"#,
            ),
        ] {
            assert_eq!(said(&change), wanted, "{change:?}");
        }
    }

    #[test]
    fn resources_and_wildcards() {
        for (resources, wanted) in [
            (
                json!(["*", "*/*"]),
                r#"r.resources: Invalid value: ["*","*/*"]: if '*/*' is present, must not specify other resources"#,
            ),
            (
                json!(["pods/*", "pods/log"]),
                "r.resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
            ),
            (
                json!(["*/scale", "a/scale"]),
                "r.resources[1]: Invalid value: \"a/scale\": if '*/scale' is present, must not specify a/scale",
            ),
            (
                json!(["*", "pods"]),
                r#"r.resources: Invalid value: ["*","pods"]: if '*' is present, must not specify other resources without subresources"#,
            ),
            (json!(["pods", "*"]), "[]"),
            (json!(["*", "pods/log"]), "[]"),
            (json!([""]), "r.resources[0]: Required value"),
        ] {
            assert_eq!(
                said(&[("resources", resources.clone())]),
                wanted,
                "{resources}"
            );
        }
    }

    #[test]
    fn what_is_matched() {
        let mut owner = json!({"m": {"resourceRules": [{"operations": ["DELETE"]}]}});
        resources_defaults(owner.as_object_mut().unwrap(), "m");
        assert_eq!(
            owner["m"],
            json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": [{"operations": ["DELETE"], "scope": "*"}]})
        );
        let mut errors = Errors::default();
        mutating_operations(&owner["m"], &Path::new("m"), &mut errors);
        assert_eq!(
            errors.message(),
            r#"m.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE""#
        );
        let mut errors = Errors::default();
        match_resources(&json!({}), &Path::new("m"), &mut errors);
        assert_eq!(
            errors.message(),
            "[m.matchPolicy: Required value, m.namespaceSelector: Required value, m.objectSelector: Required value]"
        );
    }
}
