//! LimitRanges: what is not said of a container follows from what is, and bounds do not contradict each other.
//!
//! Follows `ValidateLimitRange` of `pkg/apis/core/validation/validation.go` and `SetDefaults_LimitRangeItem` of `pkg/apis/core/v1/defaults.go`.

use std::collections::BTreeSet;

use crate::kinds::prelude::*;
use crate::kinds::rows::core::pod::defaults::amounts;
use crate::kinds::validation::pod::resources::{
    container_resource_name, may_be_overcommitted, quantity, resource_name,
};
use crate::machinery::quantity::{Format, Quantity};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    after_system_fields: |range| {
        // upstream makes one up, too
        if range.name().is_empty() {
            let name = range.uid().to_string();
            range.set_meta("name", name);
        }
    },
    validate,
    validate_update: |new, _| validate(new),
    ..Strategy::DEFAULT
};

/// What a limit is made of, besides its type.
const PARTS: [&str; 5] = [
    "max",
    "min",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
];

fn defaults(range: &mut Value) {
    for limit in fill::each(fill::spec(range), "limits") {
        if limit.get("type").and_then(Value::as_str) == Some("Container") {
            // in this order: a request follows a limit that followed a maximum
            for (from, to) in [
                ("max", "default"),
                ("default", "defaultRequest"),
                ("min", "defaultRequest"),
            ] {
                let given = limit
                    .get(from)
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default();
                if given.is_empty() {
                    continue;
                }
                let place = limit.entry(to).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(place) = place {
                    given
                        .into_iter()
                        .for_each(|(name, amount)| fill::absent(place, &name, amount));
                }
            }
        }
        PARTS.iter().for_each(|part| amounts(limit, part));
    }
}

fn validate(range: &Value) -> Errors {
    let mut errors = Errors::default();
    let spec = Path::new("spec");
    let (limits, path) = (range.at("spec").list("limits"), spec.child("limits"));
    for (index, limit) in limits.iter().enumerate() {
        let (path, kind) = (path.index(index), limit.text("type"));
        limit_type(kind, &path.child("type"), &mut errors);
        if limits[..index]
            .iter()
            .any(|before| before.text("type") == kind)
        {
            errors.duplicate(&path.child("type"), kind);
        }
        names(limit, &path, &mut errors);
        for name in PARTS
            .iter()
            .flat_map(|part| limit.entries(part).map(|(name, _)| name))
            .collect::<BTreeSet<&str>>()
        {
            bounds(limit, name, &path, &mut errors);
        }
    }
    errors
}

fn limit_type(kind: &str, path: &Path, errors: &mut Errors) {
    let before = errors.len();
    checks::qualified_name(kind, path, errors);
    if errors.len() == before
        && !kind.contains('/')
        && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim")
    {
        errors.invalid(
            path,
            kind,
            "must be a standard limit type or fully qualified",
        );
    }
}

