//! The Endpoints controller: for each service with a selector, the older Endpoints object of its name.
//!
//! Invariant: addresses stand once for each set of ports that they have in common; past 1,000 the object says that it is cut.
//! Follows pkg/controller/endpoint/endpoints_controller.go and pkg/api/v1/endpoints/util.go (RepackSubsets).

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_api::machinery::names::ip::IPV6;
use skiff_podspec::pod::Pod;

use crate::{
    pods,
    prelude::*,
    service_pods::{
        self, HEADLESS, TRIGGER_TIME, TriggerTimes, find_port, has_ip, is_endpoint,
        publishes_unready,
    },
    subsets::Packer,
};

const CAPACITY: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The label that tells Endpoints made here from those made by hand.
pub const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

struct Controller {
    api: Api,
    recorder: Recorder,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Fresh<Endpoints>,
    times: TriggerTimes,
}

/// `endpoints-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "endpoint",
        Controller {
            api: context.api.clone(),
            recorder: context.recorder("endpoint-controller"),
            services: context.informer(),
            pods: context.informer(),
            endpoints: context.fresh(),
            times: TriggerTimes::default(),
        },
    );
    c.each(&c.services);
    c.on(&c.pods, |c, change, queue| {
        service_pods::wake(change, &c.services, queue)
    });
    c.each_if(&c.endpoints, |change| matches!(change, Change::Deleted(_)));
    let (controller, queue) = c.parts();
    let left_behind = async move {
        // what services left behind that went while nobody watched; whoever makes some without a service later is left alone
        let endpoints = controller.endpoints.list();
        wake(
            &queue,
            endpoints
                .into_iter()
                .filter(|endpoints| !is_lock(endpoints)),
        );
    };
    Ok(c.workers_and(left_behind))
}

/// Whether they only hold who is the leader of something.
fn is_lock(endpoints: &Endpoints) -> bool {
    endpoints
        .metadata
        .annotation("control-plane.alpha.kubernetes.io/leader")
        .is_some()
}

/// Subsets in which every address stands once for each set of ports.
fn subsets(service: &Service, selected: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let mut packer = Packer::default();
    let spec = service.spec();
    for pod in selected
        .iter()
        .filter(|pod| is_endpoint(pod, publishes_unready(service)))
    {
        let Some(address) = address(service, pod) else {
            continue;
        };
        let ready = publishes_unready(service) || pods::is_ready(pod);
        if spec.ports.as_ref().is_none_or(Vec::is_empty) && !has_ip(service) {
            packer.add(None, &address, ready);
        }
        for port in spec.ports.iter().flatten() {
            if let Some(number) = find_port(pod, port) {
                let (name, protocol, app_protocol) = (
                    port.name.clone(),
                    port.protocol.clone(),
                    port.app_protocol.clone(),
                );
                packer.add(
                    Some(&EndpointPort {
                        name,
                        port: number,
                        protocol,
                        app_protocol,
                    }),
                    &address,
                    ready,
                );
            }
        }
    }
    packer.packed()
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let spec = service.spec();
    let six = |ip: &String| ip.contains(':');
    // the service's first family; where it names none, its address', and of one without an address the pod's own
    let wants_v6 = match spec.ip_families.as_ref().and_then(|f| f.first()) {
        Some(family) => family == IPV6,
        None if has_ip(service) => spec.cluster_ip.as_ref().is_some_and(six),
        None => pod.status().pod_ip.as_ref().is_some_and(six),
    };
    Some(EndpointAddress {
        ip: service_pods::ips_of(pod, wants_v6).next()?,
        hostname: service_pods::hostname(pod, service),
        node_name: pod.spec().node_name.clone(),
        target_ref: Some(service_pods::reference(pod)),
    })
}

