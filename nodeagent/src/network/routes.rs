//! Ways from this node's pods to those of the other nodes, learnt from Node objects, and to the world outside, behind the node's own address.
//!
//! Invariant: the routes marked as ours are exactly those to the podCIDRs of nodes that share a network with this one; a node that does not is named in the
//! log, as nothing here wraps packets. Pods keep their address towards other pods only. Follows what the `kindnet` network plugin does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::{
    BRIDGE, Error,
    family::IpFamily,
    link::{Links, NODE_ROUTE_PROTOCOL, OwnRoute},
    nft::{Base, Batch, Field, Hook, Nft, Rule, Side, Statement, Test, Value},
    ns::Namespace,
    view::{Change, ClusterView, NodeInfo},
};

const TABLE: &str = "skiff-pods";
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a node's routes are made from.
#[derive(Clone, Debug)]
pub struct RoutesConfig {
    /// The node's own namespace.
    pub node: Namespace,
    pub node_name: String,
    /// One network of each family that pods have.
    pub pod_cidrs: Vec<IpNet>,
}

/// Keeps the routes of a node until `stop`. They stay afterwards, as pods may run on.
pub async fn run_routes(
    view: Arc<ClusterView>,
    config: RoutesConfig,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut changes = view.subscribe();
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = view.wait_synced() => {}
    }
    let links = Links::open_as(&config.node, NODE_ROUTE_PROTOCOL).await?;
    let nft = match Nft::find(&config.node).await {
        Ok(nft) => Some(nft),
        Err(e @ Error::Unsupported { .. }) => {
            tracing::warn!(
                "{e}. The pods of node {} cannot reach what lies outside of the cluster.",
                config.node_name
            );
            None
        }
        Err(e) => return Err(e),
    };
    let mut unreachable = BTreeSet::new();
    loop {
        let nodes = view.nodes();
        let result = apply(&links, nft.as_ref(), &config, &nodes, &mut unreachable).await;
        if let Err(e) = &result {
            tracing::warn!("routes of node {}: {e}", config.node_name);
        }
        let relevant = async {
            while let Some(change) = changes.recv().await {
                if matches!(change, Change::Node(_)) {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = relevant => {}
            () = tokio::time::sleep(RETRY_AFTER), if result.is_err() => {}
        }
    }
}

/// Takes the routes and the table away; for a machine that leaves its cluster.
pub async fn clear(node: &Namespace) -> Result<(), Error> {
    let links = Links::open_as(node, NODE_ROUTE_PROTOCOL).await?;
    for route in links.own_routes().await? {
        links.delete_route(&route).await?;
    }
    match Nft::find(node).await {
        Ok(nft) => nft.clear_both(TABLE).await,
        Err(Error::Unsupported { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

async fn apply(
    links: &Links,
    nft: Option<&Nft>,
    config: &RoutesConfig,
    nodes: &BTreeMap<String, Arc<NodeInfo>>,
    unreachable: &mut BTreeSet<String>,
) -> Result<(), Error> {
    let (wanted, far) = wanted(&config.node_name, nodes, &links.addresses().await?);
    for node in far.difference(unreachable) {
        tracing::warn!(
            "node {node} shares no network with this one: pods here and there cannot reach each other"
        );
    }
    *unreachable = far;
    let there = links.own_routes().await?;
    for stale in there.iter().filter(|r| wanted.iter().all(|w| w.to != r.to)) {
        links.delete_route(stale).await?;
    }
    for route in wanted.iter().filter(|w| !there.contains(w)) {
        links.route(route.to, route.via, route.link).await?;
    }
    let Some(nft) = nft else { return Ok(()) };
    let pods: BTreeSet<_> = nodes
        .values()
        .flat_map(|n| &n.pod_cidrs)
        .chain(&config.pod_cidrs)
        .copied()
        .collect();
    let mut batch = Batch::new();
    for own in &config.pod_cidrs {
        batch.append(masquerade(*own, &pods));
    }
    nft.apply(batch).await
}

/// Routes to the other nodes' pods, and the names of the nodes that none leads to. `addresses` are this node's, by interface.
fn wanted(
    own: &str,
    nodes: &BTreeMap<String, Arc<NodeInfo>>,
    addresses: &[(u32, IpNet)],
) -> (Vec<OwnRoute>, BTreeSet<String>) {
    let link_to = |ip: &IpAddr| {
        addresses
            .iter()
            .find(|(_, net)| net.prefix_len() < net.max_prefix_len() && net.contains(ip))
            .map(|(link, _)| *link)
    };
    let (mut routes, mut far) = (Vec::new(), BTreeSet::new());
    for (name, node) in nodes
        .iter()
        .filter(|(name, node)| *name != own && !node.pod_cidrs.is_empty())
    {
        for to in &node.pod_cidrs {
            let by_family = IpFamily::of_network(*to).addresses(&node.internal_ips);
            let way = by_family
                .into_iter()
                .find_map(|ip| Some((ip, link_to(&ip)?)));
            let Some((via, link)) = way else {
                far.insert(name.clone());
                continue;
            };
            routes.push(OwnRoute {
                to: to.trunc(),
                via: Some(via),
                link,
            });
        }
    }
    (routes, far)
}

/// What pods send to where no pod is goes by the node's address. `own` is this node's network of pods, `pods` those of all nodes.
fn masquerade(own: IpNet, pods: &BTreeSet<IpNet>) -> Batch {
    let family = IpFamily::of_network(own);
    let pods = pods
        .iter()
        .filter(|net| IpFamily::of_network(**net) == family);
    let table = family.table(TABLE);
    let mut batch = Batch::new();
    batch.renew(&table, None);
    batch.networks(&table, "pod-cidrs", family, pods);
    let to = Field::Address(family, Side::Destination);
    let own_links = [BRIDGE, "lo"].map(|name| Value::Link(name.into()));
    let own_links = own_links.map(|link| (link.clone(), link)).to_vec();
    let rule = Rule::new()
        .when(
            Field::Address(family, Side::Source),
            Test::Within(own.trunc()),
        )
        .when(to.clone(), Test::NotInSet("pod-cidrs".into()))
        .when(to, Test::Outside(family.multicast()))
        .when(Field::Link(Side::Destination), Test::NotIn(own_links))
        .then(Statement::Masquerade { random: false });
    let base = Some(Base::nat(Hook::Postrouting, 110));
    batch.chain(&table, "postrouting", base, vec![rule]);
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_lead_over_shared_networks() {
        let node = |cidr: &str, ip: &str| {
            Arc::new(NodeInfo {
                pod_cidrs: vec![cidr.parse().unwrap()],
                internal_ips: vec![ip.parse().unwrap()],
                ..NodeInfo::default()
            })
        };
        let nodes = BTreeMap::from([
            ("me".to_owned(), node("10.244.0.0/24", "10.89.0.2")),
            ("near".to_owned(), node("10.244.1.0/24", "10.89.0.3")),
            ("far".to_owned(), node("10.244.2.0/24", "172.16.0.1")),
            ("new".to_owned(), Arc::new(NodeInfo::default())),
        ]);
        let addresses = [
            (1, "127.0.0.1/8"),
            (2, "10.89.0.2/24"),
            (3, "172.16.0.1/32"),
        ]
        .map(|(i, n)| (i, n.parse().unwrap()));
        let (routes, far) = wanted("me", &nodes, &addresses);
        assert_eq!(
            routes,
            [OwnRoute {
                to: "10.244.1.0/24".parse().unwrap(),
                via: Some("10.89.0.3".parse().unwrap()),
                link: 2
            }]
        );
        assert_eq!(far, BTreeSet::from(["far".to_owned()]));
    }
}
