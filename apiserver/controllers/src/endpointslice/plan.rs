//! Which slices a service should have, and the smallest change from those that it has.
//!
//! Invariant: pure; endpoints stay in the slice where they are. Follows k8s.io/endpointslice/reconciler.go.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{Node, ObjectReference, Service},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_api::machinery::names::ip::{IPV4, IPV6, family_of_text};
use skiff_podspec::parts::{HasSpec, Meta};
use skiff_podspec::pod::Pod;

use super::{
    MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL,
    desired::{Desired, Endpoints, MOST, PortKey, desired, port_key, some},
    zones::asks_for_hints,
};
use crate::{
    informer::Informer,
    owners::controller_ref,
    service_pods::{self, HEADLESS, has_ip},
};

/// What is to be written.
#[derive(Default)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

impl Plan {
    /// Those that are neither written nor deleted.
    pub fn staying(&self, existing: &[Arc<EndpointSlice>]) -> Vec<Arc<EndpointSlice>> {
        let updated = self.update.iter().map(|slice| &slice.metadata.name);
        let deleted = self.delete.iter().map(|slice| &slice.metadata.name);
        let gone: HashSet<_> = updated.chain(deleted).collect();
        let stays = |slice: &&Arc<EndpointSlice>| !gone.contains(&slice.metadata.name);
        existing.iter().filter(stays).cloned().collect()
    }
}

/// Sets or removes an annotation.
pub fn annotate(slice: &mut EndpointSlice, key: &str, value: Option<String>) {
    match value {
        Some(value) => {
            slice
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(key.into(), value);
        }
        None => {
            if let Some(annotations) = &mut slice.metadata.annotations {
                annotations.remove(key);
            }
        }
    }
}

fn families(service: &Service) -> Vec<&'static str> {
    let named: Vec<_> = service
        .spec()
        .ip_families
        .iter()
        .flatten()
        .map(|f| if f == IPV6 { IPV6 } else { IPV4 })
        .collect();
    match service.spec().cluster_ip.as_deref() {
        _ if !named.is_empty() => named,
        Some(ip) if has_ip(service) => vec![family_of_text(ip)],
        _ => vec![IPV4, IPV6],
    }
}

/// The plan for one service, and what kept a pod out of it. `hint` is told of each family's part and of the slices that are there.
pub fn of_service(
    service: &Service,
    selected: &[Arc<Pod>],
    nodes: &Informer<Node>,
    existing: &[Arc<EndpointSlice>],
    mut hint: impl FnMut(&str, &mut Plan, &[Arc<EndpointSlice>]),
) -> (Plan, Option<String>) {
    let families = families(service);
    let mut plan = Plan::default();
    let mut missing = None;
    plan.delete.extend(
        existing
            .iter()
            .filter(|s| !families.contains(&s.address_type.as_str()))
            .cloned(),
    );
    for family in families {
        let of_family: Vec<_> = existing
            .iter()
            .filter(|s| s.address_type == family)
            .cloned()
            .collect();
        let (desired, absent) = desired(service, selected, nodes, family);
        missing = missing.or(absent);
        let mut part = of_family_plan(service, family, desired, &of_family);
        hint(family, &mut part, &of_family);
        plan.create.extend(part.create);
        plan.update.extend(part.update);
        plan.delete.extend(part.delete);
    }
    (plan, missing)
}

fn owned_by(slice: &EndpointSlice, service: &Service) -> bool {
    slice.metadata.owner_references.iter().flatten().any(|r| {
        Some(&r.uid) == service.metadata.uid.as_ref()
            && r.kind == "Service"
            && r.api_version == "v1"
    })
}

fn of_family_plan(
    service: &Service,
    family: &str,
    desired: Desired,
    existing: &[Arc<EndpointSlice>],
) -> Plan {
    let mut plan = Plan::default();
    let mut by_ports = BTreeMap::<PortKey, Vec<Arc<EndpointSlice>>>::new();
    for slice in existing {
        if owned_by(slice, service) {
            by_ports
                .entry(port_key(slice.ports.as_deref().unwrap_or(&[])))
                .or_default()
                .push(slice.clone());
        } else {
            plan.delete.push(slice.clone());
        }
    }
    let (labels, own) = labels_of(service);
    for (key, (ports, mut endpoints)) in desired {
        let slices = by_ports.remove(&key).unwrap_or_default();
        if asks_for_hints(service) {
            let known = slices
                .iter()
                .flat_map(|slice| slice.endpoints.iter().flatten());
            known.for_each(|known| endpoints.keep_hints(known));
        }
        let part = fit_into(&slices, endpoints, (&labels, &own), || {
            new_slice(service, family, ports.clone(), labels.clone())
        });
        plan.create.extend(part.create);
        plan.update.extend(part.update);
        plan.delete.extend(part.delete);
    }
    plan.delete.extend(by_ports.into_values().flatten());
    if plan.delete.len() == existing.len() && plan.create.is_empty() {
        let placeholder = new_slice(service, family, Vec::new(), labels);
        if plan.delete.len() == 1 && is_same_placeholder(&plan.delete[0], &placeholder) {
            plan.delete.clear();
        } else {
            plan.create.push(placeholder);
        }
    }
    reuse(service, &mut plan);
    plan
}

