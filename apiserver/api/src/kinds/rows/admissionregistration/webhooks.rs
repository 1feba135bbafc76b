//! Webhooks, whether they change objects or only judge them.
//!
//! Invariant: an update is not refused for what stood there before and was allowed once.
//! Follows `validate{Validating,Mutating}WebhookConfiguration*` of `pkg/apis/admissionregistration/validation/validation.go` and
//! `pkg/apis/admissionregistration/v1/defaults.go`.

use super::{conditions, rules, static_names};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{is_good, label_selector};
use crate::kinds::validation::webhook::client_config;

pub const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const SELECTORS: [&str; 2] = ["namespaceSelector", "objectSelector"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Of those that judge requests. Follows `pkg/registry/admissionregistration/validatingwebhookconfiguration/strategy.go`.
pub const VALIDATING: Strategy = Strategy {
    defaults,
    validate: |configuration| validate(configuration, None),
    validate_update: |new, old| validate(new, Some(old)),
    warnings: static_names::warnings,
    ..Strategy::DEFAULT
};

/// Of those that change objects. Follows `pkg/registry/admissionregistration/mutatingwebhookconfiguration/strategy.go`.
pub const MUTATING: Strategy = Strategy {
    defaults: mutating_defaults,
    ..VALIDATING
};

fn defaults(configuration: &mut Value) {
    each(configuration, hook_defaults);
}

fn mutating_defaults(configuration: &mut Value) {
    each(configuration, |hook| {
        hook_defaults(hook);
        fill::absent(hook, "reinvocationPolicy", "Never");
    });
}

fn each(configuration: &mut Value, change: fn(&mut Map<String, Value>)) {
    if let Some(configuration) = configuration.as_object_mut() {
        fill::each(configuration, "webhooks").for_each(change);
    }
}

fn hook_defaults(hook: &mut Map<String, Value>) {
    fill::absent(hook, "failurePolicy", "Fail");
    rules::match_defaults(hook);
    fill::absent(hook, "timeoutSeconds", 10);
    rules::rule_defaults(hook, "rules");
    if let Some(service) =
        fill::inner(hook, "clientConfig").and_then(|config| fill::inner(config, "service"))
    {
        fill::absent(service, "port", 443);
    }
}

/// What is asked of webhooks; of an update less, where the old ones did not hold to it.
struct Options {
    match_conditions: bool,
    no_side_effects: bool,
    known_versions: bool,
    unique_names: bool,
    odd_label_values: bool,
}

impl Options {
    fn of_new() -> Options {
        Options {
            match_conditions: true,
            no_side_effects: true,
            known_versions: true,
            unique_names: true,
            odd_label_values: false,
        }
    }

    fn of_update(new: &[Value], old: &[Value]) -> Options {
        let knows_one = |hook: &Value| {
            hook.list("admissionReviewVersions").is_empty()
                || hook.texts("admissionReviewVersions").any(is_known)
        };
        let same = |(new, old): (&Value, &Value)| {
            new.list("matchConditions") == old.list("matchConditions")
        };
        let good_labels = |hook: &Value| {
            SELECTORS.iter().all(|name| {
                is_good(|errors| label_selector(hook.some(name), false, &Path::new(""), errors))
            })
        };
        Options {
            match_conditions: new.len() != old.len() || !new.iter().zip(old).all(same),
            no_side_effects: old
                .iter()
                .all(|hook| NO_SIDE_EFFECTS.contains(&hook.text("sideEffects"))),
            known_versions: old.iter().all(knows_one),
            unique_names: old.iter().enumerate().all(|(index, hook)| {
                !old[..index]
                    .iter()
                    .any(|before| before.text("name") == hook.text("name"))
            }),
            odd_label_values: !old.iter().all(good_labels),
        }
    }
}

fn is_known(version: &str) -> bool {
    REVIEW_VERSIONS.contains(&version)
}

/// A configuration; `old` is what an update replaces.
pub fn validate(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (hooks, path) = (new.list("webhooks"), Path::new("webhooks"));
    let options = old.map_or_else(Options::of_new, |old| {
        Options::of_update(hooks, old.list("webhooks"))
    });
    for (index, hook) in hooks.iter().enumerate() {
        let path = path.index(index);
        validate_hook(hook, &options, &path, &mut errors);
        review_versions(
            hook,
            &options,
            &path.child("admissionReviewVersions"),
            &mut errors,
        );
        let name = hook.text("name");
        if options.unique_names
            && !name.is_empty()
            && hooks[..index]
                .iter()
                .any(|before| before.text("name") == name)
        {
            errors.duplicate(&path.child("name"), name);
        }
    }
    errors
}

fn validate_hook(hook: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    match hook.text("name") {
        "" => errors.required(&path.child("name"), ""),
        name => errors.invalid_all(
            &path.child("name"),
            name,
            names::is_fully_qualified_name(name),
        ),
    }
    for (index, rule) in hook.list("rules").iter().enumerate() {
        rules::validate(rule, &path.child("rules").index(index), errors);
    }
    rules::choice(hook, "failurePolicy", FAILURE_POLICIES, path, errors);
    rules::match_policy(hook, path, errors);
    let allowed = if options.no_side_effects {
        NO_SIDE_EFFECTS
    } else {
        SIDE_EFFECTS
    };
    if hook.some("sideEffects").is_none() {
        errors.required(
            &path.child("sideEffects"),
            format!("must specify one of {}", allowed.join(", ")),
        );
    }
    rules::choice(hook, "sideEffects", allowed, path, errors);
    if let Some(seconds) = hook
        .int_ptr("timeoutSeconds")
        .filter(|seconds| !(1..=30).contains(seconds))
    {
        errors.invalid(
            &path.child("timeoutSeconds"),
            seconds,
            "the timeout value must be between 1 and 30 seconds",
        );
    }
    for name in SELECTORS {
        label_selector(
            hook.some(name),
            options.odd_label_values,
            &path.child(name),
            errors,
        );
    }
    rules::choice(
        hook,
        "reinvocationPolicy",
        REINVOCATION_POLICIES,
        path,
        errors,
    );
    client_config(hook.at("clientConfig"), &path.child("clientConfig"), errors);
    if options.match_conditions {
        conditions::validate(hook, false, path, errors);
    }
}

fn review_versions(hook: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let given: Vec<&str> = hook.texts("admissionReviewVersions").collect();
    if given.is_empty() {
        return errors.required(
            path,
            format!("must specify one of {}", REVIEW_VERSIONS.join(", ")),
        );
    }
    for (index, version) in given.iter().enumerate() {
        if given[..index].contains(version) {
            errors.invalid(&path.index(index), *version, "duplicate version");
        } else {
            errors.invalid_all(
                &path.index(index),
                version,
                names::is_dns1035_label(version),
            );
        }
    }
    if options.known_versions && !given.iter().any(|version| is_known(version)) {
        errors.invalid(
            path,
            given,
            format!(
                "must include at least one of {}",
                REVIEW_VERSIONS.join(", ")
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(change: &[(&str, Value)]) -> Value {
        let mut hook = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://a"}});
        for (name, value) in change {
            hook[*name] = value.clone();
        }
        hook
    }

    fn configuration(hooks: &[Value]) -> Value {
        let mut configuration = json!({"webhooks": hooks});
        mutating_defaults(&mut configuration);
        configuration
    }

    #[test]
    fn what_is_not_said() {
        let given = hook(&[
            ("rules", json!([{}])),
            ("clientConfig", json!({"service": {}})),
        ]);
        let mut judging = json!({"webhooks": [given]});
        defaults(&mut judging);
        let mut wanted = hook(&[
            ("rules", json!([{"scope": "*"}])),
            ("clientConfig", json!({"service": {"port": 443}})),
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ]);
        assert_eq!(judging["webhooks"][0], wanted);
        wanted["reinvocationPolicy"] = "Never".into();
        assert_eq!(configuration(&[given])["webhooks"][0], wanted);
    }

    #[test]
    fn what_a_webhook_may_say() {
        for (change, said) in [
            (vec![], "[]"),
            (
                vec![("name", json!(""))],
                "webhooks[0].name: Required value",
            ),
            (
                vec![("name", json!("a.b"))],
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            ),
            (
                vec![(
                    "rules",
                    json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"]}]),
                )],
                "webhooks[0].rules[0].resources: Required value",
            ),
            (
                vec![("failurePolicy", json!("x"))],
                "webhooks[0].failurePolicy: Unsupported value: \"x\": supported values: \"Fail\", \"Ignore\"",
            ),
            (
                vec![("matchPolicy", json!("x"))],
                "webhooks[0].matchPolicy: Unsupported value: \"x\": supported values: \"Equivalent\", \"Exact\"",
            ),
            (
                vec![("sideEffects", json!(null))],
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            ),
            (
                vec![("sideEffects", json!("Some"))],
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ),
            (
                vec![("timeoutSeconds", json!(31))],
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                vec![(
                    "objectSelector",
                    json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
                )],
                "webhooks[0].objectSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ),
            (
                vec![("reinvocationPolicy", json!("x"))],
                "webhooks[0].reinvocationPolicy: Unsupported value: \"x\": supported values: \"IfNeeded\", \"Never\"",
            ),
            (
                vec![("clientConfig", json!({}))],
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                vec![("matchConditions", json!([{"name": "a"}]))],
                "webhooks[0].matchConditions[0].expression: Required value",
            ),
            (
                vec![("admissionReviewVersions", json!([]))],
                "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ),
            (
                vec![("admissionReviewVersions", json!(["v1", "v1"]))],
                "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v1\": duplicate version",
            ),
            (
                vec![("admissionReviewVersions", json!(["v2"]))],
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ),
        ] {
            assert_eq!(
                validate(&configuration(&[hook(&change)]), None).message(),
                said,
                "{change:?}"
            );
        }
        assert_eq!(
            validate(&configuration(&[hook(&[]), hook(&[])]), None).message(),
            "webhooks[1].name: Duplicate value: \"a.b.c\""
        );
    }

    #[test]
    fn what_was_allowed_once() {
        for change in [
            ("sideEffects", json!("Some")),
            ("admissionReviewVersions", json!(["v2"])),
            ("matchConditions", json!([{"name": "a"}])),
            (
                "objectSelector",
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["a b"]}]}),
            ),
        ] {
            let odd = configuration(&[hook(std::slice::from_ref(&change))]);
            assert_eq!(validate(&odd, None).len(), 1, "{change:?}");
            assert!(validate(&odd, Some(&odd)).is_empty(), "{change:?}");
            assert_eq!(
                validate(&odd, Some(&configuration(&[hook(&[])]))).len(),
                1,
                "{change:?}"
            );
        }
        let twice = configuration(&[hook(&[]), hook(&[])]);
        assert!(validate(&twice, Some(&twice)).is_empty());
    }
}
