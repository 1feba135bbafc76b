//! How fast nodes are tainted for eviction, by how much of their zone is lost.
//!
//! Invariant: a zone that is wholly lost evicts at full speed, unless every zone is: then nobody evicts.
//! Follows pkg/controller/nodelifecycle/node_lifecycle_controller.go (handleDisruption) and scheduler/rate_limited_queue.go.

use std::collections::{BTreeMap, HashSet, VecDeque};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use skiff_podspec::parts::Meta;

use crate::clock::since;

/// `--node-eviction-rate`, nodes a second.
const RATE: f64 = 0.1;
/// `--secondary-node-eviction-rate`.
const SECOND_RATE: f64 = 0.01;
/// `--unhealthy-zone-threshold`.
const UNHEALTHY: f64 = 0.55;
/// `--large-cluster-size-threshold`.
const LARGE: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Initial,
    Normal,
    Partial,
    Full,
}

struct Zone {
    state: State,
    rate: f64,
    tokens: f64,
    filled: Option<Timestamp>,
    waiting: Line,
}

/// Nodes in the order in which they came, each once.
#[derive(Default)]
struct Line {
    order: VecDeque<String>,
    there: HashSet<String>,
}

impl Line {
    /// Behind the others, unless it waits already.
    fn join(&mut self, node: &str) {
        if self.there.insert(node.to_string()) {
            self.order.push_back(node.to_string());
        }
    }

    fn leave(&mut self, node: &str) {
        if self.there.remove(node) {
            self.order.retain(|waits| waits != node);
        }
    }

    fn next(&mut self) -> Option<String> {
        let node = self.order.pop_front()?;
        self.there.remove(&node);
        Some(node)
    }
}

/// All zones, by name.
#[derive(Default)]
pub struct Zones(BTreeMap<String, Zone>);

/// What a look at all zones shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing that concerns all.
    None,
    /// Not one node is ready any more.
    AllLost,
    /// After that, some are again.
    Found,
}

/// The name of a node's zone.
pub fn of(node: &Node) -> String {
    let label = |key: &str| node.metadata.label(key).unwrap_or("");
    format!(
        "{}/{}",
        label("topology.kubernetes.io/region"),
        label("topology.kubernetes.io/zone")
    )
}

fn state(ready: usize, lost: usize) -> State {
    if ready == 0 && lost > 0 {
        State::Full
    } else if lost > 2 && lost as f64 / (lost + ready) as f64 >= UNHEALTHY {
        State::Partial
    } else {
        State::Normal
    }
}

impl Zones {
    fn zone(&mut self, name: &str) -> &mut Zone {
        self.0.entry(name.to_string()).or_insert_with(|| Zone {
            state: State::Initial,
            rate: RATE,
            tokens: 1.0,
            filled: None,
            waiting: Line::default(),
        })
    }

    /// A node is to be tainted when its zone's turn comes.
    pub fn queue(&mut self, zone: &str, node: &str) {
        self.zone(zone).waiting.join(node);
    }

    /// A node whose turn it was could not be tainted: it waits behind the others. `unspent`: it was only that others wrote the node at the same time, and
    /// the turn is the zone's again.
    pub fn give_back(&mut self, zone: &str, node: &str, unspent: bool) {
        let zone = self.zone(zone);
        if unspent {
            zone.tokens = 1.0;
        }
        zone.waiting.join(node);
    }

    /// A node is not to be tainted after all.
    pub fn forget(&mut self, node: &str) {
        self.0.values_mut().for_each(|zone| {
            zone.waiting.leave(node);
        });
    }

