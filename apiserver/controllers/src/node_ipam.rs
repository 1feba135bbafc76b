//! The node IPAM controller: gives every node a pod network of its own, cut from the cluster's.
//!
//! Invariant: no network is given twice, and none that services have; a node has one of each of the cluster's networks, in their order; one that was given back is taken again only when the others have had their turn. Follows
//! pkg/controller/nodeipam/ipam/range_allocator.go and cidrset/cidr_set.go.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use serde_json::json;

use crate::{
    options::{NodeMaskSizes, Options},
    prelude::*,
};

/// One cluster network and what is given away of it.
struct Pool {
    network: IpNet,
    mask: u8,
    used: HashSet<u64>,
    /// What is never given, as services have it.
    kept: Vec<RangeInclusive<u64>>,
    next: u64,
}

impl Pool {
    fn new(network: IpNet, mask: u8) -> Result<Self, Error> {
        let refused = |why: &str| Error::InvalidOption {
            option: "--cluster-cidr",
            why: why.into(),
        };
        if mask > network.max_prefix_len() {
            return Err(refused("the node CIDR's mask is longer than an address"));
        }
        let width = mask.checked_sub(network.prefix_len()).ok_or_else(|| {
            refused("mask size of cluster CIDR must be less than or equal to --node-cidr-mask-size configured for CIDR family")
        })?;
        if matches!(network, IpNet::V6(_)) && width > 16 {
            return Err(refused(
                "New CIDR set failed; the node CIDR size is too big",
            ));
        }
        Ok(Self {
            network: network.trunc(),
            mask,
            used: HashSet::new(),
            kept: Vec::new(),
            next: 0,
        })
    }

    fn count(&self) -> u64 {
        1 << (self.mask - self.network.prefix_len())
    }

    /// How far the number of a network stands from an address' end.
    fn shift(&self) -> u32 {
        u32::from(self.network.max_prefix_len() - self.mask)
    }

    fn at(&self, index: u64) -> Option<IpNet> {
        let address = match self.network.network() {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from(
                u32::from(base) | u32::try_from(index << self.shift()).ok()?,
            )),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(
                u128::from(base) | (u128::from(index) << self.shift()),
            )),
        };
        IpNet::new(address, self.mask).ok()
    }

    /// The number of the network that an address of the pool is in.
    fn index(&self, address: IpAddr) -> Option<u64> {
        let offset = match (self.network.network(), address) {
            (IpAddr::V4(base), IpAddr::V4(of)) => u128::from(u32::from(of) ^ u32::from(base)),
            (IpAddr::V6(base), IpAddr::V6(of)) => u128::from(of) ^ u128::from(base),
            _ => return None,
        };
        let index = offset.checked_shr(self.shift()).unwrap_or(0);
        u64::try_from(index)
            .ok()
            .filter(|index| *index < self.count())
    }

    /// The numbers of all networks that have something in common with this one.
    fn touched(&self, network: &IpNet) -> Option<RangeInclusive<u64>> {
        if network.contains(&self.network) {
            return Some(0..=self.count() - 1);
        }
        let within = self.network.contains(network);
        let range = || Some(self.index(network.network())?..=self.index(network.broadcast())?);
        within.then(range).flatten()
    }

    /// The next free network.
    fn take(&mut self) -> Option<IpNet> {
        let (count, mut tried) = (self.count(), 0);
        while tried < count {
            let index = (self.next + tried) % count;
            if let Some(kept) = self.kept.iter().find(|kept| kept.contains(&index)) {
                tried += kept.end() - index + 1;
            } else if !self.used.insert(index) {
                tried += 1;
            } else {
                self.next = (index + 1) % count;
                return self.at(index);
            }
        }
        None
    }

    /// Notes that a network is given, or is not any more.
    fn mark(&mut self, network: &IpNet, given: bool) {
        for index in self.touched(network).into_iter().flatten() {
            match given {
                true => self.used.insert(index),
                false => self.used.remove(&index),
            };
        }
    }

    /// Services have this network.
    fn keep(&mut self, network: &IpNet) {
        self.kept.extend(self.touched(network));
    }
}

/// The masks of nodes' networks, one for each of the cluster's: as the flags of each family say, or the one for all.
///
/// # Errors
/// The flags do not go together, or not with these networks.
fn masks(sizes: &NodeMaskSizes, networks: &[IpNet]) -> Result<Vec<u8>, Error> {
    let refused = |option: &'static str, why: &str| {
        Err(Error::InvalidOption {
            option,
            why: why.into(),
        })
    };
    let six = |network: &IpNet| matches!(network, IpNet::V6(_));
    if networks.len() > 1 && sizes.any.is_some() {
        return refused(
            "--node-cidr-mask-size",
            "usage of --node-cidr-mask-size is not allowed with dual-stack clusters",
        );
    }
    if let Some(size) = sizes.any {
        return match (sizes.ipv4, sizes.ipv6) {
            (None, None) => Ok(vec![size; networks.len()]),
            _ => refused(
                "--node-cidr-mask-size",
                "usage of --node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6 is not allowed if --node-cidr-mask-size is set. For dual-stack clusters please unset it and use IPFamily specific flags",
            ),
        };
    }
    if let [network] = networks {
        if sizes.ipv4.is_some() && six(network) {
            return refused(
                "--node-cidr-mask-size-ipv4",
                "usage of --node-cidr-mask-size-ipv4 is not allowed for a single-stack IPv6 cluster",
            );
        }
        if sizes.ipv6.is_some() && !six(network) {
            return refused(
                "--node-cidr-mask-size-ipv6",
                "usage of --node-cidr-mask-size-ipv6 is not allowed for a single-stack IPv4 cluster",
            );
        }
    }
    let mask = |network| match six(network) {
        true => sizes.ipv6.unwrap_or(64),
        false => sizes.ipv4.unwrap_or(24),
    };
    Ok(networks.iter().map(mask).collect())
}

