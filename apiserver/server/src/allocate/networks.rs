//! The networks that addresses come from: those of the ServiceCIDRs.
//!
//! Invariant: what is known of them is never older than the last write of one. Follows
//! `pkg/registry/core/service/ipallocator/{cidrallocator,ipallocator}.go`.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use rand::RngExt;
use serde_json::Value;
use skiff_api::machinery::{meta::Meta, names::ip::is_for_services, read::Read};
use skiff_storage::Store;

use super::ServiceRanges;
use crate::stored;

pub const RESOURCE: &str = "servicecidrs.networking.k8s.io";

/// A network, and how many of its addresses services have.
#[derive(Debug)]
pub struct Network {
    pub net: IpNet,
    /// Some ServiceCIDR says that addresses may be given from it.
    pub ready: bool,
    held: u128,
}

impl Network {
    pub fn new(net: IpNet) -> Network {
        Network {
            net: net.trunc(),
            ready: false,
            held: 0,
        }
    }

    /// How many addresses may be given: neither the network's own, nor, of IPv4, the one for all.
    fn size(&self) -> u128 {
        let bits = u32::from(self.net.max_prefix_len() - self.net.prefix_len());
        let all = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
        all.saturating_sub(1 + u128::from(matches!(self.net, IpNet::V4(_))))
    }

    /// How many at its beginning are left for people to choose, while there are others.
    fn reserved(&self) -> u128 {
        let bits = u32::from(self.net.max_prefix_len() - self.net.prefix_len());
        match 1u128.checked_shl(bits).unwrap_or(u128::MAX) {
            all if all <= 16 => 0,
            all => (all / 16).clamp(16, 256).min(self.size()),
        }
    }

    /// The address at this place of those that may be given.
    pub fn nth(&self, n: u128) -> IpAddr {
        match self.net.network() {
            // there are no more than 2^32 places
            IpAddr::V4(first) => {
                Ipv4Addr::from(u32::from(first).wrapping_add(n as u32).wrapping_add(1)).into()
            }
            IpAddr::V6(first) => {
                Ipv6Addr::from(u128::from(first).wrapping_add(n).wrapping_add(1)).into()
            }
        }
    }

    /// The address may be given.
    pub fn holds(&self, ip: &IpAddr) -> bool {
        let net = &self.net;
        net.contains(ip) && is_for_services(*ip, net.network(), net.broadcast())
    }

    /// One that is free: any of the most, else any of those that are left for people.
    pub fn free(&self, taken: &dyn Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        let (size, reserved) = (self.size(), self.reserved());
        if self.held >= size {
            return None;
        }
        let mut rng = rand::rng();
        [(reserved, size - reserved), (0, reserved)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .find_map(|(begin, count)| {
                let start = rng.random_range(0..count);
                let places = (start..count).chain(0..start);
                places
                    .map(|place| self.nth(begin + place))
                    .find(|ip| !taken(ip))
            })
    }
}

/// The first address of a network that may be given.
pub fn first(net: IpNet) -> IpAddr {
    Network::new(net).nth(0)
}

/// All networks that somebody spoke of.
#[derive(Debug, Default)]
pub struct Networks {
    pub all: Vec<Network>,
    /// The last change of a ServiceCIDR that is known.
    known: Option<u64>,
}

impl Networks {
    /// Reads the ServiceCIDRs anew when one was written. The networks `own` come before the others.
    pub fn refresh(&mut self, store: &dyn Store, own: &ServiceRanges, held: &HashSet<IpAddr>) {
        let revision = store.resource_revision(RESOURCE);
        if self.known == Some(revision) {
            return;
        }
        self.known = Some(revision);
        self.all.clear();
        for object in store.snapshot(RESOURCE).range(None, None) {
            match stored::value(&object) {
                Ok(cidr) => self.add(&cidr),
                Err(status) => tracing::error!(
                    error = status.message,
                    "no addresses are given from a ServiceCIDR that cannot be read"
                ),
            }
        }
        self.all
            .sort_by_key(|network| own.iter().all(|net| network.net != net));
        for network in &mut self.all {
            network.held = held.iter().filter(|ip| network.holds(ip)).count() as u128;
        }
    }

