//! What services, DNS and routes know of the cluster: Services with their EndpointSlices, and Nodes, watched once for all of them.
//!
//! Invariant: a consumer that was told of a change finds at least that change in the view; after a broken watch the differences to the new list are told,
//! deletions too. Nothing is told before all three lists were there once. Follows `pkg/proxy/config` and `pkg/proxy/endpointslicecache.go` upstream.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use parking_lot::RwLock;
use skiff_watching::{
    api::{Api, Kind},
    client::Client,
    clock::Clock,
    events::Events,
    follow::{Seen, Selection, follow},
    unreadable::Unreadable,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::slice::Slice;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectName {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What of a Node matters to the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    pub pod_cidrs: Vec<IpNet>,
    pub internal_ips: Vec<IpAddr>,
    pub zone: Option<String>,
    /// Its condition says so.
    pub ready: bool,
}

impl NodeInfo {
    fn of(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let cidrs = spec
            .pod_cidrs
            .filter(|c| !c.is_empty())
            .or_else(|| spec.pod_cidr.map(|c| vec![c]));
        let addresses = node
            .status
            .iter()
            .flat_map(|s| s.addresses.iter().flatten());
        NodeInfo {
            pod_cidrs: cidrs
                .iter()
                .flatten()
                .filter_map(|c| c.parse().ok())
                .collect(),
            internal_ips: addresses
                .filter(|a| a.type_ == "InternalIP")
                .filter_map(|a| a.address.parse().ok())
                .collect(),
            ready: node
                .status
                .iter()
                .flat_map(|s| s.conditions.iter().flatten())
                .any(|c| c.type_ == "Ready" && c.status == "True"),
            zone: node
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(ZONE_LABEL))
                .cloned(),
        }
    }
}

/// What was told to have changed; the view says how it is now (absent means deleted).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A Service or any EndpointSlice of it.
    Service(ObjectName),
    Node(String),
}

/// The slices of one service by name.
pub type Slices = BTreeMap<String, Arc<Slice>>;

#[derive(Default)]
struct Known {
    services: HashMap<ObjectName, Arc<Service>>,
    slices: HashMap<ObjectName, Slices>,
    /// Which service a slice was last seen to belong to.
    slice_services: HashMap<ObjectName, ObjectName>,
    /// Names of nodes that slices name, each once.
    node_names: HashSet<Arc<str>>,
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    listeners: Vec<mpsc::UnboundedSender<Change>>,
}

/// See the module.
pub struct ClusterView {
    known: RwLock<Known>,
    synced: watch::Sender<bool>,
}

impl Default for ClusterView {
    fn default() -> Self {
        ClusterView {
            known: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl ClusterView {
    /// Starts watching; ends with `stop`. Several nodes of one process may share one view.
    pub fn start(client: Client, stop: CancellationToken) -> Arc<Self> {
        let view = Arc::new(Self::default());
        let task = view.clone();
        skiff_watching::task::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task.follow(client, stop.clone()) => {}
            }
        });
        view
    }

    async fn follow(&self, client: Client, stop: CancellationToken) {
        let (api, clock) = (Api::new(client, "kube-proxy"), Clock::system());
        let unreadable = Unreadable::new(&Events::start(api.clone(), clock.clone(), stop.clone()));
        let mut services =
            follow::<Service>(&api, &clock, &unreadable, Selection::default(), &stop);
        let mut slices =
            follow::<EndpointSlice>(&api, &clock, &unreadable, Selection::default(), &stop);
        let mut nodes = follow::<Node>(&api, &clock, &unreadable, Selection::default(), &stop);
        let mut listed = [false; 3];
        loop {
            tokio::select! {
                Some(seen) = services.recv() => match seen {
                    Seen::Applied(service) => self.put_service(service),
                    Seen::Deleted(service) => self.remove_service(&name_of(&service)),
                    Seen::Listed(all) => {
                        self.replace_services(all);
                        listed[0] = true;
                    }
                },
                Some(seen) = slices.recv() => match seen {
                    Seen::Applied(slice) => self.put_slice(slice),
                    Seen::Deleted(slice) => self.remove_slice(&name_of(&slice)),
                    Seen::Listed(all) => {
                        self.replace_slices(all);
                        listed[1] = true;
                    }
                },
                Some(seen) = nodes.recv() => match seen {
                    Seen::Applied(node) => self.put_node(&node),
                    Seen::Deleted(node) => self.remove_node(node_name(&node)),
                    Seen::Listed(all) => {
                        self.replace_nodes(&all);
                        listed[2] = true;
                    }
                },
                else => return,
            }
            if listed == [true; 3] {
                self.set_synced();
            }
        }
    }

