//! What an AuthorizationConfiguration must be.
//!
//! Invariant: messages and their order are upstream's. Follows
//! `staging/src/k8s.io/apiserver/pkg/apis/apiserver/validation/validation.go` (ValidateAuthorizationConfiguration) and
//! `pkg/kubeapiserver/authorizer/config.go` (LoadAndValidateData).

use std::{collections::HashSet, path::Path as FilePath};

use serde_json::json;
use skiff_api::machinery::{
    field::{Errors, Path},
    gonum,
    names::is_dns1123_subdomain,
};

use super::{
    conditions::Conditions,
    config::{AuthorizationConfiguration, ConnectionInfo, WEBHOOK, WebhookConfiguration},
};
use crate::config_file::go_words;

const KNOWN: [&str; 6] = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", WEBHOOK];

/// What is wrong with a configuration.
pub fn configuration(config: &AuthorizationConfiguration) -> Errors {
    let mut errors = Errors::default();
    let root = Path::new("authorizers");
    if config.authorizers.is_empty() {
        errors.required(&root, "at least one authorization mode must be defined");
    }
    let (mut kinds, mut names) = (HashSet::new(), HashSet::new());
    for (at, one) in config.authorizers.iter().enumerate() {
        let path = root.index(at);
        let (kind, at) = (one.kind.as_str(), path.child("type"));
        if kind.is_empty() {
            errors.required(&at, "");
            continue;
        }
        if !KNOWN.contains(&kind) {
            errors.not_supported(&at, kind, &KNOWN);
            continue;
        }
        if !kinds.insert(kind) && kind != WEBHOOK {
            errors.duplicate(&at, kind);
            continue;
        }
        let (name, at) = (one.name.as_str(), path.child("name"));
        if name.is_empty() {
            errors.required(&at, "");
        } else if !names.insert(name) {
            errors.duplicate(&at, name);
        } else {
            let wrong = is_dns1123_subdomain(name);
            if !wrong.is_empty() {
                let wrong = wrong.join(", ");
                errors.invalid(&at, name, format!("authorizer name is invalid: {wrong}"));
            }
        }
        let at = path.child("webhook");
        match &one.webhook {
            Some(asked) if kind == WEBHOOK => webhook(asked, &path, &mut errors),
            None if kind == WEBHOOK => errors.required(&at, "required when type=Webhook"),
            Some(_) => errors.invalid(&at, "non-null", "may only be specified when type=Webhook"),
            None => {}
        }
    }
    errors
}

fn webhook(of: &WebhookConfiguration, path: &Path, errors: &mut Errors) {
    const LONGEST: i64 = 30 * 1_000_000_000;
    for (name, nanos, longest, said) in [
        ("timeout", of.timeout, LONGEST, "must be > 0s and <= 30s"),
        ("authorizedTTL", of.authorized_ttl, i64::MAX, "must be > 0s"),
        (
            "unauthorizedTTL",
            of.unauthorized_ttl,
            i64::MAX,
            "must be > 0s",
        ),
    ] {
        let at = path.child(name);
        if nanos == 0 {
            errors.required(&at, "");
        } else if nanos < 0 || nanos > longest {
            errors.invalid(&at, gonum::duration_text(nanos), said);
        }
    }
    let (version, at) = (
        of.subject_access_review_version.as_str(),
        path.child("subjectAccessReviewVersion"),
    );
    match version {
        "" => errors.required(&at, ""),
        "v1" | "v1beta1" => {}
        other => errors.not_supported(&at, other, &["v1", "v1beta1"]),
    }
    let (version, at) = (
        of.match_condition_subject_access_review_version.as_str(),
        path.child("matchConditionSubjectAccessReviewVersion"),
    );
    match version {
        "" if of.match_conditions.is_empty() => {}
        "" => errors.required(&at, "required if match conditions are specified"),
        "v1" => {}
        other => errors.not_supported(&at, other, &["v1"]),
    }
    let (policy, at) = (of.failure_policy.as_str(), path.child("failurePolicy"));
    match policy {
        "" => errors.required(&at, ""),
        "NoOpinion" | "Deny" => {}
        other => errors.not_supported(&at, other, &["NoOpinion", "Deny"]),
    }
    connection(&of.connection_info, &path.child("connectionInfo"), errors);
    Conditions::compile(&of.match_conditions, path, errors);
}

fn connection(of: &ConnectionInfo, path: &Path, errors: &mut Errors) {
    let at = path.child("kubeConfigFile");
    let file = of.kubeconfig_file.as_deref();
    match of.kind.as_str() {
        "" => errors.required(&path.child("type"), ""),
        "InClusterConfig" => {
            if let Some(file) = file {
                errors.invalid(&at, file, "can only be set when type=KubeConfigFile");
            }
        }
        "KubeConfigFile" => match file {
            None | Some("") => errors.required(&at, ""),
            Some(file) if !FilePath::new(file).is_absolute() => {
                errors.invalid(&at, file, "must be an absolute path");
            }
            Some(file) => match std::fs::metadata(file) {
                Err(why) => errors.invalid(
                    &at,
                    file,
                    format!("error loading file: stat {file}: {}", go_words(&why)),
                ),
                Ok(of) if !of.is_file() => errors.invalid(&at, file, "must be a regular file"),
                Ok(_) => {}
            },
        },
        _ => {
            let shown = json!({"Type": of.kind, "KubeConfigFile": of.kubeconfig_file});
            errors.not_supported(
                &path.child("type"),
                shown,
                &["InClusterConfig", "KubeConfigFile"],
            );
        }
    }
}

