//! What the scheduler needs of a pod, read once: requests in integers, ports, priority, the terms by which it means other pods.
//!
//! Follows `pkg/scheduler/framework/types.go` (PodInfo).

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration, Volume};
use skiff_podspec::{
    affinity::{Preferred, Required},
    resources::Unreadable,
    spec, tolerations,
};

use crate::{resources::Requests, terms::Terms};

/// A host port that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    pub fn conflicts(&self, other: &HostPort) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port && self.protocol == other.protocol && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// What a pod's node selector and node affinity say.
#[derive(Debug)]
pub struct Affinity {
    pub required: Required,
    pub preferred: Preferred,
}

/// A pod as the scheduler sees it.
#[derive(Debug)]
pub struct PodInfo {
    pub uid: Arc<str>,
    pub namespace: String,
    pub name: String,
    pub priority: i32,
    pub requests: Result<Requests, Unreadable>,
    pub ports: Vec<HostPort>,
    pub terms: Terms,
    pub pod: Arc<Pod>,
    /// Read when it is first asked for: for most pods that have a node it never is.
    affinity: OnceLock<Box<Affinity>>,
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = spec.init_containers.iter().flatten().filter(stays).chain(&spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|p| {
        let port = p.host_port.filter(|port| *port > 0)?;
        Some(HostPort { ip: p.host_ip.clone().unwrap_or_default(), protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()), port })
    });
    ports.collect()
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> PodInfo {
        let spec = pod.spec.as_ref();
        PodInfo {
            uid: pod.metadata.uid.as_deref().unwrap_or("").into(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            priority: spec.and_then(|s| s.priority).unwrap_or(0),
            requests: Requests::of(&pod),
            ports: spec.map(host_ports).unwrap_or_default(),
            terms: Terms::read(&pod),
            pod: pod.clone(),
            affinity: OnceLock::new(),
        }
    }

    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.pod.metadata.labels.as_ref().unwrap_or(&NONE)
    }

    pub fn is_deleting(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// The node that the pod is bound to.
    pub fn node(&self) -> Option<&str> {
        self.pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The node that it was promised.
    pub fn nominated(&self) -> Option<&str> {
        self.pod.status.as_ref()?.nominated_node_name.as_deref().filter(|name| !name.is_empty())
    }

    pub fn tolerations(&self) -> &[Toleration] {
        tolerations::of_pod(spec(&self.pod))
    }

    pub fn affinity(&self) -> &Affinity {
        let spec = spec(&self.pod);
        self.affinity.get_or_init(|| Box::new(Affinity { required: Required::read(spec), preferred: Preferred::read(spec) }))
    }

    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
    }

    /// The claims that it names.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.volumes().filter_map(|volume| volume.persistent_volume_claim.as_ref()).map(|claim| claim.claim_name.as_str())
    }

    /// All containers, those that only begin the pod first.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
    }

    /// Whether it waits to be given a node by someone.
    pub fn is_gated(&self) -> bool {
        self.pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod of this name, with these changes (a merge patch).
    pub fn pod(name: &str, changes: Value) -> Arc<PodInfo> {
        let mut pod = json!({"metadata": {"name": name, "uid": name, "namespace": "ns"}, "spec": {"containers": []}});
        skiff_api::machinery::patch::merge::apply(&mut pod, changes, false).unwrap();
        Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap())))
    }

    #[test]
    fn host_ports_of_what_stays() {
        let container =
            |name: &str, policy: Option<&str>, port: i32| json!({"name": name, "restartPolicy": policy, "ports": [{"containerPort": 1, "hostPort": port}]});
        let spec = json!({"containers": [container("a", None, 1)], "initContainers": [container("i", None, 2), container("s", Some("Always"), 3)]});
        let found = pod("p", json!({"spec": spec}));
        assert_eq!(found.ports.iter().map(|p| p.port).collect::<Vec<_>>(), [3, 1]);
    }
}
