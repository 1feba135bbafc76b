//! What one service adds to the table of all, and the numbers of its endpoints.
//!
//! Invariant: the endpoints of a place are numbered from 0 without a hole, each once. An endpoint keeps its number for as long as there are so many of them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{
    super::nft::{Name, Rule},
    elements::{Key, Leads, Shared},
    node::Endpoint,
    plan::PortPlan,
};
use crate::network::protocol::Protocol;

/// Where a service answers.
type Place = (IpAddr, Protocol, u16);
/// Where an endpoint is.
type To = (IpAddr, u16);

/// What one service adds to the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Name to rules.
    pub chains: BTreeMap<Name, Vec<Rule>>,
    /// Sets that remember clients: name to timeout in seconds.
    pub affinity: BTreeMap<Name, u32>,
    pub elements: BTreeMap<(Shared, Key), Leads>,
}

impl Fragment {
    pub fn add(&mut self, to: Shared, key: Key, leads: Leads) {
        self.elements.insert((to, key), leads);
    }

    /// Numbers the endpoints of a service that has no chains.
    pub fn number(&mut self, plan: &PortPlan, endpoints: &[Endpoint]) {
        let place = (plan.cluster_ip, plan.protocol, plan.port);
        let to = endpoints
            .iter()
            .map(|endpoint| (endpoint.ip, endpoint.port));
        let count = self.put(place, to);
        let at = Key::At(plan.cluster_ip, plan.protocol, plan.port);
        self.add(Shared::ServiceIps, at, Leads::Pick(count));
    }

    /// Says how many there are.
    fn put(&mut self, (ip, protocol, port): Place, all: impl Iterator<Item = To>) -> u32 {
        let mut count = 0;
        for (to, to_port) in all {
            let key = Key::Nth(ip, protocol, port, count);
            self.add(Shared::Endpoints, key, Leads::To(to, to_port));
            count += 1;
        }
        count
    }

    /// Gives each endpoint the number that it has in `old`, as far as numbers go now; the others take those that are free. So it is a handful of
    /// elements that one endpoint changes, however many there are.
    pub fn keep_numbers(&mut self, old: &Fragment) {
        for place in self.places() {
            let before: HashMap<To, usize> = old.numbered(place).zip(0..).collect();
            if before.is_empty() {
                continue;
            }
            let all: Vec<To> = self.numbered(place).collect();
            let mut numbers = vec![None; all.len()];
            let mut others = Vec::new();
            for to in all {
                match before.get(&to).and_then(|number| numbers.get_mut(*number)) {
                    Some(its) => *its = Some(to),
                    None => others.push(to),
                }
            }
            let mut others = others.into_iter();
            let all = numbers
                .into_iter()
                .filter_map(|to| to.or_else(|| others.next()));
            self.put(place, all);
        }
    }

    /// How many endpoints it picks one of, at each place where it does.
    pub fn picks(&self) -> impl Iterator<Item = u32> {
        self.picking().map(|(_, count)| count)
    }

    fn places(&self) -> Vec<Place> {
        self.picking().map(|(place, _)| place).collect()
    }

    fn picking(&self) -> impl Iterator<Item = (Place, u32)> {
        self.elements
            .iter()
            .filter_map(|(at, leads)| match (at, leads) {
                ((Shared::ServiceIps, Key::At(ip, protocol, port)), Leads::Pick(count)) => {
                    Some(((*ip, *protocol, *port), *count))
                }
                _ => None,
            })
    }

    /// The endpoints of a place by their numbers.
    fn numbered(&self, (ip, protocol, port): Place) -> impl Iterator<Item = To> {
        let nth = |number| (Shared::Endpoints, Key::Nth(ip, protocol, port, number));
        let all = self.elements.range(nth(0)..=nth(u32::MAX));
        all.filter_map(|(_, leads)| match leads {
            Leads::To(ip, port) => Some((*ip, *port)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rules::tests::{last, plan},
        *,
    };

    fn fragment(endpoints: &[u8]) -> Fragment {
        let plan = plan("a", 1, &[]);
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|last| super::super::rules::tests::endpoint(*last))
            .collect();
        let mut fragment = Fragment::default();
        fragment.number(&plan, &endpoints);
        fragment
    }

    #[test]
    fn endpoints_keep_their_numbers() {
        let cases: [(&str, &[u8], &[u8], &[u8]); 8] = [
            ("the same", &[1, 2, 3], &[1, 2, 3], &[1, 2, 3]),
            ("the first leaves", &[1, 2, 3], &[2, 3], &[3, 2]),
            ("the last leaves", &[1, 2, 3], &[1, 2], &[1, 2]),
            ("one comes", &[2, 3], &[1, 2, 3], &[2, 3, 1]),
            ("one for another", &[1, 2, 3], &[2, 3, 4], &[4, 2, 3]),
            ("others", &[1, 2, 3], &[4, 5], &[4, 5]),
            ("from none", &[], &[1, 2], &[1, 2]),
            ("to none", &[1, 2], &[], &[]),
        ];
        for (what, before, after, wanted) in cases {
            let mut new = fragment(after);
            new.keep_numbers(&fragment(before));
            let place = ([10, 96, 0, 1].into(), Protocol::Tcp, 80);
            let lasts: Vec<_> = new.numbered(place).map(|(ip, _)| last(ip)).collect();
            assert_eq!(lasts, wanted, "{what}");
            assert_eq!(new.elements.len(), after.len() + 1, "{what}");
        }
    }
}
