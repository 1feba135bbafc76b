//! What the pods that this node has taken hold of it: the resources that they were granted, and ports of the node.
//!
//! Invariant: a pod is here from its admission until nothing of it runs any more, or until it was deleted by force; then others get what it held.
//! Follows `pkg/kubelet/allocation/allocation_manager.go`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Pod, ResourceRequirements};
use parking_lot::Mutex;

use super::{
    admission::{self, Rejection},
    held::Held,
    names::{name, spec, uid},
};

/// The resources that a pod was granted: those that it runs with, whatever it asks for by now.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Granted {
    pod: Option<ResourceRequirements>,
    containers: BTreeMap<String, Option<ResourceRequirements>>,
}

impl Granted {
    pub fn of(pod: &Pod) -> Self {
        let containers = spec(pod)
            .init_containers
            .iter()
            .flatten()
            .chain(&spec(pod).containers);
        Self {
            pod: spec(pod).resources.clone(),
            containers: containers
                .map(|container| (container.name.clone(), container.resources.clone()))
                .collect(),
        }
    }

    /// The pod as it was granted; the very same when that is what it asks for.
    pub fn apply(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if *self == Self::of(pod) {
            return pod.clone();
        }
        let mut granted = (**pod).clone();
        let spec = granted.spec.get_or_insert_default();
        spec.resources.clone_from(&self.pod);
        for container in spec
            .init_containers
            .iter_mut()
            .flatten()
            .chain(&mut spec.containers)
        {
            if let Some(resources) = self.containers.get(&container.name) {
                container.resources.clone_from(resources);
            }
        }
        Arc::new(granted)
    }
}

/// All of the node's pods that hold something, by uid.
#[derive(Default)]
pub struct Allocations(Mutex<HashMap<String, Held>>);

impl Allocations {
    /// Grants the pod what it asks for, if the node can take it.
    pub fn add(&self, pod: &Pod, node: &Node) -> Result<(), Rejection> {
        let mut all = self.0.lock();
        let others: Vec<&Held> = all
            .iter()
            .filter(|(other, _)| *other != uid(pod))
            .map(|(_, held)| held)
            .collect();
        admission::admit(pod, node, &others)?;
        all.insert(uid(pod).to_owned(), Held::of(pod)?);
        Ok(())
    }

    /// Notes what a pod holds that is ending, and is not asked about any more. One whose amounts cannot be read was never let in.
    pub fn note(&self, pod: &Pod) {
        match Held::of(pod) {
            Ok(held) => _ = self.0.lock().insert(uid(pod).to_owned(), held),
            Err(error) => {
                tracing::warn!(%error, pod = name(pod), "an ending pod holds nothing of this node")
            }
        }
    }

    /// Nothing of the pod runs any more, or nobody waits for that.
    pub fn remove(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn what_one_pod_holds_another_cannot_have_until_it_is_given_back() {
        let node: Node = from_value(json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1", "pods": "9"}}})).unwrap();
        let pod = |uid: &str| -> Pod {
            from_value(json!({"metadata": {"uid": uid}, "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "600m"}}}]}})).unwrap()
        };
        let all = Allocations::default();
        assert_eq!(all.add(&pod("a"), &node), Ok(()));
        assert_eq!(
            all.add(&pod("a"), &node),
            Ok(()),
            "a pod is not in its own way"
        );
        assert_eq!(all.add(&pod("b"), &node).unwrap_err().reason, "OutOfcpu");
        all.remove("a");
        assert_eq!(all.add(&pod("b"), &node), Ok(()));
    }
}
