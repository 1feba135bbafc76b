//! What a node agent is told when it starts.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use k8s_openapi::api::core::v1::{NodeAddress, Taint};

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct Config {
    pub node_name: String,
    /// What pods in the node's own network are called, where that is not the machine's name: one of several nodes on a machine.
    pub hostname: Option<String>,
    /// Labels beyond those that every node has.
    pub labels: BTreeMap<String, String>,
    /// Taints that the node registers with.
    pub taints: Vec<Taint>,
    /// `InternalIP` and `Hostname`, as they stand in the node's status. The first InternalIP is the `hostIP` of pods.
    pub addresses: Vec<NodeAddress>,
    /// Where the agent keeps pods' volumes and files: `<data>/pods/<uid>/…`.
    pub data_dir: PathBuf,
    /// Where containers' logs are: `<logs>/<namespace>_<name>_<uid>/<container>/<restart>.log`.
    pub log_dir: PathBuf,
    pub cluster_dns: Vec<IpAddr>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The node's own resolver settings, that pods inherit.
    pub resolv_conf: PathBuf,
    /// The node's own API; without it logs, exec, attach and port-forward are not to be had from this node.
    pub api: Option<ApiConfig>,
    /// Replaces what was found on the machine: `cpu`, `memory`, `ephemeral-storage`, and resources of other names.
    pub capacity: BTreeMap<String, String>,
    pub max_pods: u32,
    pub intervals: Intervals,
    /// For a runtime that only pretends: volumes, files and ports of the node are left out, and probes and hooks succeed without being run.
    pub simulated: bool,
}

/// How the node's API is served.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Port 0 takes a free one; the real one is told in the node's `daemonEndpoints`.
    pub listen: SocketAddr,
    /// PEM: the server's certificate chain.
    pub certificate: Vec<u8>,
    /// PEM: its private key.
    pub key: Vec<u8>,
    /// PEM: who signs the certificates of clients.
    pub client_ca: Vec<u8>,
}

/// How often things are done.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    pub lease: Duration,
    /// The node's status is written at least this often, and when it changes.
    pub status: Duration,
    /// How often the node's status is computed anew.
    pub status_check: Duration,
    /// A pod is looked at anew at least this often.
    pub resync: Duration,
    /// After a failed attempt to get on with a pod.
    pub retry: Duration,
    pub log_rotation: Duration,
    /// How often it is looked how much pods hold on the disk.
    pub eviction: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            lease: seconds(10),
            status: seconds(300),
            status_check: seconds(10),
            resync: seconds(60),
            retry: seconds(10),
            log_rotation: seconds(10),
            eviction: seconds(10),
        }
    }
}

impl Config {
    /// A node of that name with everything else as a node commonly has it.
    pub fn new(node_name: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        let node_name = node_name.into();
        let data_dir = data_dir.into();
        Self {
            addresses: vec![NodeAddress {
                type_: "Hostname".to_owned(),
                address: node_name.clone(),
            }],
            log_dir: data_dir.join("logs"),
            data_dir,
            node_name,
            hostname: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            api: None,
            capacity: BTreeMap::new(),
            max_pods: 110,
            intervals: Intervals::default(),
            simulated: false,
        }
    }

    /// The addresses that pods see as `hostIPs`.
    pub fn host_ips(&self) -> Vec<IpAddr> {
        self.addresses
            .iter()
            .filter(|address| address.type_ == "InternalIP")
            .filter_map(|address| address.address.parse().ok())
            .collect()
    }

    /// Where the pods' files are.
    pub fn pods_dir(&self) -> PathBuf {
        self.data_dir.join("pods")
    }

    /// Where one pod's files are.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(uid)
    }
}