    /// Says that the view is whole: consumers start then.
    pub fn set_synced(&self) {
        self.synced
            .send_if_modified(|synced| !std::mem::replace(synced, true));
    }

    /// Waits until the view is whole. Never returns if that never happens: race it against a stop signal.
    pub async fn wait_synced(&self) {
        let mut synced = self.synced.subscribe();
        let whole = synced.wait_for(|synced| *synced).await;
        whole.expect("the sender lives in `self`, so the channel cannot close");
    }

    /// Changes from now on. Subscribe first, then read.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Change> {
        let (tx, rx) = mpsc::unbounded_channel();
        self.known.write().listeners.push(tx);
        rx
    }

    pub fn service(&self, name: &ObjectName) -> Option<(Arc<Service>, Slices)> {
        let known = self.known.read();
        let service = known.services.get(name)?.clone();
        Some((service, known.slices.get(name).cloned().unwrap_or_default()))
    }

    pub fn service_names(&self) -> Vec<ObjectName> {
        self.known.read().services.keys().cloned().collect()
    }

    pub fn node(&self, name: &str) -> Option<Arc<NodeInfo>> {
        self.known.read().nodes.get(name).cloned()
    }

    pub fn nodes(&self) -> BTreeMap<String, Arc<NodeInfo>> {
        self.known.read().nodes.clone()
    }

    pub fn put_service(&self, mut service: Service) {
        service.metadata.managed_fields = None;
        let name = name_of(&service);
        let mut known = self.known.write();
        let old = known.services.insert(name.clone(), Arc::new(service));
        let new = &known.services[&name];
        if old.is_none_or(|old| {
            old.spec != new.spec
                || old.status != new.status
                || old.metadata.labels != new.metadata.labels
        }) {
            known.tell(Change::Service(name));
        }
    }

    pub fn remove_service(&self, name: &ObjectName) {
        let mut known = self.known.write();
        if known.services.remove(name).is_some() {
            known.tell(Change::Service(name.clone()));
        }
    }

    pub fn put_slice(&self, slice: EndpointSlice) {
        self.known.write().put_slice(&slice);
    }

    pub fn remove_slice(&self, name: &ObjectName) {
        self.known.write().remove_slice(name);
    }

    pub fn put_node(&self, node: &Node) {
        let (name, info) = (node_name(node).to_owned(), NodeInfo::of(node));
        let mut known = self.known.write();
        if known.nodes.get(&name).is_none_or(|old| **old != info) {
            known.nodes.insert(name.clone(), Arc::new(info));
            known.tell(Change::Node(name));
        }
    }

    pub fn remove_node(&self, name: &str) {
        let mut known = self.known.write();
        if known.nodes.remove(name).is_some() {
            // Of those that no slice names any more nobody has the name but the view.
            known.node_names.retain(|name| Arc::strong_count(name) > 1);
            known.tell(Change::Node(name.to_owned()));
        }
    }

    fn replace_services(&self, all: Vec<Service>) {
        let listed: HashSet<_> = all.iter().map(name_of).collect();
        let gone = absent(self.known.read().services.keys(), |name| {
            listed.contains(name)
        });
        gone.iter().for_each(|name| self.remove_service(name));
        all.into_iter().for_each(|s| self.put_service(s));
    }

    fn replace_slices(&self, all: Vec<EndpointSlice>) {
        let listed: HashSet<_> = all.iter().map(name_of).collect();
        let gone = absent(self.known.read().slice_services.keys(), |name| {
            listed.contains(name)
        });
        gone.iter().for_each(|name| self.remove_slice(name));
        all.into_iter().for_each(|s| self.put_slice(s));
    }

    fn replace_nodes(&self, all: &[Node]) {
        let listed: HashSet<_> = all.iter().map(node_name).collect();
        let gone = absent(self.known.read().nodes.keys(), |name| {
            listed.contains(name.as_str())
        });
        gone.iter().for_each(|name| self.remove_node(name));
        all.iter().for_each(|n| self.put_node(n));
    }
}

