//! Network policies, disruption budgets and priority classes.
//! Invariant: what a policy does not restrict is said as clearly as what it does.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Do, Each, Field, If, In, Opt, Text, Unless};
use super::form::{ANNOTATIONS, LABELS, NAME, NAMESPACE, put};
use super::{Describer, Out};
use crate::print::age;
use crate::typed::Read;
use serde_json::Value;

pub const KINDS: &[Describer] = &[
    Describer::new("networking.k8s.io", "NetworkPolicy", NETWORK_POLICY).without_events(),
    Describer::new("policy", "PodDisruptionBudget", DISRUPTION_BUDGET),
    Describer::new("scheduling.k8s.io", "PriorityClass", PRIORITY_CLASS),
];

const PRIORITY_CLASS: &[Line] = &[
    NAME,
    Field("Value", "value?0"),
    Field("GlobalDefault", "globalDefault|flag"),
    Field("PreemptionPolicy", "preemptionPolicy"),
    Field("Description", "description"),
    Field("Annotations", "metadata.annotations|labels?<none>"),
];

const DISRUPTION_BUDGET: &[Line] = &[
    NAME,
    NAMESPACE,
    Opt("Min available", "spec.minAvailable"),
    Unless(
        "spec.minAvailable",
        &[Opt("Max unavailable", "spec.maxUnavailable")],
    ),
    Opt("Selector", "spec.selector|selector?<none>"),
    Unless("spec.selector", &[Text("Selector:\t<unset>")]),
    Text("Status:"),
    Field("    Allowed disruptions", "status.disruptionsAllowed?0"),
    Field("    Current", "status.currentHealthy?0"),
    Field("    Desired", "status.desiredHealthy?0"),
    Field("    Total", "status.expectedPods?0"),
];

const NETWORK_POLICY: &[Line] = &[
    NAME,
    NAMESPACE,
    Do(|out, policy| {
        let created = age::time(policy.at("metadata").at("creationTimestamp"))
            .map(|t| t.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string());
        out.field("Created on", created.unwrap_or_default());
    }),
    LABELS,
    ANNOTATIONS,
    Text("Spec:"),
    Text(
        "  PodSelector:     {spec.podSelector|selector?<none> (Allowing the specific traffic to all pods in this namespace)}",
    ),
    Do(|out, policy| {
        ways(out, policy, "Ingress", FROM);
        ways(out, policy, "Egress", TO);
    }),
    Text("  Policy Types: {spec.policyTypes|list}"),
];

const PORTS: Line = Each(
    "ports",
    &[
        If(
            "endPort",
            &[Text("    To Port Range: {port}-{endPort}/{protocol?TCP}")],
        ),
        Unless("endPort", &[Text("    To Port: {port}/{protocol?TCP}")]),
    ],
);
const ANY_PORT: Line = Unless(
    "ports",
    &[Text("    To Port: <any> (traffic allowed to all ports)")],
);
const PEER: &[Line] = &[
    If(
        "namespaceSelector",
        &[Text(
            "      NamespaceSelector: {namespaceSelector|selector?<none>}",
        )],
    ),
    If(
        "podSelector",
        &[Text("      PodSelector: {podSelector|selector?<none>}")],
    ),
    In(
        "ipBlock",
        &[Text(
            "      IPBlock:\n        CIDR: {cidr}\n        Except: {except|list}",
        )],
    ),
];
const FROM: &[Line] = &[
    ANY_PORT,
    PORTS,
    Unless(
        "from",
        &[Text("    From: <any> (traffic not restricted by source)")],
    ),
    Each("from", &[Text("    From:"), Line::All(PEER)]),
];
const TO: &[Line] = &[
    ANY_PORT,
    PORTS,
    Unless(
        "to",
        &[Text(
            "    To: <any> (traffic not restricted by destination)",
        )],
    ),
    Each("to", &[Text("    To:"), Line::All(PEER)]),
];

/// What a policy says of one direction.
fn ways(out: &mut Out, policy: &Value, way: &str, rule: &[Line]) {
    let (spec, lower) = (policy.at("spec"), way.to_lowercase());
    if !spec.texts("policyTypes").any(|t| t == way) {
        return out.put(1, format!("Not affecting {lower} traffic\n"));
    }
    out.put(1, format!("Allowing {lower} traffic:\n"));
    let rules = spec.list(&lower);
    if rules.is_empty() {
        let text = format!("<none> (Selected pods are isolated for {lower} connectivity)\n");
        out.put(2, text);
    }
    for (i, one) in rules.iter().enumerate() {
        if i > 0 {
            out.put(2, "----------\n");
        }
        put(out, one, rule);
    }
}