/// The pools that options speak of.
fn pools(options: &Options) -> Result<Vec<Pool>, Error> {
    let networks = &options.cluster_cidrs;
    let refused = |why: String| {
        Err(Error::InvalidOption {
            option: "--cluster-cidr",
            why,
        })
    };
    let six = networks.iter().filter(|net| net.max_prefix_len() == 128);
    let two = (1..networks.len()).contains(&six.count());
    match networks.len() {
        0 => {
            return refused("Must specify --cluster-cidr if --allocate-node-cidrs is set".into());
        }
        2.. if !two => {
            return refused(format!(
                "len of ClusterCIDRs=={} and they are not configured as dual stack (at least one from each IPFamily",
                networks.len()
            ));
        }
        3.. => {
            return refused(format!(
                "length of clusterCIDRs is:{} more than max allowed of 2",
                networks.len()
            ));
        }
        _ => {}
    }
    let masks = masks(&options.node_cidr_mask_sizes, networks)?;
    let pairs = networks.iter().zip(masks);
    let pools = pairs.map(|(network, mask)| {
        let mut pool = Pool::new(*network, mask)?;
        options.service_cidrs.iter().for_each(|net| pool.keep(net));
        Ok(pool)
    });
    pools.collect()
}

/// Whether nodes can be given networks as the options say.
///
/// # Errors
/// They cannot.
pub fn check(options: &Options) -> Result<(), Error> {
    match options.allocate_node_cidrs {
        true => pools(options).map(drop),
        false => Ok(()),
    }
}

struct Controller {
    api: Api,
    recorder: Recorder,
    nodes: Fresh<Node>,
    pools: Mutex<Vec<Pool>>,
}

/// `node-ipam-controller`; has nothing to do unless nodes are to be given networks.
pub fn start(context: &Context) -> Result<Work, Error> {
    let options = &context.options;
    if !options.allocate_node_cidrs {
        return Ok(None);
    }
    let pools = pools(options)?;
    let c = context.wire(
        "cidrallocator",
        Controller {
            api: context.api.clone(),
            recorder: context.recorder("cidrAllocator"),
            nodes: context.fresh(),
            pools: Mutex::new(pools),
        },
    );
    c.on(&c.nodes, |c, change, queue| {
        let (node, given) = (change.object(), networks(change.object()));
        let gone = matches!(change, Change::Deleted(_));
        for pool in c.pools.lock().iter_mut() {
            given.iter().for_each(|network| pool.mark(network, !gone));
        }
        if !gone && given.is_empty() {
            queue.add(Key::of(&node.metadata));
        }
    });
    Ok(c.some_workers(1))
}

/// The networks that a node has.
fn networks(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else {
        return Vec::new();
    };
    let listed = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    let mut networks: Vec<IpNet> = listed.filter_map(|text| text.parse().ok()).collect();
    networks.dedup();
    networks
}

impl Controller {
    fn take(&self) -> Option<Vec<IpNet>> {
        let mut pools = self.pools.lock();
        let mut taken = Vec::with_capacity(pools.len());
        for pool in pools.iter_mut() {
            taken.extend(pool.take());
        }
        if taken.len() == pools.len() {
            return Some(taken);
        }
        pools
            .iter_mut()
            .for_each(|pool| taken.iter().for_each(|network| pool.mark(network, false)));
        None
    }

    fn give_back(&self, networks: &[IpNet]) {
        let mut pools = self.pools.lock();
        pools.iter_mut().for_each(|pool| {
            networks
                .iter()
                .for_each(|network| pool.mark(network, false))
        });
    }

