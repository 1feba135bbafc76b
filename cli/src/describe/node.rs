//! Nodes.
//! Invariant: what pods ask for is summed exactly, in their own notation; what cannot be read is an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Amounts, Do, Each, Field, Form, If, In, Text};
use super::form::{ANNOTATIONS, CREATED, LABELS, NAME};
use super::text::{multiline, scalar};
use super::{Describer, Kube, Out};
use crate::client::{Pages, segment};
use crate::error::{Error, Result};
use crate::print::age::since;
use crate::typed::Read;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use skiff_api::machinery::quantity::Quantity;
use skiff_podspec::resources::{Amounts as Sums, Options, Status, add, limits, read, requests};
use skiff_watching::api::Wire;
use std::collections::BTreeSet;

pub const KINDS: &[Describer] =
    &[Describer::new("", "Node", LINES).with(|kube, node| Box::pin(related(kube, node)))];

const LINES: &[Line] = &[
    NAME,
    Do(|out, node| out.field("Roles", roles(node.at("metadata").at("labels")))),
    LABELS,
    ANNOTATIONS,
    CREATED,
    Do(taints),
    Field("Unschedulable", "spec.unschedulable|flag"),
    Form(0, "?Lease: {related.no_lease}"),
    In(
        "related.lease",
        &[Form(
            0,
            "
        Lease:
          HolderIdentity: {spec.holderIdentity?<unset>}
          AcquireTime: {spec.acquireTime|date?<unset>}
          RenewTime: {spec.renewTime|date?<unset>}",
        )],
    ),
    If(
        "status.conditions",
        &[Form(
            0,
            "
        Conditions:
          Type  Status  LastHeartbeatTime  LastTransitionTime  Reason  Message
          ----  ------  -----------------  ------------------  ------  -------",
        )],
    ),
    Each(
        "status.conditions",
        &[Text(
            "  {type} \t{status} \t{lastHeartbeatTime|date} \t{lastTransitionTime|date} \t{reason} \t{message}",
        )],
    ),
    Form(0, "Addresses:"),
    Each("status.addresses", &[Form(1, "{type}: {address}")]),
    Amounts("Capacity", "status.capacity"),
    Amounts("Allocatable", "status.allocatable"),
    Form(
        0,
        "
        System Info:
          Machine ID: {status.nodeInfo.machineID}
          System UUID: {status.nodeInfo.systemUUID}
          Boot ID: {status.nodeInfo.bootID}
          Kernel Version: {status.nodeInfo.kernelVersion}
          OS Image: {status.nodeInfo.osImage}
          Operating System: {status.nodeInfo.operatingSystem}
          Architecture: {status.nodeInfo.architecture}
          Container Runtime Version: {status.nodeInfo.containerRuntimeVersion}
          Kubelet Version: {status.nodeInfo.kubeletVersion}
        ?PodCIDR: {spec.podCIDR}
        ?PodCIDRs: {spec.podCIDRs}
        ?ProviderID: {spec.providerID}",
    ),
    Text("{related.pods}"),
];

/// The node's lease, and what its pods ask for.
async fn related(kube: Kube, node: Value) -> Result<Value> {
    let name = node.at("metadata").text("name");
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = kube.get(&format!("{path}/{}", segment(name))).await;
    let pods = match pods_on(&kube, name).await {
        Ok(all) => {
            let mut out = Out::default();
            pods(&mut out, &node, &all)?;
            out.raw().trim_end().to_string()
        }
        Err(error) if error.reason() == "Forbidden" => "Pods:\tnot authorized".into(),
        Err(error) => return Err(error),
    };
    Ok(match lease {
        Ok(lease) => json!({"lease": lease, "pods": pods}),
        Err(error) => json!({"no_lease": format!("Failed to get lease: {error}"), "pods": pods}),
    })
}

fn roles(labels: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (name, value) in labels.as_object().into_iter().flatten() {
        match name.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => drop(roles.insert(role.to_string())),
            _ if name == "kubernetes.io/role" && value != "" => drop(roles.insert(scalar(value))),
            _ => {}
        }
    }
    let roles: Vec<String> = roles.into_iter().collect();
    if roles.is_empty() {
        "<none>".into()
    } else {
        roles.join(",")
    }
}

/// Taints by their effect, then by their key.
fn taints(out: &mut Out, node: &Value) {
    let mut sorted: Vec<&Value> = node.at("spec").list("taints").iter().collect();
    sorted.sort_by_key(|taint| (taint.text("effect"), taint.text("key")));
    let one = |taint: &&Value| {
        let (key, effect) = (taint.text("key"), taint.text("effect"));
        match taint.text("value") {
            "" => format!("{key}:{effect}"),
            value => format!("{key}={value}:{effect}"),
        }
    };
    multiline(out, "Taints", &sorted.iter().map(one).collect::<Vec<_>>());
}

fn typed<K: Wire>(value: &Value) -> Result<K> {
    K::from_value(value).map_err(|error| Error::msg(error.to_string()))
}

/// The node's pods that have not ended.
async fn pods_on(kube: &Kube, node: &str) -> Result<Vec<Value>> {
    let field = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
    let mut all = Vec::new();
    let mut pages = Pages::new("/api/v1/pods", &[("fieldSelector", &field)], 500);
    while let Some(mut page) = kube.ctx.client()?.page(&mut pages).await? {
        if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
            all.append(items);
        }
    }
    Ok(all)
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
fn share(amounts: &Sums, name: &str, allocatable: &Sums) -> String {
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
    let (mut all_requests, mut all_limits) = (Sums::new(), Sums::new());
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
        let (meta, cells) = (value.at("metadata"), cells.join("\t"));
        let (namespace, name) = (meta.text("namespace"), meta.text("name"));
        let age = since(meta.at("creationTimestamp"));
        out.put(1, format!("{namespace}\t{name}\t\t{cells}\t{age}\n"));
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

fn totals(out: &mut Out, requests: &Sums, limits: &Sums, allocatable: &Sums) {
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
        let of = |sums| share(sums, name, allocatable);
        out.put(1, format!("{name}\t{}\t{}\n", of(requests), of(limits)));
    }
    for name in allocatable.keys().filter(|k| {
        !usual.contains(&k.as_str()) && !k.starts_with("hugepages-") && k.as_str() != "pods"
    }) {
        let of = |sums: &Sums| shown(sums.get(name));
        out.put(1, format!("{name}\t{}\t{}\n", of(requests), of(limits)));
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
