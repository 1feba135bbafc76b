//! One whole node on a real machine or in a network namespace of it: images, runtime, pod network, services, network policies, DNS, ingress and the
//! agent, put together.
//!
//! Invariant: [`RealNode::run`] returns when everything it started has stopped; containers go on until [`RealNode::clear`].

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ipnet::IpNet;
use skiff_watching::{client::Client, task::Boxed};
use tokio::{runtime::Handle, sync::OnceCell};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::Parts,
    config::Config,
    dispatch,
    image::{self, Credentials, Image, ImageStore, Loaded, Store},
    ingress::{self, IngressConfig},
    network::{
        self, PodNetwork, PodNetworks,
        dns::{self, DnsConfig},
        ns::Namespace,
        pods::{BridgeNetworks, PodNetworkConfig},
        policy::{self, OwnPods, PolicyConfig, Walls},
        routes::{self, RoutesConfig},
        services::{self, ProxyConfig},
        view::{ClusterView, ObjectName},
    },
    outcome,
    runtime::{
        self, Runtime,
        oci::{OciConfig, OciRuntime},
    },
};

const RESTART_AFTER: Duration = Duration::from_secs(1);

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Agent(#[from] dispatch::Error),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(transparent)]
    Network(#[from] network::Error),
    #[error("node {0} got no podCIDR")]
    NoPodCidr(String),
}

/// What a node is made from.
#[derive(Clone)]
pub struct RealNode {
    pub agent: Config,
    /// The node's own network namespace.
    pub node: Namespace,
    /// The namespace from which names are resolved that are not the cluster's, and images pulled.
    pub outside: Namespace,
    /// A runtime whose threads are in `outside`.
    pub outside_runtime: Handle,
    /// Sockets and states; `/run/skiff/<instance>/<node>`.
    pub run_dir: PathBuf,
    pub data_dir: PathBuf,
    /// Shared by the nodes of a machine.
    pub image_dir: PathBuf,
    /// From the hierarchy's root: `skiff/<instance>/<node>`.
    pub cgroup: String,
    /// One network of each family that services have.
    pub service_cidrs: Vec<IpNet>,
    /// None: this node serves no Ingresses.
    pub ingress: Option<Ingress>,
}

/// How a node serves Ingresses.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// The node's addresses, as clients know them.
    pub addresses: Vec<IpAddr>,
    /// Whether requests are written into `ingress/access.log` of the node's folder.
    pub access_log: bool,
}

/// Who a node's parts are for the API: each sees what it needs.
pub struct Clients {
    pub agent: Client,
    /// For services, DNS and routes, which see more of the cluster than a node's agent may.
    pub proxy: Client,
    /// For Ingresses, whose certificates nobody else sees; ready when it has its rights.
    pub ingress: Boxed<Client>,
}

impl RealNode {
    fn oci(&self, images: Store) -> Result<OciRuntime, runtime::Error> {
        OciRuntime::open(self.oci_config(), images)
    }

    fn oci_config(&self) -> OciConfig {
        oci_config(&self.run_dir, &self.data_dir, &self.cgroup)
    }

    /// The folder of its network's files.
    fn network_dir(&self) -> PathBuf {
        self.run_dir.join("network")
    }

    /// Where this node answers as cluster DNS.
    fn dns_ips(&self, view: &ClusterView) -> Vec<IpAddr> {
        let service = view.service(&ObjectName::new("kube-system", "kube-dns"));
        let has = service.map_or_else(Vec::new, |(service, _)| dns::cluster_ips(&service));
        dns_ips(&self.agent.cluster_dns, &has)
    }

    /// Waits until it is to answer at others than these.
    async fn dns_moves(&self, view: &ClusterView, from: &[IpAddr]) {
        let mut changes = view.subscribe();
        while self.dns_ips(view) == from {
            if changes.recv().await.is_none() {
                return std::future::pending().await;
            }
        }
    }

