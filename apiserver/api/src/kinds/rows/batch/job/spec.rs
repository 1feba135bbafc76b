//! The spec of a Job, alone or in a CronJob. Follows `pkg/apis/batch/validation/validation.go` (validateJobSpec).
//!
//! Invariant: what counts indexes is only for jobs with indexes, and the pods of a job do not run for ever.

use super::indexes;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{invalid_shown, nonnegative, qualified_name, unsupported};
use crate::kinds::validation::pod;
use crate::kinds::validation::pod::Options;
use crate::machinery::field::{Error, Kind};

const MOST_INDEXES: i64 = 100_000;
const MOST_PARALLEL: i64 = 100_000;
/// Past so many completions the limits are closer.
const MANY_COMPLETIONS: i64 = 100_000;
const MOST_WITH_MANY: i64 = 10_000;
const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_PATTERNS: usize = 20;
const LONGEST_MANAGER: usize = 63;
const LONGEST_INDEXES: usize = 64 * 1024;
const INDEXED: &str = "Indexed";
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];

/// An `Invalid value` that shows no value.
pub fn invalid_silent(detail: &str, path: &Path, errors: &mut Errors) {
    errors.0.push(Error {
        kind: Kind::Invalid,
        field: path.to_string(),
        value: None,
        detail: detail.into(),
    });
}

/// `["A" "B"]`, as Go's `%q` prints a list.
fn go_list(words: &[&str]) -> String {
    format!(
        "[{}]",
        words
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(" ")
    )
}

pub fn validate(spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    numbers(spec, path, errors);
    completion_mode(spec, path, errors);
    if let Some(policy) = spec.some("podFailurePolicy") {
        failure_policy(spec, policy, &path.child("podFailurePolicy"), errors);
    }
    if let Some(policy) = spec.some("successPolicy") {
        let at = path.child("successPolicy");
        if spec.text("completionMode") == INDEXED {
            success_policy(spec, policy, &at, errors);
        } else {
            invalid_shown(
                &internal::json(policy, "batch.SuccessPolicy"),
                "requires indexed completion mode",
                &at,
                errors,
            );
        }
    }
    if let Some(policy) = spec.text_ptr("podReplacementPolicy") {
        let supported: &[&str] = if spec.some("podFailurePolicy").is_some() {
            &["Failed"]
        } else {
            &["Failed", "TerminatingOrFailed"]
        };
        if !supported.contains(&policy) {
            unsupported(
                policy,
                supported,
                &path.child("podReplacementPolicy"),
                errors,
            );
        }
    }
    let at = path.child("template");
    pod::validate_template(spec.at("template"), options, &at, errors);
    restart_policy(spec, &at.child("spec").child("restartPolicy"), errors);
}

