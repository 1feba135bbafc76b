//! What the scheduler asks of a node, asked once more by the node itself: room, labels, name, host ports, taints.
//!
//! Invariant: pure; of several failures the first in this order is told.
//! Follows `pkg/kubelet/lifecycle/predicate.go`, and of `pkg/scheduler` `AdmissionCheck` with the plugins that it calls.

use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_podspec::{
    affinity::Required,
    resources::{List, get},
    tolerations::{self, ENDS},
};

use super::Rejection;
use crate::pod::{
    held::{Amounts, Held, amount},
    names::spec,
};

pub const NODE_AFFINITY: &str = "NodeAffinity";

pub fn admit(pod: &Pod, node: &Node, others: &[&Held]) -> Result<(), Rejection> {
    if pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("kubernetes.io/os"))
        .is_some_and(|os| os != "linux")
    {
        return Err(Rejection::new(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ));
    }
    if spec(pod).os.as_ref().is_some_and(|os| os.name != "linux") {
        return Err(Rejection::new(
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        ));
    }
    let strict = spec(pod)
        .security_context
        .as_ref()
        .and_then(|security| security.supplemental_groups_policy.as_deref())
        == Some("Strict");
    let can_be_strict = node
        .status
        .as_ref()
        .and_then(|status| status.features.as_ref()?.supplemental_groups_policy)
        .unwrap_or(false);
    if strict && !can_be_strict {
        return Err(Rejection::new(
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ));
    }
    let wanted = Held::of(pod)?;
    fits(&wanted.amounts, node, others)?;
    if !Required::read(spec(pod)).admits(node) {
        return Err(failed(
            NODE_AFFINITY,
            "node(s) didn't match Pod's node affinity/selector",
        ));
    }
    if spec(pod)
        .node_name
        .as_deref()
        .is_some_and(|name| Some(name) != node.metadata.name.as_deref())
    {
        return Err(failed(
            "NodeName",
            "node(s) didn't match the requested node name",
        ));
    }
    let taken = others
        .iter()
        .flat_map(|other| &other.ports)
        .any(|port| wanted.ports.iter().any(|wanted| wanted.conflicts(port)));
    if taken {
        return Err(failed(
            "NodePorts",
            "node(s) didn't have free ports for the requested pod ports",
        ));
    }
    if !tolerations::tolerates_all(
        tolerations::of_pod(spec(pod)),
        tolerations::taints(node),
        &ENDS,
    ) {
        return Err(failed(
            "TaintToleration",
            "node(s) had taints that the pod didn't tolerate",
        ));
    }
    Ok(())
}

fn failed(predicate: &str, description: &str) -> Rejection {
    Rejection::new(
        predicate,
        format!("Predicate {predicate} failed: {description}"),
    )
}

/// Whether there is room for it all.
fn fits(wanted: &Amounts, node: &Node, others: &[&Held]) -> Result<(), Rejection> {
    let empty = List::new();
    let allocatable = node
        .status
        .as_ref()
        .and_then(|status| status.allocatable.as_ref())
        .unwrap_or(&empty);
    let capacity =
        |name: &str| get(Some(allocatable), name).map(|most| most.map(|most| amount(name, &most)));
    let most = capacity("pods")?.unwrap_or(0);
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count >= most {
        return Err(out_of("pods", 1, count, most));
    }
    const FIRST: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    let scalars = wanted
        .keys()
        .map(String::as_str)
        .filter(|name| !FIRST.contains(name) && is_scalar(name));
    for name in FIRST.into_iter().chain(scalars) {
        let requested = wanted.get(name).copied().unwrap_or(0);
        // Extended resources that the node does not have are the cluster's, and not the node's to count.
        let Some(most) = capacity(name)?.or_else(|| (!is_extended(name)).then_some(0)) else {
            continue;
        };
        let used: i64 = others
            .iter()
            .filter_map(|other| other.amounts.get(name))
            .sum();
        if requested > 0 && requested > most - used {
            return Err(out_of(name, requested, used, most));
        }
    }
    Ok(())
}

/// `IsExtendedResourceName`: a qualified name outside of `kubernetes.io`.
pub fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// `IsScalarResourceName`: what the scheduler counts beside cpu, memory, storage and pods.
fn is_scalar(name: &str) -> bool {
    is_extended(name)
        || name.starts_with("hugepages-")
        || name.contains("kubernetes.io/")
        || name.starts_with("attachable-volumes-")
}

