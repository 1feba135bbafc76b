//! The nodes and what the pods on them take, kept up to date change by change.
//!
//! Invariant: the sums of a node are those of the pods counted on it, assumed ones included. Follows `pkg/scheduler/backend/cache/cache.go`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;

use crate::pod::{PodInfo, Resources};

/// One node.
#[derive(Debug)]
pub struct NodeInfo {
    pub name: String,
    pub node: Arc<Node>,
    pub allocatable: Resources,
    pub max_pods: i64,
    pub requested: Resources,
    /// cpu and memory as counted for comparing nodes.
    pub nonzero: (i64, i64),
    pub pods: HashMap<Arc<str>, Arc<PodInfo>>,
    /// How many of its pods have required anti-affinity.
    pub apart: usize,
}

impl NodeInfo {
    fn new(node: Arc<Node>) -> NodeInfo {
        let mut info = NodeInfo {
            name: node.metadata.name.clone().unwrap_or_default(),
            node: node.clone(),
            allocatable: Resources::default(),
            max_pods: 0,
            requested: Resources::default(),
            nonzero: (0, 0),
            pods: HashMap::new(),
            apart: 0,
        };
        info.set_node(node);
        info
    }

    fn set_node(&mut self, node: Arc<Node>) {
        self.allocatable = Resources::read(node.status.as_ref().and_then(|s| s.allocatable.as_ref()));
        self.max_pods = self.allocatable.other.remove("pods").unwrap_or(0);
        self.node = node;
    }

    fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.nonzero = (self.nonzero.0 + pod.nonzero.0, self.nonzero.1 + pod.nonzero.1);
        self.apart += usize::from(!pod.terms.apart.is_empty());
        self.pods.insert(pod.uid.clone(), pod);
    }

    fn remove(&mut self, uid: &str) {
        if let Some(pod) = self.pods.remove(uid) {
            self.apart -= usize::from(!pod.terms.apart.is_empty());
            self.requested.subtract(&pod.requests);
            self.nonzero = (self.nonzero.0 - pod.nonzero.0, self.nonzero.1 - pod.nonzero.1);
        }
    }
}

#[derive(Default)]
pub struct Cache {
    nodes: BTreeMap<String, NodeInfo>,
    /// Where each counted pod is.
    homes: HashMap<Arc<str>, String>,
    /// Pods on nodes that are not known (yet).
    homeless: HashMap<String, Vec<Arc<PodInfo>>>,
}

impl Cache {
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node appeared or changed; answers whether that may let a pod fit.
    pub fn put_node(&mut self, node: Arc<Node>) -> bool {
        let name = node.metadata.name.clone().unwrap_or_default();
        match self.nodes.get_mut(&name) {
            Some(info) => {
                let differs = |a: &Node, b: &Node| {
                    a.spec != b.spec
                        || a.metadata.labels != b.metadata.labels
                        || a.status.as_ref().and_then(|s| s.allocatable.as_ref()) != b.status.as_ref().and_then(|s| s.allocatable.as_ref())
                };
                let changed = differs(&info.node, &node);
                info.set_node(node);
                changed
            }
            None => {
                let mut info = NodeInfo::new(node);
                for pod in self.homeless.remove(&name).unwrap_or_default() {
                    info.add(pod);
                }
                self.nodes.insert(name, info);
                true
            }
        }
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.remove(name) {
            self.homeless.insert(name.to_string(), info.pods.into_values().collect());
        }
    }

    /// Counts a pod on a node.
    pub fn put_pod(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.remove_pod(&pod.uid.clone());
        self.homes.insert(pod.uid.clone(), node.to_string());
        match self.nodes.get_mut(node) {
            Some(info) => info.add(pod),
            None => self.homeless.entry(node.to_string()).or_default().push(pod),
        }
    }

    /// Answers whether it was counted.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(home) = self.homes.remove(uid) else { return false };
        if let Some(info) = self.nodes.get_mut(&home) {
            info.remove(uid);
        }
        if let Some(list) = self.homeless.get_mut(&home) {
            list.retain(|pod| &*pod.uid != uid);
        }
        true
    }
}
