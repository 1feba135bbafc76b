//! PriorityLevelConfigurations: how many requests at once, and what becomes of those that have to wait.
//!
//! Follows `ValidatePriorityLevelConfiguration*` of `pkg/apis/flowcontrol/validation/validation.go` and `pkg/apis/flowcontrol/v1/defaults.go`.

use crate::kinds::rows::flowcontrol::bootstrap;
use crate::kinds::{prelude::*, strategy::keep_whole_metadata};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update: |new, _| validate(new),
    prepare_for_status_update: keep_whole_metadata,
    ..Strategy::DEFAULT
};

const EXEMPT: &str = "exempt";
const SPEC: &str = "flowcontrol.PriorityLevelConfigurationSpec";
const MAX_QUEUES: i64 = 10_000_000;
const MAX_HASH_BITS: i64 = 60;
/// Of an older version of the API.
const KEEPS_ZERO: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

fn defaults(level: &mut Value) {
    let spec = fill::spec(level);
    if let Some(exempt) = fill::inner(spec, "exempt") {
        fill::absent(exempt, "nominalConcurrencyShares", 0);
        fill::absent(exempt, "lendablePercent", 0);
    }
    let Some(limited) = fill::inner(spec, "limited") else {
        return;
    };
    fill::absent(limited, "nominalConcurrencyShares", 30);
    fill::absent(limited, "lendablePercent", 0);
    if let Some(queuing) =
        fill::inner(limited, "limitResponse").and_then(|response| fill::inner(response, "queuing"))
    {
        fill::number(queuing, "handSize", 8);
        fill::number(queuing, "queues", 64);
        fill::number(queuing, "queueLengthLimit", 50);
    }
}

fn validate(level: &Value) -> Errors {
    let mut errors = Errors::default();
    if level
        .at("metadata")
        .at("annotations")
        .some(KEEPS_ZERO)
        .is_some()
    {
        errors.forbidden(
            &Path::new("metadata.annotations"),
            format!("annotation '{KEEPS_ZERO}' is forbidden"),
        );
    }
    let (given, path) = (level.at("spec"), Path::new("spec"));
    spec(level.name(), given, &path, &mut errors);
    mandatory(level.name(), given, &path, &mut errors);
    errors
}

fn mandatory(name: &str, spec: &Value, path: &Path, errors: &mut Errors) {
    let Some(fixed) = bootstrap::mandatory_level(name) else {
        return;
    };
    let mut compared = spec.clone();
    let mut but = "";
    if name == EXEMPT && compared.is_object() {
        but = " except the 'spec.exempt' field";
        compared["exempt"] = fixed.at("exempt").clone();
    }
    if internal::json(&compared, SPEC) != internal::json(&fixed, SPEC) {
        checks::invalid_shown(
            &internal::json(spec, SPEC),
            &format!("spec of '{name}'{but} must equal the fixed value"),
            path,
            errors,
        );
    }
}

fn spec(name: &str, spec: &Value, path: &Path, errors: &mut Errors) {
    let kind = spec.text("type");
    if (name == EXEMPT) != (kind == "Exempt") {
        errors.invalid(
            &path.child("type"),
            kind,
            "must be 'Exempt' if and only if `name` is 'exempt'",
        );
    }
    let (exempt, limited) = (spec.some("exempt"), spec.some("limited"));
    match kind {
        "Exempt" => {
            if limited.is_some() {
                errors.forbidden(
                    &path.child("limited"),
                    "must be nil if the type is not Limited",
                );
            }
            if let Some(given) = exempt {
                shares(given, &path.child("exempt"), errors);
                lendable(given, &path.child("exempt"), errors);
            }
        }
        "Limited" => {
            if exempt.is_some() {
                errors.forbidden(&path.child("exempt"), "must be nil if the type is Limited");
            }
            match limited {
                None => errors.required(
                    &path.child("limited"),
                    "must not be empty when type is Limited",
                ),
                Some(given) => self::limited(given, &path.child("limited"), errors),
            }
        }
        _ => errors.not_supported(&path.child("type"), kind, &["Exempt", "Limited"]),
    }
}

fn shares(given: &Value, path: &Path, errors: &mut Errors) {
    let shares = given.int("nominalConcurrencyShares");
    if shares < 0 {
        errors.invalid(
            &path.child("nominalConcurrencyShares"),
            shares,
            "must be a non-negative integer",
        );
    }
}

fn lendable(given: &Value, path: &Path, errors: &mut Errors) {
    let percent = given.int("lendablePercent");
    if !(0..=100).contains(&percent) {
        errors.invalid(
            &path.child("lendablePercent"),
            percent,
            "must be between 0 and 100, inclusive",
        );
    }
}

fn limited(limited: &Value, path: &Path, errors: &mut Errors) {
    shares(limited, path, errors);
    let (response, at) = (limited.at("limitResponse"), path.child("limitResponse"));
    match (response.text("type"), response.some("queuing")) {
        ("Reject", Some(_)) => errors.forbidden(
            &at.child("queuing"),
            "must be nil if limited.limitResponse.type is not Limited",
        ),
        ("Queue", None) => errors.required(
            &at.child("queuing"),
            "must not be empty if limited.limitResponse.type is Limited",
        ),
        ("Queue", Some(given)) => queuing(given, &at.child("queuing"), errors),
        ("Reject", None) => {}
        (other, _) => errors.not_supported(&at.child("type"), other, &["Queue", "Reject"]),
    }
    lendable(limited, path, errors);
    let borrowed = limited.int("borrowingLimitPercent");
    if borrowed < 0 {
        errors.invalid(
            &path.child("borrowingLimitPercent"),
            borrowed,
            "if specified, must be a non-negative integer",
        );
    }
}

