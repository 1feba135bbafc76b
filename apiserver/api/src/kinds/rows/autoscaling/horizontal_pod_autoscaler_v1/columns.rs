//! HorizontalPodAutoscaler: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::{
    Cell, Columns,
    cells::{annotation, column},
    rows::autoscaling::horizontal_pod_autoscaler_v2::columns::autoscaler_cells,
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Reference",
            "string",
            "scaleTargetRef points to the target resource to scale, and is used to the pods for which metrics should be collected, as well as to actually change the replica count.",
        ),
        column(
            "Targets",
            "string",
            "metrics contains the specifications for which to use to calculate the desired replica count (the maximum replica count across all metrics will be used).  The desired replica count is calculated multiplying the ratio between the target value and the current value by the current number of pods.  Ergo, metrics used must decrease as the pod count is increased, and vice-versa.  See the individual metric source types for more information about how each type of metric must respond. If not set, the default metric will be set to 80% average CPU utilization.",
        ),
        column(
            "MinPods",
            "string",
            "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.  It defaults to 1 pod.  minReplicas is allowed to be 0 if the alpha feature gate HPAScaleToZero is enabled and at least one Object or External metric is configured.  Scaling is active as long as at least one metric value is available.",
        ),
        column(
            "MaxPods",
            "string",
            "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up. It cannot be less that minReplicas.",
        ),
        column("Replicas", "string", "currentReplicas is current number of replicas of pods managed by this autoscaler, as last seen by the autoscaler."),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    autoscaler_cells(object, now, &targets(object), &currents(object))
}

/// Upstream scales on this share of CPU when nothing else is asked for, in percent.
const DEFAULT_CPU: i64 = 80;

/// The metrics to reach: those of the annotation that later versions leave, then the field's CPU.
fn targets(object: &Value) -> Vec<Value> {
    let mut metrics = annotated(object, "autoscaling.alpha.kubernetes.io/metrics", "target").unwrap_or_default();
    let cpu = object["spec"]["targetCPUUtilizationPercentage"].as_i64().or_else(|| metrics.is_empty().then_some(DEFAULT_CPU));
    metrics.extend(cpu.map(|percent| json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": percent}}})));
    metrics
}

/// The metrics as measured: those of the annotation, or else the field's CPU.
fn currents(object: &Value) -> Vec<Value> {
    let cpu = || object["status"]["currentCPUUtilizationPercentage"].as_i64();
    let field = || cpu().map(|percent| json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}));
    annotated(object, "autoscaling.alpha.kubernetes.io/current-metrics", "current").unwrap_or_else(|| field().into_iter().collect())
}

/// The metrics of an annotation in the form of v2, which gathers what v1 spreads over fields under `side` (`target` or `current`).
fn annotated(object: &Value, key: &str, side: &str) -> Option<Vec<Value>> {
    let mut metrics: Vec<Value> = serde_json::from_str(annotation(object, key)?).ok()?;
    for source in metrics.iter_mut().filter_map(Value::as_object_mut).flat_map(serde_json::Map::values_mut).filter(|source| source.is_object()) {
        let mut gathered = serde_json::Map::new();
        for (v2, v1) in [("averageUtilization", "AverageUtilization"), ("averageValue", "AverageValue"), ("value", "Value")] {
            let field = [&source[format!("{side}{v1}")], &source[v2]].into_iter().find(|field| !field.is_null()).cloned();
            gathered.extend(field.map(|field| (v2.to_string(), field)));
        }
        source[side] = gathered.into();
    }
    Some(metrics)
}
