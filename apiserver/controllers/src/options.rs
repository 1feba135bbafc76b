//! The options of the controller manager. Which controllers they turn on is for the list of controllers to say.
//!
//! Follows cmd/kube-controller-manager/app/options.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use skiff_watching::{client::BoxError, queue::Queues};

use crate::clock::Clock;

/// What the controller manager is told on its command line.
#[derive(Clone)]
pub struct Options {
    /// `--controllers`: `*` for all that are on by default, `name` to turn one on, `-name` to turn one off, `-*` for none but those that are named.
    pub controllers: Vec<String>,
    /// `--node-monitor-period`: how often nodes' health is looked at.
    pub node_monitor_period: Duration,
    /// `--node-monitor-grace-period`: how long a node may be silent before it counts as unhealthy.
    pub node_monitor_grace_period: Duration,
    /// `--allocate-node-cidrs`: whether nodes are given pod networks.
    pub allocate_node_cidrs: bool,
    /// `--cluster-cidr`: the networks that nodes' pod networks are cut from; at most one of each family.
    pub cluster_cidrs: Vec<IpNet>,
    /// How long the masks of nodes' networks are.
    pub node_cidr_mask_sizes: NodeMaskSizes,
    /// `--service-cluster-ip-range`: the networks of services, which no node is given a part of.
    pub service_cidrs: Vec<IpNet>,
    /// `--root-ca-file`'s content: what `kube-root-ca.crt` holds; without it that controller does not run.
    pub root_ca_pem: Option<String>,
    /// Signs certificate requests; without it they are not signed.
    pub cluster_signing: Option<Signer>,
    /// `--cluster-signing-duration`: how long signed certificates are valid at most.
    pub cluster_signing_duration: Duration,
    /// Signs the tokens that are kept in secrets; without it those secrets stay empty.
    pub token_signer: Option<TokenSigner>,
    /// `--legacy-service-account-token-clean-up-period`: how long a legacy token may be unused.
    pub legacy_token_clean_up_period: Duration,
    /// `--concurrent-*-syncs`: how many keys each controller works on at once.
    pub concurrent_syncs: usize,
    /// `--terminated-pod-gc-threshold`: how many ended pods may exist before the oldest are deleted; 0 or less: any number.
    pub terminated_pod_gc_threshold: i32,
    /// How the horizontal pod autoscaler is to run.
    pub horizontal_pod_autoscaler: Autoscaling,
    /// Where the time comes from.
    pub clock: Clock,
    /// What the work queues are counted among.
    pub queues: Queues,
}

/// An authority that signs: takes a request (PEM), the usages that the certificate is to have and its seconds at most, and gives the certificate
/// (PEM). The request's signature is checked by it, its subject and names are not.
pub type Signer = Arc<dyn Fn(&[u8], &[String], i64) -> Result<String, BoxError> + Send + Sync>;

/// Makes the token of a service account, by its metadata, that is to be kept in the secret of this name.
pub type TokenSigner = Arc<dyn Fn(&ObjectMeta, &str) -> Result<String, BoxError> + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: vec!["*".into()],
            node_monitor_period: Duration::from_secs(5),
            node_monitor_grace_period: Duration::from_secs(50),
            allocate_node_cidrs: false,
            cluster_cidrs: vec![IpNet::V4(ipnet::Ipv4Net::new_assert(
                std::net::Ipv4Addr::new(10, 244, 0, 0),
                16,
            ))],
            node_cidr_mask_sizes: NodeMaskSizes::default(),
            service_cidrs: Vec::new(),
            root_ca_pem: None,
            cluster_signing: None,
            cluster_signing_duration: Duration::from_secs(365 * 24 * 3600),
            token_signer: None,
            legacy_token_clean_up_period: Duration::from_secs(365 * 24 * 3600),
            concurrent_syncs: 5,
            terminated_pod_gc_threshold: 12_500,
            horizontal_pod_autoscaler: Autoscaling::default(),
            clock: Clock::system(),
            queues: Queues::default(),
        }
    }
}

/// How long the masks of nodes' networks are: `None` where no flag says it, which is 24 of IPv4 and 64 of IPv6.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeMaskSizes {
    /// `--node-cidr-mask-size`, in a cluster with one network.
    pub any: Option<u8>,
    /// `--node-cidr-mask-size-ipv4`.
    pub ipv4: Option<u8>,
    /// `--node-cidr-mask-size-ipv6`.
    pub ipv6: Option<u8>,
}

/// How the horizontal pod autoscaler is to run: `--horizontal-pod-autoscaler-…`.
#[derive(Clone, Copy, Debug)]
pub struct Autoscaling {
    /// `sync-period`: how often each is looked at.
    pub sync_period: Duration,
    /// `downscale-stabilization`: for so long no recommendation is lower than the highest.
    pub downscale_stabilization: Duration,
    /// `tolerance`: how far usage may be from its target.
    pub tolerance: f64,
    /// `cpu-initialization-period`: so long after its start a pod's cpu says little.
    pub cpu_initialization_period: Duration,
    /// `initial-readiness-delay`: so long after its start a pod that is not ready may never have been.
    pub initial_readiness_delay: Duration,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            downscale_stabilization: Duration::from_secs(300),
            tolerance: 0.1,
            cpu_initialization_period: Duration::from_secs(300),
            initial_readiness_delay: Duration::from_secs(30),
        }
    }
}
