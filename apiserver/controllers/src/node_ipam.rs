//! The node IPAM controller: gives every node a pod network of its own, cut from the cluster's.
//!
//! Invariant: no network is given twice; one that was given back is taken again only when the others have had their turn. Follows
//! pkg/controller/nodeipam/ipam/range_allocator.go and cidrset/cidr_set.go.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use serde_json::json;

use crate::prelude::*;

/// One cluster network and what is given away of it.
struct Pool {
    network: IpNet,
    mask: u8,
    used: HashSet<u64>,
    next: u64,
}

impl Pool {
    fn new(network: IpNet, mask: u8) -> Result<Self, Error> {
        let width = mask.checked_sub(network.prefix_len());
        match width {
            Some(width) if width <= 16 && mask <= network.max_prefix_len() => Ok(Self {
                network,
                mask,
                used: HashSet::new(),
                next: 0,
            }),
            _ => Err(Error::InvalidOption {
                option: "--node-cidr-mask-size",
                why: format!(
                    "{mask} for the cluster network {network}: it must be longer than the network's own mask, by at most 16 bits"
                ),
            }),
        }
    }

    fn count(&self) -> u64 {
        1 << (self.mask - self.network.prefix_len())
    }

    fn at(&self, index: u64) -> Option<IpNet> {
        let shift = u32::from(self.network.max_prefix_len() - self.mask);
        let address = match self.network.network() {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from(
                u32::from(base) | u32::try_from(index << shift).ok()?,
            )),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(
                u128::from(base) | (u128::from(index) << shift),
            )),
        };
        IpNet::new(address, self.mask).ok()
    }

    fn index(&self, network: &IpNet) -> Option<u64> {
        if !self.network.contains(network) || network.prefix_len() != self.mask {
            return None;
        }
        let shift = u32::from(self.network.max_prefix_len() - self.mask);
        match (self.network.network(), network.network()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                Some(u64::from((u32::from(address) ^ u32::from(base)) >> shift))
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                u64::try_from((u128::from(address) ^ u128::from(base)) >> shift).ok()
            }
            _ => None,
        }
    }

    /// The next free network.
    fn take(&mut self) -> Option<IpNet> {
        let free = (0..self.count())
            .map(|i| (self.next + i) % self.count())
            .find(|index| !self.used.contains(index))?;
        self.used.insert(free);
        self.next = (free + 1) % self.count();
        self.at(free)
    }

    /// Notes that a network is given, or is not any more.
    fn mark(&mut self, network: &IpNet, given: bool) {
        match self.index(network) {
            Some(index) if given => drop(self.used.insert(index)),
            Some(index) => drop(self.used.remove(&index)),
            None => {}
        }
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
    let mask = |network: &IpNet| {
        if network.max_prefix_len() == 32 {
            options.node_cidr_mask_sizes.0
        } else {
            options.node_cidr_mask_sizes.1
        }
    };
    let pools = options
        .cluster_cidrs
        .iter()
        .map(|network| Pool::new(*network, mask(network)))
        .collect::<Result<Vec<_>, _>>()?;
    if pools.is_empty() {
        return Err(Error::InvalidOption {
            option: "--cluster-cidr",
            why: "it is needed when --allocate-node-cidrs is set".into(),
        });
    }
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

    #[test]
    fn networks_are_given_in_turn_and_come_back_last() {
        let mut pool = Pool::new("10.244.0.0/22".parse().unwrap(), 24).unwrap();
        pool.mark(&"10.244.1.0/24".parse().unwrap(), true);
        let mut take = || pool.take().map(|n| n.to_string());
        assert_eq!(
            [take(), take(), take(), take()],
            [
                Some("10.244.0.0/24".into()),
                Some("10.244.2.0/24".into()),
                Some("10.244.3.0/24".into()),
                None
            ]
        );
        pool.mark(&"10.244.2.0/24".parse().unwrap(), false);
        assert_eq!(
            pool.take().map(|n| n.to_string()),
            Some("10.244.2.0/24".into())
        );
        let mut six = Pool::new("fd00:1::/48".parse().unwrap(), 64).unwrap();
        assert_eq!(
            [six.take(), six.take()].map(|n| n.unwrap().to_string()),
            ["fd00:1::/64", "fd00:1:0:1::/64"]
        );
        assert!(Pool::new("10.0.0.0/24".parse().unwrap(), 16).is_err());
    }
}
