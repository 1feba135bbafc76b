//! Namespaces, quotas and limit ranges.
//! Invariant: quantities are shown in their canonical form.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{annotations, labels, list, s, scalar, texts};
use super::{Kube, Out, date, quantity};
use crate::client::segment;
use crate::error::Result;
use serde_json::Value;
use std::collections::BTreeSet;

fn amount(v: &Value) -> String {
    if v.is_null() {
        "0".into()
    } else {
        quantity::canonical(&scalar(v))
    }
}

/// What a scope means.
fn scope_help(scope: &str) -> &'static str {
    match scope {
        "Terminating" => {
            "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system."
        }
        "NotTerminating" => {
            "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate."
        }
        "BestEffort" => {
            "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service."
        }
        "NotBestEffort" => {
            "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service."
        }
        _ => "",
    }
}

fn scopes(out: &mut Out, spec: &Value, level: usize, bullet: &str) {
    let mut all = texts(spec, "scopes");
    if all.is_empty() {
        return;
    }
    all.sort();
    out.put(level, format!("Scopes:\t{}\n", all.join(", ")));
    all.iter()
        .map(|x| scope_help(x))
        .filter(|h| !h.is_empty())
        .for_each(|h| out.put(level, format!("{bullet}{h}\n")));
}

pub async fn quota(_: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    out.field("Name", s(&o["metadata"], "name"));
    out.field("Namespace", s(&o["metadata"], "namespace"));
    scopes(&mut out, &o["spec"], 0, " * ");
    out.put(0, "Resource\tUsed\tHard\n--------\t----\t----\n");
    for (k, hard) in o["status"]["hard"].as_object().into_iter().flatten() {
        out.put(
            0,
            format!(
                "{k}\t{}\t{}\n",
                amount(&o["status"]["used"][k]),
                amount(hard)
            ),
        );
    }
    Ok(out)
}

fn limits(out: &mut Out, spec: &Value, prefix: &str) {
    const FIELDS: [&str; 5] = [
        "min",
        "max",
        "defaultRequest",
        "default",
        "maxLimitRequestRatio",
    ];
    for item in list(spec, "limits") {
        let names: BTreeSet<&String> = FIELDS
            .iter()
            .flat_map(|f| item[*f].as_object().into_iter().flat_map(|m| m.keys()))
            .collect();
        for name in names {
            let cells: Vec<String> = FIELDS
                .iter()
                .map(|f| {
                    if item[*f][name].is_null() {
                        "-".into()
                    } else {
                        amount(&item[*f][name])
                    }
                })
                .collect();
            out.put(
                0,
                format!(
                    "{prefix}{}\t{name}\t{}\n",
                    s(item, "type"),
                    cells.join("\t")
                ),
            );
        }
    }
}

pub async fn limit_range(_: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    out.field("Name", s(&o["metadata"], "name"));
    out.field("Namespace", s(&o["metadata"], "namespace"));
    out.put(
        0,
        "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio\n",
    );
    out.put(
        0,
        "----\t--------\t---\t---\t---------------\t-------------\t-----------------------\n",
    );
    limits(&mut out, &o["spec"], "");
    Ok(out)
}

pub async fn describe(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let m = &o["metadata"];
    out.field("Name", s(m, "name"));
    labels(&mut out, "Labels", &m["labels"]);
    annotations(&mut out, "Annotations", &m["annotations"]);
    out.field("Status", s(&o["status"], "phase"));
    let conditions = list(&o["status"], "conditions");
    if !conditions.is_empty() {
        out.put(0, "Conditions:\n");
        out.put(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage\n");
        out.put(1, "----\t------\t------------------\t------\t-------\n");
        conditions.iter().for_each(|c| {
            out.put(
                1,
                format!(
                    "{}\t{}\t{}\t{}\t{}\n",
                    s(c, "type"),
                    s(c, "status"),
                    date(&c["lastTransitionTime"]),
                    s(c, "reason"),
                    s(c, "message")
                ),
            )
        });
    }
    let place = format!("/api/v1/namespaces/{}", segment(s(m, "name")));
    out.put(0, "\n");
    let mut quotas = kube
        .items(&format!("{place}/resourcequotas"), &[("limit", "500")])
        .await;
    quotas.sort_by_key(|q| s(&q["metadata"], "name").to_string());
    out.put(
        0,
        if quotas.is_empty() {
            "No resource quota.\n"
        } else {
            "Resource Quotas\n"
        },
    );
    for q in &quotas {
        out.put(1, format!("Name:\t{}\n", s(&q["metadata"], "name")));
        scopes(&mut out, &q["spec"], 1, "* ");
        out.put(1, "Resource\tUsed\tHard\n");
        out.put(1, "--------\t---\t---\n");
        for (k, hard) in q["status"]["hard"].as_object().into_iter().flatten() {
            out.put(
                1,
                format!(
                    "{k}\t{}\t{}\n",
                    amount(&q["status"]["used"][k]),
                    amount(hard)
                ),
            );
        }
    }
    out.put(0, "\n");
    let ranges = kube
        .items(&format!("{place}/limitranges"), &[("limit", "500")])
        .await;
    if ranges.is_empty() {
        out.put(0, "No LimitRange resource.\n");
        return Ok(out);
    }
    out.put(0, "Resource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio\n");
    out.put(
        0,
        " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------\n",
    );
    ranges
        .iter()
        .for_each(|r| limits(&mut out, &r["spec"], " "));
    Ok(out)
}