/// Cuts to [`CAPACITY`] addresses, the not ready ones first; true when something was cut.
fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let count = |of: fn(&EndpointSubset) -> &Option<Vec<EndpointAddress>>,
                 subsets: &[EndpointSubset]|
     -> usize {
        subsets
            .iter()
            .filter_map(|s| of(s).as_ref())
            .map(Vec::len)
            .sum()
    };
    let (ready, unready) = (
        count(|s| &s.addresses, subsets),
        count(|s| &s.not_ready_addresses, subsets),
    );
    if ready + unready <= CAPACITY {
        return false;
    }
    let cut_ready = ready > CAPACITY;
    let (room, total) = if cut_ready {
        (CAPACITY, ready)
    } else {
        (CAPACITY - ready, unready)
    };
    let mut left = room;
    for subset in subsets {
        if cut_ready {
            subset.not_ready_addresses = None;
        }
        let list = if cut_ready {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        let Some(addresses) = list else { continue };
        addresses.truncate((addresses.len() * room).div_ceil(total).min(left));
        left -= addresses.len();
        if addresses.is_empty() {
            *list = None;
        }
    }
    true
}

/// The object as it should be, with the annotations that it has.
fn desired(
    service: &Service,
    current: Option<&Endpoints>,
    mut subsets: Vec<EndpointSubset>,
    time: Option<String>,
) -> Endpoints {
    let mut metadata = current.map_or_else(
        || ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..Default::default()
        },
        |current| current.metadata.clone(),
    );
    let cut = truncate(&mut subsets);
    let annotations = metadata.annotations.get_or_insert_default();
    for (key, value) in [
        (TRIGGER_TIME, time),
        (OVER_CAPACITY, cut.then(|| "truncated".to_string())),
    ] {
        match value {
            Some(value) => annotations.insert(key.into(), value),
            None => annotations.remove(key),
        };
    }
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if !has_ip(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
    metadata.labels = Some(labels);
    Endpoints {
        metadata,
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "endpoints-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.endpoints.catch_up(key).await;
        let Some(service) = self.services.get(key) else {
            self.times.forget(key);
            if self.endpoints.get(key).is_some() {
                self.api.remove::<Endpoints>(key).await?;
            }
            return Ok(Next::DONE);
        };
        if !service_pods::has_selector(&service) {
            return Ok(Next::DONE);
        }
        let selected = service_pods::pods_of(&service, &self.pods);
        let next = Next::DONE.resting(selected.len());
        let current = self.endpoints.get(key);
        let time = self
            .times
            .next(key, &service, &selected)
            .map(|t| t.to_string());
        let wanted = subsets(&service, &selected);
        let new = desired(&service, current.as_deref(), wanted, time);
        if let Some(current) = &current
            && current.metadata.labels == new.metadata.labels
            && same_subsets(
                current.subsets.as_deref().unwrap_or(&[]),
                new.subsets.as_deref().unwrap_or(&[]),
            )
        {
            return Ok(next);
        }
        let written = if current.is_some() {
            self.api.update(&new).await.map(|e| e.metadata)
        } else {
            self.api.create_quietly(&new).await
        };
        match written {
            Ok(meta) => self.endpoints.note(key, &meta),
            Err(e) if e.is_namespace_terminating() => return Ok(Next::DONE),
            Err(e) => {
                let (reason, what) = match current.is_some() {
                    true => ("FailedToUpdateEndpoint", "update endpoint"),
                    false => ("FailedToCreateEndpoint", "create endpoint for service"),
                };
                let message = format!("Failed to {what} {key}: {e}");
                self.recorder.warning(&new, reason, message);
                return Err(e);
            }
        }
        Ok(next)
    }
}

