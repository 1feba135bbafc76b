//! FlowSchemas: which requests they are about, and whose.
//!
//! Follows `ValidateFlowSchema*` of `pkg/apis/flowcontrol/validation/validation.go` and `pkg/apis/flowcontrol/v1/defaults.go`.

use crate::kinds::rows::flowcontrol::bootstrap;
use crate::kinds::{prelude::*, strategy::keep_whole_metadata};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update: |new, _| validate(new),
    prepare_for_status_update: keep_whole_metadata,
    ..Strategy::DEFAULT
};

const ALL: &str = "*";
const VERBS: &[&str] = &[
    "get",
    "list",
    "create",
    "update",
    "delete",
    "deletecollection",
    "patch",
    "watch",
    "proxy",
];
const SPEC: &str = "flowcontrol.FlowSchemaSpec";

fn defaults(schema: &mut Value) {
    fill::number(fill::spec(schema), "matchingPrecedence", 1000);
}

fn validate(schema: &Value) -> Errors {
    let mut errors = Errors::default();
    let (name, given, path) = (schema.name(), schema.at("spec"), Path::new("spec"));
    spec(name, given, &path, &mut errors);
    if let Some(fixed) = bootstrap::mandatory_flow(name) {
        let shown = internal::json(given, SPEC);
        if shown != internal::json(&fixed, SPEC) {
            checks::invalid_shown(
                &shown,
                &format!("spec of '{name}' must equal the fixed value"),
                &path,
                &mut errors,
            );
        }
    }
    errors
}

fn spec(name: &str, spec: &Value, path: &Path, errors: &mut Errors) {
    let (precedence, at) = (
        spec.int("matchingPrecedence"),
        path.child("matchingPrecedence"),
    );
    if precedence <= 0 {
        errors.invalid(&at, precedence, "must be a positive value");
    }
    if precedence > 10000 {
        errors.invalid(&at, precedence, "must not be greater than 10000");
    }
    if precedence == 1 && name != "exempt" {
        errors.invalid(
            &at,
            precedence,
            "only the schema named 'exempt' may have matchingPrecedence 1",
        );
    }
    if let Some(method) = spec.some("distinguisherMethod") {
        let (known, given) = (["ByNamespace", "ByUser"], method.text("type"));
        if !known.contains(&given) {
            // upstream shows the whole method here
            errors.not_supported(
                &path.child("distinguisherMethod").child("type"),
                json!({"Type": given}),
                &known,
            );
        }
    }
    let (level, reference) = (
        spec.at("priorityLevelConfiguration").text("name"),
        path.child("priorityLevelConfiguration"),
    );
    if level.is_empty() {
        errors.required(&reference.child("name"), "must reference a priority level");
    } else {
        checks::subdomain(level, &reference.child("name"), errors);
    }
    for (index, given) in spec.list("rules").iter().enumerate() {
        rule(given, &path.child("rules").index(index), errors);
    }
}

fn rule(rule: &Value, path: &Path, errors: &mut Errors) {
    let subjects = rule.list("subjects");
    for (index, given) in subjects.iter().enumerate() {
        subject(given, &path.child("subjects").index(index), errors);
    }
    if subjects.is_empty() {
        errors.required(
            &path.child("subjects"),
            "subjects must contain at least one value",
        );
    }
    let (resources, urls) = (rule.list("resourceRules"), rule.list("nonResourceRules"));
    if resources.is_empty() && urls.is_empty() {
        errors.required(
            path,
            "at least one of resourceRules and nonResourceRules has to be non-empty",
        );
    }
    for (index, given) in resources.iter().enumerate() {
        resource_rule(given, &path.child("resourceRules").index(index), errors);
    }
    for (index, given) in urls.iter().enumerate() {
        url_rule(given, &path.child("nonResourceRules").index(index), errors);
    }
}

/// The kinds of subjects and their fields, in the order in which upstream forbids those of other kinds.
const SUBJECTS: [(&str, &str); 3] = [
    ("ServiceAccount", "serviceAccount"),
    ("User", "user"),
    ("Group", "group"),
];

fn subject(subject: &Value, path: &Path, errors: &mut Errors) {
    let kind = subject.text("kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        return errors.not_supported(&path.child("kind"), kind, &SUBJECTS.map(|(known, _)| known));
    };
    let at = path.child(own);
    match subject.some(own) {
        None => errors.required(
            &at,
            format!("{own} is required when subject kind is '{kind}'"),
        ),
        Some(account) if kind == "ServiceAccount" => service_account(account, &at, errors),
        Some(named) if named.text("name").is_empty() => errors.required(&at.child("name"), ""),
        Some(_) => {}
    }
    for (other, field) in SUBJECTS {
        if other != kind && subject.some(field).is_some() {
            errors.forbidden(
                &path.child(field),
                format!("{field} is forbidden when subject kind is not '{other}'"),
            );
        }
    }
}

fn service_account(account: &Value, path: &Path, errors: &mut Errors) {
    match account.text("name") {
        "" => errors.required(&path.child("name"), ""),
        ALL => {}
        name => checks::subdomain(name, &path.child("name"), errors),
    }
    match account.text("namespace") {
        "" => errors.required(
            &path.child("namespace"),
            "must specify namespace for service account",
        ),
        namespace => checks::dns_label(namespace, &path.child("namespace"), errors),
    }
}

