//! The EndpointSlice mirroring controller: Endpoints that were made by hand, for services without a selector, as slices.
//!
//! Invariant: one slice for each set of ports and family of addresses. Follows pkg/controller/endpointslicemirroring.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointPort as OldPort, Endpoints, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use skiff_api::machinery::names::ip::family;

use crate::{
    endpointslice::{MANAGED_BY_LABEL, SERVICE_LABEL, is_managed_by, ports::in_order, service_of},
    owners::controller_ref,
    prelude::*,
    service_pods::TRIGGER_TIME,
    subsets::Packer,
};

const MANAGED_BY: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How many addresses of a subset are mirrored.
const MOST: usize = 1000;

struct Controller {
    api: Api,
    recorder: Recorder,
    endpoints: Informer<Endpoints>,
    services: Informer<Service>,
    slices: Fresh<EndpointSlice>,
}

/// `endpointslice-mirroring-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "endpoint_slice_mirroring",
        Controller {
            api: context.api.clone(),
            recorder: context.recorder("endpoint-slice-mirroring-controller"),
            endpoints: context.informer(),
            services: context.informer(),
            slices: context.fresh(),
        },
    );
    c.each(&c.endpoints);
    c.on(&c.services, |c, change, queue| {
        let key = Key::of(&change.object().metadata);
        if c.endpoints.get(&key).is_some() {
            queue.add(key);
        }
    });
    c.on(&c.slices, |_, change, queue| {
        if let Change::Deleted(slice) | Change::Updated { new: slice, .. } = change
            && is_managed_by(slice, MANAGED_BY)
            && let Some(key) = service_of(slice)
        {
            queue.add(key);
        }
    });
    Ok(c.workers())
}

fn should_mirror(endpoints: &Endpoints) -> bool {
    let labelled = endpoints.metadata.label(SKIP) == Some("true");
    !labelled && endpoints.metadata.annotation(LEADER).is_none()
}

/// Family, and ports in a fixed order.
type SliceKey = (
    String,
    Vec<(Option<String>, Option<i32>, Option<String>, Option<String>)>,
);

fn key_of(family: &str, ports: &[EndpointPort]) -> SliceKey {
    let mut ports: Vec<_> = ports
        .iter()
        .map(|p| {
            (
                Some(p.name.clone().unwrap_or_default()),
                p.port,
                p.protocol.clone(),
                p.app_protocol.clone(),
            )
        })
        .collect();
    ports.sort();
    (family.to_string(), ports)
}

fn mirrored_port(port: &OldPort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    }
}

fn mirrored(address: &EndpointAddress, ready: bool) -> Option<(&'static str, Endpoint)> {
    let ip: IpAddr = address.ip.parse().ok()?;
    let endpoint = Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..Default::default()
        }),
        target_ref: address.target_ref.clone(),
        node_name: address.node_name.clone(),
        hostname: address.hostname.clone().filter(|h| !h.is_empty()),
        ..Default::default()
    };
    Some((family(&ip), endpoint))
}

type Desired = BTreeMap<SliceKey, (Vec<EndpointPort>, Vec<Endpoint>)>;

/// The endpoints by slice, and how many addresses were no addresses, and how many in all were left out.
fn desired(endpoints: &Endpoints) -> (Desired, usize, usize) {
    let (mut desired, mut invalid, mut skipped) = (Desired::new(), 0, 0);
    let mut packer = Packer::default();
    endpoints
        .subsets
        .iter()
        .flatten()
        .for_each(|subset| packer.add_subset(subset));
    for subset in packer.packed() {
        let ports = subset.ports.iter().flatten().map(mirrored_port);
        let ports = in_order(ports.collect());
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let (mut taken, mut seen) = (0, 0);
        for (address, ready) in ready.chain(
            subset
                .not_ready_addresses
                .iter()
                .flatten()
                .map(|a| (a, false)),
        ) {
            seen += 1;
            if taken >= MOST {
                continue;
            }
            match mirrored(address, ready) {
                None => invalid += 1,
                Some((family, endpoint)) => {
                    taken += 1;
                    desired
                        .entry(key_of(family, &ports))
                        .or_insert_with(|| (ports.clone(), Vec::new()))
                        .1
                        .push(endpoint);
                }
            }
        }
        skipped += seen - taken;
    }
    (desired, invalid, skipped)
}

fn slice(
    endpoints: &Endpoints,
    family: String,
    ports: Vec<EndpointPort>,
    list: Vec<Endpoint>,
) -> EndpointSlice {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_LABEL.into(), endpoints.metadata.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| key != TRIGGER_TIME && key != LAST_APPLIED);
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", endpoints.metadata.name())),
            namespace: endpoints.metadata.namespace.clone(),
            owner_references: Some(vec![controller_ref(endpoints)]),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..Default::default()
        },
        address_type: family,
        endpoints: Some(list),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn is_same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    let owner = |s: &EndpointSlice| {
        s.metadata
            .owner_references
            .iter()
            .flatten()
            .map(|r| r.uid.clone())
            .collect::<Vec<_>>()
    };
    let empty = |map: &Option<BTreeMap<String, String>>| map.clone().unwrap_or_default();
    a.endpoints == b.endpoints
        && empty(&a.metadata.labels) == empty(&b.metadata.labels)
        && empty(&a.metadata.annotations) == empty(&b.metadata.annotations)
        && owner(a) == owner(b)
}

type Existing = BTreeMap<SliceKey, Vec<Arc<EndpointSlice>>>;

/// What is to be done with slices.
#[derive(Default)]
struct Plan {
    create: Vec<EndpointSlice>,
    update: Vec<EndpointSlice>,
    delete: Vec<Arc<EndpointSlice>>,
}

