//! The nodes and what the pods on them take, kept up to date change by change.
//!
//! Invariant: what is counted of a node is that of the pods counted on it, assumed ones included. Follows
//! `pkg/scheduler/backend/cache/{cache,node_tree}.go`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;

use crate::{
    node::NodeInfo,
    pod::PodInfo,
    tally::{Counts, Matcher, Tallies},
    terms::Held,
};

/// Terms that pods on nodes hold, by number; like ones are one.
#[derive(Default)]
struct HeldTerms {
    terms: Vec<Option<(Arc<Held>, usize)>>,
    numbers: HashMap<Arc<Held>, u32>,
}

impl HeldTerms {
    fn take(&mut self, held: Held) -> u32 {
        if let Some(number) = self.numbers.get(&held).copied() {
            if let Some(Some((_, users))) = self.terms.get_mut(number as usize) {
                *users += 1;
            }
            return number;
        }
        let held = Arc::new(held);
        let free = self
            .terms
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.terms.len());
        let entry = Some((held.clone(), 1));
        match self.terms.get_mut(free) {
            Some(slot) => *slot = entry,
            None => self.terms.push(entry),
        }
        self.numbers.insert(held, free as u32);
        free as u32
    }

    fn leave(&mut self, held: &Held) -> Option<u32> {
        let number = self.numbers.get(held).copied()?;
        let slot = self.terms.get_mut(number as usize)?;
        let last = slot.as_mut().is_none_or(|(_, users)| {
            *users -= 1;
            *users == 0
        });
        if last {
            *slot = None;
            self.numbers.remove(held);
        }
        Some(number)
    }
}

/// All nodes.
#[derive(Default)]
pub struct Cache {
    nodes: Vec<Option<NodeInfo>>,
    places: HashMap<String, usize>,
    /// The order in which nodes are looked at: of every zone in turn.
    order: Vec<usize>,
    /// Where each counted pod is.
    homes: HashMap<Arc<str>, String>,
    /// Pods on nodes that are not known (yet).
    homeless: HashMap<String, Vec<Arc<PodInfo>>>,
    tallies: RefCell<Tallies>,
    held: HeldTerms,
    /// How many nodes have an image.
    images: HashMap<String, usize>,
    /// How many pods use a claim, by namespace and name.
    claims: HashMap<(String, String), usize>,
}

