//! What routes lead to: the endpoints of one port of one service, and which of them is next.
//!
//! Invariant: an upstream outlives the tables that lead to it, and its endpoints outlive changes of the list: connections that are kept, and requests that
//! are open, notice nothing of a reload. An endpoint that is no longer listed gets no new request.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::endpoint::{Endpoint, Protocol};

/// Up to this many endpoints all are compared; of more, a few that are next to each other in the round.
const COMPARED: usize = 8;

/// See the module.
pub struct Upstream {
    /// `namespace/service:port`, for logs.
    pub name: String,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    next: AtomicUsize,
}

impl Upstream {
    pub fn new(name: String) -> Self {
        Upstream {
            name,
            endpoints: ArcSwap::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// Puts these in the place of those that were listed; the same ones stay as they are.
    pub fn set(&self, addresses: &[SocketAddr], protocol: Protocol) {
        let old = self.endpoints.load();
        let same = |endpoint: &&Arc<Endpoint>, address: &SocketAddr| {
            endpoint.address == *address && endpoint.protocol == protocol
        };
        if old.len() == addresses.len() && old.iter().zip(addresses).all(|(e, a)| same(&e, a)) {
            return;
        }
        let by_address: HashMap<SocketAddr, &Arc<Endpoint>> = old
            .iter()
            .map(|endpoint| (endpoint.address, endpoint))
            .collect();
        let new = addresses.iter().map(|address| {
            match by_address
                .get(address)
                .filter(|endpoint| same(endpoint, address))
            {
                Some(endpoint) => Arc::clone(endpoint),
                None => Arc::new(Endpoint::new(*address, protocol)),
            }
        });
        let new = new.collect();
        self.endpoints.store(Arc::new(new));
    }

    /// The endpoint for a request: of those next in the round the one with the fewest open requests. Those that did not answer a moment ago, and those
    /// that the request has been at (`tried`), come last. None when there are no endpoints.
    pub fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        let count = endpoints.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % count.max(1);
        let cost = |endpoint: &&Arc<Endpoint>| {
            let been = tried.contains(&endpoint.address);
            (been, endpoint.is_avoided(), endpoint.open())
        };
        let mut best: Option<(&Arc<Endpoint>, (bool, bool, usize))> = None;
        for (seen, endpoint) in endpoints.iter().cycle().skip(first).take(count).enumerate() {
            if seen >= COMPARED && best.is_some_and(|(_, (been, avoided, _))| !been && !avoided) {
                break;
            }
            let cost = cost(&endpoint);
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((endpoint, cost));
            }
        }
        best.map(|(endpoint, _)| endpoint.clone())
    }
}

/// A port of a service, as backends name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortOf {
    /// Namespace and name.
    pub service: Arc<str>,
    /// The number that the service has for it; 0 for one that it has not.
    pub port: u16,
    pub protocol: Protocol,
}

/// All upstreams that any route leads to.
#[derive(Default)]
pub struct Upstreams(Mutex<HashMap<PortOf, Arc<Upstream>>>);

impl Upstreams {
    /// The upstream of a port, made when there is none.
    pub fn get(&self, port: PortOf) -> Arc<Upstream> {
        let mut all = self.0.lock();
        let made = all.entry(port);
        made.or_insert_with_key(|of| Arc::new(Upstream::new(format!("{}:{}", of.service, of.port))))
            .clone()
    }

    /// Forgets those that no table leads to any more; requests that are open keep theirs.
    pub fn keep(&self, used: impl Fn(&PortOf) -> bool) {
        self.0.lock().retain(|port, _| used(port));
    }

    /// Closes connections that nobody has used for long.
    pub fn close_idle(&self) {
        let all: Vec<_> = self.0.lock().values().cloned().collect();
        for upstream in all {
            for endpoint in upstream.endpoints.load().iter() {
                endpoint.close_idle();
            }
        }
    }
}
