//! HorizontalPodAutoscalers as autoscaling/v1 shows them: one metric in a field, and what that version has no fields for in annotations.
//!
//! Invariant: to the stored form and back again nothing is lost; annotations that cannot be read count as absent.
//! Follows `pkg/apis/autoscaling/v1/{conversion,defaults}.go`.

use crate::kinds::Alias;
use crate::kinds::prelude::*;
use crate::kinds::rows::autoscaling::horizontal_pod_autoscaler_v2::{
    cpu, default_metrics, drop_carried,
};
use crate::kinds::validation::pod::resources::quantity;
use crate::machinery::meta::child_mut;
use crate::machinery::schema::{Schema, conform, to_json};

pub const STRATEGY: Strategy = Strategy {
    annotations_of_version: &[METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS],
    defaults,
    stored_as: Some(&V1),
    ..Strategy::DEFAULT
};

pub static V1: Alias = Alias {
    resource: "horizontalpodautoscalers.autoscaling",
    version: "v1",
    to_stored,
    from_stored,
    worked_on_as_stored: true,
};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// A field of a source here, and the place of the same in the stored form.
type Fields = &'static [(&'static str, &'static [&'static str])];

/// The sources of metrics: their field in a metric, and the fields of what is wanted and of what was measured.
const SOURCES: [(&str, Fields, Fields); 5] = [
    (
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("averageValue", &["target", "averageValue"]),
        ],
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("averageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
    ("resource", RESOURCE, RESOURCE_STATUS),
    ("containerResource", RESOURCE, RESOURCE_STATUS),
    (
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
];
const RESOURCE: Fields = &[
    ("name", &["name"]),
    ("container", &["container"]),
    (
        "targetAverageUtilization",
        &["target", "averageUtilization"],
    ),
    ("targetAverageValue", &["target", "averageValue"]),
];
const RESOURCE_STATUS: Fields = &[
    ("name", &["name"]),
    ("container", &["container"]),
    (
        "currentAverageUtilization",
        &["current", "averageUtilization"],
    ),
    ("currentAverageValue", &["current", "averageValue"]),
];

/// This version's defaults, and what comes of an object on its way through upstream's internal form.
fn defaults(autoscaler: &mut Value) {
    fill::absent(fill::spec(autoscaler), "minReplicas", 1);
    to_stored(autoscaler);
    from_stored(autoscaler);
}

fn to_stored(autoscaler: &mut Value) {
    let carried = |key: &str, of: &str| annotated(autoscaler, key, of);
    let metrics = carried(METRICS, "autoscaling.v1.MetricSpec");
    let currents = carried(CURRENT_METRICS, "autoscaling.v1.MetricStatus");
    let conditions = carried(
        CONDITIONS,
        "autoscaling.v1.HorizontalPodAutoscalerCondition",
    );
    let behavior = autoscaler.annotation(BEHAVIOR).and_then(read_behavior);
    drop_carried(autoscaler);

    let spec = fill::spec(autoscaler);
    let percent = spec
        .remove("targetCPUUtilizationPercentage")
        .and_then(|percent| percent.as_i64());
    let mut all: Vec<Value> = metrics.into_iter().flatten().map(spec_to_stored).collect();
    all.extend(percent.map(cpu));
    spec.insert(
        "metrics".into(),
        if all.is_empty() {
            default_metrics()
        } else {
            all.into()
        },
    );
    spec.extend(behavior.map(|behavior| ("behavior".to_string(), behavior)));

    let status = child_mut(autoscaler, "status");
    let percent = status
        .remove("currentCPUUtilizationPercentage")
        .filter(|percent| !percent.is_null());
    let field = percent.map(|percent| vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}})]);
    let currents = currents.map(|list| {
        list.into_iter()
            .map(|metric| moved(metric, |(_, _, status)| status, to_place))
            .collect()
    });
    status.extend(
        currents
            .or(field)
            .map(|list| ("currentMetrics".to_string(), list.into())),
    );
    status.extend(conditions.map(|list| ("conditions".to_string(), list.into())));
    conform_to("autoscaling.v2.HorizontalPodAutoscaler", autoscaler);
}

