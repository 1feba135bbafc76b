//! ResourceQuotas: what may be counted, in which scopes, which stay.
//!
//! Follows `ValidateResourceQuota*` of `pkg/apis/core/validation/validation.go` and `pkg/registry/core/resourcequota/strategy.go`.

use std::collections::BTreeSet;

use crate::kinds::prelude::*;
use crate::kinds::rows::core::pod::defaults::amounts as round_up;
use crate::kinds::validation::checks::{IMMUTABLE, invalid_shown};
use crate::kinds::validation::pod::resources::{
    amount, is_standard_for_quota, quantity, resource_name,
};
use crate::machinery::meta::child_mut;

pub const STRATEGY: Strategy = Strategy {
    defaults: |quota| {
        round_up(fill::spec(quota), "hard");
        let status = child_mut(quota, "status");
        ["hard", "used"]
            .iter()
            .for_each(|list| round_up(status, list));
    },
    validate: |quota| {
        let mut errors = spec(quota.at("spec"));
        errors.extend(status(quota));
        errors
    },
    validate_update,
    validate_status_update: |new, _| {
        let mut errors = Errors::of(|errors| checks::version_required(new, errors));
        errors.extend(status(new));
        errors
    },
    warnings,
    ..Strategy::DEFAULT
};

/// A scope, and what can be counted in it.
const SCOPES: [(&str, &[&str]); 7] = [
    ("Terminating", PODS),
    ("NotTerminating", PODS),
    ("BestEffort", &["pods"]),
    ("NotBestEffort", PODS),
    ("PriorityClass", PODS),
    ("CrossNamespacePodAffinity", PODS),
    (
        "VolumeAttributesClass",
        &["persistentvolumeclaims", "requests.storage"],
    ),
];
const PODS: &[&str] = &[
    "pods",
    "cpu",
    "memory",
    "limits.cpu",
    "limits.memory",
    "requests.cpu",
    "requests.memory",
];
const CONFLICTS: [[&str; 2]; 2] = [
    ["BestEffort", "NotBestEffort"],
    ["Terminating", "NotTerminating"],
];

fn amounts(owner: &Value, name: &str, path: &Path, errors: &mut Errors) {
    let path = path.child(name);
    for (resource, value) in owner.entries(name) {
        let path = path.key(resource);
        resource_name(resource, &path, errors);
        if !resource.contains('/') && !is_standard_for_quota(resource) {
            errors.invalid(&path, resource, "must be a standard resource for quota");
        }
        amount(resource, &quantity(value), &path, errors);
    }
}

fn status(quota: &Value) -> Errors {
    let mut errors = Errors::default();
    for name in ["hard", "used"] {
        amounts(quota.at("status"), name, &Path::new("status"), &mut errors);
    }
    errors
}

fn spec(spec: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("spec");
    amounts(spec, "hard", &path, &mut errors);
    scopes(spec, &path.child("scopes"), &mut errors);
    if spec.some("scopeSelector").is_some() {
        selector(
            spec,
            &path.child("scopeSelector").child("matchExpressions"),
            &mut errors,
        );
    }
    errors
}

/// How many of the resources that are bounded cannot be counted in the scope.
fn unfit(spec: &Value, scope: &str) -> usize {
    let Some((_, fit)) = SCOPES.iter().find(|(name, _)| *name == scope) else {
        return 0;
    };
    spec.entries("hard")
        .filter(|(resource, _)| is_standard_for_quota(resource) && !fit.contains(resource))
        .count()
}

fn is_scope(name: &str) -> bool {
    SCOPES.iter().any(|(scope, _)| *scope == name)
}

fn scopes(spec: &Value, path: &Path, errors: &mut Errors) {
    let shown = spec.list("scopes").to_vec();
    let given: Vec<&str> = spec.texts("scopes").collect();
    for scope in &given {
        if !is_scope(scope) {
            errors.invalid(path, shown.clone(), "unsupported scope");
        }
        for _ in 0..unfit(spec, scope) {
            errors.invalid(path, shown.clone(), "unsupported scope applied to resource");
        }
    }
    for pair in CONFLICTS {
        if pair.iter().all(|scope| given.contains(scope)) {
            errors.invalid(path, shown.clone(), "conflicting scopes");
        }
    }
}