    fn add(&mut self, cidr: &Value) {
        let ready = !cidr.is_deleting() && says_ready(cidr);
        for net in cidr.at("spec").texts("cidrs") {
            let Ok(net) = net.parse::<IpNet>() else {
                continue;
            };
            // upstream has none so large
            if matches!(net, IpNet::V6(net) if net.prefix_len() < 64) {
                continue;
            }
            let there = self.all.iter().position(|network| network.net == net);
            let index = there.unwrap_or_else(|| {
                self.all.push(Network::new(net));
                self.all.len() - 1
            });
            self.all[index].ready |= ready;
        }
    }

    /// A service has the address from now on, or no more.
    pub fn count(&mut self, ip: &IpAddr, taken: bool) {
        for network in self.all.iter_mut().filter(|network| network.holds(ip)) {
            network.held = match taken {
                true => network.held + 1,
                false => network.held.saturating_sub(1),
            };
        }
    }
}

/// Nothing said about it is as good as ready: no controller may run.
fn says_ready(cidr: &Value) -> bool {
    let mut conditions = cidr.at("status").list("conditions").iter();
    conditions
        .find(|condition| condition.text("type") == "Ready")
        .is_none_or(|condition| condition.text("status") == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn networks(cidrs: &[Value]) -> Networks {
        let mut networks = Networks::default();
        for cidr in cidrs {
            networks.add(cidr);
        }
        networks
    }

    #[test]
    fn what_may_be_given_of_a_network() {
        for (net, size, reserved, in_it, out) in [
            ("10.0.0.0/16", 65_534, 256, "10.0.255.254", "10.0.255.255"),
            ("10.0.0.0/24", 254, 16, "10.0.0.1", "10.0.0.0"),
            ("10.0.0.0/28", 14, 0, "10.0.0.14", "10.0.0.15"),
            ("10.0.0.0/30", 2, 0, "10.0.0.2", "10.0.0.4"),
            ("fd00::/120", 255, 16, "fd00::ff", "fd00::"),
        ] {
            let network = Network::new(net.parse().unwrap());
            assert_eq!(
                (network.size(), network.reserved()),
                (size, reserved),
                "{net}"
            );
            assert!(network.holds(&in_it.parse().unwrap()), "{net}");
            assert!(!network.holds(&out.parse().unwrap()), "{net}");
            for n in [0, size - 1] {
                assert!(network.holds(&network.nth(n)), "{net} {n}");
            }
        }
        for none in ["10.0.0.0/31", "10.0.0.1/32"] {
            let network = Network::new(none.parse().unwrap());
            assert_eq!((network.size(), network.free(&|_| false)), (0, None));
        }
    }

    #[test]
    fn the_last_address_is_found_and_none_after_it() {
        let mut network = Network::new("10.0.0.0/24".parse().unwrap());
        let mut had = HashSet::new();
        let (mut low, mut high) = (0, 0);
        while let Some(ip) = network.free(&|ip| had.contains(ip)) {
            assert!(network.holds(&ip) && had.insert(ip));
            let IpAddr::V4(four) = ip else { unreachable!() };
            match four.octets()[3] {
                1..=16 => low += 1,
                _ => {
                    assert_eq!(low, 0, "{ip} came after one that is left for people");
                    high += 1;
                }
            }
        }
        assert_eq!((low, high), (16, 238));
        // one that is counted as full is not looked through
        network.held = 254;
        assert_eq!(network.free(&|_| unreachable!()), None);
    }

    #[test]
    fn a_network_is_ready_where_one_says_so() {
        let cidr = |net: &str, status: Value| json!({"spec": {"cidrs": [net]}, "status": status});
        let said = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        let mut going = cidr("10.3.0.0/24", said("True"));
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let networks = networks(&[
            cidr("10.0.0.0/24", json!({})),
            cidr("10.1.0.0/24", said("True")),
            cidr("10.2.0.0/24", said("False")),
            going,
            cidr("10.2.0.0/24", said("True")),
            cidr("10.4.0.0/24", said("False")),
            cidr("fd00::/48", said("True")),
        ]);
        let ready: Vec<_> = networks
            .all
            .iter()
            .map(|network| (network.net.to_string(), network.ready))
            .collect();
        let wanted = [
            ("10.0.0.0/24", true),
            ("10.1.0.0/24", true),
            ("10.2.0.0/24", true),
            ("10.3.0.0/24", false),
            ("10.4.0.0/24", false),
        ];
        assert_eq!(ready, wanted.map(|(net, ready)| (net.to_string(), ready)));
    }
}
