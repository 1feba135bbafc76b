//! Network policies, disruption budgets and priority classes.
//! Invariant: what a policy does not restrict is said as clearly as what it does.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{annotations, format_labels, format_selector, labels, list, s, scalar, texts};
use super::{Kube, Out};
use crate::error::Result;
use crate::print::age;
use serde_json::Value;

pub async fn network_policy(_: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (m, spec) = (&o["metadata"], &o["spec"]);
    out.field("Name", s(m, "name"));
    out.field("Namespace", s(m, "namespace"));
    let created = age::time(&m["creationTimestamp"])
        .map(|t| t.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string());
    out.field("Created on", created.unwrap_or_default());
    labels(&mut out, "Labels", &m["labels"]);
    annotations(&mut out, "Annotations", &m["annotations"]);
    out.put(0, "Spec:\n");
    let chosen = format_selector(&spec["podSelector"]);
    out.put(1, "PodSelector: ");
    out.put(
        2,
        if chosen == "<none>" {
            "<none> (Allowing the specific traffic to all pods in this namespace)\n".to_string()
        } else {
            format!("{chosen}\n")
        },
    );
    let types = texts(spec, "policyTypes");
    for (kind, field, peers, way) in [
        ("Ingress", "ingress", "from", "From"),
        ("Egress", "egress", "to", "To"),
    ] {
        let lower = kind.to_lowercase();
        if types.iter().any(|t| t == kind) {
            out.put(1, format!("Allowing {lower} traffic:\n"));
            traffic(&mut out, list(spec, field), peers, way, &lower);
        } else {
            out.put(1, format!("Not affecting {lower} traffic\n"));
        }
    }
    out.put(1, format!("Policy Types: {}\n", types.join(", ")));
    Ok(out)
}

fn traffic(out: &mut Out, rules: &[Value], peers: &str, way: &str, kind: &str) {
    const INDENT: &str = "    ";
    if rules.is_empty() {
        out.put(
            0,
            format!("{INDENT}<none> (Selected pods are isolated for {kind} connectivity)\n"),
        );
    }
    for (i, rule) in rules.iter().enumerate() {
        if list(rule, "ports").is_empty() {
            out.put(
                0,
                format!("{INDENT}To Port: <any> (traffic allowed to all ports)\n"),
            );
        }
        for p in list(rule, "ports") {
            let (port, protocol) = (scalar(&p["port"]), p["protocol"].as_str().unwrap_or("TCP"));
            match p["endPort"].as_i64() {
                None => out.put(0, format!("{INDENT}To Port: {port}/{protocol}\n")),
                Some(end) => out.put(
                    0,
                    format!("{INDENT}To Port Range: {port}-{end}/{protocol}\n"),
                ),
            }
        }
        if list(rule, peers).is_empty() {
            let what = if way == "From" {
                "source"
            } else {
                "destination"
            };
            out.put(
                0,
                format!("{INDENT}{way}: <any> (traffic not restricted by {what})\n"),
            );
        }
        for peer in list(rule, peers) {
            out.put(0, format!("{INDENT}{way}:\n"));
            for (field, label) in [
                ("namespaceSelector", "NamespaceSelector"),
                ("podSelector", "PodSelector"),
            ] {
                if !peer[field].is_null() {
                    out.put(
                        1,
                        format!("{INDENT}{label}: {}\n", format_selector(&peer[field])),
                    );
                }
            }
            if !peer["ipBlock"].is_null() {
                out.put(1, format!("{INDENT}IPBlock:\n"));
                out.put(
                    2,
                    format!("{INDENT}CIDR: {}\n", s(&peer["ipBlock"], "cidr")),
                );
                out.put(
                    2,
                    format!(
                        "{INDENT}Except: {}\n",
                        texts(&peer["ipBlock"], "except").join(", ")
                    ),
                );
            }
        }
        if i + 1 < rules.len() {
            out.put(0, format!("{INDENT}----------\n"));
        }
    }
}

pub async fn disruption_budget(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (spec, status) = (&o["spec"], &o["status"]);
    out.field("Name", s(&o["metadata"], "name"));
    out.field("Namespace", s(&o["metadata"], "namespace"));
    if !spec["minAvailable"].is_null() {
        out.field("Min available", scalar(&spec["minAvailable"]));
    } else if !spec["maxUnavailable"].is_null() {
        out.field("Max unavailable", scalar(&spec["maxUnavailable"]));
    }
    out.field(
        "Selector",
        if spec["selector"].is_null() {
            "<unset>".into()
        } else {
            format_selector(&spec["selector"])
        },
    );
    out.put(0, "Status:\n");
    for (label, field) in [
        ("Allowed disruptions", "disruptionsAllowed"),
        ("Current", "currentHealthy"),
        ("Desired", "desiredHealthy"),
        ("Total", "expectedPods"),
    ] {
        out.put(
            2,
            format!("{label}:\t{}\n", status[field].as_i64().unwrap_or(0)),
        );
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn priority_class(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    out.field("Name", s(&o["metadata"], "name"));
    out.field("Value", o["value"].as_i64().unwrap_or(0));
    out.field("GlobalDefault", o["globalDefault"] == true);
    out.field("PreemptionPolicy", s(&o, "preemptionPolicy"));
    out.field("Description", s(&o, "description"));
    out.field("Annotations", format_labels(&o["metadata"]["annotations"]));
    kube.events(&mut out, &o).await;
    Ok(out)
}