fn is_same_placeholder(slice: &EndpointSlice, placeholder: &EndpointSlice) -> bool {
    slice.endpoints.as_ref().is_none_or(Vec::is_empty)
        && slice.ports.as_ref().is_none_or(Vec::is_empty)
        && slice.metadata.labels == placeholder.metadata.labels
}

/// Turns a deletion and a creation into an update where it can.
fn reuse(service: &Service, plan: &mut Plan) {
    let mut kept = Vec::new();
    for old in std::mem::take(&mut plan.delete) {
        match plan.create.pop() {
            Some(mut new) if owned_by(&old, service) => {
                new.metadata.name = old.metadata.name.clone();
                plan.update.push(new);
            }
            other => {
                plan.create.extend(other);
                kept.push(old);
            }
        }
    }
    plan.delete = kept;
}

type Labels = BTreeMap<String, String>;
const RESERVED: [&str; 3] = [SERVICE_LABEL, MANAGED_BY_LABEL, HEADLESS];

fn without_reserved(labels: Option<&Labels>) -> Labels {
    labels
        .into_iter()
        .flatten()
        .filter(|(k, _)| !RESERVED.contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// The labels of the service's slices, and those of them that are the service's own.
fn labels_of(service: &Service) -> (Labels, Labels) {
    let own = without_reserved(service.metadata.labels.as_ref());
    let mut labels = own.clone();
    if !service_pods::has_ip(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_LABEL.into(), service.metadata.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    (labels, own)
}

fn new_slice(
    service: &Service,
    family: &str,
    ports: Vec<EndpointPort>,
    labels: Labels,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.metadata.name())),
            namespace: service.metadata.namespace.clone(),
            owner_references: Some(vec![controller_ref(service)]),
            labels: Some(labels),
            ..Default::default()
        },
        address_type: family.into(),
        endpoints: None,
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn same_beyond_identity(a: &Endpoint, b: &Endpoint) -> bool {
    let target = |e: &Endpoint| {
        e.target_ref.clone().map(|t| ObjectReference {
            resource_version: None,
            ..t
        })
    };
    (&a.node_name, &a.zone, &a.conditions, &a.hints, target(a))
        == (&b.node_name, &b.zone, &b.conditions, &b.hints, target(b))
}

/// Puts `desired` into slices of one set of ports: what stays in place, what is filled up, what is new.
pub fn fit_into(
    existing: &[Arc<EndpointSlice>],
    mut desired: Endpoints,
    labels: (&Labels, &Labels),
    make: impl Fn() -> EndpointSlice,
) -> Plan {
    let (labels, own) = labels;
    let mut plan = Plan::default();
    let mut unchanged = Vec::new();
    for slice in existing {
        let mut changed = false;
        let mut kept = Vec::new();
        for endpoint in slice.endpoints.iter().flatten() {
            match desired.take(endpoint) {
                Some(wanted) => {
                    changed |= !same_beyond_identity(&wanted, endpoint);
                    kept.push(wanted);
                }
                None => changed = true,
            }
        }
        if changed && kept.is_empty() {
            plan.delete.push(slice.clone());
        } else if changed || without_reserved(slice.metadata.labels.as_ref()) != *own {
            let mut slice = (**slice).clone();
            slice.endpoints = some(kept);
            slice.metadata.labels = Some(labels.clone());
            plan.update.push(slice);
        } else {
            unchanged.push(slice.clone());
        }
    }
    desired.all_placed();
    plan.update
        .sort_by_key(|slice| std::cmp::Reverse(slice.endpoints.as_ref().map_or(0, Vec::len)));
    for slice in &mut plan.update {
        desired.fill(slice);
    }
    while desired.len() > 0 {
        let room = |slice: &Arc<EndpointSlice>| {
            (MOST + 1).checked_sub(1 + desired.len() + slice.endpoints.as_ref().map_or(0, Vec::len))
        };
        let fitting = unchanged
            .iter()
            .enumerate()
            .filter_map(|(i, slice)| room(slice).map(|room| (room, i)))
            .min()
            .filter(|_| desired.len() < MOST);
        match fitting {
            Some((_, index)) => {
                let mut slice = (*unchanged.remove(index)).clone();
                desired.fill(&mut slice);
                plan.update.push(slice);
            }
            None => {
                let mut slice = make();
                desired.fill(&mut slice);
                plan.create.push(slice);
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointHints, ForZone};

    use super::*;

    fn endpoint(i: usize, ready: bool) -> Endpoint {
        Endpoint {
            addresses: vec![format!("10.0.0.{i}")],
            conditions: Some(EndpointConditions {
                ready: Some(ready),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn slice(name: &str, endpoints: impl Iterator<Item = usize>) -> Arc<EndpointSlice> {
        Arc::new(EndpointSlice {
            metadata: ObjectMeta {
                name: Some(name.into()),
                ..Default::default()
            },
            endpoints: Some(endpoints.map(|i| endpoint(i, true)).collect()),
            ..Default::default()
        })
    }

    fn plan(
        existing: &[Arc<EndpointSlice>],
        desired: impl Iterator<Item = Endpoint>,
    ) -> (Vec<usize>, Vec<(String, usize)>, usize) {
        let mut set = Endpoints::default();
        desired.for_each(|e| set.insert(e));
        let none = Labels::new();
        let plan = fit_into(existing, set, (&none, &none), EndpointSlice::default);
        let size = |s: &EndpointSlice| s.endpoints.as_ref().map_or(0, Vec::len);
        let updates = plan
            .update
            .iter()
            .map(|s| (s.metadata.name.clone().unwrap(), size(s)))
            .collect();
        (
            plan.create.iter().map(size).collect(),
            updates,
            plan.delete.len(),
        )
    }

    #[test]
    fn a_slice_that_becomes_another_keeps_what_its_name_is_made_of() {
        let mut service = Service::default();
        (service.metadata.name, service.metadata.uid) = (Some("s".into()), Some("u".into()));
        let named = |name: Option<&str>| EndpointSlice {
            metadata: ObjectMeta {
                name: name.map(Into::into),
                generate_name: Some("s-".into()),
                owner_references: Some(vec![controller_ref(&service)]),
                ..Default::default()
            },
            ..Default::default()
        };
        let mut plan = Plan {
            create: vec![named(None)],
            delete: vec![Arc::new(named(Some("s-abc")))],
            ..Default::default()
        };
        reuse(&service, &mut plan);
        assert!(plan.create.is_empty() && plan.delete.is_empty());
        assert_eq!(plan.update, [named(Some("s-abc"))]);
    }

    #[test]
    fn slices_are_filled_kept_and_dropped() {
        let ready = |range: std::ops::Range<usize>| range.map(|i| endpoint(i, true));
        assert_eq!(plan(&[], ready(0..250)), (vec![100, 100, 50], vec![], 0));
        assert_eq!(plan(&[slice("a", 0..3)], ready(0..3)), (vec![], vec![], 0));
        assert_eq!(
            plan(&[slice("a", 0..3)], ready(0..5)),
            (vec![], vec![("a".into(), 5)], 0)
        );
        assert_eq!(
            plan(&[slice("a", 0..100)], ready(0..101)),
            (vec![1], vec![], 0)
        );
        assert_eq!(
            plan(&[slice("a", 0..3), slice("b", 3..6)], ready(0..3)),
            (vec![], vec![], 1)
        );
        assert_eq!(
            plan(&[slice("a", 0..3), slice("b", 3..6)], ready(0..5)),
            (vec![], vec![("b".into(), 2)], 0)
        );
        assert_eq!(
            plan(&[slice("a", 0..1)], [endpoint(0, false)].into_iter()),
            (vec![], vec![("a".into(), 1)], 0)
        );
    }

    #[test]
    fn hints_that_change_are_written() {
        let with = |hints: Option<EndpointHints>| Endpoint {
            hints,
            ..endpoint(0, true)
        };
        let zone = || {
            Some(EndpointHints {
                for_zones: Some(vec![ForZone { name: "z".into() }]),
                for_nodes: None,
            })
        };
        let update = vec![("a".to_owned(), 1)];
        let changed = plan(&[slice("a", 0..1)], [with(zone())].into_iter());
        assert_eq!(changed, (vec![], update, 0));
        let mut hinted = (*slice("a", 0..1)).clone();
        hinted.endpoints = Some(vec![with(zone())]);
        let same = plan(&[Arc::new(hinted)], [with(zone())].into_iter());
        assert_eq!(same, (vec![], vec![], 0));
    }
}