fn selector(spec: &Value, path: &Path, errors: &mut Errors) {
    const EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let requirements = spec.at("scopeSelector").list("matchExpressions");
    for one in requirements {
        let (scope, operator, values) = (
            one.text("scopeName"),
            one.text("operator"),
            one.list("values"),
        );
        if !is_scope(scope) {
            errors.invalid(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..unfit(spec, scope) {
            let shown = internal::json(spec.at("scopeSelector"), "core.ScopeSelector");
            invalid_shown(
                &shown,
                "unsupported scope applied to resource",
                path,
                errors,
            );
        }
        let plain = matches!(
            scope,
            "BestEffort"
                | "NotBestEffort"
                | "Terminating"
                | "NotTerminating"
                | "CrossNamespacePodAffinity"
        );
        if plain && operator != "Exists" {
            errors.invalid(&path.child("operator"), operator, EXISTS);
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&path.child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.invalid(&path.child("values"), values.to_vec(), "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid(
                &path.child("operator"),
                operator,
                "not a valid selector operator",
            ),
        }
    }
    for pair in CONFLICTS {
        if pair.iter().all(|scope| {
            requirements
                .iter()
                .any(|one| one.text("scopeName") == *scope)
        }) {
            errors.invalid(
                path,
                spec.some("scopes").cloned().unwrap_or_default(),
                "conflicting scopes",
            );
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let (new, old) = (new.at("spec"), old.at("spec"));
    let mut errors = spec(new);
    let set = |of: &Value| {
        of.texts("scopes")
            .map(str::to_string)
            .collect::<BTreeSet<String>>()
    };
    if set(new) != set(old) {
        errors.invalid(
            &Path::new("spec").child("scopes"),
            new.some("scopes").cloned().unwrap_or_default(),
            IMMUTABLE,
        );
    }
    errors
}

fn warnings(quota: &Value, old: Option<&Value>) -> Warnings {
    let hard = quota.at("spec").at("hard");
    let mut told = Vec::new();
    for resource in ["cpu", "memory", "storage", "ephemeral-storage"]
        .iter()
        .filter(|_| old.is_none())
    {
        let (long, limit) = (format!("requests.{resource}"), format!("limits.{resource}"));
        let short = matches!(*resource, "cpu" | "memory").then_some(*resource);
        let request = [Some(long.as_str()), short]
            .into_iter()
            .flatten()
            .find_map(|name| Some((name, quantity(hard.some(name)?))));
        if let (Some((name, request)), Some(most)) = (request, hard.some(&limit).map(quantity))
            && request > most
        {
            told.push(format!(
                "ResourceQuota {name} ({request}) should be less than {limit} ({most})"
            ));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_in_which_scope() {
        for (given, said) in [
            (
                json!({"hard": {"pods": "1", "count/jobs.batch": "2", "requests.cpu": "1"}, "scopes": ["NotBestEffort"]}),
                "[]",
            ),
            (
                json!({"hard": {"cpus": "1"}}),
                "[spec.hard[cpus]: Invalid value: \"cpus\": must be a standard resource type or fully qualified, spec.hard[cpus]: Invalid value: \"cpus\": must be a standard resource for quota]",
            ),
            (
                json!({"hard": {"pods": "1.5"}}),
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
            ),
            (
                json!({"hard": {"services": "1"}, "scopes": ["BestEffort"]}),
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
            (
                json!({"scopes": ["Terminating", "NotTerminating"]}),
                "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes",
            ),
        ] {
            assert_eq!(spec(&given).message(), said);
        }
    }

    #[test]
    fn scopes_stay() {
        let quota = |scopes: Value| json!({"spec": {"scopes": scopes}});
        let said = "spec.scopes: Invalid value: [\"BestEffort\"]: field is immutable";
        assert_eq!(
            validate_update(&quota(json!(["BestEffort"])), &quota(json!([]))).message(),
            said
        );
        let told = warnings(
            &json!({"spec": {"hard": {"cpu": "2", "limits.cpu": "1"}}}),
            None,
        );
        assert_eq!(
            told,
            ["ResourceQuota cpu (2) should be less than limits.cpu (1)"]
        );
    }
}