fn queuing(queuing: &Value, path: &Path, errors: &mut Errors) {
    const POSITIVE: &str = "must be positive";
    let [length, queues, hand] =
        ["queueLengthLimit", "queues", "handSize"].map(|field| queuing.int(field));
    if length <= 0 {
        errors.invalid(&path.child("queueLengthLimit"), length, POSITIVE);
    }
    if queues <= 0 {
        errors.invalid(&path.child("queues"), queues, POSITIVE);
    } else if queues > MAX_QUEUES {
        errors.invalid(
            &path.child("queues"),
            queues,
            format!("must not be greater than {MAX_QUEUES}"),
        );
    }
    if hand <= 0 {
        errors.invalid(&path.child("handSize"), hand, POSITIVE);
    } else if hand > queues {
        errors.invalid(
            &path.child("handSize"),
            hand,
            format!("should not be greater than queues ({queues})"),
        );
    } else if entropy(queues, hand) > MAX_HASH_BITS {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        errors.invalid(&path.child("handSize"), hand, why);
    }
}

/// How many bits of a hash it takes to deal a hand (`shufflesharding.RequiredEntropyBits`).
fn entropy(deck: i64, hand: i64) -> i64 {
    ((deck as f64).log2() * hand as f64).ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_level_may_say() {
        const QUEUING: &str = "spec.limited.limitResponse.queuing";
        for (at, value, said) in [
            ("/spec/type", json!("Limited"), "[]".to_string()),
            ("/spec/type", json!(""), "spec.type: Unsupported value: \"\": supported values: \"Exempt\", \"Limited\"".into()),
            (
                "/spec/type",
                json!("Exempt"),
                "[spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt', spec.limited: Forbidden: must be nil if the type is not Limited]".into(),
            ),
            ("/spec/limited", json!(null), "spec.limited: Required value: must not be empty when type is Limited".into()),
            ("/spec/limited/nominalConcurrencyShares", json!(-1), "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer".into()),
            ("/spec/limited/lendablePercent", json!(101), "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive".into()),
            (
                "/spec/limited/borrowingLimitPercent",
                json!(-1),
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer".into(),
            ),
            (
                "/spec/limited/limitResponse/type",
                json!("Reject"),
                format!("{QUEUING}: Forbidden: must be nil if limited.limitResponse.type is not Limited"),
            ),
            (
                "/spec/limited/limitResponse/queuing",
                json!(null),
                format!("{QUEUING}: Required value: must not be empty if limited.limitResponse.type is Limited"),
            ),
            ("/spec/limited/limitResponse/queuing/handSize", json!(65), format!("{QUEUING}.handSize: Invalid value: 65: should not be greater than queues (64)")),
            (
                "/spec/limited/limitResponse/queuing/handSize",
                json!(11),
                format!("{QUEUING}.handSize: Invalid value: 11: required entropy bits of deckSize 64 and handSize 11 should not be greater than 60"),
            ),
            ("/spec/limited/limitResponse/queuing/queues", json!(10_000_001), format!("{QUEUING}.queues: Invalid value: 10000001: must not be greater than 10000000")),
        ] {
            let mut level = json!({"metadata": {"name": "a"}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "lendablePercent": 1,
                "borrowingLimitPercent": 1, "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 2, "queueLengthLimit": 1}}}}});
            *level.pointer_mut(at).unwrap() = value;
            let found = validate(&level).message();
            assert_eq!(found, said, "{at}");
        }
    }

    #[test]
    fn absent_numbers() {
        let mut level = json!({"spec": {"limited": {"limitResponse": {"queuing": {"queues": 0}}}}});
        defaults(&mut level);
        let queuing = json!({"queues": 64, "handSize": 8, "queueLengthLimit": 50});
        assert_eq!(
            level["spec"]["limited"],
            json!({"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {"queuing": queuing}})
        );
    }

    #[test]
    fn the_mandatory_ones_stay_as_they_are() {
        for level in bootstrap::priority_levels() {
            assert!(validate(&level).is_empty(), "{level}");
        }
        let mut exempt =
            json!({"metadata": {"name": "exempt"}, "spec": bootstrap::mandatory_level("exempt")});
        exempt["spec"]["exempt"]["lendablePercent"] = 50.into();
        assert!(validate(&exempt).is_empty());
        let mut all = json!({"metadata": {"name": "catch-all"}, "spec": bootstrap::mandatory_level("catch-all")});
        all["spec"]["limited"]["lendablePercent"] = 50.into();
        assert_eq!(
            validate(&all).message(),
            r#"spec: Invalid value: {"Type":"Limited","Limited":{"NominalConcurrencyShares":5,"LimitResponse":{"Type":"Reject","Queuing":null},"LendablePercent":50,"BorrowingLimitPercent":null},"Exempt":null}: spec of 'catch-all' must equal the fixed value"#
        );
    }
}
