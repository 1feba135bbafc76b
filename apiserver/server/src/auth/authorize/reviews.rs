//! Access reviews: SubjectAccessReview, its self and local forms, and SelfSubjectRulesReview, from `spec` to `status`.
//!
//! Invariant: a review asks the same authorizers as a request does; a selector that cannot be parsed is left out of account, said in
//! `evaluationError`, and never widens what is allowed (no authorizer grants more for a selector it does not see).
//! Follows `pkg/registry/authorization` and `pkg/registry/authorization/util/helpers.go`. The specs are validated before, by their kinds.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use skiff_api::machinery::{
    selector::{FieldSelector, Selector},
    status::Status,
};

use super::Authorizers;
use crate::auth::text::aggregate;
use crate::auth::{Attributes, Decision, User, null_is_default};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    user: String,
    uid: String,
    #[serde(deserialize_with = "null_is_default")]
    groups: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    extra: BTreeMap<String, Vec<String>>,
    resource_attributes: Option<ResourceAttributes>,
    non_resource_attributes: Option<NonResourceAttributes>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceAttributes {
    namespace: String,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    name: String,
    field_selector: Option<Asked>,
    label_selector: Option<Asked>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NonResourceAttributes {
    path: String,
    verb: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Asked {
    raw_selector: String,
    #[serde(deserialize_with = "null_is_default")]
    requirements: Vec<Requirement>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Requirement {
    key: String,
    operator: String,
    #[serde(deserialize_with = "null_is_default")]
    values: Vec<String>,
}

/// The `status` of a SubjectAccessReview with this `spec`.
pub async fn subject_access(authorizers: &Authorizers, spec: &Value) -> Result<Value, Status> {
    let mut spec = read(spec)?;
    let user = User {
        name: std::mem::take(&mut spec.user),
        uid: std::mem::take(&mut spec.uid),
        groups: std::mem::take(&mut spec.groups),
        extra: std::mem::take(&mut spec.extra),
    };
    evaluate(authorizers, Arc::new(user), spec).await
}

/// The `status` of a SelfSubjectAccessReview with this `spec`, sent by `user`.
pub async fn self_subject_access(
    authorizers: &Authorizers,
    user: &Arc<User>,
    spec: &Value,
) -> Result<Value, Status> {
    evaluate(authorizers, user.clone(), read(spec)?).await
}

/// The `status` of a LocalSubjectAccessReview with this `spec`; `request_namespace` is the path's, `object_namespace` that of its metadata.
pub async fn local_subject_access(
    authorizers: &Authorizers,
    request_namespace: &str,
    object_namespace: &str,
    spec: &Value,
) -> Result<Value, Status> {
    if request_namespace.is_empty() {
        return Err(Status::bad_request("namespace is required on this type: "));
    }
    if request_namespace != object_namespace {
        return Err(Status::bad_request(format!(
            "spec.resourceAttributes.namespace must match namespace: {request_namespace}"
        )));
    }
    subject_access(authorizers, spec).await
}

/// The `status` of a SelfSubjectRulesReview, sent by `user`. Its `spec` is not repeated in the answer: upstream answers `spec: {}`.
pub fn self_subject_rules(
    authorizers: &Authorizers,
    user: &User,
    namespace: &str,
) -> Result<Value, Status> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rules = authorizers.rules(user, namespace);
    let mut status = json!({"resourceRules": rules.resource, "nonResourceRules": rules.non_resource, "incomplete": rules.incomplete});
    // A rule of both kinds shows in each list with that list's fields alone.
    for (list, strange) in [
        ("resourceRules", &["nonResourceURLs"][..]),
        (
            "nonResourceRules",
            &["apiGroups", "resources", "resourceNames"],
        ),
    ] {
        for rule in status[list]
            .as_array_mut()
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            strange.iter().for_each(|field| drop(rule.remove(*field)));
        }
    }
    if let Some(errors) = aggregate(&rules.errors) {
        status["evaluationError"] = json!(errors);
    }
    Ok(status)
}

fn read(spec: &Value) -> Result<Spec, Status> {
    Spec::deserialize(spec)
        .map_err(|error| Status::internal(format!("cannot read the review: {error}")))
}

async fn evaluate(authorizers: &Authorizers, user: Arc<User>, spec: Spec) -> Result<Value, Status> {
    let mut errors = Vec::new();
    let attributes = match (spec.resource_attributes, spec.non_resource_attributes) {
        (Some(asked), _) => resource_attributes(user, asked, &mut errors),
        (None, Some(asked)) => Attributes {
            user,
            verb: asked.verb,
            path: asked.path,
            ..Attributes::default()
        },
        (None, None) => {
            return Err(Status::bad_request(
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
        }
    };
    let verdict = authorizers.decide(&attributes).await;
    let mut status = Map::from_iter([("allowed".to_owned(), json!(verdict.allowed()))]);
    if matches!(verdict.decision, Decision::Deny(_)) {
        status.insert("denied".to_owned(), json!(true));
    }
    if !verdict.reason().is_empty() {
        status.insert("reason".to_owned(), json!(verdict.reason()));
    }
    errors.extend(verdict.error());
    if !errors.is_empty() {
        status.insert("evaluationError".to_owned(), json!(errors.join("; ")));
    }
    Ok(Value::Object(status))
}

fn resource_attributes(
    user: Arc<User>,
    asked: ResourceAttributes,
    errors: &mut Vec<String>,
) -> Attributes {
    let mut read = |name: &str,
                    selector: Option<Asked>,
                    write: fn(&Requirement) -> Option<String>,
                    parses: fn(&str) -> bool| {
        let Some(selector) = selector else {
            return String::new();
        };
        if selector.requirements.is_empty() {
            if parses(&selector.raw_selector) {
                return selector.raw_selector;
            }
            errors.push(format!(
                "spec.resourceAttributes.{name} ignored due to parse error"
            ));
            return String::new();
        }
        let written: Vec<String> = selector.requirements.iter().filter_map(write).collect();
        if written.len() < selector.requirements.len() {
            let part = if written.is_empty() { "" } else { "partially " };
            errors.push(format!(
                "spec.resourceAttributes.{name} {part}ignored due to parse error"
            ));
        }
        written.join(",")
    };
    let field_selector = read(
        "fieldSelector",
        asked.field_selector,
        field_requirement,
        |raw| raw.parse::<FieldSelector>().is_ok(),
    );
    let label_selector = read(
        "labelSelector",
        asked.label_selector,
        label_requirement,
        |raw| raw.parse::<Selector>().is_ok(),
    );
    Attributes {
        user,
        verb: asked.verb,
        resource_request: true,
        group: asked.group,
        version: if asked.version.is_empty() {
            "*".to_owned()
        } else {
            asked.version
        },
        resource: asked.resource,
        subresource: asked.subresource,
        namespace: asked.namespace,
        name: asked.name,
        path: String::new(),
        field_selector,
        label_selector,
    }
}

/// As a field selector has it; fields know but one value and no existence.
fn field_requirement(requirement: &Requirement) -> Option<String> {
    let operator = match requirement.operator.as_str() {
        "In" => "=",
        "NotIn" => "!=",
        _ => return None,
    };
    let [value] = requirement.values.as_slice() else {
        return None;
    };
    let escaped = value
        .replace('\\', "\\\\")
        .replace(',', "\\,")
        .replace('=', "\\=");
    Some(format!("{}{operator}{escaped}", requirement.key))
}

fn label_requirement(requirement: &Requirement) -> Option<String> {
    let (key, values) = (&requirement.key, requirement.values.join(","));
    match (requirement.operator.as_str(), requirement.values.is_empty()) {
        ("In", false) => Some(format!("{key} in ({values})")),
        ("NotIn", false) => Some(format!("{key} notin ({values})")),
        ("Exists", true) => Some(key.clone()),
        ("DoesNotExist", true) => Some(format!("!{key}")),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tests/reviews.rs"]
mod tests;
