//! The status of the node.
//!
//! Invariant: pure but for the time; a condition's `lastTransitionTime` moves only when its status does.
//! Follows `pkg/kubelet/nodestatus/setters.go` and `pkg/kubelet/kubelet_node_status.go`.

use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints,
        NodeFeatures, NodeRuntimeHandler, NodeStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use skiff_podspec::resources::List;

use crate::{agent::machine::Machine, image::Image, pod::admission::is_extended, worker::sandbox};

/// At most so many images are told of, the largest first.
const MAX_IMAGES: usize = 50;
const MAX_NAMES: usize = 5;

/// What the node's status is made from.
pub struct Facts<'a> {
    pub machine: &'a Machine,
    pub addresses: &'a [NodeAddress],
    pub api_port: u16,
    pub images: &'a [Image],
    /// `None`: all is well. Otherwise why the node cannot run pods.
    pub trouble: Option<&'a str>,
    pub low_memory: bool,
    pub low_disk: bool,
    pub low_pids: bool,
    pub now: Time,
}

/// The status, with what others own taken from `old`.
pub fn generate(facts: &Facts, old: &NodeStatus) -> NodeStatus {
    let pressure = |type_: &str, low: bool, bad: (&str, &str), good: (&str, &str)| {
        let (reason, message) = if low { bad } else { good };
        condition(facts, old, type_, low, reason, message)
    };
    let own = [
        pressure(
            "MemoryPressure",
            facts.low_memory,
            (
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
            ),
            (
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
        ),
        pressure(
            "DiskPressure",
            facts.low_disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            facts.low_pids,
            (
                "KubeletHasInsufficientPID",
                "kubelet has insufficient PID available",
            ),
            (
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
        ),
        match facts.trouble {
            None => condition(
                facts,
                old,
                "Ready",
                true,
                "KubeletReady",
                "kubelet is posting ready status",
            ),
            Some(trouble) => condition(facts, old, "Ready", false, "KubeletNotReady", trouble),
        },
    ];
    let foreign = old
        .conditions
        .iter()
        .flatten()
        .filter(|condition| own.iter().all(|own| own.type_ != condition.type_))
        .cloned();
    // Resources that others advertise on this node stay.
    let mut capacity = old.capacity.clone().unwrap_or_default();
    capacity.extend(facts.machine.capacity.clone());
    NodeStatus {
        conditions: Some(foreign.chain(own.clone()).collect()),
        addresses: Some(facts.addresses.to_vec()),
        allocatable: Some(allocatable(&capacity, old)),
        capacity: Some(capacity),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(facts.api_port),
            }),
        }),
        node_info: Some(facts.machine.info.clone()),
        images: Some(images(facts.images)),
        features: Some(NodeFeatures {
            supplemental_groups_policy: Some(false),
        }),
        runtime_handlers: Some(handlers()),
        declared_features: Some(DECLARED.map(String::from).into()),
        ..old.clone()
    }
}

/// The default one, which has no name, and those with names.
fn handlers() -> Vec<NodeRuntimeHandler> {
    let names = [""].into_iter().chain(sandbox::HANDLERS);
    names
        .map(|name| NodeRuntimeHandler {
            name: Some(name.to_owned()),
            features: None,
        })
        .collect()
}

/// All of the capacity. What is neither in it nor an extended resource is left as it was.
fn allocatable(capacity: &List, old: &NodeStatus) -> List {
    let mut allocatable = old.allocatable.clone().unwrap_or_default();
    allocatable.retain(|name, _| capacity.contains_key(name) || !is_extended(name));
    allocatable.extend(capacity.clone());
    allocatable
}

/// The parts of the status that are the node's own to write; the others belong to controllers.
const OWN: [&str; 10] = [
    "conditions",
    "addresses",
    "capacity",
    "allocatable",
    "daemonEndpoints",
    "nodeInfo",
    "images",
    "features",
    "runtimeHandlers",
    "declaredFeatures",
];

/// What pods may need that not every node of this version has to be able to: the scheduler sends them where it is declared.
const DECLARED: [&str; 1] = ["RestartAllContainersOnContainerExits"];

/// The strategic merge patch from one status to the other.
pub fn patch(from: &NodeStatus, to: &NodeStatus) -> Value {
    let mut status = json!(to);
    let Some(parts) = status.as_object_mut() else {
        return json!({});
    };
    parts.retain(|name, _| OWN.contains(&name.as_str()));
    for (part, before) in [
        ("capacity", &from.capacity),
        ("allocatable", &from.allocatable),
    ] {
        if let Some(after) = parts.get_mut(part).and_then(Value::as_object_mut) {
            before
                .iter()
                .flatten()
                .for_each(|(name, _)| _ = after.entry(name.clone()).or_insert(Value::Null));
        }
    }
    // Two addresses may have the same type, by which the list would be merged.
    if let Some(addresses) = parts.get_mut("addresses").and_then(Value::as_array_mut) {
        addresses.push(json!({"$patch": "replace"}));
    }
    json!({"status": status})
}