    fn say(&self, node: &Node, reason: &str) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: node.metadata.name.clone(),
            uid: node.metadata.uid.clone(),
            ..Default::default()
        };
        self.recorder.about(
            about,
            EventType::Normal,
            reason,
            format!("Node {} status is now: {reason}", node.metadata.name()),
        );
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "node-ipam-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.nodes.catch_up(key).await;
        let Some(node) = self.nodes.get(key).filter(|node| networks(node).is_empty()) else {
            return Ok(Next::DONE);
        };
        let Some(taken) = self.take() else {
            self.say(&node, "CIDRNotAvailable");
            return Err(failed!(
                "failed to allocate cidr from cluster cidr for node {key}: CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range"
            ));
        };
        let text: Vec<_> = taken.iter().map(ToString::to_string).collect();
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": text[0], "podCIDRs": text}});
        match self.api.amend::<Node>(key, PatchType::Merge, &patch).await {
            Ok(Some(written)) => {
                self.nodes.note(key, &written);
                Ok(Next::DONE)
            }
            Ok(None) => {
                self.give_back(&taken);
                Ok(Next::DONE)
            }
            Err(error) => {
                self.give_back(&taken);
                self.say(&node, "CIDRAssignmentFailed");
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn taken(pool: &mut Pool, count: usize) -> Vec<String> {
        let taken = std::iter::from_fn(|| pool.take()).take(count);
        taken.map(|net| net.to_string()).collect()
    }

    #[test]
    fn networks_are_given_in_turn_and_come_back_last() {
        let mut pool = Pool::new(net("10.244.0.0/22"), 24).unwrap();
        pool.mark(&net("10.244.1.0/24"), true);
        assert_eq!(
            taken(&mut pool, 4),
            ["10.244.0.0/24", "10.244.2.0/24", "10.244.3.0/24"]
        );
        pool.mark(&net("10.244.2.0/24"), false);
        assert_eq!(taken(&mut pool, 1), ["10.244.2.0/24"]);
        for (network, mask, first) in [
            ("fd00:1::/48", 64, ["fd00:1::/64", "fd00:1:0:1::/64"]),
            ("fd00:1::/112", 120, ["fd00:1::/120", "fd00:1::100/120"]),
            ("10.0.0.0/8", 32, ["10.0.0.0/32", "10.0.0.1/32"]),
        ] {
            let mut pool = Pool::new(net(network), mask).unwrap();
            assert_eq!(taken(&mut pool, 2), first);
        }
    }

    #[test]
    fn what_services_and_nodes_have_in_another_size_is_not_given() {
        let mut pool = Pool::new(net("10.244.0.0/21"), 24).unwrap();
        pool.keep(&net("10.244.1.128/25"));
        pool.keep(&net("10.244.4.0/23"));
        pool.keep(&net("10.96.0.0/16"));
        pool.mark(&net("10.244.2.0/23"), true);
        assert_eq!(
            taken(&mut pool, 9),
            ["10.244.0.0/24", "10.244.6.0/24", "10.244.7.0/24"]
        );
        pool.mark(&net("10.244.2.0/23"), false);
        assert_eq!(taken(&mut pool, 9), ["10.244.2.0/24", "10.244.3.0/24"]);
        pool.keep(&net("10.0.0.0/8"));
        pool.mark(&net("10.244.0.0/24"), false);
        assert_eq!(taken(&mut pool, 1), [""; 0]);
    }

    #[test]
    fn which_options_go_together() {
        let none = NodeMaskSizes::default();
        let (four, six) = (
            NodeMaskSizes {
                ipv4: Some(25),
                ..none
            },
            NodeMaskSizes {
                ipv6: Some(72),
                ..none
            },
        );
        let any = NodeMaskSizes {
            any: Some(26),
            ..none
        };
        let both = "10.244.0.0/16,fd00:10:244::/56";
        for (networks, sizes, wanted) in [
            ("10.244.0.0/16", none, "24"),
            (both, none, "24 64"),
            ("fd00:10:244::/56,10.244.0.0/16", none, "64 24"),
            (
                both,
                NodeMaskSizes {
                    ipv6: Some(72),
                    ..four
                },
                "25 72",
            ),
            ("10.244.0.0/16", any, "26"),
            (
                both,
                any,
                "usage of --node-cidr-mask-size is not allowed with dual-stack clusters",
            ),
            (
                "10.244.0.0/16",
                NodeMaskSizes {
                    any: Some(26),
                    ..four
                },
                "is not allowed if --node-cidr-mask-size is set",
            ),
            (
                "fd00:10:244::/56",
                four,
                "-ipv4 is not allowed for a single-stack IPv6 cluster",
            ),
            (
                "10.244.0.0/16",
                six,
                "-ipv6 is not allowed for a single-stack IPv4 cluster",
            ),
            (
                "10.244.0.0/25",
                none,
                "mask size of cluster CIDR must be less than or equal to --node-cidr-mask-size",
            ),
            ("fd00:10:244::/40", none, "the node CIDR size is too big"),
            (
                "10.0.0.0/16,10.1.0.0/16",
                none,
                "len of ClusterCIDRs==2 and they are not configured as dual stack",
            ),
            (
                "10.0.0.0/16,fd00::/64,fd01::/64",
                none,
                "length of clusterCIDRs is:3 more than max allowed of 2",
            ),
        ] {
            let options = Options {
                cluster_cidrs: networks.split(',').map(net).collect(),
                node_cidr_mask_sizes: sizes,
                ..Options::default()
            };
            let got = match pools(&options) {
                Ok(pools) => {
                    let masks: Vec<_> = pools.iter().map(|pool| pool.mask.to_string()).collect();
                    masks.join(" ")
                }
                Err(error) => error.to_string(),
            };
            assert!(got.contains(wanted), "{networks} {sizes:?}: {got}");
        }
    }
}