    /// Takes note of each node's zone and whether it is ready.
    pub fn judge(&mut self, nodes: &[(String, bool)], _now: Timestamp) -> Turn {
        let mut counts = BTreeMap::<&str, (usize, usize)>::new();
        for (zone, ready) in nodes {
            let count = counts.entry(zone).or_default();
            if *ready { count.0 += 1 } else { count.1 += 1 }
        }
        self.0.retain(|name, zone| {
            counts.contains_key(name.as_str()) || !zone.waiting.order.is_empty()
        });
        let all_lost = !counts.is_empty()
            && counts
                .values()
                .all(|(ready, lost)| state(*ready, *lost) == State::Full);
        let was_lost = !self.0.is_empty() && self.0.values().all(|zone| zone.state == State::Full);
        for (name, (ready, lost)) in counts {
            let zone = self.zone(name);
            let new = state(ready, lost);
            zone.state = new;
            zone.rate = match new {
                _ if all_lost => 0.0,
                State::Partial if ready + lost > LARGE => SECOND_RATE,
                State::Partial => 0.0,
                _ => RATE,
            };
        }
        match (all_lost, was_lost) {
            (true, false) => Turn::AllLost,
            (false, true) => Turn::Found,
            _ => Turn::None,
        }
    }

    /// The nodes to taint now.
    pub fn due(&mut self, now: Timestamp) -> Vec<String> {
        let mut due = Vec::new();
        for zone in self.0.values_mut() {
            if zone.rate == 0.0 {
                zone.tokens = 0.0;
            } else if let Some(filled) = zone.filled {
                zone.tokens = (zone.tokens + since(now, filled).as_secs_f64() * zone.rate).min(1.0);
            }
            zone.filled = Some(now);
            while zone.tokens >= 1.0
                && let Some(node) = zone.waiting.next()
            {
                zone.tokens -= 1.0;
                due.push(node);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn nodes(zone: &str, ready: usize, lost: usize) -> Vec<(String, bool)> {
        (0..ready)
            .map(|_| (zone.to_string(), true))
            .chain((0..lost).map(|_| (zone.to_string(), false)))
            .collect()
    }

    #[test]
    fn one_node_in_ten_seconds() {
        let mut zones = Zones::default();
        zones.judge(&nodes("z", 3, 2), at(0));
        zones.queue("z", "a");
        zones.queue("z", "b");
        assert_eq!(zones.due(at(0)), ["a"]);
        assert!(zones.due(at(9)).is_empty());
        assert_eq!(zones.due(at(11)), ["b"]);
        zones.give_back("z", "b", true);
        assert_eq!(zones.due(at(11)), ["b"], "its turn was for nothing");
    }

    #[test]
    fn one_that_always_fails_keeps_nobody_waiting() {
        let mut zones = Zones::default();
        zones.judge(&nodes("z", 3, 3), at(0));
        for node in ["a", "b", "c", "a"] {
            zones.queue("z", node);
        }
        assert_eq!(zones.due(at(0)), ["a"]);
        zones.give_back("z", "a", false);
        assert!(zones.due(at(1)).is_empty(), "the turn is spent");
        // each look finds it lost, and it does not come forward by that
        zones.queue("z", "a");
        assert_eq!(zones.due(at(11)), ["b"]);
        // conflicts cost no turn, and no place in front of the others either
        zones.give_back("z", "b", true);
        assert_eq!(zones.due(at(11)), ["c"]);
        zones.forget("a");
        assert_eq!(zones.due(at(22)), ["b"]);
        assert!(zones.due(at(33)).is_empty());
    }

    #[test]
    fn nobody_is_evicted_when_all_are_lost_or_most_of_a_small_zone() {
        let mut zones = Zones::default();
        assert_eq!(zones.judge(&nodes("z", 1, 1), at(0)), Turn::None);
        assert_eq!(zones.judge(&nodes("z", 0, 2), at(1)), Turn::AllLost);
        zones.queue("z", "a");
        assert!(zones.due(at(100)).is_empty());
        assert_eq!(zones.judge(&nodes("z", 1, 1), at(101)), Turn::Found);
        assert_eq!(zones.judge(&nodes("z", 2, 3), at(102)), Turn::None);
        zones.queue("z", "a");
        assert!(zones.due(at(200)).is_empty(), "55 of a hundred or more");
    }
}