/// Whether two lists of subsets hold the same, in whatever order.
fn same_subsets(a: &[EndpointSubset], b: &[EndpointSubset]) -> bool {
    fn text(subset: &EndpointSubset) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
        let addresses = |list: &Option<Vec<EndpointAddress>>| {
            list.iter().flatten().map(|a| format!("{a:?}")).collect()
        };
        (
            addresses(&subset.addresses),
            addresses(&subset.not_ready_addresses),
            subset
                .ports
                .iter()
                .flatten()
                .map(|p| format!("{p:?}"))
                .collect(),
        )
    }
    let set = |list: &[EndpointSubset]| list.iter().map(text).collect::<BTreeSet<_>>();
    a.len() == b.len() && (a == b || set(a) == set(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;
    use k8s_openapi::{
        api::core::v1::{PodIP, ServicePort, ServiceSpec},
        apimachinery::pkg::util::intstr::IntOrString,
    };

    fn with_ip(name: &str, ip: &str, ready: bool) -> Arc<Pod> {
        let mut pod = pod(name, "n", "Running", ready.then_some(1));
        pod.status.as_mut().unwrap().pod_ips = Some(vec![PodIP { ip: ip.into() }]);
        Arc::new(pod)
    }

    fn service(ports: &[(&str, i32)]) -> Service {
        let port = |(name, port): &(&str, i32)| ServicePort {
            name: Some(name.to_string()),
            port: *port,
            target_port: Some(IntOrString::Int(*port)),
            ..Default::default()
        };
        Service {
            spec: Some(ServiceSpec {
                ports: Some(ports.iter().map(port).collect()),
                cluster_ip: Some("10.96.0.1".into()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn ports_with_the_same_addresses_share_a_subset() {
        let got = subsets(
            &service(&[("a", 80), ("b", 81)]),
            &[
                with_ip("p", "10.0.0.1", true),
                with_ip("q", "10.0.0.2", false),
            ],
        );
        assert_eq!(got.len(), 1);
        assert_eq!(
            (
                got[0].addresses.as_ref().unwrap().len(),
                got[0].not_ready_addresses.as_ref().unwrap().len(),
                got[0].ports.as_ref().unwrap().len()
            ),
            (1, 1, 2)
        );
    }

    #[test]
    fn addresses_are_of_the_services_first_family() {
        let mut pod = pod("p", "n", "Running", Some(1));
        let status = pod.status.as_mut().unwrap();
        status.pod_ip = Some("fd00::00:1".into());
        let ips = ["fd00::00:1", "10.0.0.1"].map(|ip| PodIP { ip: ip.into() });
        status.pod_ips = Some(ips.into());
        for (cluster_ip, families, wanted) in [
            ("10.96.0.1", vec!["IPv4", "IPv6"], "10.0.0.1"),
            ("fd00::96:1", vec!["IPv6", "IPv4"], "fd00::1"),
            ("None", vec!["IPv4"], "10.0.0.1"),
            ("10.96.0.1", vec![], "10.0.0.1"),
            ("fd00::96:1", vec![], "fd00::1"),
            ("None", vec![], "fd00::1"),
        ] {
            let mut service = service(&[("a", 80)]);
            let spec = service.spec.as_mut().unwrap();
            spec.cluster_ip = Some(cluster_ip.into());
            let named = families.iter().map(|family| family.to_string()).collect();
            spec.ip_families = Some(named).filter(|families: &Vec<_>| !families.is_empty());
            let found = address(&service, &pod).map(|address| address.ip);
            assert_eq!(found.as_deref(), Some(wanted), "{cluster_ip} {families:?}");
        }
    }

    #[test]
    fn too_many_are_cut_unready_ones_first() {
        let pods: Vec<_> = (0..1100)
            .map(|i| {
                with_ip(
                    &format!("p{i}"),
                    &format!("10.0.{}.{}", i / 250, i % 250),
                    i < 900,
                )
            })
            .collect();
        let mut got = subsets(&service(&[("a", 80)]), &pods);
        assert!(truncate(&mut got));
        assert_eq!(
            (
                got[0].addresses.as_ref().unwrap().len(),
                got[0].not_ready_addresses.as_ref().unwrap().len()
            ),
            (900, 100)
        );
    }
}
