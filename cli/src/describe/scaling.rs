//! Horizontal pod autoscalers.
//! Invariant: a metric that has not been measured shows as `<unknown>`.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{head, list, n, s, scalar};
use super::{Kube, Out, date};
use crate::error::{Result, quote};
use serde_json::Value;

fn known(v: &Value) -> String {
    if v.is_null() {
        "<unknown>".into()
    } else {
        scalar(v)
    }
}

/// Current and wanted value of a resource metric.
fn resource(out: &mut Out, title: &str, wanted: &Value, current: &Value) {
    out.put(1, title);
    if !wanted["averageValue"].is_null() {
        out.put(
            0,
            format!(
                ":\t{} / {}\n",
                known(&current["averageValue"]),
                scalar(&wanted["averageValue"])
            ),
        );
        return;
    }
    let now = match current["averageUtilization"].as_i64() {
        Some(u) => format!("{u}% ({})", scalar(&current["averageValue"])),
        None => "<unknown>".into(),
    };
    let target = wanted["averageUtilization"]
        .as_i64()
        .map_or_else(|| "<auto>".into(), |u| format!("{u}%"));
    out.put(
        1,
        format!("(as a percentage of request):\t{now} / {target}\n"),
    );
}

pub async fn describe(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (spec, status) = (&o["spec"], &o["status"]);
    head(&mut out, &o);
    out.field(
        "CreationTimestamp",
        date(&o["metadata"]["creationTimestamp"]),
    );
    let target = &spec["scaleTargetRef"];
    out.field(
        "Reference",
        format!("{}/{}", s(target, "kind"), s(target, "name")),
    );
    out.put(0, "Metrics:\t( current / target )\n");
    for (i, m) in list(spec, "metrics").iter().enumerate() {
        let now = status["currentMetrics"]
            .get(i)
            .cloned()
            .unwrap_or(Value::Null);
        match s(m, "type") {
            "Resource" => resource(
                &mut out,
                &format!("resource {} on pods", s(&m["resource"], "name")),
                &m["resource"]["target"],
                &now["resource"]["current"],
            ),
            "ContainerResource" => {
                let r = &m["containerResource"];
                resource(
                    &mut out,
                    &format!(
                        "resource {} of container \"{}\" on pods",
                        s(r, "name"),
                        s(r, "container")
                    ),
                    &r["target"],
                    &now["containerResource"]["current"],
                );
            }
            "Pods" => out.put(
                1,
                format!(
                    "{} on pods:\t{} / {}\n",
                    quote(s(&m["pods"]["metric"], "name")),
                    known(&now["pods"]["current"]["averageValue"]),
                    scalar(&m["pods"]["target"]["averageValue"])
                ),
            ),
            "External" | "Object" => other(&mut out, m, &now),
            unknown => out.put(1, format!("<unknown metric type {}>\n", quote(unknown))),
        }
    }
    out.field(
        "Min replicas",
        spec["minReplicas"]
            .as_i64()
            .map_or_else(|| "<unset>".into(), |x| x.to_string()),
    );
    out.field("Max replicas", n(spec, "maxReplicas"));
    if !spec["behavior"].is_null() {
        out.put(0, "Behavior:\n");
        behavior(&mut out, "Scale Up", &spec["behavior"]["scaleUp"]);
        behavior(&mut out, "Scale Down", &spec["behavior"]["scaleDown"]);
    }
    out.put(
        0,
        format!(
            "{} pods:\t{} current / {} desired\n",
            s(target, "kind"),
            n(status, "currentReplicas"),
            n(status, "desiredReplicas")
        ),
    );
    let conditions = list(status, "conditions");
    if !conditions.is_empty() {
        out.put(0, "Conditions:\n");
        out.put(1, "Type\tStatus\tReason\tMessage\n");
        out.put(1, "----\t------\t------\t-------\n");
        conditions.iter().for_each(|c| {
            out.put(
                1,
                format!(
                    "{}\t{}\t{}\t{}\n",
                    s(c, "type"),
                    s(c, "status"),
                    s(c, "reason"),
                    s(c, "message")
                ),
            )
        });
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}

fn other(out: &mut Out, m: &Value, now: &Value) {
    let external = s(m, "type") == "External";
    let (spec, current) = if external {
        (&m["external"], &now["external"]["current"])
    } else {
        (&m["object"], &now["object"]["current"])
    };
    let average = !spec["target"]["averageValue"].is_null();
    let field = if average { "averageValue" } else { "value" };
    let name = quote(s(&spec["metric"], "name"));
    let title = if external {
        name
    } else {
        format!(
            "{name} on {}/{}",
            s(&spec["describedObject"], "kind"),
            s(&spec["describedObject"], "name")
        )
    };
    let which = if average {
        "target average value"
    } else {
        "target value"
    };
    out.put(
        1,
        format!(
            "{title} ({which}):\t{} / {}\n",
            known(&current[field]),
            scalar(&spec["target"][field])
        ),
    );
}

fn behavior(out: &mut Out, title: &str, rules: &Value) {
    if rules.is_null() {
        return;
    }
    out.put(1, format!("{title}:\n"));
    if let Some(w) = rules["stabilizationWindowSeconds"].as_i64() {
        out.put(2, format!("Stabilization Window: {w} seconds\n"));
    }
    if !list(rules, "policies").is_empty() {
        let select = rules["selectPolicy"].as_str().unwrap_or("Max");
        out.put(2, format!("Select Policy: {select}\n    Policies:\n"));
        list(rules, "policies").iter().for_each(|p| {
            out.put(
                3,
                format!(
                    "- Type: {}\tValue: {}\tPeriod: {} seconds\n",
                    s(p, "type"),
                    n(p, "value"),
                    n(p, "periodSeconds")
                ),
            )
        });
    }
}