fn from_stored(autoscaler: &mut Value) {
    drop_carried(autoscaler);
    let is_cpu = |metric: &Value| {
        metric.text("type") == "Resource" && metric.at("resource").text("name") == "cpu"
    };
    let share = |metric: &Value, side: &str| {
        metric
            .at("resource")
            .at(side)
            .some("averageUtilization")
            .cloned()
    };

    let spec = fill::spec(autoscaler);
    let metrics = take_list(spec, "metrics");
    let (shares, others): (Vec<Value>, Vec<Value>) = metrics
        .into_iter()
        .partition(|metric| is_cpu(metric) && share(metric, "target").is_some());
    spec.extend(
        shares
            .first()
            .and_then(|metric| share(metric, "target"))
            .map(|percent| ("targetCPUUtilizationPercentage".to_string(), percent)),
    );
    let behavior = spec
        .remove("behavior")
        .filter(|behavior| !behavior.is_null());

    let status = child_mut(autoscaler, "status");
    let currents = take_list(status, "currentMetrics");
    let percent = currents
        .iter()
        .filter(|metric| is_cpu(metric))
        .filter_map(|metric| share(metric, "current"))
        .next_back();
    status.extend(percent.map(|percent| ("currentCPUUtilizationPercentage".to_string(), percent)));
    let conditions = take_list(status, "conditions");

    let others = others
        .into_iter()
        .map(|metric| moved(metric, |(_, spec, _)| spec, from_place))
        .collect();
    let currents = currents
        .into_iter()
        .map(|metric| moved(metric, |(_, _, status)| status, from_place))
        .collect();
    annotate(autoscaler, METRICS, others, "autoscaling.v1.MetricSpec");
    annotate(
        autoscaler,
        CURRENT_METRICS,
        currents,
        "autoscaling.v1.MetricStatus",
    );
    if let Some(behavior) = behavior {
        put(
            autoscaler,
            BEHAVIOR,
            internal::json(&behavior, "autoscaling.HorizontalPodAutoscalerBehavior"),
        );
    }
    annotate(
        autoscaler,
        CONDITIONS,
        conditions,
        "autoscaling.v1.HorizontalPodAutoscalerCondition",
    );
    conform_to("autoscaling.v1.HorizontalPodAutoscaler", autoscaler);
}

/// Go's zero values, where the type writes them.
fn conform_to(name: &str, value: &mut Value) -> bool {
    Schema::builtin()
        .get(name)
        .is_some_and(|node| conform(value, node).is_ok())
}

