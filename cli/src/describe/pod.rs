//! Pods.
//! Invariant: the quality-of-service class is worked out as the server works it out.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go` and `util/qos`.

use super::pod_template::{containers, resources, spread, tolerations};
use super::text::{annotations, controller, labels, list, s};
use super::{Kube, Out, date, volumes};
use crate::error::Result;
use crate::print::age::since;
use serde_json::Value;

pub async fn describe(kube: Kube, pod: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &pod);
    let (spec, status) = (&pod["spec"], &pod["status"]);
    if !spec["resources"].is_null() {
        out.put(0, "Resources:\n");
        resources(&mut out, &spec["resources"], 1);
    }
    if !list(spec, "initContainers").is_empty() {
        containers(&mut out, "Init Containers", list(spec, "initContainers"), list(status, "initContainerStatuses"), Some(&pod), "");
    }
    containers(&mut out, "Containers", list(spec, "containers"), list(status, "containerStatuses"), Some(&pod), "");
    if !list(spec, "ephemeralContainers").is_empty() {
        containers(&mut out, "Ephemeral Containers", list(spec, "ephemeralContainers"), list(status, "ephemeralContainerStatuses"), Some(&pod), "");
    }
    conditions(&mut out, &pod);
    volumes::all(&mut out, list(spec, "volumes"), "");
    out.field("QoS Class", qos(&pod));
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
    for (field, label) in [("priorityClassName", "Priority Class Name"), ("runtimeClassName", "Runtime Class Name"), ("serviceAccountName", "Service Account")]
    {
        if !s(spec, field).is_empty() {
            out.field(label, s(spec, field));
        }
    }
    let node = s(spec, "nodeName");
    out.field("Node", if node.is_empty() { "<none>".to_string() } else { format!("{node}/{}", s(status, "hostIP")) });
    if !status["startTime"].is_null() {
        out.field("Start Time", date(&status["startTime"]));
    }
    labels(out, "Labels", &m["labels"]);
    annotations(out, "Annotations", &m["annotations"]);
    if !m["deletionTimestamp"].is_null() && !matches!(s(status, "phase"), "Failed" | "Succeeded") {
        out.field("Status", format!("Terminating (lasts {})", since(&m["deletionTimestamp"])));
        out.field("Termination Grace Period", format!("{}s", m["deletionGracePeriodSeconds"]));
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
        ips.iter().for_each(|ip| out.put(1, format!("IP:\t{}\n", s(ip, "ip"))));
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
            let status = all.iter().find(|c| c["type"] == g["conditionType"]).map_or("<none>", |c| s(c, "status"));
            out.put(1, format!("{} \t{status} \n", s(g, "conditionType")));
        }
    }
    if !all.is_empty() {
        out.put(0, "Conditions:\n  Type\tStatus\n");
        all.iter().for_each(|c| out.put(1, format!("{} \t{} \n", s(c, "type"), s(c, "status"))));
    }
}

/// How much is promised to the pod: Guaranteed, Burstable or BestEffort.
fn qos(pod: &Value) -> String {
    if !s(&pod["status"], "qosClass").is_empty() {
        return s(&pod["status"], "qosClass").into();
    }
    let all: Vec<&Value> = ["containers", "initContainers"].iter().flat_map(|f| list(&pod["spec"], f)).collect();
    let has = |c: &Value, f: &str, r: &str| c["resources"][f][r].is_string();
    let any = all.iter().any(|c| ["limits", "requests"].iter().any(|f| ["cpu", "memory"].iter().any(|r| has(c, f, r))));
    let guaranteed = all.iter().all(|c| {
        ["cpu", "memory"].iter().all(|r| has(c, "limits", r) && (!has(c, "requests", r) || c["resources"]["requests"][r] == c["resources"]["limits"][r]))
    });
    if !any {
        "BestEffort".into()
    } else if guaranteed {
        "Guaranteed".into()
    } else {
        "Burstable".into()
    }
}