/// One slice for each family and set of ports; one that is not wanted any more becomes another of its family rather than being deleted.
fn plan(endpoints: &Endpoints, desired: Desired, mut existing: Existing) -> Plan {
    let renamed = |mut new: EndpointSlice, old: &EndpointSlice| {
        new.metadata.name = old.metadata.name.clone();
        new
    };
    let mut plan = Plan::default();
    for (slice_key, (ports, list)) in desired {
        let new = slice(endpoints, slice_key.0.clone(), ports, list);
        let mut old = existing.remove(&slice_key).unwrap_or_default().into_iter();
        match old.next() {
            Some(old) if is_same(&old, &new) => {}
            Some(old) => {
                // what is there is written anew under its name alone; one that becomes another keeps what names are made of
                let mut new = renamed(new, &old);
                new.metadata.generate_name = None;
                plan.update.push(new);
            }
            None => plan.create.push(new),
        }
        plan.delete.extend(old);
    }
    plan.delete.extend(existing.into_values().flatten());
    for new in std::mem::take(&mut plan.create) {
        let of_family = |old: &Arc<EndpointSlice>| old.address_type == new.address_type;
        match plan.delete.iter().position(of_family) {
            Some(place) => plan.update.push(renamed(new, &plan.delete.remove(place))),
            None => plan.create.push(new),
        }
    }
    plan
}

impl Controller {
    async fn delete(
        &self,
        slices: impl IntoIterator<Item = Arc<EndpointSlice>>,
    ) -> Result<(), Error> {
        for slice in slices {
            self.api
                .remove::<EndpointSlice>(&Key::of(&slice.metadata))
                .await?;
        }
        Ok(())
    }

    async fn mirror(
        &self,
        key: &Key,
        endpoints: &Endpoints,
        existing: Vec<Arc<EndpointSlice>>,
    ) -> Result<(), Error> {
        let (desired, invalid, skipped) = desired(endpoints);
        if invalid > 0 {
            let message =
                format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
            self.recorder
                .warning(endpoints, "InvalidIPAddress", message);
        }
        if skipped > invalid {
            let message = format!(
                "A max of {MOST} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
            );
            self.recorder
                .warning(endpoints, "TooManyAddressesToMirror", message);
        }
        let mut by_key = Existing::new();
        for old in existing {
            by_key
                .entry(key_of(
                    &old.address_type,
                    old.ports.as_deref().unwrap_or(&[]),
                ))
                .or_default()
                .push(old);
        }
        let plan = plan(endpoints, desired, by_key);
        for new in plan.create {
            match self.api.create(&new).await {
                Err(e) if e.is_namespace_terminating() => return Ok(()),
                made => self.slices.note(key, &made?.metadata),
            }
        }
        for new in plan.update {
            let written = self.api.update(&new).await?;
            self.slices.note(key, &written.metadata);
        }
        self.delete(plan.delete).await
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "endpointslice-mirroring-controller";
    const RETRY: Retry = Retry::from(Duration::from_secs(1));

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.slices.catch_up(key).await;
        let mut existing = self.slices.in_group(key.name());
        existing.retain(|slice| {
            slice.metadata.namespace.as_deref() == Some(key.namespace())
                && is_managed_by(slice, MANAGED_BY)
        });
        let endpoints = self
            .endpoints
            .get(key)
            .filter(|endpoints| should_mirror(endpoints));
        let by_hand = self
            .services
            .get(key)
            .is_some_and(|service| service.spec.as_ref().is_some_and(|s| s.selector.is_none()));
        match endpoints {
            Some(endpoints) if by_hand => self.mirror(key, &endpoints, existing).await?,
            _ => self.delete(existing).await?,
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::EndpointSubset;

    #[test]
    fn a_slice_for_each_family_and_set_of_ports() {
        let address = |ip: &str| EndpointAddress {
            ip: ip.into(),
            ..Default::default()
        };
        let subset = |ips: &[&str], port| EndpointSubset {
            addresses: Some(ips.iter().map(|ip| address(ip)).collect()),
            not_ready_addresses: None,
            ports: Some(vec![OldPort {
                port,
                ..Default::default()
            }]),
        };
        let endpoints = Endpoints {
            subsets: Some(vec![
                subset(&["192.0.2.1", "2001:db8::1", "nonsense"], 80),
                subset(&["192.0.2.2"], 81),
            ]),
            ..Default::default()
        };
        let (wanted, invalid, skipped) = desired(&endpoints);
        assert_eq!((wanted.len(), invalid, skipped), (3, 1, 1));
        // a slice of each family with other ports, and one more
        let old = |name: &str, family: &str, port| {
            let mut slice = EndpointSlice {
                address_type: family.into(),
                ports: Some(vec![EndpointPort {
                    port: Some(port),
                    ..Default::default()
                }]),
                ..Default::default()
            };
            slice.metadata.name = Some(name.into());
            let key = key_of(family, slice.ports.as_deref().unwrap());
            (key, vec![Arc::new(slice)])
        };
        let existing = [
            old("four", "IPv4", 1),
            old("six", "IPv6", 1),
            old("too-much", "IPv6", 2),
        ];
        let plan = plan(&endpoints, wanted, existing.into());
        let name = |slice: &EndpointSlice| slice.metadata.name.clone().unwrap_or_default();
        let mut updated: Vec<_> = plan.update.iter().map(name).collect();
        updated.sort();
        assert_eq!(updated, ["four", "six"]);
        assert_eq!(plan.create.len(), 1);
        assert_eq!(
            plan.delete.iter().map(|s| name(s)).collect::<Vec<_>>(),
            ["too-much"]
        );
    }
}
