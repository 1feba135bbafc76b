//! The status of the node.
//!
//! Invariant: pure but for the time; a condition's `lastTransitionTime` moves only when its status does.
//! Follows `pkg/kubelet/nodestatus/setters.go` and `pkg/kubelet/kubelet_node_status.go`.

use k8s_openapi::{
    api::core::v1::{ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures, NodeRuntimeHandler, NodeStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::machine::Machine;
use crate::image::Image;

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
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
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
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        match facts.trouble {
            None => condition(facts, old, "Ready", true, "KubeletReady", "kubelet is posting ready status"),
            Some(trouble) => condition(facts, old, "Ready", false, "KubeletNotReady", trouble),
        },
    ];
    let foreign = old.conditions.iter().flatten().filter(|condition| own.iter().all(|own| own.type_ != condition.type_)).cloned();
    NodeStatus {
        conditions: Some(foreign.chain(own.clone()).collect()),
        addresses: Some(facts.addresses.to_vec()),
        capacity: Some(facts.machine.capacity.clone()),
        allocatable: Some(facts.machine.allocatable()),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(facts.api_port) }) }),
        node_info: Some(facts.machine.info.clone()),
        images: Some(images(facts.images)),
        features: Some(NodeFeatures { supplemental_groups_policy: Some(false) }),
        runtime_handlers: Some(vec![NodeRuntimeHandler { name: Some(String::new()), features: None }]),
        ..old.clone()
    }
}

fn condition(facts: &Facts, old: &NodeStatus, type_: &str, status: bool, reason: &str, message: &str) -> NodeCondition {
    let status = if status { "True" } else { "False" };
    let before = old.conditions.iter().flatten().find(|condition| condition.type_ == type_ && condition.status == status);
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(facts.now.clone()),
        last_transition_time: before.and_then(|before| before.last_transition_time.clone()).or_else(|| Some(facts.now.clone())),
    }
}

fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.size));
    let names = |image: &Image| Some(image.digests.iter().chain(&image.tags).take(MAX_NAMES).cloned().collect());
    images.into_iter().take(MAX_IMAGES).map(|image| ContainerImage { names: names(image), size_bytes: i64::try_from(image.size).ok() }).collect()
}

/// Whether something other than heartbeats differs.
pub fn differs(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        status.conditions.iter_mut().flatten().for_each(|condition| condition.last_heartbeat_time = None);
        status
    };
    still(a) != still(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::Config;

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
        let foreign = NodeCondition { type_: "NetworkUnavailable".into(), status: "False".into(), ..Default::default() };
        let first = generate(&facts(at(1), None), &NodeStatus { conditions: Some(vec![foreign]), ..Default::default() });
        let second = generate(&facts(at(2), None), &first);
        assert!(!differs(&first, &second));
        let types: Vec<_> = second.conditions.iter().flatten().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["NetworkUnavailable", "MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]);
        assert_eq!(second.conditions.as_ref().unwrap()[4].last_transition_time, Some(at(1)));
        let third = generate(&facts(at(3), Some("no runtime")), &second);
        let ready = &third.conditions.as_ref().unwrap()[4];
        assert_eq!((ready.status.as_str(), ready.last_transition_time.clone()), ("False", Some(at(3))));
        assert!(differs(&second, &third));
    }
}
