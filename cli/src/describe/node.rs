//! Nodes.
//! Invariant: what pods ask for is summed exactly, in their own notation; what cannot be read is an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{annotations, labels, list, multiline, s, scalar, texts};
use super::{Kube, Out, date, quantity};
use crate::client::{query, segment};
use crate::error::{Error, Result};
use crate::print::age::since;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::Value;
use skiff_api::machinery::quantity::Quantity;
use skiff_podspec::resources::{Amounts, Options, Status, add, limits, read, requests};
use skiff_watching::api::Wire;
use std::collections::BTreeSet;

fn roles(labels: &Value) -> String {
    let mut out = BTreeSet::new();
    for (k, v) in labels.as_object().into_iter().flatten() {
        match k.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => drop(out.insert(role.to_string())),
            _ if k == "kubernetes.io/role" && v != "" => drop(out.insert(scalar(v))),
            _ => {}
        }
    }
    if out.is_empty() {
        "<none>".into()
    } else {
        out.into_iter().collect::<Vec<_>>().join(",")
    }
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
    list(status, "addresses")
        .iter()
        .for_each(|a| out.put(1, format!("{}:\t{}\n", s(a, "type"), s(a, "address"))));
    for (field, label) in [("capacity", "Capacity"), ("allocatable", "Allocatable")] {
        let Some(map) = status[field].as_object().filter(|x| !x.is_empty()) else {
            continue;
        };
        out.put(0, format!("{label}:\n"));
        map.iter()
            .for_each(|(k, v)| out.put(1, format!("{k}:\t{}\n", quantity::canonical(&scalar(v)))));
    }
    system(&mut out, status, spec);
    match pods_on(&kube, s(m, "name")).await {
        Ok(all) => pods(&mut out, &o, &all)?,
        Err(error) if error.reason() == "Forbidden" => out.put(0, "Pods:\tnot authorized\n"),
        Err(error) => return Err(error),
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}

fn taints(out: &mut Out, all: &[Value]) {
    let mut sorted: Vec<&Value> = all.iter().collect();
    sorted.sort_by_key(|t| {
        (
            s(t, "key").to_string(),
            s(t, "value").to_string(),
            s(t, "effect").to_string(),
        )
    });
    let one = |t: &&Value| {
        if s(t, "value").is_empty() {
            format!("{}:{}", s(t, "key"), s(t, "effect"))
        } else {
            format!("{}={}:{}", s(t, "key"), s(t, "value"), s(t, "effect"))
        }
    };
    multiline(out, "Taints", &sorted.iter().map(one).collect::<Vec<_>>());
}

