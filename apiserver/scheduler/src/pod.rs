//! What the scheduler needs of a pod, read once: requests in integers, ports, priority, where it may go.
//!
//! Follows `pkg/scheduler/framework/types.go` (PodInfo, calculateResource) and `component-helpers/resource`.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use skiff_api::machinery::quantity;

use crate::plugins::inter_pod_affinity::Terms;

/// Amounts by resource: cpu in millicores, all else in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu: i64,
    pub memory: i64,
    pub ephemeral: i64,
    pub other: BTreeMap<String, i64>,
}

fn amount(name: &str, quantity: &Quantity) -> i64 {
    let Ok(read) = quantity.0.parse::<quantity::Quantity>() else { return 0 };
    if name == "cpu" { read.milli_value() } else { read.value() }
}

impl Resources {
    pub fn read(list: Option<&BTreeMap<String, Quantity>>) -> Resources {
        let mut out = Resources::default();
        for (name, quantity) in list.into_iter().flatten() {
            *out.slot(name) += amount(name, quantity);
        }
        out
    }

    fn slot(&mut self, name: &str) -> &mut i64 {
        match name {
            "cpu" => &mut self.cpu,
            "memory" => &mut self.memory,
            "ephemeral-storage" => &mut self.ephemeral,
            name => self.other.entry(name.to_string()).or_default(),
        }
    }

    pub fn add(&mut self, more: &Resources) {
        self.cpu += more.cpu;
        self.memory += more.memory;
        self.ephemeral += more.ephemeral;
        for (name, value) in &more.other {
            *self.other.entry(name.clone()).or_default() += value;
        }
    }

    pub fn subtract(&mut self, less: &Resources) {
        self.cpu -= less.cpu;
        self.memory -= less.memory;
        self.ephemeral -= less.ephemeral;
        for (name, value) in &less.other {
            *self.other.entry(name.clone()).or_default() -= value;
        }
    }

    fn raise_to(&mut self, other: &Resources) {
        self.cpu = self.cpu.max(other.cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral = self.ephemeral.max(other.ephemeral);
        for (name, value) in &other.other {
            let slot = self.other.entry(name.clone()).or_default();
            *slot = (*slot).max(*value);
        }
    }
}

/// What a container without requests counts as when nodes are compared: 100 millicores, 200 MB.
const DEFAULT_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

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

/// A pod as the scheduler sees it.
#[derive(Debug)]
pub struct PodInfo {
    pub uid: Arc<str>,
    pub namespace: String,
    pub name: String,
    pub priority: i32,
    pub requests: Resources,
    /// cpu and memory with a default for containers that say nothing: for comparing nodes.
    pub nonzero: (i64, i64),
    pub ports: Vec<HostPort>,
    /// Which pods it must be near, and which not.
    pub terms: Terms,
    pub pod: Arc<Pod>,
}

fn requests(container: &Container) -> Resources {
    Resources::read(container.resources.as_ref().and_then(|r| r.requests.as_ref()))
}

fn nonzero(container: &Container) -> (i64, i64) {
    let list = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    let given = Resources::read(list);
    let has = |name: &str| list.is_some_and(|list| list.contains_key(name));
    (if has("cpu") { given.cpu } else { DEFAULT_CPU }, if has("memory") { given.memory } else { DEFAULT_MEMORY })
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> PodInfo {
        let spec = pod.spec.as_ref();
        let empty = Vec::new();
        let containers = spec.map_or(&empty, |s| &s.containers);
        let mut total = Resources::default();
        let mut compare = (0, 0);
        for container in containers {
            total.add(&requests(container));
            let (cpu, memory) = nonzero(container);
            compare = (compare.0 + cpu, compare.1 + memory);
        }
        // init containers run one after another before the rest; restartable ones stay beside what follows
        let mut beside = Resources::default();
        let mut highest = Resources::default();
        for container in spec.and_then(|s| s.init_containers.as_ref()).into_iter().flatten() {
            let mut now = requests(container);
            if container.restart_policy.as_deref() == Some("Always") {
                beside.add(&now);
                now = beside.clone();
            } else {
                now.add(&beside);
            }
            highest.raise_to(&now);
        }
        total.add(&beside);
        total.raise_to(&highest);
        if let Some(overhead) = spec.and_then(|s| s.overhead.as_ref()) {
            let overhead = Resources::read(Some(overhead));
            compare = (compare.0 + overhead.cpu, compare.1 + overhead.memory);
            total.add(&overhead);
        }
        let ports = containers.iter().flat_map(|c| c.ports.iter().flatten()).filter_map(|p| {
            let port = p.host_port.filter(|port| *port > 0)?;
            Some(HostPort { ip: p.host_ip.clone().unwrap_or_default(), protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()), port })
        });
        PodInfo {
            uid: pod.metadata.uid.as_deref().unwrap_or("").into(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            priority: spec.and_then(|s| s.priority).unwrap_or(0),
            requests: total,
            nonzero: compare,
            ports: ports.collect(),
            terms: Terms::read(&pod),
            pod: pod.clone(),
        }
    }
}
