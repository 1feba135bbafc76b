//! Horizontal pod autoscalers.
//! Invariant: a metric that has not been measured shows as `<unknown>`.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Conditions, Do, Each, Field, If, In, Text};
use super::form::{CREATED, HEAD, shown};
use super::{Describer, Out};
use crate::error::quote;
use crate::typed::Read;
use serde_json::Value;

pub const KINDS: &[Describer] =
    &[Describer::new("autoscaling", "HorizontalPodAutoscaler", LINES).in_version("v2")];

const LINES: &[Line] = &[
    HEAD,
    CREATED,
    Text("Reference:\t{spec.scaleTargetRef.kind}/{spec.scaleTargetRef.name}"),
    Text("Metrics:\t( current / target )"),
    Do(metrics),
    Field("Min replicas", "spec.minReplicas?<unset>"),
    Field("Max replicas", "spec.maxReplicas?0"),
    In(
        "spec.behavior",
        &[
            Text("Behavior:"),
            In("scaleUp", &[Text("  Scale Up:"), Line::All(RULES)]),
            In("scaleDown", &[Text("  Scale Down:"), Line::All(RULES)]),
        ],
    ),
    Text(
        "{spec.scaleTargetRef.kind} pods:\t{status.currentReplicas?0} current / {status.desiredReplicas?0} desired",
    ),
    Conditions(
        "  Type\tStatus\tReason\tMessage",
        "  {type}\t{status}\t{reason}\t{message}",
    ),
];

const RULES: &[Line] = &[
    If(
        "stabilizationWindowSeconds",
        &[Text(
            "    Stabilization Window: {stabilizationWindowSeconds} seconds",
        )],
    ),
    If(
        "policies",
        &[Text("    Select Policy: {selectPolicy?Max}\n    Policies:")],
    ),
    Each(
        "policies",
        &[Text(
            "      - Type: {type}\tValue: {value}\tPeriod: {periodSeconds} seconds",
        )],
    ),
];

/// Each metric with its current and its wanted value.
fn metrics(out: &mut Out, autoscaler: &Value) {
    let current = autoscaler.at("status").list("currentMetrics");
    for (i, metric) in autoscaler.at("spec").list("metrics").iter().enumerate() {
        // each type has its part under the type's name
        let kind = metric.text("type");
        let mut chars = kind.chars();
        let field: String = chars.next().map_or_else(String::new, |first| {
            first.to_lowercase().collect::<String>() + chars.as_str()
        });
        let spec = metric.at(&field);
        let now = current.get(i).map_or(&Value::Null, |now| now.at(&field));
        let (target, now) = (spec.at("target"), now.at("current"));
        let values = |field: &str| {
            let now = shown(now, &format!("{field}?<unknown>"));
            format!("{now} / {}", shown(target, field))
        };
        let average = target.some("averageValue").is_some();
        let title = match kind {
            "Resource" => shown(spec, "name").to_string() + " on pods",
            "ContainerResource" => {
                let (name, container) = (spec.text("name"), spec.text("container"));
                format!("{name} of container \"{container}\" on pods")
            }
            "Object" => {
                let (name, on) = (
                    shown(spec, "metric.name|quoted"),
                    spec.at("describedObject"),
                );
                format!("{name} on {}/{}", on.text("kind"), on.text("name"))
            }
            _ => shown(spec, "metric.name|quoted"),
        };
        let line = match kind {
            "Resource" | "ContainerResource" if average => {
                format!("resource {title}:\t{}", values("averageValue"))
            }
            "Resource" | "ContainerResource" => {
                let now = match now.int_ptr("averageUtilization") {
                    Some(percent) => format!("{percent}% ({})", shown(now, "averageValue")),
                    None => "<unknown>".into(),
                };
                let target = match target.int_ptr("averageUtilization") {
                    Some(percent) => format!("{percent}%"),
                    None => "<auto>".into(),
                };
                format!("resource {title}  (as a percentage of request):\t{now} / {target}")
            }
            "Pods" => format!("{title} on pods:\t{}", values("averageValue")),
            "External" | "Object" if average => {
                format!(
                    "{title} (target average value):\t{}",
                    values("averageValue")
                )
            }
            "External" | "Object" => format!("{title} (target value):\t{}", values("value")),
            unknown => format!("<unknown metric type {}>", quote(unknown)),
        };
        out.put(1, line + "\n");
    }
}