async fn lease(kube: &Kube, out: &mut Out, name: &str) {
    match kube
        .get(&format!(
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}",
            segment(name)
        ))
        .await
    {
        Ok(l) => {
            let spec = &l["spec"];
            let time = |f: &str| {
                if spec[f].is_null() {
                    "<unset>".into()
                } else {
                    date(&spec[f])
                }
            };
            out.put(0, "Lease:\n");
            out.put(
                1,
                format!(
                    "HolderIdentity:\t{}\n",
                    spec["holderIdentity"].as_str().unwrap_or("<unset>")
                ),
            );
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
    out.put(
        0,
        "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n",
    );
    out.put(
        1,
        "----\t------\t-----------------\t------------------\t------\t-------\n",
    );
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

fn typed<K: Wire>(value: &Value) -> Result<K> {
    K::from_value(value).map_err(|error| Error::msg(error.to_string()))
}

/// The node's pods that have not ended.
async fn pods_on(kube: &Kube, node: &str) -> Result<Vec<Value>> {
    let field = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let mut pairs = vec![("fieldSelector", field.as_str()), ("limit", "500")];
        if !next.is_empty() {
            pairs.push(("continue", &next));
        }
        let mut page = kube.get(&format!("/api/v1/pods{}", query(&pairs))).await?;
        if let Some(items) = page["items"].as_array_mut() {
            all.append(items);
        }
        next = s(&page["metadata"], "continue").to_string();
        if next.is_empty() {
            return Ok(all);
        }
    }
}

/// What is compared of an amount.
fn figure(name: &str, amount: Option<&Quantity>) -> i64 {
    amount.map_or(0, |amount| {
        if name == "cpu" {
            amount.milli_value()
        } else {
            amount.value()
        }
    })
}

fn shown(amount: Option<&Quantity>) -> String {
    amount.map_or_else(|| "0".into(), Quantity::to_string)
}

/// An amount, and which part it is of what there is; in floats and cut off, as Go has it.
fn share(amounts: &Amounts, name: &str, allocatable: &Amounts) -> String {
    let (part, all) = (
        figure(name, amounts.get(name)),
        figure(name, allocatable.get(name)),
    );
    let percent = if all == 0 {
        0
    } else {
        (part as f64 / all as f64 * 100.0) as i64
    };
    format!("{} ({percent}%)", shown(amounts.get(name)))
}

/// What the pods ask for, each on a line, and all together. A resize that is not through counts on a pod's own line only.
fn pods(out: &mut Out, node: &Value, all: &[Value]) -> Result<()> {
    let unreadable = |error: skiff_podspec::resources::Unreadable| Error::msg(error.to_string());
    let status = typed::<Node>(node)?.status.unwrap_or_default();
    let allocatable = read(
        status
            .allocatable
            .as_ref()
            .filter(|list| !list.is_empty())
            .or(status.capacity.as_ref()),
    )
    .map_err(unreadable)?;
    out.put(
        0,
        format!("Non-terminated Pods:\t({} in total)\n", all.len()),
    );
    out.put(
        1,
        "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge\n",
    );
    out.put(
        1,
        "---------\t----\t\t------------\t----------\t---------------\t-------------\t---\n",
    );
    let (mut all_requests, mut all_limits) = (Amounts::new(), Amounts::new());
    for value in all {
        let pod = typed::<Pod>(value)?;
        let r = requests(
            &pod,
            Options {
                status: Status::OfContainers,
                missing: None,
            },
        )
        .map_err(unreadable)?;
        let l = limits(&pod, Status::OfContainers).map_err(unreadable)?;
        let cells = [
            share(&r, "cpu", &allocatable),
            share(&l, "cpu", &allocatable),
            share(&r, "memory", &allocatable),
            share(&l, "memory", &allocatable),
        ];
        let (meta, cells) = (&value["metadata"], cells.join("\t"));
        out.put(
            1,
            format!(
                "{}\t{}\t\t{cells}\t{}\n",
                s(meta, "namespace"),
                s(meta, "name"),
                since(&meta["creationTimestamp"])
            ),
        );
        add(
            &mut all_requests,
            &requests(&pod, Options::default()).map_err(unreadable)?,
        );
        add(
            &mut all_limits,
            &limits(&pod, Status::Ignored).map_err(unreadable)?,
        );
    }
    totals(out, &all_requests, &all_limits, &allocatable);
    Ok(())
}

fn totals(out: &mut Out, requests: &Amounts, limits: &Amounts, allocatable: &Amounts) {
    out.put(
        0,
        "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)\n",
    );
    out.put(1, "Resource\tRequests\tLimits\n");
    out.put(1, "--------\t--------\t------\n");
    let usual = ["cpu", "memory", "ephemeral-storage"];
    let huge: Vec<&str> = allocatable
        .keys()
        .map(String::as_str)
        .filter(|k| k.starts_with("hugepages-"))
        .collect();
    for name in usual.iter().copied().chain(huge) {
        out.put(
            1,
            format!(
                "{name}\t{}\t{}\n",
                share(requests, name, allocatable),
                share(limits, name, allocatable)
            ),
        );
    }
    for name in allocatable.keys().filter(|k| {
        !usual.contains(&k.as_str()) && !k.starts_with("hugepages-") && k.as_str() != "pods"
    }) {
        out.put(
            1,
            format!(
                "{name}\t{}\t{}\n",
                shown(requests.get(name)),
                shown(limits.get(name))
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_pods_ask_for() {
        let container = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu, "memory": "0"}}});
        let node = json!({"metadata": {}, "status": {"allocatable": {"cpu": "10", "memory": "1Gi", "pods": "9", "example.com/gpu": "2"}}});
        for (what, spec, status, line, total) in [
            (
                "the largest init container, and overhead on what is limited",
                json!({"containers": [container("100m")], "initContainers": [container("2800m")], "overhead": {"cpu": "100m", "memory": "64Mi"}}),
                json!({}),
                "2900m (28%)\t2900m (28%)\t64Mi (6%)\t0 (0%)",
                "cpu\t2900m (28%)\t2900m (28%)",
            ),
            (
                "for the pod as a whole",
                json!({"containers": [container("100m")], "resources": {"requests": {"cpu": "1", "example.com/gpu": "1"}}}),
                json!({}),
                "1 (10%)\t100m (1%)\t0 (0%)\t0 (0%)",
                "example.com/gpu\t0\t0",
            ),
            (
                "a resize that is not through",
                json!({"containers": [container("1")]}),
                json!({"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}}]}),
                "2 (20%)\t3 (30%)\t0 (0%)\t0 (0%)",
                "cpu\t1 (10%)\t1 (10%)",
            ),
        ] {
            let mut out = Out::default();
            pods(&mut out, &node, &[json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec, "status": status})]).unwrap();
            let text = out.finish();
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(squeezed(&text).contains(&squeezed(line)), "{what}: {text}");
            assert!(squeezed(&text).contains(&squeezed(total)), "{what}: {text}");
        }
        let bad = json!({"metadata": {}, "spec": {"containers": [container("many")]}});
        assert!(pods(&mut Out::default(), &node, &[bad]).is_err());
        assert_eq!(
            roles(&json!({"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "x"})),
            "worker,x"
        );
    }
}
