//! Which services an address belongs to, and the endpoints that DNS tells of.
//!
//! Invariant: kept by telling it of every change; follows the indices of CoreDNS' `kubernetes` plugin.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use k8s_openapi::api::core::v1::Service;

use super::super::view::{ClusterView, ObjectName, Slices};

/// By address: the services that have it as their ClusterIP, or as that of an endpoint.
#[derive(Debug, Default)]
pub struct Index {
    by_ip: HashMap<IpAddr, BTreeSet<ObjectName>>,
    ips: HashMap<ObjectName, BTreeSet<IpAddr>>,
    namespaces: HashMap<String, usize>,
    /// Grows with each change.
    pub serial: u32,
}

impl Index {
    pub(super) fn services_of(&self, ip: IpAddr) -> impl Iterator<Item = &ObjectName> {
        self.by_ip.get(&ip).into_iter().flatten()
    }

    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.services_in(namespace) > 0
    }

    pub(super) fn services_in(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).copied().unwrap_or(0)
    }

    /// Looks at a service as it is now.
    pub fn update(&mut self, name: &ObjectName, view: &ClusterView) {
        self.serial = self.serial.wrapping_add(1);
        let service = view.service(name);
        let was_there = self.ips.contains_key(name);
        for ip in self.ips.remove(name).unwrap_or_default() {
            if let Some(names) = self.by_ip.get_mut(&ip) {
                names.remove(name);
                if names.is_empty() {
                    self.by_ip.remove(&ip);
                }
            }
        }
        self.count(&name.namespace, was_there, service.is_some());
        let Some((service, slices)) = service else {
            return;
        };
        let ips: BTreeSet<_> = cluster_ips(&service)
            .into_iter()
            .chain(ready_ips(&slices))
            .collect();
        for ip in &ips {
            self.by_ip.entry(*ip).or_default().insert(name.clone());
        }
        self.ips.insert(name.clone(), ips);
    }

    fn count(&mut self, namespace: &str, was: bool, is: bool) {
        let count = self.namespaces.entry(namespace.to_owned()).or_default();
        *count = (*count + usize::from(is)).saturating_sub(usize::from(was));
        if *count == 0 {
            self.namespaces.remove(namespace);
        }
    }
}

/// A ready endpoint, and the ports of its slice: (name, protocol in small letters, number).
pub(super) struct Endpoint<'a> {
    pub ip: IpAddr,
    pub host: Cow<'a, str>,
    pub ports: Vec<(&'a str, &'static str, u16)>,
}

pub(super) fn endpoints(slices: &Slices) -> impl Iterator<Item = Endpoint<'_>> {
    slices.values().flat_map(|slice| {
        let ports = slice.ports.iter();
        let ports: Vec<_> = ports
            .map(|p| (&*p.name, p.protocol.name(), p.port))
            .collect();
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        ready.flat_map(move |endpoint| {
            let ports = ports.clone();
            endpoint.ips().map(move |ip| Endpoint {
                ip,
                host: match &endpoint.hostname {
                    Some(hostname) => Cow::Borrowed(&**hostname),
                    None => Cow::Owned(ip.to_string().replace(['.', ':'], "-")),
                },
                ports: ports.clone(),
            })
        })
    })
}

/// The addresses of ready endpoints.
fn ready_ips(slices: &Slices) -> impl Iterator<Item = IpAddr> {
    let endpoints = slices.values().flat_map(|slice| &slice.endpoints);
    endpoints.filter(|e| e.ready).flat_map(|e| e.ips())
}

pub(crate) fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let all: BTreeSet<_> = all.filter_map(|ip| ip.parse().ok()).collect();
    all.into_iter().collect()
}
