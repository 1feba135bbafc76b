//! The nodes of `up`: real ones, each in a network namespace of its own, or simulated ones.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeAddress;
use skiff_nodeagent::{
    ApiConfig, Config, Parts,
    agent::nodes::Nodes,
    image::SimulatedImages,
    machine::{Clients, Ingress, RealNode},
    network::{
        cluster::{ClusterNetwork, ClusterNetworkConfig, NodeNetwork},
        ns::Namespace,
        view::ClusterView,
    },
    runtime::{Usage, simulated::SimulatedRuntime},
};
use skiff_server::{
    Running,
    auth::User,
    measured::{Point, Reading},
};
use skiff_watching::{
    api::Api,
    client::{Client, Remote},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{balancers, control_plane::service_account, folders::Folders, ingress, left};

/// The names of N nodes.
pub fn names(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("node-{n}")).collect()
}

fn address(kind: &str, text: impl Into<String>) -> NodeAddress {
    NodeAddress {
        type_: kind.into(),
        address: text.into(),
    }
}

/// Who reads what makes up the network: nodes, services, endpoints.
fn proxier() -> User {
    User::new("system:kube-proxy", &["system:authenticated"])
}

fn node_user(name: &str) -> User {
    User::new(
        format!("system:node:{name}"),
        &["system:nodes", "system:authenticated"],
    )
}

/// What is asked of all real nodes.
pub struct Wanted {
    pub service_cidrs: Vec<IpNet>,
    /// Where each of them answers as cluster DNS.
    pub dns: Vec<IpAddr>,
    /// They serve Ingresses.
    pub ingress: bool,
    /// They write a line for each request of those.
    pub access_log: bool,
    /// For how long a node is taken for alive after each of its heartbeats, of which there are four in that time.
    pub lease_duration: Duration,
}

/// Real nodes and what joins them.
pub struct RealNodes {
    pub network: Arc<ClusterNetwork>,
    nodes: Vec<(RealNode, tokio::runtime::Runtime)>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    folders: Folders,
}

/// The host's side of the pod networks; to be made before the server listens on its address.
pub async fn network(
    folders: &Folders,
    cluster_cidrs: &[IpNet],
    service_cidrs: &[IpNet],
) -> anyhow::Result<ClusterNetwork> {
    let config = ClusterNetworkConfig {
        host: Namespace::current()?,
        instance: folders.instance.clone(),
        run_dir: folders.run(),
        bridge: None,
        node_cidr: None,
        cluster_cidrs: [cluster_cidrs, service_cidrs].concat(),
        service_cidrs: service_cidrs.to_vec(),
        resume: true,
    };
    Ok(ClusterNetwork::ensure(config).await?)
}

/// Starts an agent for each name.
pub async fn start_real(
    server: &Running,
    folders: &Folders,
    network: ClusterNetwork,
    names: &[String],
    port: u16,
    wanted: &Wanted,
) -> anyhow::Result<RealNodes> {
    let network = Arc::new(network);
    let stop = CancellationToken::new();
    let mut nodes = Vec::new();
    let mut tasks = JoinSet::new();
    for name in names {
        let place = network
            .add_node(name)
            .await
            .with_context(|| format!("cannot make the network of {name}"))?;
        let node = real_node(server, folders, name, &place, wanted)?;
        let authority = &server.pki.authority;
        let client = |identity| network_client(server, &identity, place.gateway, port);
        let ingress = client(authority.client(&ingress::user(name), &[ingress::GROUP])?)?;
        let clients = Clients {
            agent: client(authority.node_client(name)?)?,
            proxy: client(authority.client("system:kube-proxy", &[])?)?,
            ingress: skiff_watching::task::boxed(async { ingress }),
        };
        let runtime = place.ns.runtime(name, 1)?;
        let (run, token, label) = (node.clone(), stop.clone(), name.clone());
        let running = runtime.spawn(async move {
            if let Err(error) = run.run(clients, token).await {
                tracing::error!(%error, node = label, "the node agent ended");
            }
        });
        tasks.spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(%error, "the node agent broke off");
            }
        });
        nodes.push((node, runtime));
    }
    let view = ClusterView::start(server.client(proxier()), stop.clone());
    tasks.spawn(route(
        view.clone(),
        network.clone(),
        names.to_vec(),
        stop.clone(),
    ));
    let balances = server.client(service_account("service-controller"));
    tasks.spawn(balancers::balance(
        view,
        network.clone(),
        Api::new(balances, "service-controller"),
        stop.clone(),
    ));
    Ok(RealNodes {
        network,
        nodes,
        tasks,
        stop,
        folders: folders.clone(),
    })
}

