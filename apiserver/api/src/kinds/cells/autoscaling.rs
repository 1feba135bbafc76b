//! The targets of an autoscaler, in either of its forms. Follows `pkg/printers/internalversion/printers.go` (formatHPAMetrics).

use serde_json::Value;

use super::{Makers, NONE, UNKNOWN, makers, quantity};
use crate::{kinds::rows::autoscaling::horizontal_pod_autoscaler_v1::V1, machinery::read::Read};

pub(super) const MAKERS: Makers = makers! { of;
    "autoscaler.targets" => targets(of.object),
    "autoscaler.targets_v1" => {
        let mut stored = of.object.clone();
        (V1.to_stored)(&mut stored);
        targets(&stored)
    },
};

/// `current/target` of each metric, two at most.
fn targets(autoscaler: &Value) -> String {
    let specs = autoscaler.at("spec").list("metrics");
    let statuses = autoscaler.at("status").list("currentMetrics");
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
    let source = match spec.text("type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_string(),
    };
    let (target, present) = (spec.at(source).at("target"), status.some(source).is_some());
    let current = status.at(source).at("current");
    let averaged = target.some("averageValue").is_some();
    let amount = |field: &str| {
        if present {
            quantity(current.at(field), "<nil>")
        } else {
            UNKNOWN.to_string()
        }
    };
    let resource = spec.at(source).text("name");
    match source {
        "external" | "object" if averaged => {
            format!(
                "{}/{} (avg)",
                quantity(current.at("averageValue"), UNKNOWN),
                quantity(target.at("averageValue"), "<nil>")
            )
        }
        "external" | "object" => format!(
            "{}/{}",
            amount("value"),
            quantity(target.at("value"), "<nil>")
        ),
        "pods" => format!(
            "{}/{}",
            amount("averageValue"),
            quantity(target.at("averageValue"), "<nil>")
        ),
        _ if averaged => format!(
            "{resource}: {}/{}",
            amount("averageValue"),
            quantity(target.at("averageValue"), "<nil>")
        ),
        _ => format!(
            "{resource}: {}/{}",
            percent(current.at("averageUtilization"), UNKNOWN),
            percent(target.at("averageUtilization"), "<auto>")
        ),
    }
}

fn percent(value: &Value, other: &str) -> String {
    value
        .as_i64()
        .map_or_else(|| other.to_string(), |percent| format!("{percent}%"))
}