impl Known {
    fn tell(&mut self, change: Change) {
        self.listeners.retain(|l| l.send(change.clone()).is_ok());
    }

    fn put_slice(&mut self, slice: &EndpointSlice) {
        let name = name_of(slice);
        // A slice without the label belongs to nobody.
        let service = slice
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(SERVICE_NAME_LABEL))
            .map(|s| ObjectName::new(name.namespace.clone(), s.clone()));
        if self.slice_services.get(&name) != service.as_ref() {
            self.remove_slice(&name);
        }
        let Some(service) = service else { return };
        self.slice_services.insert(name.clone(), service.clone());
        let new = Arc::new(Slice::of(slice, &mut self.node_names));
        let slices = self.slices.entry(service.clone()).or_default();
        let old = slices.insert(name.name, new.clone());
        if old.is_none_or(|old| old != new) {
            self.tell(Change::Service(service));
        }
    }

    fn remove_slice(&mut self, name: &ObjectName) {
        let Some(service) = self.slice_services.remove(name) else {
            return;
        };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&name.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        self.tell(Change::Service(service));
    }
}

/// The names that a new list no longer has.
fn absent<'a, N: Clone + 'a>(
    known: impl Iterator<Item = &'a N>,
    is_listed: impl Fn(&N) -> bool,
) -> Vec<N> {
    known.filter(|name| !is_listed(name)).cloned().collect()
}

fn name_of<K: Kind>(object: &K) -> ObjectName {
    let meta = object.meta();
    ObjectName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn node_name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn slice(name: &str, service: Option<&str>) -> EndpointSlice {
        let labels =
            service.map(|s| BTreeMap::from([(SERVICE_NAME_LABEL.to_owned(), s.to_owned())]));
        EndpointSlice {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("ns".into()),
                labels,
                ..Default::default()
            },
            address_type: "IPv4".into(),
            ..Default::default()
        }
    }

    fn told(rx: &mut mpsc::UnboundedReceiver<Change>) -> Vec<String> {
        std::iter::from_fn(|| rx.try_recv().ok())
            .map(|c| match c {
                Change::Service(name) => name.name,
                Change::Node(name) => name,
            })
            .collect()
    }

    #[test]
    fn a_slice_changes_its_service() {
        let view = ClusterView::default();
        let mut rx = view.subscribe();
        view.put_slice(slice("s1", Some("a")));
        assert_eq!(told(&mut rx), ["a"]);
        view.put_slice(slice("s1", Some("a")));
        assert!(told(&mut rx).is_empty(), "the same again is no change");
        view.put_slice(slice("s1", Some("b")));
        assert_eq!(told(&mut rx), ["a", "b"], "a slice that moves changes both");
        view.put_slice(slice("s2", None));
        assert!(told(&mut rx).is_empty());
        view.replace_slices(vec![slice("s3", Some("c"))]);
        assert_eq!(
            told(&mut rx),
            ["b", "c"],
            "a new list deletes what it lacks"
        );
    }

    #[test]
    fn names_of_nodes_that_are_gone_go() {
        let view = ClusterView::default();
        let node: Node =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}})).unwrap();
        view.put_node(&node);
        for (name, node) in [("s1", "n"), ("s2", "other")] {
            let mut slice = slice(name, Some("a"));
            let endpoint = serde_json::json!({"addresses": ["10.244.0.2"], "nodeName": node});
            slice.endpoints = Some(vec![serde_json::from_value(endpoint).unwrap()]);
            view.put_slice(slice);
        }
        let names = || view.known.read().node_names.len();
        assert_eq!(names(), 2);
        view.remove_slice(&ObjectName::new("ns", "s1"));
        view.remove_node("n");
        assert_eq!(names(), 1, "that of the slice that is there");
    }

    #[test]
    fn nodes_are_told_of_when_they_matter() {
        let view = ClusterView::default();
        let mut rx = view.subscribe();
        let mut node: Node = serde_json::from_value(
            serde_json::json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.244.0.0/24"}}),
        )
        .unwrap();
        view.put_node(&node);
        node.metadata.resource_version = Some("2".into());
        view.put_node(&node);
        assert_eq!(told(&mut rx), ["n"]);
        assert_eq!(view.node("n").unwrap().pod_cidrs.len(), 1);
        view.replace_nodes(&[]);
        assert_eq!(told(&mut rx), ["n"]);
        assert!(view.node("n").is_none());
    }
}
