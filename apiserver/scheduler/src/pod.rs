//! What the scheduler needs of a pod, read once: requests in integers, ports, priority, the terms by which it means other pods.
//!
//! Follows `pkg/scheduler/framework/types.go` (PodInfo).

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use k8s_openapi::api::core::v1::{Container, Toleration, Volume};
use skiff_podspec::parts::{HasSpec, HasStatus};
use skiff_podspec::pod::Pod;
use skiff_podspec::{
    affinity::{Preferred, Required, UnreadableTerms},
    containers,
    ports::{HostPort, host_ports},
    resources::Unreadable,
    spec, tolerations,
};

use crate::{resources::Requests, terms::Terms};

/// What a pod's node selector and node affinity say.
#[derive(Debug)]
pub struct Affinity {
    pub required: Required,
    pub preferred: Result<Preferred, UnreadableTerms>,
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
        self.pod
            .spec()
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }

    /// The node that it was promised.
    pub fn nominated(&self) -> Option<&str> {
        self.pod
            .status()
            .nominated_node_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }

    pub fn tolerations(&self) -> &[Toleration] {
        tolerations::of_pod(spec(&self.pod))
    }

    /// Whether it tolerates something else than before (tolerations are only ever added).
    pub fn has_other_tolerations(&self, before: &PodInfo) -> bool {
        self.tolerations().len() != before.tolerations().len()
    }

    /// Whether it asks for less of anything than before.
    pub fn has_less(&self, before: &PodInfo) -> bool {
        let (Ok(before), Ok(now)) = (&before.requests, &self.requests) else {
            return true;
        };
        let names = before.all.other.keys().map(String::as_str);
        ["cpu", "memory", "ephemeral-storage"]
            .into_iter()
            .chain(names)
            .any(|name| before.all.get(name) > now.all.get(name))
    }

    pub fn affinity(&self) -> &Affinity {
        let spec = spec(&self.pod);
        self.affinity.get_or_init(|| {
            Box::new(Affinity {
                required: Required::read(spec),
                preferred: Preferred::read(spec),
            })
        })
    }

    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.pod.spec().volumes.iter().flatten()
    }

    /// The claims that it names.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.volumes()
            .filter_map(|volume| volume.persistent_volume_claim.as_ref())
            .map(|claim| claim.claim_name.as_str())
    }

    /// All containers, those that only begin the pod first.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        containers::all(spec(&self.pod))
    }

    /// Whether it waits to be given a node by someone.
    pub fn is_gated(&self) -> bool {
        self.pod
            .spec()
            .scheduling_gates
            .as_ref()
            .is_some_and(|gates| !gates.is_empty())
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
}
