//! Nodes.
//! Invariant: what pods ask for is summed exactly, in their own notation.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::quantity::{self, Notation};
use super::text::{annotations, labels, list, multiline, s, scalar, texts};
use super::{Kube, Out, date};
use crate::client::segment;
use crate::error::Result;
use crate::print::age::since;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

type Amounts = BTreeMap<String, (i128, Notation)>;

fn roles(labels: &Value) -> String {
    let mut out = BTreeSet::new();
    for (k, v) in labels.as_object().into_iter().flatten() {
        match k.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => drop(out.insert(role.to_string())),
            _ if k == "kubernetes.io/role" && v != "" => drop(out.insert(scalar(v))),
            _ => {}
        }
    }
    if out.is_empty() { "<none>".into() } else { out.into_iter().collect::<Vec<_>>().join(",") }
}

pub async fn describe(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (m, spec, status) = (&o["metadata"], &o["spec"], &o["status"]);
    out.field("Name", s(m, "name"));
    out.field("Roles", roles(&m["labels"]));
    labels(&mut out, "Labels", &m["labels"]);
    annotations(&mut out, "Annotations", &m["annotations"]);
    out.field("CreationTimestamp", date(&m["creationTimestamp"]));
    taints(&mut out, list(spec, "taints"));
    out.field("Unschedulable", spec["unschedulable"] == true);
    lease(&kube, &mut out, s(m, "name")).await;
    conditions(&mut out, list(status, "conditions"));
    out.put(0, "Addresses:\n");
    list(status, "addresses").iter().for_each(|a| out.put(1, format!("{}:\t{}\n", s(a, "type"), s(a, "address"))));
    for (field, label) in [("capacity", "Capacity"), ("allocatable", "Allocatable")] {
        let Some(map) = status[field].as_object().filter(|x| !x.is_empty()) else { continue };
        out.put(0, format!("{label}:\n"));
        map.iter().for_each(|(k, v)| out.put(1, format!("{k}:\t{}\n", quantity::canonical(&scalar(v)))));
    }
    system(&mut out, status, spec);
    let field = format!("spec.nodeName={},status.phase!=Succeeded,status.phase!=Failed", s(m, "name"));
    match kube.get(&format!("/api/v1/pods{}", crate::client::query(&[("fieldSelector", &field), ("limit", "500")]))).await {
        Ok(answer) => pods(&mut out, &o, answer["items"].as_array().map(Vec::as_slice).unwrap_or_default()),
        Err(_) => out.put(0, "Pods:\tnot authorized\n"),
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}

fn taints(out: &mut Out, all: &[Value]) {
    let mut sorted: Vec<&Value> = all.iter().collect();
    sorted.sort_by_key(|t| (s(t, "key").to_string(), s(t, "value").to_string(), s(t, "effect").to_string()));
    let one = |t: &&Value| {
        if s(t, "value").is_empty() { format!("{}:{}", s(t, "key"), s(t, "effect")) } else { format!("{}={}:{}", s(t, "key"), s(t, "value"), s(t, "effect")) }
    };
    multiline(out, "Taints", &sorted.iter().map(one).collect::<Vec<_>>());
}

async fn lease(kube: &Kube, out: &mut Out, name: &str) {
    match kube.get(&format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}", segment(name))).await {
        Ok(l) => {
            let spec = &l["spec"];
            let time = |f: &str| if spec[f].is_null() { "<unset>".into() } else { date(&spec[f]) };
            out.put(0, "Lease:\n");
            out.put(1, format!("HolderIdentity:\t{}\n", spec["holderIdentity"].as_str().unwrap_or("<unset>")));
            out.put(1, format!("AcquireTime:\t{}\n", time("acquireTime")));
            out.put(1, format!("RenewTime:\t{}\n", time("renewTime")));
        }
        Err(e) => out.put(0, format!("Lease:\tFailed to get lease: {e}\n")),
    }
}

fn conditions(out: &mut Out, all: &[Value]) {
    if all.is_empty() {
        return;
    }
    out.put(0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n");
    out.put(1, "----\t------\t-----------------\t------------------\t------\t-------\n");
    all.iter().for_each(|c| {
        out.put(
            1,
            format!(
                "{} \t{} \t{} \t{} \t{} \t{}\n",
                s(c, "type"),
                s(c, "status"),
                date(&c["lastHeartbeatTime"]),
                date(&c["lastTransitionTime"]),
                s(c, "reason"),
                s(c, "message")
            ),
        )
    });
}

fn system(out: &mut Out, status: &Value, spec: &Value) {
    out.put(0, "System Info:\n");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        out.put(1, format!("{label}:\t{}\n", s(&status["nodeInfo"], field)));
    }
    if !s(spec, "podCIDR").is_empty() {
        out.field("PodCIDR", s(spec, "podCIDR"));
    }
    if !list(spec, "podCIDRs").is_empty() {
        out.field("PodCIDRs", texts(spec, "podCIDRs").join(","));
    }
    if !s(spec, "providerID").is_empty() {
        out.field("ProviderID", s(spec, "providerID"));
    }
}

