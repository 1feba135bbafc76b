//! What is in a set: the addresses of pods, with ports where it is of both.
//!
//! Invariant: pure. An element is in a set as long as one pod brings it, and a pod brings its own alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use super::{
    read::Peer,
    rules::SetKey,
    view::{Labels, NamedPort, Pod},
};

/// An address, with a port where the set is of both.
pub type Element = (IpAddr, Option<u16>);

/// A set and the chains that refer to it.
pub struct Members {
    pub key: SetKey,
    pub users: usize,
    pub by_pod: HashMap<String, Vec<Element>>,
    pub counts: BTreeMap<Element, usize>,
}

impl Members {
    /// Gives a pod these elements instead of those it had; answers which came or went.
    pub fn place(&mut self, uid: &str, new: Vec<Element>) -> Vec<Element> {
        let mut touched = Vec::new();
        if self.by_pod.get(uid).map_or(&[][..], Vec::as_slice) == new.as_slice() {
            return touched;
        }
        for element in &new {
            let count = self.counts.entry(*element).or_default();
            *count += 1;
            if *count == 1 {
                touched.push(*element);
            }
        }
        let old = if new.is_empty() {
            self.by_pod.remove(uid)
        } else {
            self.by_pod.insert(uid.to_owned(), new)
        };
        for element in old.into_iter().flatten() {
            if let Some(count) = self.counts.get_mut(&element) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&element);
                    touched.push(element);
                }
            }
        }
        touched
    }
}

/// What a pod adds to a set.
pub fn elements(
    key: &SetKey,
    pod: &Pod,
    own: &[IpAddr],
    namespaces: &HashMap<String, Labels>,
) -> Vec<Element> {
    let ips = || {
        let further = own.iter().copied().filter(|own| !pod.ips.contains(own));
        pod.ips.iter().copied().chain(further)
    };
    let (peer, protocol, name) = match key {
        SetKey::Pods(peer) if !peer.matches(pod, namespaces) => return Vec::new(),
        SetKey::Pods(_) => return ips().map(|ip| (ip, None)).collect(),
        SetKey::Ports {
            peer,
            protocol,
            name,
        } => (peer, protocol, name),
    };
    let fits = |port: &&NamedPort| port.protocol == *protocol && port.name == *name;
    let is_peer = |ip: &IpAddr| match peer {
        Peer::Everyone => true,
        Peer::Pods(peer) => peer.matches(pod, namespaces),
        Peer::Addresses(ranges) => ranges.iter().any(|(a, b)| (a..=b).contains(&ip)),
    };
    let ports: BTreeSet<_> = pod.ports.iter().filter(fits).map(|p| p.port).collect();
    let mut found = Vec::new();
    if !ports.is_empty() {
        for ip in ips().filter(is_peer) {
            found.extend(ports.iter().map(|port| (ip, Some(*port))));
        }
    }
    found
}