fn condition(
    facts: &Facts,
    old: &NodeStatus,
    type_: &str,
    status: bool,
    reason: &str,
    message: &str,
) -> NodeCondition {
    let status = if status { "True" } else { "False" };
    let before = old
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_ && condition.status == status);
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(facts.now.clone()),
        last_transition_time: before
            .and_then(|before| before.last_transition_time.clone())
            .or_else(|| Some(facts.now.clone())),
    }
}

fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.size));
    let names = |image: &Image| {
        Some(
            image
                .digests
                .iter()
                .chain(&image.tags)
                .take(MAX_NAMES)
                .cloned()
                .collect(),
        )
    };
    images
        .into_iter()
        .take(MAX_IMAGES)
        .map(|image| ContainerImage {
            names: names(image),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect()
}

/// Whether something other than heartbeats differs.
pub fn differs(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        status
            .conditions
            .iter_mut()
            .flatten()
            .for_each(|condition| condition.last_heartbeat_time = None);
        status
    };
    still(a) != still(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn conditions_keep_their_transition_times_and_others_are_left_alone() {
        let machine = Machine::read(&Config::new("n", "/tmp"), "x://1");
        let at = |second| Time(jiff::Timestamp::from_second(second).unwrap());
        let facts = |now, trouble| Facts {
            machine: &machine,
            addresses: &[],
            api_port: 0,
            images: &[],
            trouble,
            low_memory: false,
            low_disk: false,
            low_pids: false,
            now,
        };
        let foreign = NodeCondition {
            type_: "NetworkUnavailable".into(),
            status: "False".into(),
            ..Default::default()
        };
        let first = generate(
            &facts(at(1), None),
            &NodeStatus {
                conditions: Some(vec![foreign]),
                ..Default::default()
            },
        );
        let second = generate(&facts(at(2), None), &first);
        assert!(!differs(&first, &second));
        let types: Vec<_> = second
            .conditions
            .iter()
            .flatten()
            .map(|condition| condition.type_.as_str())
            .collect();
        assert_eq!(
            types,
            [
                "NetworkUnavailable",
                "MemoryPressure",
                "DiskPressure",
                "PIDPressure",
                "Ready"
            ]
        );
        assert_eq!(
            second.conditions.as_ref().unwrap()[4].last_transition_time,
            Some(at(1))
        );
        let third = generate(&facts(at(3), Some("no runtime")), &second);
        let ready = &third.conditions.as_ref().unwrap()[4];
        assert_eq!(
            (ready.status.as_str(), ready.last_transition_time.clone()),
            ("False", Some(at(3)))
        );
        assert!(differs(&second, &third));
    }

    #[test]
    fn what_others_wrote_stays_and_is_allocatable() {
        let machine = Machine::read(&Config::new("n", "/tmp"), "x://1");
        let facts = Facts {
            machine: &machine,
            addresses: &[],
            api_port: 0,
            images: &[],
            trouble: None,
            low_memory: false,
            low_disk: false,
            low_pids: false,
            now: Time(jiff::Timestamp::UNIX_EPOCH),
        };
        let old: NodeStatus = serde_json::from_value(json!({
            "capacity": {"example.com/dongle": "4", "cpu": "1000"}, "allocatable": {"example.com/gone": "1", "cpu": "1000"},
            "volumesAttached": [{"name": "v", "devicePath": ""}]}))
        .unwrap();
        let new = generate(&facts, &old);
        let (capacity, allocatable) = (
            new.capacity.clone().unwrap(),
            new.allocatable.clone().unwrap(),
        );
        assert_eq!(
            (
                capacity["example.com/dongle"].0.as_str(),
                allocatable["example.com/dongle"].0.as_str()
            ),
            ("4", "4")
        );
        assert_eq!(
            (&capacity["cpu"], allocatable.get("example.com/gone")),
            (&machine.capacity["cpu"], None)
        );
        let patch = patch(&old, &new);
        assert_eq!(
            patch["status"]["allocatable"]["example.com/gone"],
            Value::Null
        );
        assert_eq!(
            patch["status"]["volumesAttached"],
            Value::Null,
            "not this node's to write"
        );
        assert_eq!(patch["status"]["addresses"], json!([{"$patch": "replace"}]));
        assert_eq!(
            patch["status"]["declaredFeatures"],
            json!(["RestartAllContainersOnContainerExits"]),
            "for pods whose rules ask for it"
        );
    }
}