fn add(into: &mut Amounts, from: &Amounts) {
    for (k, (n, notation)) in from {
        let e = into.entry(k.clone()).or_insert((0, *notation));
        e.0 += n;
    }
}

fn read(v: &Value) -> Amounts {
    v.as_object().into_iter().flatten().filter_map(|(k, x)| Some((k.clone(), quantity::parse_nano(&scalar(x))?))).collect()
}

/// What a pod asks for: the sum of its containers, or the greatest of its init containers, and its overhead.
fn of_pod(pod: &Value, field: &str) -> Amounts {
    let spec = &pod["spec"];
    let mut sum = Amounts::new();
    list(spec, "containers").iter().for_each(|c| add(&mut sum, &read(&c["resources"][field])));
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for c in list(spec, "initContainers") {
        let own = read(&c["resources"][field]);
        if s(c, "restartPolicy") == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            continue;
        }
        let mut here = own;
        add(&mut here, &sidecars);
        for (k, (n, notation)) in here {
            let e = peak.entry(k).or_insert((0, notation));
            e.0 = e.0.max(n);
        }
    }
    for (k, (n, notation)) in peak {
        let e = sum.entry(k).or_insert((0, notation));
        e.0 = e.0.max(n);
    }
    for (k, v) in read(&spec["resources"][field]) {
        sum.insert(k, v);
    }
    if !sum.is_empty() || field == "requests" {
        add(&mut sum, &read(&spec["overhead"]));
    }
    sum
}

fn share(amounts: &Amounts, name: &str, allocatable: &Amounts) -> String {
    let (n, notation) = amounts.get(name).copied().unwrap_or((0, Notation::Decimal));
    let all = allocatable.get(name).map_or(0, |a| a.0);
    let percent = if all == 0 { 0 } else { n * 100 / all };
    format!("{} ({percent}%)", quantity::format(n, notation))
}

fn pods(out: &mut Out, node: &Value, all: &[Value]) {
    let status = &node["status"];
    let allocatable = read(if status["allocatable"].as_object().is_some_and(|m| !m.is_empty()) { &status["allocatable"] } else { &status["capacity"] });
    out.put(0, format!("Non-terminated Pods:\t({} in total)\n", all.len()));
    out.put(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge\n");
    out.put(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---\n");
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for pod in all {
        let (r, l) = (of_pod(pod, "requests"), of_pod(pod, "limits"));
        let cells = [share(&r, "cpu", &allocatable), share(&l, "cpu", &allocatable), share(&r, "memory", &allocatable), share(&l, "memory", &allocatable)];
        out.put(
            1,
            format!(
                "{}\t{}\t\t{}\t{}\n",
                s(&pod["metadata"], "namespace"),
                s(&pod["metadata"], "name"),
                cells.join("\t"),
                since(&pod["metadata"]["creationTimestamp"])
            ),
        );
        add(&mut requests, &r);
        add(&mut limits, &l);
    }
    out.put(0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)\n");
    out.put(1, "Resource\tRequests\tLimits\n");
    out.put(1, "--------\t--------\t------\n");
    let usual = ["cpu", "memory", "ephemeral-storage"];
    let huge: Vec<&str> = allocatable.keys().map(String::as_str).filter(|k| k.starts_with("hugepages-")).collect();
    for name in usual.iter().copied().chain(huge) {
        out.put(1, format!("{name}\t{}\t{}\n", share(&requests, name, &allocatable), share(&limits, name, &allocatable)));
    }
    for name in allocatable.keys().filter(|k| !usual.contains(&k.as_str()) && !k.starts_with("hugepages-") && k.as_str() != "pods") {
        let plain = |a: &Amounts| a.get(name).map_or_else(|| "0".into(), |(n, x)| quantity::format(*n, *x));
        out.put(1, format!("{name}\t{}\t{}\n", plain(&requests), plain(&limits)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_ask_for_the_sum_or_the_peak() {
        let c = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let pod = json!({"spec": {"containers": [c("100m"), c("200m")], "initContainers": [c("250m"), c("1")]}});
        let all = read(&json!({"cpu": "4"}));
        assert_eq!(share(&of_pod(&pod, "requests"), "cpu", &all), "1 (25%)");
        assert_eq!(roles(&json!({"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "x"})), "worker,x");
    }
}
