//! What the proxy knows of the cluster besides services: Ingresses, IngressClasses, Secrets with certificates, and the objects of the Gateway API.
//!
//! Invariant: nothing is told before the lists of the first three were there once. Of a Secret no more is kept than what TLS needs.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::Secret,
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use parking_lot::Mutex;
use skiff_watching::{
    api::{Api, Kind},
    clock::Clock,
    events::Events,
    follow::{Seen, Selection, follow},
    unreadable::Unreadable,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    certificates::{Certificate, SECRET_TYPE},
    gateway::watch::{self as gateways, name_of},
    knowledge::{Knowledge, Known},
};

/// See the module.
pub struct Watched {
    knowledge: Mutex<Knowledge>,
    /// Counts changes, from the moment in which all lists are there.
    changes: watch::Sender<u64>,
}

impl Watched {
    pub fn new() -> Arc<Self> {
        Arc::new(Watched {
            knowledge: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// What is known now.
    pub fn knowledge(&self) -> Knowledge {
        self.knowledge.lock().clone()
    }

    /// Counts changes; 0 until all is there.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Follows the API until `stop`.
    pub async fn run(&self, api: &Api, clock: &Clock, events: &Events, stop: CancellationToken) {
        let unreadable = Unreadable::new(events);
        let all = Selection::default();
        let tls = Selection {
            field: Some(("type", SECRET_TYPE.into())),
            ..Selection::default()
        };
        let mut ingresses = follow::<Ingress>(api, clock, &unreadable, all.clone(), &stop);
        let mut classes = follow::<IngressClass>(api, clock, &unreadable, all, &stop);
        let mut secrets = follow::<Secret>(api, clock, &unreadable, tls, &stop);
        let mut gateways = gateways::changes(api, clock, &stop);
        let mut listed = [false; 3];
        loop {
            tokio::select! {
                Some(seen) = ingresses.recv() => {
                    listed[0] |= matches!(seen, Seen::Listed(_));
                    let map = |k: &mut Knowledge| apply(seen, &mut k.ingresses, name_of, Known::of);
                    self.quietly(map);
                }
                Some(seen) = classes.recv() => {
                    listed[1] |= matches!(seen, Seen::Listed(_));
                    let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
                    self.quietly(|k| apply(seen, &mut k.classes, name, Arc::new));
                }
                Some(seen) = secrets.recv() => {
                    listed[2] |= matches!(seen, Seen::Listed(_));
                    self.quietly(|k| apply(seen, &mut k.certificates, name_of, |s| Certificate::of(&s)));
                }
                Some(change) = gateways.recv() => self.quietly(|k| k.gateways.apply(change)),
                else => return,
            }
            if listed == [true; 3] {
                self.changes.send_modify(|count| *count += 1);
            }
        }
    }

    fn quietly(&self, how: impl FnOnce(&mut Knowledge)) {
        how(&mut self.knowledge.lock());
    }
}

/// Brings a map up to date.
fn apply<K: Kind, N: Ord, V>(
    seen: Seen<K>,
    to: &mut BTreeMap<N, V>,
    name: impl Fn(&ObjectMeta) -> N,
    read: impl Fn(K) -> V,
) {
    match seen {
        Seen::Listed(all) => {
            let named = all.into_iter();
            *to = named
                .map(|object| (name(object.meta()), read(object)))
                .collect();
        }
        Seen::Applied(object) => drop(to.insert(name(object.meta()), read(object))),
        Seen::Deleted(object) => drop(to.remove(&name(object.meta()))),
    }
}