    /// Runs until `stop`. To be called on a runtime whose threads are in `node`.
    pub async fn run(self, clients: Clients, stop: CancellationToken) -> Result<(), Error> {
        let images = Store::open(&self.image_dir)?;
        let runtime = self.oci(images.clone())?;
        let view = ClusterView::start(clients.proxy.clone(), stop.clone());
        let (walls, own_pods) = Walls::new();
        let networks = Arc::new(WhenKnown {
            view: view.clone(),
            config: self.clone(),
            walls,
            made: OnceCell::new(),
        });
        let policies = keep_walls(
            self.clone(),
            view.clone(),
            clients.proxy,
            own_pods,
            stop.clone(),
        );
        let policies = skiff_watching::task::spawn(policies);
        let services =
            skiff_watching::task::spawn(run_services(self.clone(), view.clone(), stop.clone()));
        let ingress = skiff_watching::task::spawn(run_ingress(
            self.clone(),
            clients.ingress,
            view,
            stop.clone(),
        ));
        let images = Outside {
            inner: images,
            outside: self.outside_runtime.clone(),
        };
        let parts = Parts {
            client: clients.agent,
            runtime: Arc::new(runtime),
            images: Arc::new(images),
            network: Some(networks),
            nodes: None,
        };
        let ended = dispatch::run(self.agent, parts, stop).await;
        outcome::is_a_favour("wait for the node's services to end", services.await);
        outcome::is_a_favour("wait for the keeper of policies to end", policies.await);
        outcome::is_a_favour("wait for the node's ingress to end", ingress.await);
        Ok(ended?)
    }

    /// Ends every container of the node and takes away what it mounted and made; images and logs stay.
    pub async fn clear(&self) -> Result<(), Error> {
        let ended = end_containers(self.oci_config(), &self.image_dir).await;
        network::pods::clear(&self.node, &self.network_dir()).await?;
        policy::clear(&self.node).await?;
        services::clear(&self.node).await?;
        dns::clear(&self.node, &self.agent.cluster_dns, &self.service_cidrs).await?;
        ended
    }
}

/// Where a node's containers are. The folders and the cgroup are those of [`RealNode`].
pub fn oci_config(run_dir: &Path, data_dir: &Path, cgroup: &str) -> OciConfig {
    OciConfig {
        run_dir: run_dir.join("oci"),
        data_dir: data_dir.join("containers"),
        cgroup: cgroup.to_owned(),
    }
}

/// Ends every container that is there, whoever started it, and takes away what it had. `image_dir`: of [`RealNode`].
///
/// # Errors
/// The first of those that could not be ended; the others are all the same.
pub async fn end_containers(config: OciConfig, image_dir: &Path) -> Result<(), Error> {
    let runtime = OciRuntime::open(config, Store::open(image_dir)?)?;
    let mut first = None;
    let sandboxes = runtime.list().await?;
    let ends = sandboxes.iter().map(|sandbox| async {
        runtime.stop_sandbox(&sandbox.id).await?;
        runtime.remove_sandbox(&sandbox.id).await
    });
    for ended in futures::future::join_all(ends).await {
        if let Err(error) = ended {
            tracing::warn!(%error, "a sandbox could not be taken away");
            first.get_or_insert(error);
        }
    }
    first.map_or(Ok(()), |error| Err(error.into()))
}

/// The addresses that a node is told to be cluster DNS at, and if the service `kube-dns` has one of these, all that it has.
fn dns_ips(told: &[IpAddr], of_service: &[IpAddr]) -> Vec<IpAddr> {
    let ours = of_service.iter().any(|ip| told.contains(ip));
    let further = of_service.iter().filter(|ip| ours && !told.contains(ip));
    told.iter().chain(further).copied().collect()
}

/// The node's podCIDRs, as soon as it has one: they are given together.
async fn pod_cidrs(view: &ClusterView, name: &str) -> Option<Vec<IpNet>> {
    view.wait_synced().await;
    let mut changes = view.subscribe();
    loop {
        let cidrs = view.node(name).map(|node| node.pod_cidrs.clone());
        if let Some(cidrs) = cidrs.filter(|cidrs| !cidrs.is_empty()) {
            return Some(cidrs);
        }
        changes.recv().await?;
    }
}

