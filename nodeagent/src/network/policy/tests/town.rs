//! Two nodes whose pods have walls, and what an API server would tell them, told by the test.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};
use tokio::{sync::mpsc::UnboundedSender, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::super::{
    super::{
        PodNetworks,
        family::{IpFamily, alone},
        ns::Namespace,
        tests::{
            lab::{Lab, Pod, address, serve, translated},
            services::{Cluster, nftables},
            side_by_side::lead_to_other_nodes,
        },
    },
    OwnPods, PolicyConfig, Walls, run,
    view::{self, Seen, Told},
};
use crate::network::link::Links;
use crate::network::pool::known;

pub const DNS: [u8; 4] = [10, 96, 0, 10];

/// See the module.
pub struct Town {
    pub cluster: Cluster,
    pub walls: Vec<Walls>,
    pub keepers: Vec<Keeper>,
    pub pods: BTreeMap<String, Inhabitant>,
}

/// The task of one node that keeps its walls.
pub struct Keeper {
    own: std::sync::Arc<OwnPods>,
    pub tell: UnboundedSender<Told>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

pub struct Inhabitant {
    pub pod: Pod,
    pub node: usize,
    pub object: Value,
}

impl Town {
    /// None where nftables cannot be tested, which is said.
    pub async fn new(family: IpFamily, nodes: usize) -> Option<Self> {
        if !nftables().await {
            return None;
        }
        let (walls, own): (Vec<_>, Vec<_>) = (0..nodes).map(|_| Walls::new()).unzip();
        let lab = Lab::walled(family, nodes, &walls).await;
        let cluster = Cluster::in_lab(lab, false);
        lead_to_other_nodes(&cluster);
        let mut town = Town {
            cluster,
            walls,
            keepers: Vec::new(),
            pods: BTreeMap::new(),
        };
        for (node, own) in own.into_iter().enumerate() {
            let ns = &town.cluster.lab.nodes[node].net.ns;
            let links = Links::open(ns).await.unwrap();
            let dns = address(family, DNS);
            let length = alone(dns).prefix_len();
            links.add_address(1, dns, length).await.unwrap();
            serve(ns, SocketAddr::new(dns, 53), "dns").await;
            let keeper = town.keep(node, own.into());
            town.keepers.push(keeper);
        }
        Some(town)
    }

    fn keep(&self, node: usize, own: std::sync::Arc<OwnPods>) -> Keeper {
        let lab = &self.cluster.lab;
        let config = PolicyConfig {
            node: lab.nodes[node].net.ns.clone(),
            node_name: lab.nodes[node].name.clone(),
            dir: self.dir(node),
            dns_ips: vec![address(lab.family, DNS)],
        };
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let (stop, pods) = (CancellationToken::new(), own.clone());
        let ending = stop.clone();
        let task = tokio::spawn(async move {
            run(None, told, config, &pods, ending).await.unwrap();
        });
        Keeper {
            own,
            tell,
            stop,
            task,
        }
    }

    /// Ends the task of a node that keeps its walls, as an agent's end does.
    pub async fn leave(&mut self, node: usize) {
        let keeper = self.keepers.remove(node);
        keeper.stop.cancel();
        keeper.task.await.unwrap();
        let (tell, _) = tokio::sync::mpsc::unbounded_channel();
        let gone = Keeper {
            tell,
            task: tokio::spawn(async {}),
            ..keeper
        };
        self.keepers.insert(node, gone);
    }

    /// Another begins. It knows nothing yet.
    pub fn come_back(&mut self, node: usize) {
        self.keepers[node] = self.keep(node, self.keepers[node].own.clone());
    }

    /// Tells all nodes.
    pub fn tell(&self, told: Told) {
        for keeper in &self.keepers {
            let _ = keeper.tell.send(told.clone());
        }
    }

    /// The policies that there are now: (namespace, spec).
    pub fn policies(&self, policies: &[(&str, Value)]) {
        let named = policies
            .iter()
            .enumerate()
            .map(|(number, (namespace, spec))| {
                let spec = translated(self.cluster.lab.family, spec.clone());
                super::policy(namespace, &format!("policy-{number}"), &spec)
            });
        self.tell(Told::Policies(Seen::Listed(named.collect())));
    }

    pub fn namespace(&self, name: &str, labels: Value) {
        let labels = serde_json::from_value(labels).unwrap();
        self.tell(Told::Namespaces(Seen::Applied(name.into(), labels)));
    }

    /// All that is there is known to all nodes.
    pub fn listed(&self, namespaces: &[(&str, Value)]) {
        self.tell(self.all_pods());
        let namespaces = namespaces.iter().map(|(name, labels)| {
            (
                (*name).to_owned(),
                serde_json::from_value(labels.clone()).unwrap(),
            )
        });
        self.tell(Told::Namespaces(Seen::Listed(namespaces.collect())));
    }

    pub fn all_pods(&self) -> Told {
        let pods = self.pods.iter();
        let all = pods.map(|(uid, one)| (uid.clone(), view::pod(&one.object)));
        Told::Pods(Seen::Listed(all.collect()))
    }

    /// Waits until all nodes have done what they were told until now.
    pub async fn settled(&self) {
        for (number, walls) in self.walls.iter().enumerate() {
            let here = self.pods.iter().find(|(_, one)| one.node == number);
            let Some((uid, one)) = here else { continue };
            let ips = one.pod.net.ips.clone();
            let link = known(&self.dir(number))
                .unwrap()
                .into_iter()
                .find(|(known, ..)| known == uid);
            walls.raise(uid, ips, &link.unwrap().2).await.unwrap();
        }
    }

    fn dir(&self, node: usize) -> std::path::PathBuf {
        let lab = &self.cluster.lab;
        lab.dir.path().join("run").join(&lab.nodes[node].name)
    }

    /// The pod as it is read, bound to its node, before it has an address.
    pub fn announce(&self, uid: &str, object: &Value) {
        self.tell(Told::Pods(Seen::Applied(uid.into(), view::pod(object))));
    }

    /// Starts a pod with a server at each of these ports.
    pub async fn pod(&mut self, node: usize, uid: &str, object: Value, serves: &[u16]) {
        self.announce(uid, &object);
        let pod = self.cluster.lab.pod(node, uid).await;
        for port in serves {
            serve(&pod.ns, SocketAddr::new(pod.ip, *port), uid).await;
        }
        let mut object = object;
        object["status"] = json!({"phase": "Running", "podIP": pod.net.ips[0], "podIPs": pod.net.ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()});
        self.announce(uid, &object);
        let one = Inhabitant { pod, node, object };
        self.pods.insert(uid.into(), one);
    }

    /// Takes a pod away, its object too.
    pub async fn end(&mut self, uid: &str) {
        let one = self.pods.remove(uid).unwrap();
        self.cluster.lab.nodes[one.node]
            .pods
            .teardown(uid)
            .await
            .unwrap();
        self.tell(Told::Pods(Seen::Gone(uid.into())));
    }

    /// Gives a pod other labels.
    pub fn label(&mut self, uid: &str, labels: Value) {
        let one = self.pods.get_mut(uid).unwrap();
        one.object["metadata"]["labels"] = labels;
        let object = one.object.clone();
        self.announce(uid, &object);
    }

    pub fn ns(&self, name: &str) -> &Namespace {
        let lab = &self.cluster.lab;
        match name {
            "node0" => &lab.nodes[0].net.ns,
            "node1" => &lab.nodes[1].net.ns,
            "host" => &lab.host,
            pod => &self.pods[pod].pod.ns,
        }
    }

    /// A pod's place, in the family that is tried.
    pub fn at(&self, pod: &str, port: u16) -> SocketAddr {
        SocketAddr::new(self.pods[pod].pod.ip, port)
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.keepers.iter().for_each(|keeper| keeper.stop.cancel());
    }
}

/// A pod's object.
pub fn object(namespace: &str, labels: Value, ports: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "labels": labels}, "spec": {"containers": [{"name": "main", "ports": ports}]}})
}