fn out_of(name: &str, requested: i64, used: i64, capacity: i64) -> Rejection {
    Rejection::new(
        format!("OutOf{name}"),
        format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn pod(more: Value) -> Pod {
        let mut spec = json!({"nodeName": "n", "containers": [{"name": "c"}]});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        from_value(json!({"spec": spec})).unwrap()
    }

    fn asks(name: &str, value: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {name: value}}}]})
    }

    fn node(more: Value) -> Node {
        let mut node = json!({"metadata": {"name": "n", "labels": {"disk": "ssd"}},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "2", "example.com/dongle": "4"}}});
        node.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        from_value(node).unwrap()
    }

    fn told(pod: &Pod, node: &Node, others: &[Value]) -> (String, String) {
        let held: Vec<Held> = others
            .iter()
            .map(|other| Held::of(&super::tests::pod(other.clone())).unwrap())
            .collect();
        admit(pod, node, &held.iter().collect::<Vec<_>>()).map_or_else(
            |refused| (refused.reason, refused.message),
            |()| Default::default(),
        )
    }

    #[test]
    fn room() {
        let table = [
            (asks("cpu", "1"), vec![], "", ""),
            (asks("cpu", "500m"), vec![asks("cpu", "500m")], "", ""),
            (
                asks("cpu", "600m"),
                vec![asks("cpu", "500m")],
                "OutOfcpu",
                "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000",
            ),
            (
                json!({}),
                vec![json!({}), json!({})],
                "OutOfpods",
                "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2",
            ),
            (asks("example.com/dongle", "4"), vec![], "", ""),
            (
                asks("example.com/dongle", "3"),
                vec![asks("example.com/dongle", "2")],
                "OutOfexample.com/dongle",
                "Node didn't have enough resource: example.com/dongle, requested: 3, used: 2, capacity: 4",
            ),
            (asks("example.com/of-the-cluster", "3"), vec![], "", ""),
            (
                asks("cpu", "many"),
                vec![],
                "UnexpectedAdmissionError",
                "the quantity \"many\" of cpu cannot be read",
            ),
            (
                asks("hugepages-2Mi", "2Mi"),
                vec![],
                "OutOfhugepages-2Mi",
                "Node didn't have enough resource: hugepages-2Mi, requested: 2097152, used: 0, capacity: 0",
            ),
        ];
        for (wanted, others, reason, message) in table {
            assert_eq!(
                told(&pod(wanted.clone()), &node(json!({})), &others),
                (reason.to_owned(), message.to_owned()),
                "{wanted} beside {others:?}"
            );
        }
    }

    #[test]
    fn labels_ports_and_taints() {
        let term =
            json!([{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["hdd"]}]}]);
        let affinity = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": term}}}});
        let port = |ip: &str, protocol: &str| json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80, "hostIP": ip, "protocol": protocol}]}]});
        let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}, {"key": "other", "effect": "NoSchedule"}]}});
        let affinity_message =
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        let ports_message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        let (bare, alone) = (|| json!({}), Vec::new);
        let selects = |disk: &str| json!({"nodeSelector": {"disk": disk}});
        let tolerates = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
        let strict = json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}});
        let beside = |ip: &str, protocol: &str| vec![port(ip, protocol)];
        let table = [
            (selects("ssd"), bare(), alone(), "", ""),
            (
                selects("hdd"),
                bare(),
                alone(),
                "NodeAffinity",
                affinity_message,
            ),
            (affinity, bare(), alone(), "NodeAffinity", affinity_message),
            (
                port("", "TCP"),
                bare(),
                beside("127.0.0.1", "TCP"),
                "NodePorts",
                ports_message,
            ),
            (
                port("10.0.0.1", "TCP"),
                bare(),
                beside("0.0.0.0", "TCP"),
                "NodePorts",
                ports_message,
            ),
            (
                port("10.0.0.1", "TCP"),
                bare(),
                beside("10.0.0.2", "TCP"),
                "",
                "",
            ),
            (port("", "TCP"), bare(), beside("", "UDP"), "", ""),
            (
                bare(),
                tainted.clone(),
                alone(),
                "TaintToleration",
                "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
            ),
            (tolerates, tainted, alone(), "", ""),
            (
                json!({"os": {"name": "windows"}}),
                bare(),
                alone(),
                "PodOSNotSupported",
                "Failed to admit pod as the OS field doesn't match node OS",
            ),
            (
                strict,
                bare(),
                alone(),
                "SupplementalGroupsPolicyNotSupported",
                "SupplementalGroupsPolicy=Strict is not supported in this node",
            ),
        ];
        for (wanted, of_node, others, reason, message) in table {
            assert_eq!(
                told(&pod(wanted.clone()), &node(of_node.clone()), &others),
                (reason.to_owned(), message.to_owned()),
                "{wanted} on {of_node}"
            );
        }
    }
}
