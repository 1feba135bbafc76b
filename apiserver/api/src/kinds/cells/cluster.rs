//! Cells of nodes, of what keeps a cluster, and of what says who may do what in it. Follows `pkg/printers/internalversion/printers.go`, for APIServices
//! `staging/src/k8s.io/kube-aggregator/pkg/registry/apiservice/etcd/etcd.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Make, Makers, NONE, Of, UNKNOWN, UNSET, condition, conditions, items, joined, makers, or, pair,
    quantity, size,
};
use crate::{
    kinds::Cell,
    machinery::{meta::Meta, read::Read, selector::go_text},
};

pub(super) const MAKERS: Makers = makers! { of;
    "api_service.available" => available(of.object),
    "config_map.size" => size(of.object.at("data")) + size(of.object.at("binaryData")),
    "node.state" => node_state(of.object),
    "node.roles" => roles(of.at),
    "node.address" => items(of.at).iter().find(|address| address.text("type") == of.argument).map_or(NONE, |address| address.text("address")),
    "node.kernel" => kernel(of.at),
    "param_kind" => if of.at.is_null() { UNSET.into() } else { pair(of.at, "apiVersion/kind") },
    "param_ref" => param_ref(of.at),
    "quota" => quota(of.at, of.argument),
    "request.state" => request_state(of.object),
    "resource_claim.state" => claim_state(of.object),
};

pub(super) const JOINT: Makers = &[("component.state", Make::Many(component))];

fn available(service: &Value) -> String {
    let Some(condition) = condition(service, "Available") else {
        return "Unknown".into();
    };
    match (condition.text("status"), condition.text("reason")) {
        ("True", _) => "True".into(),
        (status, "") => status.into(),
        (status, reason) => format!("{status} ({reason})"),
    }
}

fn component(of: &Of<'_>) -> Vec<Cell> {
    let Some(condition) = conditions(of.object.at("conditions"), "Healthy") else {
        return vec!["Unknown".into(), "".into(), "".into()];
    };
    let state = match condition.text("status") {
        "True" => "Healthy",
        _ => "Unhealthy",
    };
    let told = ["message", "error"].map(|field| Cell::from(condition.text(field)));
    std::iter::once(state.into()).chain(told).collect()
}

fn node_state(node: &Value) -> String {
    let conditions = node.at("status").list("conditions");
    let ready = conditions.iter().rfind(|of| of.text("type") == "Ready");
    let word = ready.map_or("Unknown", |condition| match condition.text("status") {
        "True" => "Ready",
        _ => "NotReady",
    });
    if node.at("spec").flag("unschedulable") {
        format!("{word},SchedulingDisabled")
    } else {
        word.into()
    }
}

/// The roles that labels name: `node-role.kubernetes.io/ROLE`, or `kubernetes.io/role: ROLE`.
fn roles(labels: &Value) -> String {
    let roles: BTreeSet<&str> = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.as_str() {
            "kubernetes.io/role" => value.as_str(),
            key => key.strip_prefix("node-role.kubernetes.io/"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    joined(roles.into_iter(), NONE)
}

fn kernel(info: &Value) -> String {
    let kernel = or(info.text("kernelVersion"), UNKNOWN);
    match info.text("architecture") {
        "" => kernel.into(),
        architecture => format!("{kernel} ({architecture})"),
    }
}

/// Which parameters a policy binding uses: by name, or by a selector as Go prints the type.
pub(super) fn param_ref(reference: &Value) -> String {
    let name = reference.text("name");
    if !name.is_empty() {
        return format!("{}/{name}", or(reference.text("namespace"), "*"));
    }
    let selector = reference.at("selector");
    if selector.is_null() {
        return UNSET.into();
    }
    go_text(
        selector
            .entries("matchLabels")
            .map(|(key, value)| (key, value.as_str().unwrap_or_default())),
        selector.list("matchExpressions").iter().map(|term| {
            (
                term.text("key"),
                term.text("operator"),
                term.texts("values"),
            )
        }),
    )
}

/// `name: used/hard` of a quota's limits, or of all else.
fn quota(status: &Value, of: &str) -> String {
    let used = |name: &str| {
        let amount = |list: &str| quantity(status.at(list).at(name), "0");
        format!("{name}: {}/{}", amount("used"), amount("hard"))
    };
    let written: Vec<String> = status
        .entries("hard")
        .filter(|(name, _)| name.starts_with("limits.") == (of == "limits"))
        .map(|(name, _)| used(name))
        .collect();
    written.join(", ")
}

fn request_state(request: &Value) -> String {
    let has = |of_type| condition(request, of_type).is_some();
    let mut words = vec![match () {
        () if has("Denied") => "Denied",
        () if has("Approved") => "Approved",
        () => "Pending",
    }];
    words.extend(has("Failed").then_some("Failed"));
    let is_issued = !request.at("status").text("certificate").is_empty();
    words.extend(is_issued.then_some("Issued"));
    words.join(",")
}

fn claim_state(claim: &Value) -> String {
    let (status, deleted) = (claim.at("status"), claim.is_deleting());
    let mut states = if deleted { vec!["deleted"] } else { Vec::new() };
    if status.some("allocation").is_some() {
        states.push("allocated");
        if !status.list("reservedFor").is_empty() {
            states.push("reserved");
        }
    } else if !deleted {
        states.push("pending");
    }
    states.join(",")
}
