//! Pods.
//! Invariant: the quality-of-service class is worked out as the server works it out.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go` and `util/qos`.

use super::form::Line::{self, Amounts, Do, Each, Form, If, In, Labels, Text, Unless, When};
use super::form::{ANNOTATIONS, CONTROLLED, LABELS, at};
use super::pod_template::{EPHEMERAL, GROUP, INIT, containers, spread, tolerations};
use super::{Describer, Out, volumes};
use crate::error::{Error, Result};
use crate::print::age::since;
use crate::typed::Read;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use skiff_podspec::qos;
use skiff_watching::api::Wire;

pub const KINDS: &[Describer] = &[Describer::new("", "Pod", LINES)
    .with(|_, pod| Box::pin(async move { Ok(class(&pod)?.into()) }))];

const LINES: &[Line] = &[
    Form(
        0,
        "
        Name: {metadata.name}
        Namespace: {metadata.namespace}
        ?Priority: {spec.priority}
        ?Priority Class Name: {spec.priorityClassName}
        ?Runtime Class Name: {spec.runtimeClassName}
        ?Service Account: {spec.serviceAccountName}
        ?Node: {spec.nodeName}/{status.hostIP}",
    ),
    Unless("spec.nodeName", &[Form(0, "Node: <none>")]),
    Form(0, "?Start Time: {status.startTime|date}"),
    LABELS,
    ANNOTATIONS,
    Do(status),
    Form(
        0,
        "
        ?Reason: {status.reason}
        ?Message: {status.message}
        ?SeccompProfile: {spec.securityContext.seccompProfile.type}",
    ),
    When(
        "spec.securityContext.seccompProfile.type",
        "Localhost",
        &[Form(
            0,
            "?LocalhostProfile: {spec.securityContext.seccompProfile.localhostProfile}",
        )],
    ),
    Form(0, "IP: {status.podIP}"),
    Unless("status.podIPs", &[Form(0, "IPs: <none>")]),
    If("status.podIPs", &[Form(0, "IPs:")]),
    Each("status.podIPs", &[Form(1, "IP: {ip}")]),
    CONTROLLED,
    Form(0, "?NominatedNodeName: {status.nominatedNodeName}"),
    If("spec.resources", &[Form(0, "Resources:")]),
    Amounts("  Limits", "spec.resources.limits"),
    Amounts("  Requests", "spec.resources.requests"),
    If(
        "spec.initContainers",
        &[Do(|out, pod| running(out, pod, INIT))],
    ),
    Do(|out, pod| running(out, pod, GROUP)),
    If(
        "spec.ephemeralContainers",
        &[Do(|out, pod| running(out, pod, EPHEMERAL))],
    ),
    Do(gates),
    If("status.conditions", &[Text("Conditions:\n  Type\tStatus")]),
    Each("status.conditions", &[Text("  {type} \t{status} ")]),
    Do(|out, pod| volumes::all(out, pod.at("spec").list("volumes"), "")),
    Form(0, "QoS Class: {related}"),
    Labels("Node-Selectors", "spec.nodeSelector"),
    Do(|out, pod| tolerations(out, "Tolerations", pod.at("spec").list("tolerations"))),
    Do(|out, pod| spread(out, pod.at("spec").list("topologySpreadConstraints"), "")),
    In(
        "spec.schedulingGroup",
        &[Form(
            0,
            "
        SchedulingGroup:
          PodGroupName: {podGroupName}",
        )],
    ),
];

/// Containers with what is known of how they run.
fn running(out: &mut Out, pod: &Value, (title, spec, status): (&str, &str, &str)) {
    let statuses = pod.at("status").list(status);
    containers(out, title, at(pod, spec), statuses, Some(pod), "");
}

fn status(out: &mut Out, pod: &Value) {
    let (meta, phase) = (pod.at("metadata"), pod.at("status").text("phase"));
    let deleted = meta.at("deletionTimestamp");
    if deleted.is_null() || matches!(phase, "Failed" | "Succeeded") {
        return out.field("Status", phase);
    }
    out.field("Status", format!("Terminating (lasts {})", since(deleted)));
    let grace = meta.int("deletionGracePeriodSeconds");
    out.field("Termination Grace Period", format!("{grace}s"));
}

fn gates(out: &mut Out, pod: &Value) {
    let gates = pod.at("spec").list("readinessGates");
    if !gates.is_empty() {
        out.put(0, "Readiness Gates:\n  Type\tStatus\n");
    }
    for gate in gates {
        let kind = gate.text("conditionType");
        let mut conditions = pod.at("status").list("conditions").iter();
        let status = conditions
            .find(|c| c.text("type") == kind)
            .map_or("<none>", |c| c.text("status"));
        out.put(1, format!("{kind} \t{status} \n"));
    }
}

/// Its quality-of-service class.
fn class(pod: &Value) -> Result<&'static str> {
    let typed = Pod::from_value(pod).map_err(|error| Error::msg(error.to_string()))?;
    qos::class(&typed)
        .map(qos::Class::name)
        .map_err(|error| Error::msg(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_class_is_the_servers() {
        let full = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}});
        for (pod, wanted) in [
            (
                json!({"spec": {"containers": [{"name": "c", "resources": full}]}}),
                "Guaranteed",
            ),
            (
                json!({"spec": {"containers": [{"name": "c"}], "resources": full}}),
                "Guaranteed",
            ),
            (
                json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "0"}}}]}}),
                "BestEffort",
            ),
            (
                json!({"spec": {"containers": [{"name": "c"}]}, "status": {"qosClass": "Burstable"}}),
                "Burstable",
            ),
        ] {
            assert_eq!(class(&pod).unwrap(), wanted, "{pod}");
        }
        assert!(class(&json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "many"}}}]}})).is_err());
    }
}
