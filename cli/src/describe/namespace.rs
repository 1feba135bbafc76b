//! Namespaces, quotas and limit ranges.
//! Invariant: quantities are shown in their canonical form.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Conditions, Do, Each, Field, If, Text, Unless};
use super::form::{ANNOTATIONS, LABELS, NAME, NAMESPACE, shown};
use super::{Describer, Kube, Out};
use crate::client::segment;
use crate::error::Result;
use crate::typed::Read;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const KINDS: &[Describer] = &[
    Describer::new("", "Namespace", DESCRIBED)
        .with(|kube, object| Box::pin(bounds(kube, object)))
        .without_events(),
    Describer::new("", "ResourceQuota", QUOTA).without_events(),
    Describer::new("", "LimitRange", LIMIT_RANGE).without_events(),
];

const QUOTA: &[Line] = &[
    NAME,
    NAMESPACE,
    Do(|out, quota| scopes(out, quota, 0, " * ")),
    Text("Resource\tUsed\tHard\n--------\t----\t----"),
    Do(|out, quota| used(out, quota, 0)),
];

const LIMITS: &str =
    "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio\n";
const DASHES: &str =
    "----\t--------\t---\t---\t---------------\t-------------\t-----------------------\n";
const LIMIT_RANGE: &[Line] = &[
    NAME,
    NAMESPACE,
    Do(|out, range| {
        out.put(0, format!("{LIMITS}{DASHES}"));
        limits(out, range, "");
    }),
];

const DESCRIBED: &[Line] = &[
    NAME,
    LABELS,
    ANNOTATIONS,
    Field("Status", "status.phase"),
    Conditions(
        "  Type\tStatus\tLastTransitionTime\tReason\tMessage",
        "  {type}\t{status}\t{lastTransitionTime|date}\t{reason}\t{message}",
    ),
    Text(""),
    Unless("related.quotas", &[Text("No resource quota.")]),
    If("related.quotas", &[Text("Resource Quotas")]),
    Each(
        "related.quotas",
        &[
            Field("  Name", "metadata.name"),
            Do(|out, quota| scopes(out, quota, 1, "* ")),
            Text("  Resource\tUsed\tHard\n  --------\t---\t---"),
            Do(|out, quota| used(out, quota, 1)),
        ],
    ),
    Text(""),
    Unless("related.ranges", &[Text("No LimitRange resource.")]),
    If(
        "related.ranges",
        &[
            Text("Resource Limits"),
            Do(|out, _| out.put(0, format!(" {LIMITS} {DASHES}"))),
        ],
    ),
    Each(
        "related.ranges",
        &[Do(|out, range| limits(out, range, " "))],
    ),
];

/// The quotas and limit ranges of a namespace.
async fn bounds(kube: Kube, object: Value) -> Result<Value> {
    let name = segment(object.at("metadata").text("name"));
    let all = async |plural: &str| {
        let path = format!("/api/v1/namespaces/{name}/{plural}");
        kube.items(&path, &[("limit", "500")]).await
    };
    let mut quotas = all("resourcequotas").await;
    quotas.sort_by_key(|quota| quota.at("metadata").text("name").to_string());
    Ok(json!({"quotas": quotas, "ranges": all("limitranges").await}))
}

/// The scopes that have an explanation.
const SCOPES: &[(&str, &str)] = &[
    (
        "BestEffort",
        "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service.",
    ),
    (
        "NotBestEffort",
        "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service.",
    ),
    (
        "NotTerminating",
        "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate.",
    ),
    (
        "Terminating",
        "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system.",
    ),
];

fn scopes(out: &mut Out, quota: &Value, level: usize, bullet: &str) {
    let mut all: Vec<&str> = quota.at("spec").texts("scopes").collect();
    if all.is_empty() {
        return;
    }
    all.sort_unstable();
    out.put(level, format!("Scopes:\t{}\n", all.join(", ")));
    for (_, help) in SCOPES.iter().filter(|(scope, _)| all.contains(scope)) {
        out.put(level, format!("{bullet}{help}\n"));
    }
}

fn used(out: &mut Out, quota: &Value, level: usize) {
    let (status, amount) = (quota.at("status"), "|quantity?0");
    for (name, hard) in status.entries("hard") {
        let used = shown(status.at("used").at(name), amount);
        out.put(level, format!("{name}\t{used}\t{}\n", shown(hard, amount)));
    }
}

fn limits(out: &mut Out, range: &Value, prefix: &str) {
    const FIELDS: [&str; 5] = [
        "min",
        "max",
        "defaultRequest",
        "default",
        "maxLimitRequestRatio",
    ];
    for item in range.at("spec").list("limits") {
        let names: BTreeSet<&str> = FIELDS
            .iter()
            .flat_map(|field| item.entries(field).map(|(name, _)| name))
            .collect();
        for name in names {
            let cells = FIELDS.map(|field| shown(item.at(field).at(name), "|quantity?-"));
            let kind = item.text("type");
            out.put(0, format!("{prefix}{kind}\t{name}\t{}\n", cells.join("\t")));
        }
    }
}
