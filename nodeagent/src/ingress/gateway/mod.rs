//! The Gateway API: gateways of our class, the HTTP routes that come to them, and what people are told of both.
//!
//! Invariant: the same objects give the same plan; what is wrong with one of them disturbs no other. The kinds are served once somebody has installed their
//! definitions. Layers, lowest first: `objects` and `grants`; `status`, `filters`; `watch`; `listeners` and `routes`.

pub mod filters;
mod grants;
mod listeners;
pub mod objects;
mod routes;
pub mod status;
#[cfg(test)]
mod tests;
pub mod watch;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use skiff_ingress::{
    listeners::{Listener, Listeners},
    treatment::Target,
    upstream::{PortOf, Upstreams},
};

use self::{
    listeners::{Judge, Judged, Ports},
    objects::{CONTROLLER, Gateway, GatewayClass, HttpRoute},
    routes::{Ours, Reader},
    status::{ListenerTold, Tell, Told},
    watch::Objects,
};
use super::{
    backend::Services,
    certificates::{ByListener, Kept},
};
use crate::network::view::ObjectName;

/// The class that a cluster has once the kind is defined.
pub const CLASS: &str = "skiff";

/// See the module.
#[derive(Default)]
pub struct Plan {
    pub listeners: Listeners<Arc<Target>>,
    /// By ports.
    pub certificates: HashMap<u16, ByListener>,
    /// The ports at which somebody has to listen, and whether with TLS.
    pub doors: BTreeMap<u16, bool>,
    pub used: HashSet<PortOf>,
    pub services: HashSet<ObjectName>,
    pub tell: Vec<Tell>,
    /// When the plan will be another though nothing changes: a certificate ends.
    pub next: Option<Timestamp>,
}

/// The oldest first; of equally old ones the first by name.
fn by_age<'a, O>(
    all: impl Iterator<Item = (&'a ObjectName, &'a O)>,
    meta: impl Fn(&O) -> &ObjectMeta,
) -> Vec<(&'a ObjectName, &'a O)> {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(name, of)| {
        let made = meta(of).creation_timestamp.as_ref().map(|time| time.0);
        (made, *name)
    });
    all
}

/// Makes the plan, and brings what it leads to up to date. `open` are the ports that are open in any case, with or without TLS.
pub fn plan(
    objects: &Objects,
    certificates: &Kept,
    services: &Services<'_>,
    upstreams: &Upstreams,
    now: Timestamp,
    open: &[(u16, bool)],
) -> Plan {
    let mut plan = Plan::default();
    let classes = classes(objects, &mut plan);
    let mut judge = Judge {
        certificates,
        objects,
        now,
        ports: Ports::new(open),
        next: None,
    };
    let ours = objects
        .gateways
        .iter()
        .filter(|(_, gateway)| classes.contains(gateway.spec.gateway_class_name.as_str()));
    let ours = by_age(ours, |gateway| &gateway.metadata).into_iter();
    let mut ours: Vec<_> = ours
        .map(|(name, gateway)| judged(&mut judge, name, gateway))
        .collect();
    plan.next = judge.next;
    let reader = Reader {
        objects,
        services,
        upstreams,
    };
    let mut tables: Vec<Vec<Listener<Arc<Target>>>> = ours
        .iter()
        .map(|of| {
            let listeners = of.listeners.iter();
            listeners
                .map(|of| Listener::new(of.hosts.clone()))
                .collect()
        })
        .collect();
    for (name, route) in by_age(objects.routes.iter(), |route| &route.metadata) {
        add_route(&mut plan, &reader, &mut ours, &mut tables, (name, route));
    }
    for (gateway, tables) in ours.into_iter().zip(tables) {
        add_gateway(&mut plan, gateway, tables);
    }
    plan
}

/// The names of our classes. All others are somebody else's.
fn classes<'a>(objects: &'a Objects, plan: &mut Plan) -> HashSet<&'a str> {
    let ours = |class: &&GatewayClass| class.spec.controller_name == CONTROLLER;
    let mut names = HashSet::new();
    for class in objects.classes.values().filter(ours) {
        let accepted = match &class.spec.parameters_ref {
            None => Told::yes("Accepted", "Accepted", "Nodes serve gateways of this class"),
            Some(_) => Told::no("Accepted", "InvalidParameters", "There are no parameters"),
        };
        if accepted.is {
            names.extend(class.metadata.name.as_deref());
        }
        let class = class.clone();
        plan.tell.push(Tell::Class { class, accepted });
    }
    names
}