fn real_node(
    server: &Running,
    folders: &Folders,
    name: &str,
    place: &NodeNetwork,
    wanted: &Wanted,
) -> anyhow::Result<RealNode> {
    let data_dir = folders.node(name);
    let mut names = vec![name.to_string()];
    names.extend(place.ips.iter().map(IpAddr::to_string));
    let serving = server.pki.authority.node_serving(name, &names)?;
    let first = *place.ips.first().context("the node has no address")?;
    let mut agent = Config::new(name, &data_dir);
    agent.hostname = Some(name.to_owned());
    let internal = place.ips.iter();
    agent.addresses = internal
        .map(|ip| address("InternalIP", ip.to_string()))
        .chain([address("Hostname", name)])
        .collect();
    agent.cluster_dns = wanted.dns.clone();
    agent.intervals.lease = wanted.lease_duration / 4;
    agent.api = Some(ApiConfig {
        listen: (first, 10250).into(),
        certificate: serving.certificate.into_bytes(),
        key: serving.key.into_bytes(),
        client_ca: server.pki.authority.certificate_pem().as_bytes().to_vec(),
    });
    Ok(RealNode {
        agent,
        node: place.ns.clone(),
        outside: Namespace::current()?,
        outside_runtime: tokio::runtime::Handle::current(),
        run_dir: folders.run().join(name),
        data_dir,
        image_dir: folders.images(),
        cgroup: folders.cgroup(name),
        service_cidrs: wanted.service_cidrs.clone(),
        ingress: wanted.ingress.then_some(Ingress {
            addresses: place.ips.clone(),
            access_log: wanted.access_log,
        }),
    })
}

/// A client that goes through the node's own network, as a kubelet's does: a node that is cut off falls silent.
fn network_client(
    server: &Running,
    identity: &skiff_server::auth::pki::Issued,
    gateway: Ipv4Addr,
    port: u16,
) -> anyhow::Result<Client> {
    let remote = Remote {
        server: format!("https://{gateway}:{port}"),
        authority: Some(server.pki.serving_ca.clone()),
        identity: Some((identity.certificate.clone(), identity.key.clone())),
        token: None,
    };
    Ok(Client::remote(&remote)?)
}

