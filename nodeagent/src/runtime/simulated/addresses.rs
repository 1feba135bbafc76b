//! The addresses of simulated pods.
//!
//! Invariant: a pod has one of each network of its node, or none at all.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use crate::network::next_free;

/// The node's networks, each with the address that was given last, and what is taken of them.
pub struct Addresses {
    ranges: Vec<(IpNet, Option<IpAddr>)>,
    taken: BTreeSet<IpAddr>,
}

impl Addresses {
    pub fn of(ranges: &[IpNet]) -> Addresses {
        Addresses {
            ranges: ranges.iter().map(|range| (*range, None)).collect(),
            taken: BTreeSet::new(),
        }
    }

    /// The next free address of each network.
    pub fn take(&mut self) -> Option<Vec<IpAddr>> {
        let free = |(range, last): &(IpNet, Option<IpAddr>)| next_free(*range, *last, &self.taken);
        let ips: Vec<IpAddr> = self.ranges.iter().map(free).collect::<Option<_>>()?;
        for ((_, last), ip) in self.ranges.iter_mut().zip(&ips) {
            *last = Some(*ip);
            self.taken.insert(*ip);
        }
        Some(ips)
    }

    pub fn give_back(&mut self, ips: &[IpAddr]) {
        self.taken.retain(|ip| !ips.contains(ip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_once() {
        let mut addresses = Addresses::of(&["10.0.0.0/29".parse().unwrap()]);
        let given: Vec<String> = std::iter::from_fn(|| addresses.take())
            .map(|ips| ips[0].to_string())
            .collect();
        assert_eq!(
            given,
            ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
        );
        addresses.give_back(&["10.0.0.4".parse().unwrap()]);
        assert_eq!(addresses.take().unwrap()[0].to_string(), "10.0.0.4");
    }

    #[test]
    fn where_one_network_has_none_left_none_is_taken_of_the_other() {
        let ranges = ["10.0.0.0/30", "fd00::/64"].map(|range| range.parse().unwrap());
        let mut addresses = Addresses::of(&ranges);
        let taken = addresses.take().unwrap();
        let texts: Vec<_> = taken.iter().map(IpAddr::to_string).collect();
        assert_eq!(texts, ["10.0.0.2", "fd00::2"]);
        assert_eq!(addresses.take(), None);
        assert_eq!(addresses.taken.len(), 2);
        addresses.give_back(&taken);
        assert!(addresses.take().is_some());
    }
}