/// Keeps the node's walls until `stop`; without a keeper no pod would be set up, so one that fails is followed by another.
async fn keep_walls(
    node: RealNode,
    view: Arc<ClusterView>,
    client: Client,
    own: OwnPods,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let config = PolicyConfig {
            node: node.node.clone(),
            node_name: node.agent.node_name.clone(),
            dir: node.network_dir(),
            dns_ips: node.dns_ips(&view),
        };
        let dns_ips = config.dns_ips.clone();
        let round = stop.child_token();
        let kept = policy::run_policies(client.clone(), config, &own, round.clone());
        let kept = until_moved(&node, &view, &dns_ips, &round, kept).await;
        round.cancel();
        let Err(error) = kept else { continue };
        tracing::error!(%error, "network policies; starting again in {RESTART_AFTER:?}");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTART_AFTER) => {}
        }
    }
}

/// Does something until it ends by itself, and ends it when cluster DNS moves, for it to be begun anew.
async fn until_moved<T>(
    node: &RealNode,
    view: &ClusterView,
    dns_ips: &[IpAddr],
    round: &CancellationToken,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        ended = &mut work => return ended,
        () = node.dns_moves(view, dns_ips) => round.cancel(),
    }
    work.await
}

async fn run_services(node: RealNode, view: Arc<ClusterView>, stop: CancellationToken) {
    let name = node.agent.node_name.clone();
    let cidrs = tokio::select! {
        cidrs = pod_cidrs(&view, &name) => cidrs,
        () = stop.cancelled() => None,
    };
    let Some(pod_cidrs) = cidrs else { return };
    let other = RoutesConfig {
        node: node.node.clone(),
        node_name: name,
        pod_cidrs: pod_cidrs.clone(),
    };
    let (routes, served) = tokio::join!(
        routes::run_routes(view.clone(), other, stop.clone()),
        serve_names(&node, &view, &pod_cidrs, &stop),
    );
    said("routes to other nodes", routes);
    served
}

fn said(what: &str, result: Result<(), network::Error>) {
    if let Err(error) = result {
        tracing::error!(%error, "{what} ended");
    }
}

/// Services and cluster DNS, until `stop`.
async fn serve_names(
    node: &RealNode,
    view: &Arc<ClusterView>,
    pod_cidrs: &[IpNet],
    stop: &CancellationToken,
) {
    while !stop.is_cancelled() {
        let dns_ips = node.dns_ips(view);
        let round = stop.child_token();
        let work = serve_names_at(node, view, pod_cidrs, &dns_ips, &round);
        until_moved(node, view, &dns_ips, &round, work).await;
        if !round.is_cancelled() {
            return;
        }
    }
}

async fn serve_names_at(
    node: &RealNode,
    view: &Arc<ClusterView>,
    pod_cidrs: &[IpNet],
    dns_ips: &[IpAddr],
    stop: &CancellationToken,
) {
    let proxy = ProxyConfig {
        node: node.node.clone(),
        node_name: node.agent.node_name.clone(),
        pod_cidrs: pod_cidrs.to_vec(),
        service_cidrs: node.service_cidrs.clone(),
        own_cluster_ips: dns_ips.to_vec(),
        force_userspace: false,
    };
    let resolver = DnsConfig {
        node: node.node.clone(),
        upstream: node.outside.clone(),
        ips: dns_ips.to_vec(),
        domain: node.agent.cluster_domain.clone(),
        resolv_conf: node.agent.resolv_conf.clone(),
    };
    let (a, b) = tokio::join!(
        services::run_proxy(view.clone(), proxy, stop.clone()),
        dns::run_dns(view.clone(), resolver, stop.clone()),
    );
    said("the service proxy", a);
    said("cluster DNS", b);
}

