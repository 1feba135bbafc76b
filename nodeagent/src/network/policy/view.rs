//! What walls are made from: NetworkPolicies, and once there is one, all pods and namespaces.
//!
//! Invariant: nothing that cannot be read opens anything. A policy that cannot be read is one that closes its namespace; a pod that cannot be read is one
//! that is not there: nobody's peer, and closed where it runs. A cluster without policies costs one watch that tells of nothing.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::Deserialize;
use skiff_watching::{
    api::{Api, collection},
    client::Client,
    clock::Clock,
    decode,
    events::Events,
    reflect::{Sink, Source, reflect},
    typed::{DecodeError, Kind, Wire},
    unreadable::Unreadable,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{super::view::ObjectName, read::Policy};
use crate::network::protocol::Protocol;

pub type Labels = BTreeMap<String, String>;

/// What of a pod matters to walls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub labels: Labels,
    /// None of those that are the node's own (`hostNetwork`), or that another pod may have by now.
    pub ips: Vec<IpAddr>,
    /// The container ports that have names.
    pub ports: Vec<NamedPort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

/// What was seen of a kind's objects, by their keys. A list is all there is.
#[derive(Clone, Debug)]
pub enum Seen<K, T> {
    Listed(Vec<(K, T)>),
    Applied(K, T),
    Gone(K),
}

/// What was seen. Pods are told by uid.
#[derive(Clone, Debug)]
pub enum Told {
    Policies(Seen<ObjectName, Policy>),
    Pods(Seen<String, Pod>),
    Namespaces(Seen<String, Labels>),
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    name: String,
    namespace: String,
    uid: String,
    labels: Labels,
    resource_version: String,
}

/// Of any object that which can always be read.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Headed {
    metadata: Meta,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodObject {
    metadata: Meta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    host_network: bool,
    init_containers: Vec<Container>,
    containers: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    restart_policy: String,
    ports: Vec<ContainerPort>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPort {
    name: String,
    container_port: u16,
    protocol: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodIp {
    ip: String,
}

impl PodObject {
    fn read(self) -> Pod {
        let PodObject {
            metadata,
            spec,
            status,
        } = self;
        let ended = status.phase == "Succeeded" || status.phase == "Failed";
        let texts = status.pod_ips.iter().map(|ip| &ip.ip);
        let mut ips: Vec<_> = texts
            .chain([&status.pod_ip])
            .filter(|_| !ended && !spec.host_network)
            .filter_map(|ip| ip.parse().ok())
            .collect();
        ips.sort_unstable();
        ips.dedup();
        let sidecars = spec.init_containers.iter();
        let sidecars = sidecars.filter(|container| container.restart_policy == "Always");
        let ports = sidecars
            .chain(&spec.containers)
            .flat_map(|container| &container.ports);
        Pod {
            namespace: metadata.namespace,
            labels: metadata.labels,
            ips,
            ports: ports.filter_map(named).collect(),
        }
    }
}

fn named(port: &ContainerPort) -> Option<NamedPort> {
    let protocol = Some(port.protocol.as_str()).filter(|text| !text.is_empty());
    Some(NamedPort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty())?,
        protocol: Protocol::parse(protocol)?,
        port: port.container_port,
    })
}

/// How a kind's objects are read.
struct Reading<K, T> {
    api_version: &'static str,
    kind: &'static str,
    key: fn(&Meta) -> K,
    read: fn(&str) -> Result<T, DecodeError>,
    /// What stands for an object that cannot be read.
    instead: fn() -> Option<T>,
    tell: fn(Seen<K, T>) -> Told,
}

struct Teller<K, T> {
    reading: Reading<K, T>,
    told: mpsc::UnboundedSender<Told>,
    unreadable: Unreadable,
    listed: Vec<(K, T)>,
}

impl<K, T> Teller<K, T> {
    /// The object's version, its key and what it says, as far as these can be read.
    fn read(&self, text: &str) -> (Option<String>, Option<K>, Option<T>) {
        let Reading {
            api_version, kind, ..
        } = self.reading;
        let set_aside = |error: &DecodeError| {
            self.unreadable.set_aside(api_version, kind, text, error);
        };
        let meta = match decode::decode::<Headed>(text, &[]) {
            Ok(object) => object.metadata,
            Err(error) => {
                set_aside(&error);
                return (None, None, None);
            }
        };
        let value = (self.reading.read)(text)
            .inspect_err(set_aside)
            .ok()
            .or_else(self.reading.instead);
        let key = (self.reading.key)(&meta);
        (Some(meta.resource_version), Some(key), value)
    }

    fn say(&self, seen: Seen<K, T>) {
        if self.told.send((self.reading.tell)(seen)).is_err() {
            tracing::trace!(kind = self.reading.kind, "nobody wants to hear it any more");
        }
    }
}

impl<K: Send, T: Send> Sink for Teller<K, T> {
    fn begin(&mut self) {
        self.listed = Vec::new();
    }
    fn listed(&mut self, object: &str) {
        if let (_, Some(key), Some(value)) = self.read(object) {
            self.listed.push((key, value));
        }
    }
    fn complete(&mut self, _resource_version: &str) {
        let listed = std::mem::take(&mut self.listed);
        self.say(Seen::Listed(listed));
    }
    fn applied(&mut self, object: &str) -> Option<String> {
        let (version, key, value) = self.read(object);
        match (key, value) {
            (Some(key), Some(value)) => self.say(Seen::Applied(key, value)),
            (Some(key), None) => self.say(Seen::Gone(key)),
            (None, _) => {}
        }
        version
    }
    fn deleted(&mut self, object: &str) -> Option<String> {
        let (version, key, _) = self.read(object);
        if let Some(key) = key {
            self.say(Seen::Gone(key));
        }
        version
    }
    fn reached(&mut self, _resource_version: &str) {}
}

/// Watches for one node; what is seen goes to `told`.
pub struct Watcher {
    api: Api,
    clock: Clock,
    unreadable: Unreadable,
    told: mpsc::UnboundedSender<Told>,
    stop: CancellationToken,
}

impl Watcher {
    /// Starts with the policies; ends with `stop`.
    pub fn start(
        client: Client,
        told: mpsc::UnboundedSender<Told>,
        stop: CancellationToken,
    ) -> Self {
        let (api, clock) = (Api::new(client, "network-policy"), Clock::system());
        let unreadable = Unreadable::new(&Events::start(api.clone(), clock.clone(), stop.clone()));
        let watcher = Watcher {
            api,
            clock,
            unreadable,
            told,
            stop,
        };
        watcher.follow(
            collection::<NetworkPolicy>(""),
            Reading {
                api_version: NetworkPolicy::api_version(),
                kind: NetworkPolicy::kind(),
                key: |meta| ObjectName::new(&meta.namespace, &meta.name),
                read: |text| NetworkPolicy::decode(text).map(|policy| Policy::of(&policy)),
                instead: || Some(Policy::closed()),
                tell: Told::Policies,
            },
        );
        watcher
    }

    /// Watches those whom policies may name, too.
    pub fn follow_peers(&self) {
        self.follow(
            "/api/v1/pods".to_owned(),
            Reading {
                api_version: "v1",
                kind: "Pod",
                key: |meta| meta.uid.clone(),
                read: |text| decode::decode::<PodObject>(text, &[]).map(PodObject::read),
                instead: || None,
                tell: Told::Pods,
            },
        );
        self.follow(
            "/api/v1/namespaces".to_owned(),
            Reading {
                api_version: "v1",
                kind: "Namespace",
                key: |meta| meta.name.clone(),
                read: |text| decode::decode::<Headed>(text, &[]).map(|o| o.metadata.labels),
                instead: || None,
                tell: Told::Namespaces,
            },
        );
    }

    fn follow<K: Send + 'static, T: Send + 'static>(&self, path: String, reading: Reading<K, T>) {
        let source = Source {
            path,
            query: String::new(),
            accept: None,
        };
        let sink = Box::new(Teller {
            reading,
            told: self.told.clone(),
            unreadable: self.unreadable.clone(),
            listed: Vec::new(),
        });
        let (api, clock, stop) = (self.api.clone(), self.clock.clone(), self.stop.clone());
        skiff_watching::task::spawn(reflect(api, clock, source, sink, stop));
    }
}

/// Test support: a pod as it is read from JSON.
#[cfg(test)]
pub fn pod(object: &serde_json::Value) -> Pod {
    decode::decode::<PodObject>(&object.to_string(), &[])
        .unwrap()
        .read()
}
