//! Pods.
//! Invariant: the quality-of-service class is worked out as the server works it out.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go` and `util/qos`.

use super::pod_template::{containers, resources, spread, tolerations};
use super::text::{annotations, controller, labels, list, s};
use super::{Kube, Out, date, volumes};
use crate::error::{Error, Result};
use crate::print::age::since;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use skiff_podspec::qos;
use skiff_watching::api::Wire;

pub async fn describe(kube: Kube, pod: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &pod);
    let (spec, status) = (&pod["spec"], &pod["status"]);
    if !spec["resources"].is_null() {
        out.put(0, "Resources:\n");
        resources(&mut out, &spec["resources"], 1);
    }
    if !list(spec, "initContainers").is_empty() {
        containers(
            &mut out,
            "Init Containers",
            list(spec, "initContainers"),
            list(status, "initContainerStatuses"),
            Some(&pod),
            "",
        );
    }
    containers(
        &mut out,
        "Containers",
        list(spec, "containers"),
        list(status, "containerStatuses"),
        Some(&pod),
        "",
    );
    if !list(spec, "ephemeralContainers").is_empty() {
        containers(
            &mut out,
            "Ephemeral Containers",
            list(spec, "ephemeralContainers"),
            list(status, "ephemeralContainerStatuses"),
            Some(&pod),
            "",
        );
    }
    conditions(&mut out, &pod);
    volumes::all(&mut out, list(spec, "volumes"), "");
    out.field("QoS Class", class(&pod)?);
    labels(&mut out, "Node-Selectors", &spec["nodeSelector"]);
    tolerations(&mut out, "Tolerations", list(spec, "tolerations"));
    spread(&mut out, list(spec, "topologySpreadConstraints"), "");
    kube.events(&mut out, &pod).await;
    Ok(out)
}

fn head(out: &mut Out, pod: &Value) {
    let (m, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    out.field("Name", s(m, "name"));
    out.field("Namespace", s(m, "namespace"));
    if let Some(p) = spec["priority"].as_i64() {
        out.field("Priority", p);
    }
    for (field, label) in [
        ("priorityClassName", "Priority Class Name"),
        ("runtimeClassName", "Runtime Class Name"),
        ("serviceAccountName", "Service Account"),
    ] {
        if !s(spec, field).is_empty() {
            out.field(label, s(spec, field));
        }
    }
    let node = s(spec, "nodeName");
    out.field(
        "Node",
        if node.is_empty() {
            "<none>".to_string()
        } else {
            format!("{node}/{}", s(status, "hostIP"))
        },
    );
    if !status["startTime"].is_null() {
        out.field("Start Time", date(&status["startTime"]));
    }
    labels(out, "Labels", &m["labels"]);
    annotations(out, "Annotations", &m["annotations"]);
    if !m["deletionTimestamp"].is_null() && !matches!(s(status, "phase"), "Failed" | "Succeeded") {
        out.field(
            "Status",
            format!("Terminating (lasts {})", since(&m["deletionTimestamp"])),
        );
        out.field(
            "Termination Grace Period",
            format!("{}s", m["deletionGracePeriodSeconds"]),
        );
    } else {
        out.field("Status", s(status, "phase"));
    }
    for (field, label) in [("reason", "Reason"), ("message", "Message")] {
        if !s(status, field).is_empty() {
            out.field(label, s(status, field));
        }
    }
    let profile = &spec["securityContext"]["seccompProfile"];
    if !profile.is_null() {
        out.field("SeccompProfile", s(profile, "type"));
        if s(profile, "type") == "Localhost" {
            out.field("LocalhostProfile", s(profile, "localhostProfile"));
        }
    }
    out.field("IP", s(status, "podIP"));
    let ips = list(status, "podIPs");
    if ips.is_empty() {
        out.field("IPs", "<none>");
    } else {
        out.put(0, "IPs:\n");
        ips.iter()
            .for_each(|ip| out.put(1, format!("IP:\t{}\n", s(ip, "ip"))));
    }
    if let Some(owner) = controller(pod) {
        out.field("Controlled By", owner);
    }
    if !s(status, "nominatedNodeName").is_empty() {
        out.field("NominatedNodeName", s(status, "nominatedNodeName"));
    }
}

fn conditions(out: &mut Out, pod: &Value) {
    let all = list(&pod["status"], "conditions");
    if !list(&pod["spec"], "readinessGates").is_empty() {
        out.put(0, "Readiness Gates:\n  Type\tStatus\n");
        for g in list(&pod["spec"], "readinessGates") {
            let status = all
                .iter()
                .find(|c| c["type"] == g["conditionType"])
                .map_or("<none>", |c| s(c, "status"));
            out.put(1, format!("{} \t{status} \n", s(g, "conditionType")));
        }
    }
    if !all.is_empty() {
        out.put(0, "Conditions:\n  Type\tStatus\n");
        all.iter()
            .for_each(|c| out.put(1, format!("{} \t{} \n", s(c, "type"), s(c, "status"))));
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
