//! What the endpoints controllers share: which services a pod belongs to, its ports there, and since when.
//!
//! Invariant: a change of a pod that cannot change an endpoint wakes nobody. Follows
//! k8s.io/endpointslice/util/controller_utils.go, utils.go (FindPort) and trigger_time_tracker.go.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ObjectReference, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use skiff_api::machinery::names::ip::parse_ip_sloppy;
use skiff_podspec::containers::sidecars;
use skiff_podspec::pod::Pod;

use crate::{pods, prelude::*};

/// The annotation that says since when an endpoint object is behind.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// The label of what belongs to a service without an address of its own.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

type Labels = BTreeMap<String, String>;

/// Whether the service's pods are looked for by us at all.
pub fn has_selector(service: &Service) -> bool {
    service.spec().selector.is_some() && service.spec().type_.as_deref() != Some("ExternalName")
}

/// Whether the service has an address of its own.
pub fn has_ip(service: &Service) -> bool {
    service
        .spec()
        .cluster_ip
        .as_deref()
        .is_some_and(|ip| !ip.is_empty() && ip != "None")
}

/// Whether not ready pods are published like ready ones.
pub fn publishes_unready(service: &Service) -> bool {
    service.spec().publish_not_ready_addresses.unwrap_or(false)
}

fn selects(service: &Service, labels: &Labels) -> bool {
    service
        .spec()
        .selector
        .as_ref()
        .is_some_and(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v)))
}

/// The pods that the service selects.
pub fn pods_of(service: &Service, pods: &Informer<Pod>) -> Vec<Arc<Pod>> {
    let none = Labels::new();
    let mut selected = pods.in_namespace(service.metadata.namespace());
    selected.retain(|pod| selects(service, pod.metadata.labels.as_ref().unwrap_or(&none)));
    selected
}

/// Wakes the services that a change of a pod may matter to.
pub fn wake(change: &Change<Pod>, services: &Informer<Service>, queue: &Queue<Key>) {
    let pod = change.object();
    let old = match change {
        Change::Updated { old, new } if !matters(old, new) => return,
        Change::Updated { old, .. } => Some(&old.metadata),
        _ => None,
    };
    let none = Labels::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    let old_labels = old.and_then(|m| m.labels.as_ref()).unwrap_or(labels);
    for service in services.in_namespace(pod.metadata.namespace()) {
        if selects(&service, labels) || selects(&service, old_labels) {
            queue.add(Key::of(&service.metadata));
        }
    }
}

/// Whether endpoints depend on what changed. That a pod has ended is seen by its not being ready any more.
fn matters(old: &Pod, new: &Pod) -> bool {
    let ips = |pod: &Pod| pod.status().pod_ips.clone();
    let name = |pod: &Pod| (pod.spec().hostname.clone(), pod.spec().subdomain.clone());
    old.metadata.labels != new.metadata.labels
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || pods::is_ready(old) != pods::is_ready(new)
        || ips(old) != ips(new)
        || name(old) != name(new)
}

/// Whether the pod is an endpoint at all: it has an address, and has not ended.
pub fn is_endpoint(pod: &Pod, with_terminating: bool) -> bool {
    let status = pod.status.as_ref();
    let has_ip = status.is_some_and(|s| {
        s.pod_ip.as_ref().is_some_and(|ip| !ip.is_empty())
            || s.pod_ips.as_ref().is_some_and(|ips| !ips.is_empty())
    });
    !pods::is_finished(pod) && has_ip && (with_terminating || !pods::is_deleting(pod))
}

/// The pod's addresses of one family, as they are usually written.
pub fn ips_of(pod: &Pod, six: bool) -> impl Iterator<Item = String> {
    let ips = pod.status.iter().flat_map(|status| status.pod_ips.iter());
    ips.flatten()
        .filter_map(|ip| parse_ip_sloppy(&ip.ip))
        .filter(move |(ip, _)| ip.is_ipv6() == six)
        .map(|(ip, _)| ip.to_string())
}

/// What an endpoint says of the pod behind it.
pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..Default::default()
    }
}

/// The pod's hostname, where the service is the one that governs it.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec();
    let governed = spec.subdomain == service.metadata.name
        && spec.hostname.as_ref().is_some_and(|h| !h.is_empty());
    if governed {
        spec.hostname.clone()
    } else {
        None
    }
}

/// The port number that a service port means on this pod.
pub fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let protocol = |p: &Option<String>| p.clone().unwrap_or_else(|| "TCP".into());
            let fits = |p: &&k8s_openapi::api::core::v1::ContainerPort| {
                p.name.as_ref() == Some(name) && protocol(&p.protocol) == protocol(&port.protocol)
            };
            let spec = pod.spec();
            spec.containers
                .iter()
                .chain(sidecars(spec))
                .flat_map(|c| c.ports.iter().flatten())
                .find(fits)
                .map(|p| p.container_port)
        }
    }
}

#[derive(Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: HashMap<String, Timestamp>,
}

/// Remembers when each service's pods last changed, to tell for how long an endpoint object has been behind.
#[derive(Default)]
pub struct TriggerTimes(Mutex<HashMap<Key, Seen>>);

impl TriggerTimes {
    /// The earliest change since the last call for this service; its creation at the first call.
    pub fn next(&self, key: &Key, service: &Service, selected: &[Arc<Pod>]) -> Option<Timestamp> {
        let created = service.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let mut all = self.0.lock();
        let known = all.contains_key(key);
        let seen = all.entry(key.clone()).or_default();
        let mut earliest = None;
        let mut consider = |time: Timestamp, before: Option<Timestamp>| {
            if before.is_none_or(|before| time > before) {
                earliest = Some(earliest.map_or(time, |e: Timestamp| e.min(time)));
            }
        };
        let mut now = HashMap::with_capacity(selected.len());
        for pod in selected {
            let changed = pods::condition(pod.status.as_deref(), "Ready")
                .and_then(|c| c.last_transition_time.as_ref())
                .map(|t| t.0);
            if let (Some(time), Some(name)) = (changed, &pod.metadata.name) {
                consider(time, seen.pods.get(name).copied());
                now.insert(name.clone(), time);
            }
        }
        if let Some(time) = created {
            consider(time, seen.service);
        }
        *seen = Seen {
            service: created,
            pods: now,
        };
        if known { earliest } else { created }
    }

    /// The service is gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;

    #[test]
    fn an_end_matters_by_not_being_ready() {
        let running = pod("a", "n", "Running", Some(9));
        let mut ended = running.clone();
        ended.status.as_mut().unwrap().phase = Some("Failed".into());
        assert!(!matters(&running, &ended));
        assert!(matters(&running, &pod("a", "n", "Failed", None)));
    }

    #[test]
    fn trigger_times() {
        let (times, key) = (TriggerTimes::default(), Key::new("ns", "s"));
        let mut service = Service::default();
        service.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                Timestamp::from_second(5).unwrap(),
            ));
        let at = |s| Some(Timestamp::from_second(s).unwrap());
        assert_eq!(times.next(&key, &service, &[]), at(5));
        assert_eq!(times.next(&key, &service, &[]), None);
        let pods = [
            pod("a", "n", "Running", Some(9)),
            pod("b", "n", "Running", Some(8)),
        ]
        .map(Arc::new);
        assert_eq!(times.next(&key, &service, &pods), at(8));
        assert_eq!(times.next(&key, &service, &pods), None);
    }
}
