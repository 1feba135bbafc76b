//! HorizontalPodAutoscalers: what is scaled on when nothing is said, and how fast.
//!
//! Invariant: no autoscaler is without a metric, and this version bears none of the annotations that v1 needs for what it has no fields for.
//! Follows `pkg/apis/autoscaling/v2/{defaults,conversion}.go` and `pkg/registry/autoscaling/horizontalpodautoscaler/strategy.go`.

mod validation;

use validation::{validate, validate_status, validate_update};

use crate::kinds::prelude::*;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update,
    validate_status_update: |new, _| validate_status(new),
    ..Strategy::DEFAULT
};

/// Upstream scales on this share of CPU when nothing else is asked for, in percent.
const DEFAULT_CPU: i64 = 80;

/// The annotations in which v1 carries what it has no fields for.
pub const CARRIED: [&str; 6] = [
    "autoscaling.alpha.kubernetes.io/metrics",
    "autoscaling.alpha.kubernetes.io/behavior",
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
    "autoscaling.alpha.kubernetes.io/current-metrics",
    "autoscaling.alpha.kubernetes.io/conditions",
];

/// Takes what v1 carries out of the annotations.
pub fn drop_carried(autoscaler: &mut Value) {
    let Some(annotations) = autoscaler
        .meta_mut()
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for key in CARRIED {
        annotations.remove(key);
    }
    if annotations.is_empty() {
        autoscaler.meta_mut().remove("annotations");
    }
}

/// A metric of CPU's use, in percent of what is requested.
pub fn cpu(percent: i64) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

/// The metrics of an autoscaler that names none.
pub fn default_metrics() -> Value {
    json!([cpu(DEFAULT_CPU)])
}

fn defaults(autoscaler: &mut Value) {
    drop_carried(autoscaler);
    let spec = fill::spec(autoscaler);
    fill::absent(spec, "minReplicas", 1);
    if spec
        .get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        spec.insert("metrics".into(), default_metrics());
    }
    let Some(behavior) = fill::inner(spec, "behavior") else {
        return;
    };
    let policy =
        |kind: &str, value: i64| json!({"type": kind, "value": value, "periodSeconds": 15});
    let up = rules(
        behavior,
        "scaleUp",
        json!([policy("Pods", 4), policy("Percent", 100)]),
    );
    fill::absent(up, "stabilizationWindowSeconds", 0);
    rules(behavior, "scaleDown", json!([policy("Percent", 100)]));
}

/// The rules of one direction, filled.
fn rules<'v>(
    behavior: &'v mut Map<String, Value>,
    name: &str,
    policies: Value,
) -> &'v mut Map<String, Value> {
    fill::absent(behavior, name, Value::Object(Map::new()));
    let Some(rules) = behavior.get_mut(name).and_then(Value::as_object_mut) else {
        unreachable!("made an object where there was none")
    };
    fill::absent(rules, "selectPolicy", "Max");
    fill::absent(rules, "policies", policies);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_metrics_and_behavior() {
        let mut given = json!({
            "metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/metrics": "[]"}},
            "spec": {"maxReplicas": 3, "behavior": {"scaleDown": {"selectPolicy": "Min"}}}
        });
        defaults(&mut given);
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let behavior = json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]},
            "scaleDown": {"selectPolicy": "Min", "policies": [percent]},
        });
        assert_eq!(
            given,
            json!({"metadata": {}, "spec": {"minReplicas": 1, "maxReplicas": 3, "metrics": [cpu(80)], "behavior": behavior}})
        );
        let again = given.clone();
        defaults(&mut given);
        assert_eq!(given, again);
    }
}
