//! All of one node's network together: pods, routes, services, DNS, each a task of its own over one view.
//!
//! Invariant: a part that fails is started again after a pause and takes no other with it.

use std::{future::Future, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::{
    Error,
    dns::{self, DnsConfig, run_dns},
    ns::Namespace,
    pods::{self, BridgeNetworks, PodNetworkConfig},
    routes::{self, RoutesConfig, run_routes},
    services::{self, ProxyConfig, run_proxy},
    view::ClusterView,
};

const RESTART_AFTER: Duration = Duration::from_secs(5);

/// What a node's network is made from.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub node_name: String,
    /// The node's own namespace: that of a simulated machine, or the real machine's.
    pub node: Namespace,
    /// Where DNS asks the machine's resolvers; the same as `node` on a real machine.
    pub upstream: Namespace,
    /// Folder of this node's network files.
    pub dir: PathBuf,
    /// `spec.podCIDRs` of the node.
    pub pod_cidrs: Vec<IpNet>,
    pub service_cidrs: Vec<IpNet>,
    /// The ClusterIPs of `kube-system/kube-dns`; none runs no DNS, for clusters that bring their own.
    pub dns_ips: Vec<IpAddr>,
    /// `cluster.local`.
    pub domain: String,
    /// Usually `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Bytes; `None` takes that of the interface with the default route.
    pub mtu: Option<u32>,
    /// Never use nftables for services.
    pub force_userspace: bool,
}

/// Sets up the pods' network and starts the tasks, which end with `stop`. What they made stays, as pods may run on.
pub async fn start(
    view: Arc<ClusterView>,
    config: NodeConfig,
    stop: CancellationToken,
) -> Result<Arc<BridgeNetworks>, Error> {
    let pods = PodNetworkConfig {
        node: config.node.clone(),
        dir: config.dir.clone(),
        pod_cidrs: config.pod_cidrs.clone(),
        mtu: config.mtu,
        walls: None,
    };
    let pods = Arc::new(BridgeNetworks::start(pods).await?);
    let NodeConfig {
        node_name,
        node,
        pod_cidrs,
        ..
    } = config.clone();
    let routes = RoutesConfig {
        node: node.clone(),
        node_name: node_name.clone(),
        pod_cidrs: pod_cidrs.clone(),
    };
    let proxy = ProxyConfig {
        node: node.clone(),
        node_name,
        pod_cidrs,
        service_cidrs: config.service_cidrs,
        own_cluster_ips: config.dns_ips.clone(),
        force_userspace: config.force_userspace,
    };
    keep("routes", view.clone(), stop.clone(), move |view, stop| {
        run_routes(view, routes.clone(), stop)
    });
    keep("services", view.clone(), stop.clone(), move |view, stop| {
        run_proxy(view, proxy.clone(), stop)
    });
    if !config.dns_ips.is_empty() {
        let dns = DnsConfig {
            node,
            upstream: config.upstream,
            ips: config.dns_ips,
            domain: config.domain,
            resolv_conf: config.resolv_conf,
        };
        keep("DNS", view, stop, move |view, stop| {
            run_dns(view, dns.clone(), stop)
        });
    }
    Ok(pods)
}

/// Takes all of a node's network away, pods' namespaces too; for a machine that leaves its cluster. Goes on after a failure and gives the first.
pub async fn clear(config: &NodeConfig) -> Result<(), Error> {
    let results = [
        services::clear(&config.node).await,
        routes::clear(&config.node).await,
        dns::clear(&config.node, &config.dns_ips, &config.service_cidrs).await,
        pods::clear(&config.node, &config.dir).await,
    ];
    let failures = results.into_iter().filter_map(Result::err);
    let told = failures
        .inspect(|e| tracing::warn!("clearing the network of node {}: {e}", config.node_name));
    // All of them are told of before the first is given.
    told.collect::<Vec<_>>()
        .into_iter()
        .next()
        .map_or(Ok(()), Err)
}

fn keep<F: Future<Output = Result<(), Error>> + Send>(
    what: &'static str,
    view: Arc<ClusterView>,
    stop: CancellationToken,
    run: impl Fn(Arc<ClusterView>, CancellationToken) -> F + Send + 'static,
) {
    skiff_watching::task::spawn(async move {
        while let Err(e) = run(view.clone(), stop.clone()).await {
            tracing::error!("{what}: {e}; starting again in {RESTART_AFTER:?}");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RESTART_AFTER) => {}
            }
        }
    });
}