/// A gateway with its listeners, as they were looked at.
fn judged<'a>(judge: &mut Judge<'_>, name: &'a ObjectName, gateway: &'a Gateway) -> Ours<'a> {
    let no = |reason, message: &str| Told::no("Accepted", reason, message);
    let spec = &gateway.spec;
    let accepted = if spec.infrastructure.parameters_ref.is_some() {
        no("InvalidParameters", "There are no parameters")
    } else if spec.addresses.iter().any(|of| !of.value.is_empty()) {
        no(
            "UnsupportedAddress",
            "Gateways have the addresses of the nodes, and no others",
        )
    } else {
        Told::yes("Accepted", "Accepted", "Nodes serve it")
    };
    let judged = spec.listeners.iter().filter(|_| accepted.is);
    let listeners: Vec<Judged> = judged
        .map(|of| judge.listener(gateway, &name.namespace, of))
        .collect();
    let usable = listeners.iter().filter(|of| of.is_usable()).count();
    let accepted = match usable == listeners.len() || !accepted.is {
        true => accepted,
        // those that can be are served
        false => Told {
            is: usable > 0,
            reason: "ListenersNotValid",
            message: "Not all of its listeners can be served".into(),
            ..accepted
        },
    };
    Ours {
        name,
        gateway,
        accepted,
        listeners,
    }
}

/// Brings a route to the listeners of its parents.
fn add_route(
    plan: &mut Plan,
    reader: &Reader<'_>,
    ours: &mut [Ours<'_>],
    tables: &mut [Vec<Listener<Arc<Target>>>],
    (name, route): (&ObjectName, &HttpRoute),
) {
    let mut parents: Vec<(Value, [Told; 2])> = Vec::new();
    let mut read = None;
    for parent in &route.spec.parent_refs {
        let gateway = routes::parent(parent, &name.namespace);
        let place = ours.iter().position(|of| Some(of.name) == gateway.as_ref());
        let Some(place) = place else { continue };
        let read = read.get_or_insert_with(|| reader.read(name, route));
        let resolved = match &read {
            Ok(read) => read.resolved.clone(),
            Err(_) => Told::yes("ResolvedRefs", "ResolvedRefs", "It was not looked at"),
        };
        let attached = routes::attach(reader.objects, &ours[place], (name, route), parent);
        let accepted = match (attached, read) {
            (Err(why), _) => why,
            (Ok(_), Err(why)) => Told::no("Accepted", "UnsupportedValue", why.to_string()),
            (Ok(attached), Ok(read)) => {
                for (listener, hosts) in attached {
                    ours[place].listeners[listener].attached += 1;
                    let table = &mut tables[place][listener];
                    for host in hosts {
                        for (of, to) in &read.rules {
                            table.add(host.clone(), of.clone(), to.clone());
                        }
                    }
                }
                Told::yes("Accepted", "Accepted", "Listeners take it")
            }
        };
        parents.push((parent.whole.clone(), [accepted, resolved]));
    }
    if let Some(Ok(read)) = read {
        plan.used.extend(read.used);
        plan.services.extend(read.services);
    }
    let route = Box::new(route.clone());
    plan.tell.push(Tell::Route { route, parents });
}

/// Puts a gateway's listeners in force.
fn add_gateway(plan: &mut Plan, gateway: Ours<'_>, tables: Vec<Listener<Arc<Target>>>) {
    let mut told = Vec::new();
    for (of, table) in gateway.listeners.into_iter().zip(tables) {
        let is_usable = of.is_usable();
        if is_usable {
            plan.doors.insert(of.port, of.tls);
            plan.listeners.add(of.port, table);
            if let Some(key) = of.certificates.first() {
                let at = plan.certificates.entry(of.port).or_default();
                at.push((of.hosts, key.clone()));
            }
        }
        told.push(ListenerTold {
            name: of.name,
            port: of.port,
            attached: of.attached,
            has_kind: of.has_kind,
            is_usable,
            conditions: [of.accepted, of.conflicted, of.resolved],
        });
    }
    plan.tell.push(Tell::Gateway {
        gateway: Box::new(gateway.gateway.clone()),
        accepted: gateway.accepted,
        listeners: told,
    });
}
