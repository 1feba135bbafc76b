//! HorizontalPodAutoscaler: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, UNKNOWN, UNSET, age, column, int, int_or_text, list, name, quantity, row, text},
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
        column(
            "Replicas",
            "string",
            "currentReplicas is current number of replicas of pods managed by this autoscaler, as last seen by the autoscaler.",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (specs, statuses) = (list(&spec["metrics"]), list(&status["currentMetrics"]));
    let reference = format!(
        "{}/{}",
        text(&spec["scaleTargetRef"]["kind"]),
        text(&spec["scaleTargetRef"]["name"])
    );
    let least = int_or_text(&spec["minReplicas"], UNSET);
    row![
        name(object),
        reference,
        metrics(specs, statuses),
        least,
        int(&spec["maxReplicas"]),
        int(&status["currentReplicas"]),
        age(object, now)
    ]
}

/// `current/target` of each metric, two at most.
fn metrics(specs: &[Value], statuses: &[Value]) -> String {
    const MAX: usize = 2;
    let written: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| metric(spec, statuses.get(index).unwrap_or(&Value::Null)))
        .collect();
    match written.len() {
        0 => NONE.to_string(),
        count if count > MAX => format!("{} + {} more...", written[..MAX].join(", "), count - MAX),
        _ => written.join(", "),
    }
}

fn metric(spec: &Value, status: &Value) -> String {
    let source = match text(&spec["type"]) {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_string(),
    };
    let (target, present) = (&spec[source]["target"], !status[source].is_null());
    let current = &status[source]["current"];
    let averaged = !target["averageValue"].is_null();
    let amount = |field: &str| {
        if present {
            quantity(&current[field], "<nil>")
        } else {
            UNKNOWN.to_string()
        }
    };
    let resource = text(&spec[source]["name"]);
    match source {
        "external" | "object" if averaged => {
            format!(
                "{}/{} (avg)",
                quantity(&current["averageValue"], UNKNOWN),
                quantity(&target["averageValue"], "<nil>")
            )
        }
        "external" | "object" => format!(
            "{}/{}",
            amount("value"),
            quantity(&target["value"], "<nil>")
        ),
        "pods" => format!(
            "{}/{}",
            amount("averageValue"),
            quantity(&target["averageValue"], "<nil>")
        ),
        _ if averaged => format!(
            "{resource}: {}/{}",
            amount("averageValue"),
            quantity(&target["averageValue"], "<nil>")
        ),
        _ => format!(
            "{resource}: {}/{}",
            percent(&current["averageUtilization"], UNKNOWN),
            percent(&target["averageUtilization"], "<auto>")
        ),
    }
}

fn percent(value: &Value, other: &str) -> String {
    value
        .as_i64()
        .map_or_else(|| other.to_string(), |percent| format!("{percent}%"))
}