async fn run_ingress(
    node: RealNode,
    client: Boxed<Client>,
    view: Arc<ClusterView>,
    stop: CancellationToken,
) {
    let Some(wanted) = node.ingress else { return };
    let client = tokio::select! {
        client = client => client,
        () = stop.cancelled() => return,
    };
    let config = IngressConfig {
        node: node.node,
        node_name: node.agent.node_name,
        addresses: wanted.addresses,
        access_log: wanted
            .access_log
            .then(|| node.data_dir.join("ingress/access.log")),
    };
    if let Err(error) = ingress::run_ingress(client, view, config, stop).await {
        tracing::error!(%error, "ingress ended");
    }
}

/// Pod networks that begin when the node's podCIDR is known.
struct WhenKnown {
    view: Arc<ClusterView>,
    config: RealNode,
    walls: Walls,
    made: OnceCell<BridgeNetworks>,
}

impl WhenKnown {
    async fn get(&self) -> Result<&BridgeNetworks, network::Error> {
        let make = || async {
            let name = &self.config.agent.node_name;
            let pod_cidrs =
                pod_cidrs(&self.view, name)
                    .await
                    .ok_or_else(|| network::Error::Failed {
                        what: "make the pod network".into(),
                        reason: format!("node {name} got no podCIDR"),
                    })?;
            let config = PodNetworkConfig {
                node: self.config.node.clone(),
                dir: self.config.network_dir(),
                pod_cidrs,
                mtu: None,
                walls: Some(self.walls.clone()),
            };
            BridgeNetworks::start(config).await
        };
        self.made.get_or_try_init(make).await
    }
}

#[async_trait]
impl PodNetworks for WhenKnown {
    async fn setup(&self, pod_uid: &str) -> Result<PodNetwork, network::Error> {
        self.get().await?.setup(pod_uid).await
    }
    async fn teardown(&self, pod_uid: &str) -> Result<(), network::Error> {
        self.get().await?.teardown(pod_uid).await
    }
    async fn list(&self) -> Result<Vec<String>, network::Error> {
        self.get().await?.list().await
    }
}

/// Images pulled from outside the node's namespace: registries on the machine's loopback are reached there.
struct Outside {
    inner: Store,
    outside: Handle,
}

#[async_trait]
impl ImageStore for Outside {
    async fn find(&self, reference: &str) -> Result<Option<Image>, image::Error> {
        self.inner.find(reference).await
    }
    async fn pull(
        &self,
        reference: &str,
        credentials: &[Credentials],
    ) -> Result<Image, image::Error> {
        let (store, name, credentials) = (
            self.inner.clone(),
            reference.to_string(),
            credentials.to_vec(),
        );
        let pulled = self
            .outside
            .spawn(async move { store.pull(&name, &credentials).await })
            .await;
        pulled.unwrap_or_else(|error| {
            Err(image::Error::Pull {
                reference: reference.into(),
                reason: error.to_string(),
            })
        })
    }
    async fn load(&self, archive: &std::path::Path) -> Result<Vec<Loaded>, image::Error> {
        self.inner.load(archive).await
    }
    async fn list(&self) -> Result<Vec<Image>, image::Error> {
        self.inner.list().await
    }
    async fn remove(&self, reference: &str) -> Result<(), image::Error> {
        self.inner.remove(reference).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_address_of_cluster_dns() {
        let [v4, v6, other] =
            ["10.96.0.10", "fd00:96::a", "10.96.0.99"].map(|ip| ip.parse().unwrap());
        for (told, of_service, want) in [
            (&[v4][..], &[][..], &[v4][..]),
            (&[v4], &[v4], &[v4]),
            (&[v4], &[v4, v6], &[v4, v6]),
            (&[v6, v4], &[v4, v6], &[v6, v4]),
            // Whose DNS is somebody else's.
            (&[v4], &[other, v6], &[v4]),
            (&[], &[v4, v6], &[]),
        ] {
            assert_eq!(dns_ips(told, of_service), want, "{told:?} {of_service:?}");
        }
    }
}