/// What else is wrong with a file: names that are not those of their types, and types of `needed` that it does not have.
pub fn names(config: &AuthorizationConfiguration, needed: &[String]) -> Vec<String> {
    let local = || (config.authorizers.iter()).filter(|one| one.kind != WEBHOOK);
    let mut wrong: Vec<String> = local()
        .filter(|one| one.kind.to_lowercase() != one.name)
        .map(|one| {
            let expected = one.kind.to_lowercase();
            format!(
                "expected name {expected} for authorizer {} instead of {}",
                one.kind, one.name
            )
        })
        .collect();
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|kind| local().all(|one| one.kind != **kind))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        missing.sort_unstable();
        wrong.push(format!("missing required types: [{}]", missing.join(" ")));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> AuthorizationConfiguration {
        let (value, _) = skiff_api::machinery::yaml::read_first(yaml).unwrap();
        let config: AuthorizationConfiguration = serde_json::from_value(value).unwrap();
        config.defaulted()
    }

    #[test]
    fn what_authorizers_must_be() {
        for (yaml, wanted) in [
            (
                "authorizers: [{type: Node, name: node}, {type: RBAC, name: rbac}]",
                vec![],
            ),
            (
                "authorizers: []",
                vec![
                    "authorizers: Required value: at least one authorization mode must be defined",
                ],
            ),
            (
                "authorizers: [{}, {type: X}, {type: RBAC, name: a}, {type: RBAC, name: b}, {type: Node}, {type: ABAC, name: a}, {type: AlwaysDeny, name: A_}]",
                vec![
                    "authorizers[0].type: Required value",
                    "authorizers[1].type: Unsupported value: \"X\": supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"",
                    "authorizers[3].type: Duplicate value: \"RBAC\"",
                    "authorizers[4].name: Required value",
                    "authorizers[5].name: Duplicate value: \"a\"",
                    "authorizers[6].name: Invalid value: \"A_\": authorizer name is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (
                "authorizers: [{type: Webhook, name: a}, {type: RBAC, name: b, webhook: {}}]",
                vec![
                    "authorizers[0].webhook: Required value: required when type=Webhook",
                    "authorizers[1].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook",
                ],
            ),
            (
                "authorizers: [{type: Webhook, name: a, webhook: {}}]",
                vec![
                    "authorizers[0].timeout: Required value",
                    "authorizers[0].subjectAccessReviewVersion: Required value",
                    "authorizers[0].failurePolicy: Required value",
                    "authorizers[0].connectionInfo.type: Required value",
                ],
            ),
            (
                "authorizers: [{type: Webhook, name: a, webhook: {timeout: 31s, authorizedTTL: -1s, unauthorizedTTL: 1m, subjectAccessReviewVersion: v2, failurePolicy: Ignore, \
                 matchConditionSubjectAccessReviewVersion: v1beta1, connectionInfo: {type: KubeConfigFile, kubeConfigFile: x}, matchConditions: [{expression: 'request.user'}]}}]",
                vec![
                    "authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s",
                    "authorizers[0].authorizedTTL: Invalid value: \"-1s\": must be > 0s",
                    "authorizers[0].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\"",
                    "authorizers[0].matchConditionSubjectAccessReviewVersion: Unsupported value: \"v1beta1\": supported values: \"v1\"",
                    "authorizers[0].failurePolicy: Unsupported value: \"Ignore\": supported values: \"Deny\", \"NoOpinion\"",
                    "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"x\": must be an absolute path",
                    "authorizers[0].matchConditions[0].expression: Invalid value: \"request.user\": must evaluate to bool but got string",
                ],
            ),
            (
                "authorizers: [{type: Webhook, name: a, webhook: {timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, \
                 connectionInfo: {type: KubeConfigFile, kubeConfigFile: /nosuch}, matchConditions: [{expression: 'true'}]}}]",
                vec![
                    "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified",
                    "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/nosuch\": error loading file: stat /nosuch: no such file or directory",
                ],
            ),
        ] {
            assert_eq!(configuration(&read(yaml)).texts(), wanted, "{yaml}");
        }
    }

    #[test]
    fn names_and_types() {
        let config = read("authorizers: [{type: Node, name: x}, {type: RBAC, name: rbac}]");
        let needed = ["RBAC".to_string(), "AlwaysDeny".to_string()];
        assert_eq!(
            names(&config, &needed),
            [
                "expected name node for authorizer Node instead of x",
                "missing required types: [AlwaysDeny]"
            ]
        );
    }
}
