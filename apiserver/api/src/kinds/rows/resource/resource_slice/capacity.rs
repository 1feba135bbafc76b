//! How much of a device there is, and in which amounts it is given to those who share it.
//!
//! Follows `validateRequestPolicy` and `validateCounterSet` of `pkg/apis/resource/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::resource::sets;
use crate::kinds::validation::checks::dns_label;
use crate::kinds::validation::pod::resources::quantity;
use crate::machinery::quantity::Quantity;

const MOST_COUNTERS: usize = 32;
const LONGEST_COUNTER: usize = 63;
const MOST_VALUES: usize = 10;

/// `counters` of a set, or of what a device takes of one.
pub fn counters(owner: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("counters");
    match owner.entries("counters").count() {
        0 => errors.required(&at, ""),
        count if count > MOST_COUNTERS => errors.too_many(&at, count as i64, MOST_COUNTERS as i64),
        _ => sets::map(
            owner.entries("counters"),
            LONGEST_COUNTER,
            dns_label,
            &|_, _, _| {},
            &at,
            errors,
        ),
    }
}

/// Of a device that one claim has.
pub fn alone(capacity: &Value, path: &Path, errors: &mut Errors) {
    if capacity.some("requestPolicy").is_some() {
        errors.forbidden(
            &path.child("requestPolicy"),
            "allowMultipleAllocations must be true",
        );
    }
}

/// Of a device that several claims may have parts of.
pub fn shared(capacity: &Value, path: &Path, errors: &mut Errors) {
    let Some(policy) = capacity.some("requestPolicy") else {
        return;
    };
    let (path, most) = (path.child("requestPolicy"), quantity(capacity.at("value")));
    let (values, range) = (policy.list("validValues"), policy.some("validRange"));
    let default = policy.some("default").map(quantity);
    let missing = |name: &str| format!("required when {name} is defined");
    match (values.is_empty(), range, default) {
        (false, Some(_), _) => {
            errors.forbidden(&path, r#"exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time"#);
        }
        (false, None, None) => errors.required(&path.child("default"), missing("validValues")),
        (false, None, Some(default)) => {
            amounts(&default, &most, values, &path.child("validValues"), errors)
        }
        (true, Some(_), None) => errors.required(&path.child("default"), missing("validRange")),
        (true, Some(range), Some(default)) => {
            amounts_between(&default, &most, range, &path.child("validRange"), errors)
        }
        (true, None, _) => {}
    }
}

fn amounts(
    default: &Quantity,
    most: &Quantity,
    values: &[Value],
    path: &Path,
    errors: &mut Errors,
) {
    let given: Vec<Quantity> = values.iter().map(quantity).collect();
    for (index, pair) in given
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0] > pair[1])
    {
        errors.invalid(
            &path.index(index + 1),
            pair[1].to_string(),
            "values must be sorted in ascending order",
        );
    }
    let check = |value: &Value, path: &Path, errors: &mut Errors| {
        let value = quantity(value);
        if value > *most {
            errors.invalid(
                path,
                value.to_string(),
                format!("option is larger than capacity value: {most}"),
            );
        }
    };
    sets::set(
        values,
        MOST_VALUES,
        &check,
        |value| quantity(value).value().to_string().into(),
        path,
        errors,
    );
    // of too many values none was looked at
    if values.len() > MOST_VALUES || !given.contains(default) {
        errors.invalid(
            path,
            default.to_string(),
            "default value is not valid according to the requestPolicy",
        );
    }
}

fn amounts_between(
    default: &Quantity,
    capacity: &Quantity,
    range: &Value,
    path: &Path,
    errors: &mut Errors,
) {
    let [low_at, high_at, step_at] = ["min", "max", "step"].map(|name| path.child(name));
    let [low, high, step] = ["min", "max", "step"].map(|name| range.some(name).map(quantity));
    let Some(low) = low else {
        return errors.required(&low_at, "required when validRange is defined");
    };
    if low > *capacity {
        errors.invalid(
            &low_at,
            low.to_string(),
            format!("min is larger than capacity value: {capacity}"),
        );
    }
    if *default < low {
        errors.invalid(
            &low_at,
            default.to_string(),
            format!("default is less than min: {low}"),
        );
    }
    if let Some(high) = &high {
        if low > *high {
            errors.invalid(
                &high_at,
                low.to_string(),
                format!("min is larger than max: {high}"),
            );
        }
        if high > capacity {
            errors.invalid(
                &high_at,
                high.to_string(),
                format!("max is larger than capacity value: {capacity}"),
            );
        }
        if default > high {
            errors.invalid(
                &high_at,
                default.to_string(),
                format!("default is more than max: {high}"),
            );
        }
    }
    let Some(step) = step else { return };
    let mut first = low.clone();
    first.add(&step);
    if first > *capacity {
        errors.invalid(
            &step_at,
            step.to_string(),
            format!("one step {first} is larger than capacity value: {capacity}"),
        );
    }
    for value in std::iter::once(default)
        .chain(&high)
        .filter(|value| !is_step(value, &low, &step))
    {
        errors.invalid(
            &step_at,
            value.to_string(),
            format!("value is not a multiple of a given step ({step}) from ({low})"),
        );
    }
}

