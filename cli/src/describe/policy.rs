//! Network policies, networks of services and their addresses, disruption budgets and priority classes.
//! Invariant: what a policy does not restrict is said as clearly as what it does.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, All, Do, Each, Form, If, In, Text, Unless};
use super::form::{ANNOTATIONS, LABELS, NAME, NAMESPACE, put};
use super::{Describer, Out};
use crate::print::age;
use crate::typed::Read;
use serde_json::Value;

pub const KINDS: &[Describer] = &[
    Describer::new("networking.k8s.io", "NetworkPolicy", NETWORK_POLICY).without_events(),
    Describer::new("networking.k8s.io", "IPAddress", IP_ADDRESS),
    Describer::new("networking.k8s.io", "ServiceCIDR", SERVICE_CIDR),
    Describer::new("policy", "PodDisruptionBudget", DISRUPTION_BUDGET),
    Describer::new("scheduling.k8s.io", "PriorityClass", PRIORITY_CLASS),
];

const PRIORITY_CLASS: &[Line] = &[Form(
    0,
    "
    Name: {metadata.name}
    Value: {value?0}
    GlobalDefault: {globalDefault|flag}
    PreemptionPolicy: {preemptionPolicy}
    Description: {description}
    Annotations: {metadata.annotations|labels?<none>}",
)];

const IP_ADDRESS: &[Line] = &[
    NAME,
    LABELS,
    ANNOTATIONS,
    If(
        "spec.parentRef",
        &[Form(
            0,
            "
            Parent Reference:
              Group: {spec.parentRef.group}
              Resource: {spec.parentRef.resource}
              Namespace: {spec.parentRef.namespace}
              Name: {spec.parentRef.name}",
        )],
    ),
];

const SERVICE_CIDR: &[Line] = &[
    NAME,
    LABELS,
    ANNOTATIONS,
    Form(0, "CIDRs: {spec.cidrs|list}"),
    If(
        "status.conditions",
        &[Form(
            0,
            "
            Status:
            Conditions:
              Type  Status  LastTransitionTime  Reason  Message
              ----  ------  ------------------  ------  -------",
        )],
    ),
    Each(
        "status.conditions",
        &[Text(
            "  {type}\t{status}\t{lastTransitionTime|date}\t{reason}\t{message}",
        )],
    ),
];

const DISRUPTION_BUDGET: &[Line] = &[
    Form(
        0,
        "
        Name: {metadata.name}
        Namespace: {metadata.namespace}
        ?Min available: {spec.minAvailable}",
    ),
    Unless(
        "spec.minAvailable",
        &[Form(0, "?Max unavailable: {spec.maxUnavailable}")],
    ),
    Form(0, "?Selector: {spec.selector|selector?<none>}"),
    Unless("spec.selector", &[Form(0, "Selector: <unset>")]),
    Form(
        0,
        "
        Status:
            Allowed disruptions: {status.disruptionsAllowed?0}
            Current: {status.currentHealthy?0}
            Desired: {status.desiredHealthy?0}
            Total: {status.expectedPods?0}",
    ),
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

/// Of one rule: the ports, then the peers. A colon is no label's here.
const PORTS: Line = All(&[
    Unless(
        "ports",
        &[Text("    To Port: <any> (traffic allowed to all ports)")],
    ),
    Each(
        "ports",
        &[
            If(
                "endPort",
                &[Text("    To Port Range: {port}-{endPort}/{protocol?TCP}")],
            ),
            Unless("endPort", &[Text("    To Port: {port}/{protocol?TCP}")]),
        ],
    ),
]);
const PEER: Line = All(&[
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
]);
const FROM: &[Line] = &[
    PORTS,
    Unless(
        "from",
        &[Text("    From: <any> (traffic not restricted by source)")],
    ),
    Each("from", &[Text("    From:"), PEER]),
];
const TO: &[Line] = &[
    PORTS,
    Unless(
        "to",
        &[Text(
            "    To: <any> (traffic not restricted by destination)",
        )],
    ),
    Each("to", &[Text("    To:"), PEER]),
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