/// Leads the host's traffic for pods to their nodes.
async fn route(
    view: Arc<ClusterView>,
    network: Arc<ClusterNetwork>,
    names: Vec<String>,
    stop: CancellationToken,
) {
    let mut changes = view.subscribe();
    let follow = async {
        loop {
            for (name, node) in view
                .nodes()
                .into_iter()
                .filter(|(name, node)| names.contains(name) && !node.pod_cidrs.is_empty())
            {
                if let Err(error) = network.set_pod_cidrs(&name, node.pod_cidrs.clone()).await {
                    tracing::warn!(%error, node = name, "no route to the node's pods");
                }
            }
            if changes.recv().await.is_none() {
                return;
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop.cancelled() => {}
    }
}

impl RealNodes {
    /// The address of the first node.
    pub fn first_ip(&self) -> Option<String> {
        let addresses = &self.nodes.first()?.0.agent.addresses;
        addresses
            .iter()
            .find(|address| address.type_ == "InternalIP")
            .map(|address| address.address.clone())
    }

    /// Ends agents, containers and networks; what pods stored and images stay.
    pub async fn end(mut self) {
        self.stop.cancel();
        super::end_all(&mut self.tasks).await;
        let clearing = self.nodes.iter().map(|(node, runtime)| {
            let node = node.clone();
            runtime.spawn(async move { node.clear().await })
        });
        for cleared in futures::future::join_all(clearing.collect::<Vec<_>>()).await {
            match cleared {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("warning: {error}"),
                Err(error) => eprintln!("warning: clearing a node broke off: {error}"),
            }
        }
        for (_, runtime) in self.nodes.drain(..) {
            runtime.shutdown_background();
        }
        if let Some(network) = Arc::into_inner(self.network)
            && let Err(error) = network.remove().await
        {
            eprintln!("warning: {error}");
        }
        if let Err(error) = left::take_away(&self.folders) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Simulated nodes, all in this process and without a network.
pub struct SimulatedNodes {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

pub fn start_simulated(
    server: &Running,
    folders: &Folders,
    names: &[String],
    cluster_cidrs: &[IpNet],
) -> anyhow::Result<SimulatedNodes> {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    // One watch for all of them, instead of one each over all that happens to nodes.
    let nodes = Nodes::follow_all(&Api::new(server.client(proxier()), "kube-proxy"), &stop);
    for (index, name) in names.iter().enumerate() {
        let mut config = Config::new(name, folders.node(name));
        let ips = cluster_cidrs.iter().map(|net| simulated_ip(net, index));
        config.addresses = ips
            .map(|ip| address("InternalIP", ip.to_string()))
            .chain([address("Hostname", name)])
            .collect();
        config.simulated = true;
        config.capacity = [
            ("cpu", "32"),
            ("memory", "256Gi"),
            ("ephemeral-storage", "1Ti"),
        ]
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .into();
        let runtime = Arc::new(SimulatedRuntime::of(&pod_ranges(cluster_cidrs, index)));
        if let Some(measured) = &server.app.measured {
            let runtime = runtime.clone();
            measured.add_source(name, Arc::new(move || reading(&runtime)));
        }
        let parts = Parts {
            client: server.client(node_user(name)),
            runtime,
            images: Arc::new(SimulatedImages),
            network: None,
            nodes: Some(nodes.clone()),
        };
        let token = stop.clone();
        tasks.spawn(async move {
            if let Err(error) = skiff_nodeagent::run(config, parts, token).await {
                tracing::error!(%error, "a simulated node ended");
            }
        });
    }
    Ok(SimulatedNodes { tasks, stop })
}

/// What a simulated node and its containers use, which is read without a way over the network.
fn reading(runtime: &SimulatedRuntime) -> Reading {
    let (node, containers) = runtime.in_use();
    let point = |started: Timestamp, usage: &Usage| Point {
        started,
        at: usage.at,
        cpu: usage.cpu_nanoseconds,
        memory: usage.working_set_bytes,
    };
    let mut reading = Reading {
        node: Some(point(Timestamp::UNIX_EPOCH, &node)),
        ..Reading::default()
    };
    for of in containers {
        let pod = (of.namespace.into(), of.pod.into());
        let containers = reading.pods.entry(pod).or_default();
        containers.insert(of.container.into(), point(of.started, &of.usage));
    }
    reading
}

/// The address that the n-th simulated node has of a network's family.
fn simulated_ip(of: &IpNet, index: usize) -> IpAddr {
    match of {
        IpNet::V4(_) => {
            Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 88, 0, 1)) + index as u32).into()
        }
        IpNet::V6(_) => {
            let first = Ipv6Addr::new(0xfd00, 0x10, 0x88, 0, 0, 0, 0, 1);
            Ipv6Addr::from(u128::from(first) + index as u128).into()
        }
    }
}

/// The n-th network of a node's size in each of the cluster's: /24, and /64 of IPv6.
fn pod_ranges(cluster: &[IpNet], index: usize) -> Vec<IpNet> {
    let of = |net: &IpNet| match net {
        IpNet::V4(net) => {
            let base = u32::from(net.network()) + ((index as u32) << 8);
            IpNet::V4(Ipv4Net::new(Ipv4Addr::from(base), 24).unwrap_or_default())
        }
        IpNet::V6(net) => {
            let base = u128::from(net.network()) + ((index as u128) << 64);
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from(base), 64).unwrap_or_default())
        }
    };
    cluster.iter().map(of).collect()
}

impl SimulatedNodes {
    pub async fn end(mut self) {
        self.stop.cancel();
        super::end_all(&mut self.tasks).await;
    }
}