/// Whether whole steps lead from `low` to `value`; none do when a step is nought (upstream fails to divide by it).
fn is_step(value: &Quantity, low: &Quantity, step: &Quantity) -> bool {
    let way = value.value().wrapping_sub(low.value());
    step.value() != 0 && way.wrapping_rem(step.value()) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_to_ask_for() {
        let values = |values: Value, default: &str| json!({"value": "10", "requestPolicy": {"default": default, "validValues": values}});
        let range = |range: Value, default: &str| json!({"value": "10", "requestPolicy": {"default": default, "validRange": range}});
        for (capacity, said) in [
            (json!({"value": "10"}), "[]"),
            (
                json!({"value": "10", "requestPolicy": {"default": "1"}}),
                "[]",
            ),
            (values(json!(["1", "2"]), "2"), "[]"),
            (
                json!({"value": "10", "requestPolicy": {"validValues": ["1"]}}),
                "c.requestPolicy.default: Required value: required when validValues is defined",
            ),
            (
                json!({"value": "10", "requestPolicy": {"validRange": {"min": "1"}}}),
                "c.requestPolicy.default: Required value: required when validRange is defined",
            ),
            (
                json!({"value": "10", "requestPolicy": {"default": "1", "validValues": ["1"], "validRange": {"min": "1"}}}),
                "c.requestPolicy: Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
            ),
            (
                values(json!(["2", "1"]), "2"),
                "c.requestPolicy.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
            ),
            (
                values(json!(["1", "20"]), "1"),
                "c.requestPolicy.validValues[1]: Invalid value: \"20\": option is larger than capacity value: 10",
            ),
            (
                values(json!(["1", "1"]), "1"),
                "c.requestPolicy.validValues[1]: Duplicate value: \"1\"",
            ),
            (
                values(json!(["1"]), "2"),
                "c.requestPolicy.validValues: Invalid value: \"2\": default value is not valid according to the requestPolicy",
            ),
            (
                values(json!(vec!["1"; 11]), "1"),
                "[c.requestPolicy.validValues: Too many: 11: must have at most 10 items, c.requestPolicy.validValues: Invalid value: \"1\": default value is not valid according to the requestPolicy]",
            ),
            (
                range(json!({"min": "1", "max": "9", "step": "2"}), "3"),
                "[]",
            ),
            (
                range(json!({}), "3"),
                "c.requestPolicy.validRange.min: Required value: required when validRange is defined",
            ),
            (
                range(json!({"min": "4"}), "3"),
                "c.requestPolicy.validRange.min: Invalid value: \"3\": default is less than min: 4",
            ),
            (
                range(json!({"min": "1", "max": "20"}), "3"),
                "c.requestPolicy.validRange.max: Invalid value: \"20\": max is larger than capacity value: 10",
            ),
            (
                range(json!({"min": "1", "step": "2"}), "4"),
                "c.requestPolicy.validRange.step: Invalid value: \"4\": value is not a multiple of a given step (2) from (1)",
            ),
            (
                range(json!({"min": "1", "step": "10"}), "1"),
                "c.requestPolicy.validRange.step: Invalid value: \"10\": one step 11 is larger than capacity value: 10",
            ),
            (
                range(json!({"min": "1", "step": "0"}), "1"),
                "c.requestPolicy.validRange.step: Invalid value: \"1\": value is not a multiple of a given step (0) from (1)",
            ),
        ] {
            let mut errors = Errors::default();
            shared(&capacity, &Path::new("c"), &mut errors);
            assert_eq!(errors.message(), said, "{capacity}");
        }
    }

    #[test]
    fn counters_have_names() {
        let many: serde_json::Map<String, Value> = (0..33)
            .map(|n| (format!("c{n}"), json!({"value": "1"})))
            .collect();
        for (owner, said) in [
            (json!({}), "s.counters: Required value"),
            (
                json!({"counters": many}),
                "s.counters: Too many: 33: must have at most 32 items",
            ),
            (json!({"counters": {"a": {"value": "1"}}}), "[]"),
        ] {
            let mut errors = Errors::default();
            counters(&owner, &Path::new("s"), &mut errors);
            assert_eq!(errors.message(), said);
        }
    }
}