fn numbers(spec: &Value, path: &Path, errors: &mut Errors) {
    const COUNTS: [&str; 7] = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for name in COUNTS {
        nonnegative(spec.int(name), &path.child(name), errors);
    }
    if spec.some("maxFailedIndexes").is_some() && spec.some("backoffLimitPerIndex").is_none() {
        errors.required(
            &path.child("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        );
    }
    if let Some(manager) = spec.text_ptr("managedBy") {
        let at = path.child("managedBy");
        if manager.is_empty() {
            errors.required(&at, "");
        } else {
            for (message, value) in names::is_domain_prefixed_path(manager) {
                errors.invalid(&at, value, message);
            }
        }
        if manager.len() > LONGEST_MANAGER {
            errors.too_long(&at, LONGEST_MANAGER as i64);
        }
    }
}

fn completion_mode(spec: &Value, path: &Path, errors: &mut Errors) {
    let mode = spec.text_ptr("completionMode");
    if let Some(mode) = mode.filter(|mode| !matches!(*mode, "NonIndexed" | "Indexed")) {
        unsupported(
            mode,
            &["NonIndexed", "Indexed"],
            &path.child("completionMode"),
            errors,
        );
    }
    match mode {
        Some(INDEXED) => indexed(spec, path, errors),
        None | Some("NonIndexed") => {
            for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(number) = spec.int_ptr(name) {
                    errors.invalid(
                        &path.child(name),
                        number,
                        "requires indexed completion mode",
                    );
                }
            }
        }
        Some(_) => {}
    }
}

fn indexed(spec: &Value, path: &Path, errors: &mut Errors) {
    let (completions, parallelism, failed) = (
        spec.int_ptr("completions"),
        spec.int("parallelism"),
        spec.int_ptr("maxFailedIndexes"),
    );
    let (parallelism_at, failed_at) = (path.child("parallelism"), path.child("maxFailedIndexes"));
    if completions.is_none() {
        errors.required(
            &path.child("completions"),
            "when completion mode is Indexed",
        );
    }
    if parallelism > MOST_PARALLEL {
        errors.invalid(
            &parallelism_at,
            parallelism,
            format!(
                "must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"
            ),
        );
    }
    if let (Some(failed), Some(completions)) = (failed, completions)
        && failed > completions
    {
        errors.invalid(
            &failed_at,
            failed,
            "must be less than or equal to completions",
        );
    }
    if let Some(failed) = failed.filter(|failed| *failed > MOST_INDEXES) {
        errors.invalid(
            &failed_at,
            failed,
            format!("must be less than or equal to {MOST_INDEXES}"),
        );
    }
    if completions.unwrap_or(0) <= MANY_COMPLETIONS || spec.some("backoffLimitPerIndex").is_none() {
        return;
    }
    let why = format!(
        "must be less than or equal to {MOST_WITH_MANY} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
    );
    if failed.is_none() {
        errors.required(
            &failed_at,
            format!("must be specified when completions is above {MANY_COMPLETIONS}"),
        );
    }
    if parallelism > MOST_WITH_MANY {
        errors.invalid(&parallelism_at, parallelism, why.clone());
    }
    if let Some(failed) = failed.filter(|failed| *failed > MOST_WITH_MANY) {
        errors.invalid(&failed_at, failed, why);
    }
}

fn restart_policy(spec: &Value, path: &Path, errors: &mut Errors) {
    match spec.at("template").at("spec").text("restartPolicy") {
        "Always" | "" => errors.required(path, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if spec.some("podFailurePolicy").is_some() => {
            errors.invalid(
                path,
                "OnFailure",
                "only \"Never\" is supported when podFailurePolicy is specified",
            );
        }
        "OnFailure" => {}
        other => unsupported(other, &["OnFailure", "Never"], path, errors),
    }
}

fn failure_policy(spec: &Value, policy: &Value, path: &Path, errors: &mut Errors) {
    let (rules, at) = (policy.list("rules"), path.child("rules"));
    if rules.len() > MOST_RULES {
        errors.too_many(&at, rules.len() as i64, MOST_RULES as i64);
    }
    for (index, rule) in rules.iter().enumerate() {
        failure_rule(spec, rule, &at.index(index), errors);
    }
}

fn failure_rule(spec: &Value, rule: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("action");
    match rule.text("action") {
        "" => errors.required(&at, format!("valid values: {}", go_list(ACTIONS))),
        "FailIndex" if spec.some("backoffLimitPerIndex").is_none() => {
            errors.invalid(
                &at,
                "FailIndex",
                "requires the backoffLimitPerIndex to be set",
            );
        }
        action if !ACTIONS.contains(&action) => unsupported(action, ACTIONS, &at, errors),
        _ => {}
    }
    let (codes, conditions) = (rule.some("onExitCodes"), rule.list("onPodConditions"));
    if let Some(codes) = codes {
        exit_codes(spec, codes, &path.child("onExitCodes"), errors);
    }
    pod_conditions(conditions, &path.child("onPodConditions"), errors);
    match (codes.is_some(), !conditions.is_empty()) {
        (true, true) => invalid_silent(
            "specifying both OnExitCodes and OnPodConditions is not supported",
            path,
            errors,
        ),
        (false, false) => invalid_silent(
            "specifying one of OnExitCodes and OnPodConditions is required",
            path,
            errors,
        ),
        _ => {}
    }
}

fn pod_conditions(patterns: &[Value], path: &Path, errors: &mut Errors) {
    const STATUSES: &[&str] = &["False", "True", "Unknown"];
    if patterns.len() > MOST_PATTERNS {
        errors.too_many(path, patterns.len() as i64, MOST_PATTERNS as i64);
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let at = path.index(index);
        qualified_name(pattern.text("type"), &at.child("type"), errors);
        match pattern.text("status") {
            "" => errors.required(
                &at.child("status"),
                format!("valid values: {}", go_list(STATUSES)),
            ),
            status if !STATUSES.contains(&status) => {
                unsupported(status, STATUSES, &at.child("status"), errors)
            }
            _ => {}
        }
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &Path, errors: &mut Errors) {
    const OPERATORS: &[&str] = &["In", "NotIn"];
    let operator = codes.text("operator");
    match operator {
        "" => errors.required(
            &path.child("operator"),
            format!("valid values: {}", go_list(OPERATORS)),
        ),
        _ if !OPERATORS.contains(&operator) => {
            unsupported(operator, OPERATORS, &path.child("operator"), errors)
        }
        _ => {}
    }
    let template = spec.at("template").at("spec");
    let known = |name: &str| {
        ["containers", "initContainers"]
            .iter()
            .flat_map(|list| template.list(list))
            .any(|container| container.text("name") == name)
    };
    if let Some(name) = codes.text_ptr("containerName").filter(|name| !known(name)) {
        errors.invalid(
            &path.child("containerName"),
            name,
            "must be one of the container or initContainer names in the pod template",
        );
    }
    let (values, at) = (codes.list("values"), path.child("values"));
    if values.is_empty() {
        errors.invalid(
            &at,
            codes.some("values").cloned().unwrap_or_default(),
            "at least one value is required",
        );
    } else if values.len() > MOST_EXIT_CODES {
        errors.too_many(&at, values.len() as i64, MOST_EXIT_CODES as i64);
    }
    for (index, value) in values.iter().enumerate() {
        if operator == "In" && value.as_i64() == Some(0) {
            errors.invalid(&at.index(index), 0, "must not be 0 for the In operator");
        }
        if values[..index].contains(value) {
            errors.duplicate(&at.index(index), value.clone());
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        errors.invalid(&at, values.to_vec(), "must be ordered");
    }
}

fn success_policy(spec: &Value, policy: &Value, path: &Path, errors: &mut Errors) {
    let (rules, at) = (policy.list("rules"), path.child("rules"));
    if rules.is_empty() {
        errors.required(
            &at,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if rules.len() > MOST_RULES {
        errors.too_many(&at, rules.len() as i64, MOST_RULES as i64);
    }
    let completions = spec.int("completions");
    for (index, rule) in rules.iter().enumerate() {
        success_rule(rule, completions, &at.index(index), errors);
    }
}

fn success_rule(rule: &Value, completions: i64, path: &Path, errors: &mut Errors) {
    let (count, listed) = (
        rule.int_ptr("succeededCount"),
        rule.text_ptr("succeededIndexes"),
    );
    if count.is_none() && listed.is_none() {
        errors.required(
            path,
            "at least one of succeededCount or succeededIndexes must be specified",
        );
    }
    let mut total = 0;
    if let Some(listed) = listed {
        let at = path.child("succeededIndexes");
        if listed.len() > LONGEST_INDEXES {
            errors.too_long(&at, LONGEST_INDEXES as i64);
        }
        match indexes::count(listed, completions) {
            Ok(count) => total = count,
            Err(fault) => errors.invalid(
                &at,
                listed,
                format!("error parsing succeededIndexes: {fault}"),
            ),
        }
    }
    let Some(count) = count else { return };
    let at = path.child("succeededCount");
    nonnegative(count, &at, errors);
    if count > completions {
        errors.invalid(
            &at,
            count,
            format!(
                "must be less than or equal to {completions} (the number of specified completions)"
            ),
        );
    }
    if listed.is_some() && count > total {
        errors.invalid(&at, count, format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(spec: Value) -> Vec<String> {
        Errors::of(|errors| validate(&spec, &Options::default(), &Path::new("s"), errors))
            .0
            .iter()
            .map(ToString::to_string)
            .filter(|said| {
                !said.starts_with("s.template.spec") || said.contains("restartPolicy: Invalid")
            })
            .collect()
    }

    #[test]
    fn each() {
        for (spec, wanted) in [
            (
                json!({"completionMode": "Indexed", "completions": 3}),
                vec![],
            ),
            (
                json!({"completionMode": "Indexed"}),
                vec!["s.completions: Required value: when completion mode is Indexed"],
            ),
            (
                json!({"backoffLimitPerIndex": 1}),
                vec!["s.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
            ),
            (
                json!({"parallelism": -1}),
                vec!["s.parallelism: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                json!({"podFailurePolicy": {"rules": [{}]}}),
                vec![
                    "s.podFailurePolicy.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
                    "s.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
                ],
            ),
            (
                json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [2, 0]}}]}, "template": {"spec": {"restartPolicy": "OnFailure"}}}),
                vec![
                    "s.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                    "s.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0]: must be ordered",
                    "s.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
                ],
            ),
            (
                json!({"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": [{"succeededCount": 3, "succeededIndexes": "0-1"}]}}),
                vec![
                    "s.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
                ],
            ),
            (
                json!({"podReplacementPolicy": "x"}),
                vec![
                    "s.podReplacementPolicy: Unsupported value: \"x\": supported values: \"Failed\", \"TerminatingOrFailed\"",
                ],
            ),
        ] {
            assert_eq!(said(spec), wanted);
        }
    }
}
