//! One node, and what the pods on it take.
//!
//! Invariant: the sums are those of its pods. Follows `pkg/scheduler/framework/types.go` (NodeInfo).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;

use crate::{pod::PodInfo, resources::Resources};

/// One node.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    pub name: String,
    /// Its place in the cache, the same as long as it is there.
    pub place: usize,
    pub node: Arc<Node>,
    pub allocatable: Resources,
    pub max_pods: i64,
    pub requested: Resources,
    /// cpu and memory as counted for comparing nodes.
    pub compared: (i64, i64),
    pub pods: HashMap<Arc<str>, Arc<PodInfo>>,
    /// Pods whose requests cannot be read, and the node's own resources when they cannot: then nothing fits.
    pub unreadable: usize,
    /// Bytes by image name.
    pub images: Arc<HashMap<String, i64>>,
    /// How many of its pods hold a term, by the term's number.
    pub held: BTreeMap<u32, u32>,
}

impl NodeInfo {
    pub fn new(node: Arc<Node>, place: usize) -> NodeInfo {
        let mut info = NodeInfo {
            name: node.metadata.name.clone().unwrap_or_default(),
            place,
            node: node.clone(),
            allocatable: Resources::default(),
            max_pods: 0,
            requested: Resources::default(),
            compared: (0, 0),
            pods: HashMap::new(),
            unreadable: 0,
            images: Arc::default(),
            held: BTreeMap::new(),
        };
        info.set(node);
        info
    }

    /// The node changed.
    pub fn set(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.unreadable = self
            .pods
            .values()
            .filter(|pod| pod.requests.is_err())
            .count();
        match Resources::read(status.and_then(|s| s.allocatable.as_ref())) {
            Ok(allocatable) => self.allocatable = allocatable,
            Err(error) => {
                tracing::warn!(node = self.name, %error, "takes no pods");
                (self.allocatable, self.unreadable) = (Resources::default(), self.unreadable + 1);
            }
        }
        self.max_pods = self.allocatable.other.remove("pods").unwrap_or(0);
        let images = status.and_then(|s| s.images.as_ref()).into_iter().flatten();
        let named = images.flat_map(|image| {
            image
                .names
                .iter()
                .flatten()
                .map(|name| (name.clone(), image.size_bytes.unwrap_or(0)))
        });
        self.images = Arc::new(named.collect());
        self.node = node;
    }

    pub fn add(&mut self, pod: Arc<PodInfo>) {
        match &pod.requests {
            Ok(requests) => {
                self.requested.add(&requests.all);
                self.compared = (
                    self.compared.0 + requests.compared.0,
                    self.compared.1 + requests.compared.1,
                );
            }
            Err(_) => self.unreadable += 1,
        }
        self.pods.insert(pod.uid.clone(), pod);
    }

    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        match &pod.requests {
            Ok(requests) => {
                self.requested.subtract(&requests.all);
                self.compared = (
                    self.compared.0 - requests.compared.0,
                    self.compared.1 - requests.compared.1,
                );
            }
            Err(_) => self.unreadable -= 1,
        }
        Some(pod)
    }

    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.node.metadata.labels.as_ref()
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key).map(String::as_str)
    }

    /// Its zone and region, for taking nodes of all zones in turn.
    pub fn zone(&self) -> (&str, &str) {
        let either = |key, older| self.label(key).or_else(|| self.label(older)).unwrap_or("");
        (
            either(
                "topology.kubernetes.io/region",
                "failure-domain.beta.kubernetes.io/region",
            ),
            either(
                "topology.kubernetes.io/zone",
                "failure-domain.beta.kubernetes.io/zone",
            ),
        )
    }
}