fn names(limit: &Value, path: &Path, errors: &mut Errors) {
    let kind = limit.text("type");
    for part in PARTS {
        if kind == "Pod" && part.starts_with("default") {
            if limit.entries(part).next().is_some() {
                errors.forbidden(
                    &path.child(part),
                    "may not be specified when `type` is 'Pod'",
                );
            }
            continue;
        }
        if part == "maxLimitRequestRatio"
            && kind == "PersistentVolumeClaim"
            && !["min", "max"]
                .iter()
                .any(|part| limit.at(part).some("storage").is_some())
        {
            errors.required(
                &path.child("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
        for (name, _) in limit.entries(part) {
            let path = path.child(part);
            match kind {
                "Pod" | "Container" => container_resource_name(name, &path.key(name), errors),
                _ => {
                    resource_name(name, &path.key(name), errors);
                }
            }
        }
    }
}

/// The ratio of `max` to `min`, where `ratio` is greater; in whole units where thousandths have no room.
fn exceeded(ratio: &Quantity, min: &Quantity, max: &Quantity) -> Option<f64> {
    const MOST: i64 = i64::MAX / 1000;
    let fits = [ratio, min, max]
        .iter()
        .all(|quantity| quantity.in_64_bits(0) < MOST);
    let (scale, units) = if fits { (-3, 1000.0) } else { (0, 1.0) };
    let most = max.in_64_bits(scale) as f64 / min.in_64_bits(scale) as f64;
    (ratio.in_64_bits(scale) as f64 / units > most).then_some(most)
}

/// What is said of one resource.
fn bounds(limit: &Value, name: &str, path: &Path, errors: &mut Errors) {
    let of = |part: &str| limit.at(part).some(name).map(quantity);
    let defaults = |part: &str| of(part).filter(|_| limit.text("type") != "Pod");
    let (min, max, default, request, ratio) = (
        of("min"),
        of("max"),
        defaults("default"),
        defaults("defaultRequest"),
        of("maxLimitRequestRatio"),
    );
    let mut wrong = |part: &str, shown: &Quantity, why: String| {
        errors.invalid(&path.child(part).key(name), shown.to_string(), why)
    };
    if let (Some(min), Some(max)) = (&min, &max)
        && min > max
    {
        wrong(
            "min",
            min,
            format!("min value {min} is greater than max value {max}"),
        );
    }
    if let Some(request) = &request {
        if let Some(min) = min.as_ref().filter(|min| *min > request) {
            wrong(
                "defaultRequest",
                request,
                format!("min value {min} is greater than default request value {request}"),
            );
        }
        if let Some(max) = max.as_ref().filter(|max| request > *max) {
            wrong(
                "defaultRequest",
                request,
                format!("default request value {request} is greater than max value {max}"),
            );
        }
        if let Some(default) = default.as_ref().filter(|default| request > *default) {
            wrong(
                "defaultRequest",
                request,
                format!(
                    "default request value {request} is greater than default limit value {default}"
                ),
            );
        }
    }
    if let Some(default) = &default {
        if let Some(min) = min.as_ref().filter(|min| *min > default) {
            wrong(
                "default",
                min,
                format!("min value {min} is greater than default value {default}"),
            );
        }
        if let Some(max) = max.as_ref().filter(|max| default > *max) {
            wrong(
                "default",
                max,
                format!("default value {default} is greater than max value {max}"),
            );
        }
    }
    if let Some(ratio) = &ratio {
        if *ratio < Quantity::from_i64(1, Format::DecimalSi) {
            wrong(
                "maxLimitRequestRatio",
                ratio,
                format!("ratio {ratio} is less than 1"),
            );
        }
        if let (Some(min), Some(max)) = (&min, &max)
            && let Some(most) = exceeded(ratio, min, max)
        {
            wrong(
                "maxLimitRequestRatio",
                ratio,
                format!("ratio {ratio} is greater than max/min = {most:.6}"),
            );
        }
    }
    if let (Some(default), Some(request)) = (&default, &request)
        && !may_be_overcommitted(name)
        && default != request
    {
        wrong(
            "defaultRequest",
            request,
            format!(
                "default value {default} must equal to defaultRequest value {request} in {name}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(limit: Value) -> Value {
        let mut range = json!({"spec": {"limits": [limit]}});
        defaults(&mut range);
        range
    }

    #[test]
    fn what_is_not_said_follows_from_what_is() {
        let filled = range(
            json!({"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "default": {"memory": "256Mi"}, "min": {"ephemeral-storage": "1"}}),
        );
        let limit = &filled["spec"]["limits"][0];
        assert_eq!(limit["default"], json!({"cpu": "2", "memory": "256Mi"}));
        assert_eq!(
            limit["defaultRequest"],
            json!({"cpu": "2", "memory": "256Mi", "ephemeral-storage": "1"})
        );
        assert_eq!(
            range(json!({"type": "Pod", "max": {"cpu": "2"}}))["spec"]["limits"][0].get("default"),
            None
        );
    }

    #[test]
    fn bounds_do_not_contradict_each_other() {
        for (limit, said) in [
            (
                json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}),
                "[]",
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}}),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                json!({"type": "Pod", "default": {"cpu": "1"}}),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!({"type": "x"}),
                "spec.limits[0].type: Invalid value: \"x\": must be a standard limit type or fully qualified",
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "1e30"}}),
                "[]",
            ),
            (
                json!({"type": "PersistentVolumeClaim"}),
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
        ] {
            assert_eq!(validate(&range(limit)).message(), said);
        }
    }
}
