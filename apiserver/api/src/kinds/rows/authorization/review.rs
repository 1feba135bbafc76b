//! Access reviews: what is asked must be one thing, of somebody.
//!
//! Invariant: a review bears nothing but its question. Follows `pkg/apis/authorization/validation/validation.go`.

use serde_json::json;

use crate::kinds::prelude::*;

pub const SUBJECT: Strategy = Strategy {
    validate: |review| {
        Errors::of(|errors| {
            asked(review, true, errors);
            bare(review, &[], "must be empty", errors);
        })
    },
    ..Strategy::DEFAULT
};

pub const SELF_SUBJECT: Strategy = Strategy {
    validate: |review| {
        Errors::of(|errors| {
            asked(review, false, errors);
            bare(review, &[], "must be empty", errors);
        })
    },
    ..Strategy::DEFAULT
};

pub const LOCAL_SUBJECT: Strategy = Strategy {
    validate: |review| {
        Errors::of(|errors| {
            asked(review, true, errors);
            bare(
                review,
                &["namespace"],
                "must be empty except for namespace",
                errors,
            );
            local(review, errors);
        })
    },
    ..Strategy::DEFAULT
};

/// As upstream's type without JSON names is shown.
fn shown(non_resource: &Value) -> Value {
    json!({"Path": non_resource.text("path"), "Verb": non_resource.text("verb")})
}

fn asked(review: &Value, of_somebody: bool, errors: &mut Errors) {
    let (spec, path) = (review.at("spec"), Path::new("spec"));
    let resource = spec.some("resourceAttributes");
    match (resource, spec.some("nonResourceAttributes")) {
        (Some(_), Some(other)) => errors.invalid(
            &path.child("nonResourceAttributes"),
            shown(other),
            "cannot be specified in combination with resourceAttributes",
        ),
        (None, None) => errors.invalid(
            &path.child("resourceAttributes"),
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
    if of_somebody && spec.text("user").is_empty() && spec.list("groups").is_empty() {
        errors.invalid(
            &path.child("user"),
            "",
            "at least one of user or group must be specified",
        );
    }
    let Some(resource) = resource else { return };
    let path = path.child("resourceAttributes");
    for name in ["fieldSelector", "labelSelector"] {
        if let Some(given) = resource.some(name) {
            selector(given, name == "labelSelector", &path.child(name), errors);
        }
    }
}

fn selector(selector: &Value, of_labels: bool, path: &Path, errors: &mut Errors) {
    let (raw, requirements) = (selector.text("rawSelector"), selector.list("requirements"));
    if !raw.is_empty() && !requirements.is_empty() {
        errors.invalid(
            &path.child("rawSelector"),
            raw,
            "may not specified at the same time as requirements",
        );
    }
    let path_of_all = path.child("requirements");
    if raw.is_empty() && requirements.is_empty() {
        errors.required(
            &path_of_all,
            format!("when {path} is specified, requirements or rawSelector is required"),
        );
    }
    for (index, requirement) in requirements.iter().enumerate() {
        let path = path_of_all.index(index);
        if !of_labels && requirement.text("key").is_empty() {
            errors.required(&path.child("key"), "must be specified");
        }
        checks::values_of_operator(requirement, &path, errors);
        if of_labels {
            checks::qualified_name(requirement.text("key"), &path.child("key"), errors);
            checks::label_values(requirement, &path.child("values"), errors);
        }
    }
}

/// Its metadata holds nothing but these, and what the server notes of who wrote it.
fn bare(review: &Value, but: &[&str], why: &str, errors: &mut Errors) {
    let metadata = review.at("metadata");
    let strange = |(name, _): (&str, &Value)| !but.contains(&name) && name != "managedFields";
    if review.entries("metadata").any(strange) {
        let path = Path::new("metadata");
        errors.invalid_object(&path, metadata, "meta.v1.ObjectMeta", why);
    }
}

fn local(review: &Value, errors: &mut Errors) {
    let (spec, path) = (review.at("spec"), Path::new("spec"));
    if let Some(resource) = spec.some("resourceAttributes") {
        let namespace = resource.text("namespace");
        if namespace != review.at("metadata").text("namespace") {
            errors.invalid(
                &path.child("resourceAttributes").child("namespace"),
                namespace,
                "must match metadata.namespace",
            );
        }
    }
    if let Some(other) = spec.some("nonResourceAttributes") {
        errors.invalid(
            &path.child("nonResourceAttributes"),
            shown(other),
            "disallowed on this kind of request",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_one_thing_of_somebody() {
        let good = json!({"user": "u", "resourceAttributes": {"namespace": "n"}});
        let with = |changes: Value| {
            let mut spec = good.clone();
            for (name, value) in changes.as_object().unwrap() {
                spec[name] = value.clone();
            }
            json!({"metadata": {"namespace": "n", "managedFields": []}, "spec": spec})
        };
        let labels = |selector: Value| json!({"resourceAttributes": {"namespace": "n", "labelSelector": selector}});
        for (changes, expected) in [
            (json!({}), ""),
            (json!({"user": "", "groups": ["g"]}), ""),
            (
                json!({"user": ""}),
                "spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ),
            (
                json!({"resourceAttributes": null}),
                "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ),
            (
                json!({"resourceAttributes": {"namespace": "m"}}),
                "spec.resourceAttributes.namespace: Invalid value: \"m\": must match metadata.namespace",
            ),
            (labels(json!({"rawSelector": "a=b"})), ""),
            (
                labels(json!({})),
                "spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, \
                 requirements or rawSelector is required",
            ),
            (
                labels(
                    json!({"requirements": [{"key": "a", "operator": "In"}, {"key": "b", "operator": "New"}]}),
                ),
                "spec.resourceAttributes.labelSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ),
        ] {
            let errors = (LOCAL_SUBJECT.validate)(&with(changes.clone()));
            assert_eq!(errors.texts().join("; "), expected, "{changes}");
        }
        let named = json!({"metadata": {"name": "a"}, "spec": good});
        assert_eq!(
            (SUBJECT.validate)(&named).texts(),
            ["metadata: Invalid value: {\"name\":\"a\"}: must be empty"]
        );
    }
}