/// Whether a list holds `*`; then it may hold nothing else.
fn wildcard(given: &[&str], what: &str, path: &Path, errors: &mut Errors) -> bool {
    let all = given.contains(&ALL);
    if all && given.len() > 1 {
        errors.invalid(
            path,
            given.to_vec(),
            format!("if '*' is present, must not specify other {what}"),
        );
    }
    all
}

fn verbs(rule: &Value, path: &Path, errors: &mut Errors) {
    let (given, path): (Vec<&str>, _) = (rule.texts("verbs").collect(), path.child("verbs"));
    if given.is_empty() {
        errors.required(&path, "verbs must contain at least one value");
    } else if !wildcard(&given, "verbs", &path, errors)
        && given.iter().any(|verb| !VERBS.contains(verb))
    {
        errors.not_supported(&path, given, VERBS);
    }
}

fn resource_rule(rule: &Value, path: &Path, errors: &mut Errors) {
    verbs(rule, path, errors);
    for (field, what, need) in [
        (
            "apiGroups",
            "api groups",
            "resource rules must supply at least one api group",
        ),
        (
            "resources",
            "resources",
            "resource rules must supply at least one resource",
        ),
    ] {
        let given: Vec<&str> = rule.texts(field).collect();
        if given.is_empty() {
            errors.required(&path.child(field), need);
        }
        wildcard(&given, what, &path.child(field), errors);
    }
    let (namespaces, path): (Vec<&str>, _) =
        (rule.texts("namespaces").collect(), path.child("namespaces"));
    if namespaces.is_empty() && !rule.flag("clusterScope") {
        errors.required(
            &path,
            "resource rules that are not cluster scoped must supply at least one namespace",
        );
    } else if !wildcard(&namespaces, "namespaces", &path, errors) {
        for (index, namespace) in namespaces.iter().enumerate() {
            for message in names::is_dns1123_label(namespace) {
                errors.invalid(
                    &path.index(index),
                    *namespace,
                    format!("each member of this list must be '*' or a DNS-1123 label; {message}"),
                );
            }
        }
    }
}

fn url_rule(rule: &Value, path: &Path, errors: &mut Errors) {
    verbs(rule, path, errors);
    let (urls, path): (Vec<&str>, _) = (
        rule.texts("nonResourceURLs").collect(),
        path.child("nonResourceURLs"),
    );
    if urls.is_empty() {
        errors.required(&path, "nonResourceURLs must contain at least one value");
    } else if !wildcard(&urls, "non-resource URLs", &path, errors) {
        for (index, url) in urls.iter().enumerate() {
            if let Some(wrong) = url_problem(url) {
                errors.invalid(&path.index(index), *url, wrong);
            }
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ => match url.matches('*').count() {
            0 => None,
            1 if url.ends_with("/*") => None,
            _ => Some("wildcard can only do suffix matching"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"priorityLevelConfiguration": {"name": "l"}, "matchingPrecedence": 5, "rules": [{
            "subjects": [{"kind": "Group", "group": {"name": "g"}}],
            "resourceRules": [{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/a/*"]}]}]}})
    }

    #[test]
    fn what_a_flow_schema_may_say() {
        for (at, value, said) in [
            ("/spec/matchingPrecedence", json!(6), "[]"),
            (
                "/spec/matchingPrecedence",
                json!(-1),
                "spec.matchingPrecedence: Invalid value: -1: must be a positive value",
            ),
            (
                "/spec/matchingPrecedence",
                json!(10001),
                "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
            ),
            (
                "/spec/matchingPrecedence",
                json!(1),
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ),
            (
                "/spec/priorityLevelConfiguration/name",
                json!(""),
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ),
            (
                "/spec/rules/0/subjects",
                json!([]),
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
            ),
            (
                "/spec/rules/0/subjects/0/kind",
                json!("User"),
                "[spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User', spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group']",
            ),
            (
                "/spec/rules/0/subjects/0/kind",
                json!("x"),
                "spec.rules[0].subjects[0].kind: Unsupported value: \"x\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
            ),
            (
                "/spec/rules/0/subjects/0",
                json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": ""}}),
                "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
            ),
            (
                "/spec/rules/0/resourceRules/0/verbs",
                json!(["*", "get"]),
                "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
            ),
            (
                "/spec/rules/0/resourceRules/0/namespaces",
                json!([]),
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ),
            (
                "/spec/rules/0/nonResourceRules/0/nonResourceURLs/0",
                json!("/a*"),
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can only do suffix matching",
            ),
        ] {
            let mut schema = good();
            *schema.pointer_mut(at).unwrap() = value;
            assert_eq!(validate(&schema).message(), said, "{at}");
        }
    }

    #[test]
    fn the_mandatory_ones_stay_as_they_are() {
        for mut schema in bootstrap::flow_schemas() {
            assert!(validate(&schema).is_empty(), "{schema}");
            schema["spec"]["matchingPrecedence"] = 9.into();
            let fixed = ["exempt", "catch-all"].contains(&schema.name());
            assert_eq!(
                validate(&schema)
                    .message()
                    .contains("must equal the fixed value"),
                fixed,
                "{schema}"
            );
        }
    }
}