impl Cache {
    /// All nodes, those of every zone in turn.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.order
            .iter()
            .filter_map(|place| self.nodes[*place].as_ref())
    }

    /// The nodes from one on, and then those before it.
    pub fn nodes_from(&self, start: usize) -> impl Iterator<Item = &NodeInfo> {
        let start = start.min(self.order.len());
        let (before, after) = self.order.split_at(start);
        after
            .iter()
            .chain(before)
            .filter_map(|place| self.nodes[*place].as_ref())
    }

    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(*self.places.get(name)?)?.as_ref()
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// How many pods of a kind each node has.
    pub fn count(&self, matcher: &Matcher) -> Counts {
        let all = self
            .nodes()
            .flat_map(|node| node.pods.values().map(|pod| (node.place, &**pod)));
        self.tallies.borrow_mut().of(matcher, self.nodes.len(), all)
    }

    /// A term that a node's pods hold.
    pub fn held(&self, number: u32) -> Option<&Arc<Held>> {
        self.held
            .terms
            .get(number as usize)?
            .as_ref()
            .map(|(held, _)| held)
    }

    /// How many nodes have an image.
    pub fn nodes_with(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or(0)
    }

    /// How many pods on nodes use a claim.
    pub fn users_of(&self, namespace: &str, claim: &str) -> usize {
        self.claims
            .get(&(namespace.to_string(), claim.to_string()))
            .copied()
            .unwrap_or(0)
    }

    fn change_images(&mut self, images: &HashMap<String, i64>, more: bool) {
        for name in images.keys() {
            let count = self.images.entry(name.clone()).or_default();
            *count = if more {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                self.images.remove(name);
            }
        }
    }

    fn reorder(&mut self) {
        let mut zones: BTreeMap<(&str, &str), Vec<(&str, usize)>> = BTreeMap::new();
        for node in self.nodes.iter().flatten() {
            zones
                .entry(node.zone())
                .or_default()
                .push((&node.name, node.place));
        }
        zones.values_mut().for_each(|nodes| nodes.sort_unstable());
        let longest = zones.values().map(Vec::len).max().unwrap_or(0);
        let turns =
            (0..longest).flat_map(|turn| zones.values().filter_map(move |nodes| nodes.get(turn)));
        self.order = turns.map(|(_, place)| *place).collect();
    }

    /// A node appeared or changed; gives what it was.
    pub fn put_node(&mut self, node: Arc<Node>) -> Option<Arc<Node>> {
        let name = node.metadata.name.clone().unwrap_or_default();
        if let Some(info) = self
            .places
            .get(&name)
            .and_then(|place| self.nodes[*place].as_mut())
        {
            let old = info.node.clone();
            let (zone, images) = (
                [info.zone().0, info.zone().1].map(String::from),
                info.images.clone(),
            );
            info.set(node);
            let (moved, now) = (
                info.zone() != (zone[0].as_str(), zone[1].as_str()),
                info.images.clone(),
            );
            if images != now {
                self.change_images(&images, false);
                self.change_images(&now, true);
            }
            if moved {
                self.reorder();
            }
            return Some(old);
        }
        let place = self
            .nodes
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.nodes.len());
        let info = NodeInfo::new(node, place);
        let images = info.images.clone();
        match self.nodes.get_mut(place) {
            Some(slot) => *slot = Some(info),
            None => self.nodes.push(Some(info)),
        }
        self.change_images(&images, true);
        self.places.insert(name.clone(), place);
        self.reorder();
        for pod in self.homeless.remove(&name).unwrap_or_default() {
            self.add(place, pod);
        }
        None
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(place) = self.places.remove(name) else {
            return;
        };
        let uids: Vec<Arc<str>> = self.nodes[place]
            .iter()
            .flat_map(|info| info.pods.keys().cloned())
            .collect();
        let pods: Vec<Arc<PodInfo>> = uids
            .iter()
            .filter_map(|uid| self.remove(place, uid))
            .collect();
        if !pods.is_empty() {
            self.homeless.insert(name.to_string(), pods);
        }
        if let Some(info) = self.nodes[place].take() {
            self.change_images(&info.images, false);
        }
        self.reorder();
    }

    fn add(&mut self, place: usize, pod: Arc<PodInfo>) {
        let Some(info) = self.nodes[place].as_mut() else {
            return;
        };
        for held in pod.terms.held() {
            *info.held.entry(self.held.take(held)).or_default() += 1;
        }
        self.tallies.get_mut().change(&pod, place, true);
        for claim in pod.claims() {
            *self
                .claims
                .entry((pod.namespace.clone(), claim.to_string()))
                .or_default() += 1;
        }
        info.add(pod);
    }

    fn remove(&mut self, place: usize, uid: &str) -> Option<Arc<PodInfo>> {
        let info = self.nodes[place].as_mut()?;
        let pod = info.remove(uid)?;
        for number in pod.terms.held().filter_map(|held| self.held.leave(&held)) {
            let left = info.held.get(&number).map_or(0, |count| count - 1);
            if left == 0 {
                info.held.remove(&number)
            } else {
                info.held.insert(number, left)
            };
        }
        self.tallies.get_mut().change(&pod, place, false);
        for claim in pod.claims() {
            let key = (pod.namespace.clone(), claim.to_string());
            let left = self.claims.get(&key).map_or(0, |count| count - 1);
            if left == 0 {
                self.claims.remove(&key)
            } else {
                self.claims.insert(key, left)
            };
        }
        Some(pod)
    }

    /// Counts a pod on a node; gives what was counted of it before.
    pub fn put_pod(&mut self, node: &str, pod: Arc<PodInfo>) -> Option<Arc<PodInfo>> {
        let old = self.remove_pod(&pod.uid.clone());
        self.homes.insert(pod.uid.clone(), node.to_string());
        match self.places.get(node).copied() {
            Some(place) => self.add(place, pod),
            None => self.homeless.entry(node.to_string()).or_default().push(pod),
        }
        old
    }

    /// Gives what was counted.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let home = self.homes.remove(uid)?;
        if let Some(place) = self.places.get(&home).copied() {
            return self.remove(place, uid);
        }
        let list = self.homeless.get_mut(&home)?;
        let found = list
            .iter()
            .position(|pod| &*pod.uid == uid)
            .map(|at| list.swap_remove(at));
        if list.is_empty() {
            self.homeless.remove(&home);
        }
        found
    }
}