fn take_list(map: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match map.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// The list in an annotation; nothing when its elements are not of the type.
fn annotated(autoscaler: &Value, key: &str, of: &str) -> Option<Vec<Value>> {
    let read = serde_json::from_str(autoscaler.annotation(key)?).ok()?;
    let mut list: Vec<Value> = match read {
        Value::Array(list) => list,
        Value::Null => Vec::new(),
        _ => return None,
    };
    list.iter_mut()
        .all(|one| conform_to(of, one))
        .then_some(list)
}

fn annotate(autoscaler: &mut Value, key: &str, mut list: Vec<Value>, of: &str) {
    if list.is_empty() {
        return;
    }
    let node = Schema::builtin().get(of);
    let texts: Vec<String> = list
        .iter_mut()
        .map(|one| {
            conform_to(of, one);
            String::from_utf8_lossy(&to_json(one, node)).into_owned()
        })
        .collect();
    put(autoscaler, key, format!("[{}]", texts.join(",")));
}

fn put(autoscaler: &mut Value, key: &str, text: String) {
    let annotations = autoscaler
        .meta_mut()
        .entry("annotations")
        .or_insert_with(|| Value::Object(Map::new()));
    annotations[key] = text.into();
}

/// A metric whose source has its fields at other places.
fn moved(
    mut metric: Value,
    fields: fn((&str, Fields, Fields)) -> Fields,
    place: fn(&mut Value, Fields),
) -> Value {
    for source in SOURCES {
        if let Some(of) = metric.get_mut(source.0).filter(|of| of.is_object()) {
            place(of, fields(source));
        }
    }
    metric
}

fn to_place(source: &mut Value, fields: Fields) {
    let mut there = Value::Object(Map::new());
    for (name, place) in fields {
        if let Some(value) = source.some(name) {
            let value = value.clone();
            *place.iter().fold(&mut there, |at, step| &mut at[*step]) = value;
        }
    }
    *source = there;
}

fn from_place(source: &mut Value, fields: Fields) {
    let found = |place: &[&str]| {
        place
            .iter()
            .try_fold(&*source, |at, step| at.some(step))
            .cloned()
    };
    let here: Map<String, Value> = fields
        .iter()
        .filter_map(|(name, place)| Some((name.to_string(), found(place)?)))
        .collect();
    *source = here.into();
}

/// What is wanted, with the type of its target, which this version leaves to be seen from what is there.
fn spec_to_stored(metric: Value) -> Value {
    let mut metric = moved(metric, |(_, spec, _)| spec, to_place);
    for (name, ..) in SOURCES {
        let Some(source) = metric.get_mut(name).filter(|source| source.is_object()) else {
            continue;
        };
        let target = child_mut(source, "target");
        let has = |target: &Map<String, Value>, field: &str| {
            target.get(field).is_some_and(|value| !value.is_null())
        };
        let kind = match name {
            "object" if has(target, "averageValue") => {
                // this version cannot leave the value out
                if target
                    .get("value")
                    .is_some_and(|value| quantity(value).is_zero())
                {
                    target.remove("value");
                }
                "AverageValue"
            }
            "object" => "Value",
            "external" if has(target, "value") => "Value",
            "resource" | "containerResource" if has(target, "averageUtilization") => "Utilization",
            _ => "AverageValue",
        };
        target.insert("type".into(), kind.into());
    }
    metric
}

/// The behavior in its annotation is JSON of upstream's internal type: Go's names, which Go reads in any case of their letters.
fn read_behavior(text: &str) -> Option<Value> {
    let mut behavior: Value = serde_json::from_str(text).ok()?;
    let node = Schema::builtin().get("autoscaling.v2.HorizontalPodAutoscalerBehavior")?;
    let rules = rename(&mut behavior, &["scaleUp", "scaleDown"])?;
    for rules in rules.values_mut().filter(|rules| !rules.is_null()) {
        let rules = rename(
            rules,
            &[
                "stabilizationWindowSeconds",
                "selectPolicy",
                "policies",
                "tolerance",
            ],
        )?;
        for policy in fill_each(rules, "policies") {
            rename(policy, &["type", "value", "periodSeconds"])?;
        }
    }
    conform(&mut behavior, node).ok()?;
    behavior
        .as_object()
        .is_some_and(|behavior| !behavior.is_empty())
        .then_some(behavior)
}

fn fill_each<'v>(
    map: &'v mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'v mut Value> {
    map.get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter(|value| !value.is_null())
}

/// Keys become the names that they are in another case of letters; others go. Nothing when the value is no object.
fn rename<'v>(value: &'v mut Value, names: &[&str]) -> Option<&'v mut Map<String, Value>> {
    let map = value.as_object_mut()?;
    let given = std::mem::take(map);
    map.extend(given.into_iter().filter_map(|(key, value)| {
        Some((
            names
                .iter()
                .find(|name| name.eq_ignore_ascii_case(&key))?
                .to_string(),
            value,
        ))
    }));
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(mut autoscaler: Value) -> Value {
        to_stored(&mut autoscaler);
        autoscaler
    }

    #[test]
    fn the_field_is_a_metric_and_without_it_there_is_one_all_the_same() {
        assert_eq!(
            stored(json!({"metadata": {}, "spec": {"targetCPUUtilizationPercentage": 50}}))["spec"]
                ["metrics"],
            json!([cpu(50)])
        );
        let mut plain = json!({"metadata": {}, "spec": {"maxReplicas": 3}});
        defaults(&mut plain);
        assert_eq!(plain["spec"]["targetCPUUtilizationPercentage"], 80);
        assert_eq!(plain["spec"]["minReplicas"], 1);
        let again = plain.clone();
        defaults(&mut plain);
        assert_eq!(plain, again);
    }

    #[test]
    fn what_v1_has_no_fields_for_goes_to_annotations_and_comes_back() {
        let metric = |kind: &str, field: &str, source: Value| json!({"type": kind, field: source});
        let about = json!({"name": "requests", "selector": {"matchLabels": {"a": "b"}}});
        let of = json!({"kind": "Ingress", "name": "main", "apiVersion": "networking.k8s.io/v1"});
        let v2 = json!({
            "metadata": {"name": "web", "annotations": {"mine": "1"}},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
                "minReplicas": 1,
                "maxReplicas": 3,
                "metrics": [
                    metric("Object", "object", json!({"describedObject": of, "metric": about, "target": {"type": "AverageValue", "averageValue": "5"}})),
                    metric("Pods", "pods", json!({"metric": about, "target": {"type": "AverageValue", "averageValue": "1k"}})),
                    metric("Resource", "resource", json!({"name": "memory", "target": {"type": "Utilization", "averageUtilization": 60}})),
                    metric("ContainerResource", "containerResource", json!({"name": "cpu", "container": "app", "target": {"type": "AverageValue", "averageValue": "100m"}})),
                    metric("External", "external", json!({"metric": about, "target": {"type": "Value", "value": "30"}})),
                    cpu(70),
                ],
                "behavior": {"scaleDown": {"selectPolicy": "Min", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}], "tolerance": "100m"}},
            },
            "status": {
                "currentReplicas": 2,
                "desiredReplicas": 2,
                "currentMetrics": [metric("Resource", "resource", json!({"name": "cpu", "current": {"averageUtilization": 10, "averageValue": "20m"}}))],
                "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "a", "message": "b"}],
            },
        });
        let mut v1 = v2.clone();
        from_stored(&mut v1);
        let annotations = &v1["metadata"]["annotations"];
        assert!(annotations[METRICS].as_str().unwrap().starts_with(
            r#"[{"type":"Object","object":{"target":{"kind":"Ingress","name":"main","apiVersion":"networking.k8s.io/v1"},"metricName":"requests","targetValue":"0","selector":{"matchLabels":{"a":"b"}},"averageValue":"5"}}"#
        ));
        assert_eq!(
            annotations[BEHAVIOR],
            r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Min","Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":60}],"Tolerance":"100m"}}"#
        );
        assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(v1["status"]["currentCPUUtilizationPercentage"], 10);
        assert_eq!(stored(v1), v2);
    }

    #[test]
    fn annotations_that_cannot_be_read_are_left_out() {
        for text in ["[", "{}", r#"[{"type": 1}]"#] {
            let found = stored(
                json!({"metadata": {"annotations": {METRICS: text, BEHAVIOR: text, CONDITIONS: text}}, "spec": {}}),
            );
            assert_eq!(
                found["spec"],
                json!({"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 0, "metrics": [cpu(80)]}),
                "{text}"
            );
            assert_eq!(found["metadata"], json!({}));
        }
    }
}
