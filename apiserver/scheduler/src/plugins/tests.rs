//! A small cluster for plugins to look at.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use crate::{
    cache::Cache,
    framework::{ClusterEvent, First, View},
    heard::Event,
    nominator::Nominator,
    owners::Owners,
    plugins::{PLUGINS, Plugin, State},
    pod::{PodInfo, tests::pod},
    volumes::{Change, Store, Volumes},
};

/// All that plugins are shown.
#[derive(Default)]
pub struct World {
    pub cache: Cache,
    pub volumes: Volumes,
    pub namespaces: Store<Namespace>,
    pub owners: Owners,
    pub nominator: Nominator,
}

/// An object from a merge patch on its name.
pub fn object<K: serde::de::DeserializeOwned>(
    name: &str,
    namespace: &str,
    changes: Value,
) -> Arc<K> {
    let mut object = json!({"metadata": {"name": name, "namespace": namespace}});
    skiff_api::machinery::patch::merge::apply(&mut object, changes, false).unwrap();
    Arc::new(serde_json::from_value(object).unwrap())
}

impl World {
    pub fn view(&self) -> View<'_> {
        View {
            cache: &self.cache,
            volumes: &self.volumes,
            namespaces: &self.namespaces,
            owners: &self.owners,
            nominator: &self.nominator,
        }
    }

    pub fn node(&mut self, name: &str, changes: Value) {
        self.cache.put_node(object(name, "", changes));
    }

    pub fn namespace(&mut self, name: &str, labels: Value) {
        self.namespaces.hear(Event::Apply(object(
            name,
            "",
            json!({"metadata": {"labels": labels}}),
        )));
    }

    pub fn claim(&mut self, name: &str, changes: Value) {
        self.volumes
            .claims
            .hear(Event::Apply(object(name, "ns", changes)));
    }

    pub fn volume(&mut self, name: &str, changes: Value) {
        self.volumes
            .volumes
            .hear(Event::Apply(object(name, "", changes)));
    }

    /// Why the plugin takes a pod nowhere; empty when it does not.
    pub fn first(&self, plugin: &Plugin, pod: &PodInfo) -> String {
        match plugin.pre_filter(self.view(), pod, &mut State::default()) {
            First::No(rejection) => rejection.reasons.join(", "),
            _ => String::new(),
        }
    }

    /// What the plugin says of every node, in the order of their names.
    pub fn tried(&self, plugin: &Plugin, pod: &PodInfo) -> Vec<String> {
        let mut state = State::default();
        let skipped = matches!(plugin.pre_filter(self.view(), pod, &mut state), First::Skip);
        let mut nodes: Vec<_> = self.cache.nodes().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let tried =
            nodes
                .into_iter()
                .map(|node| match plugin.filter(self.view(), &state, pod, node) {
                    Err(rejection) if !skipped => rejection.reasons.join(", "),
                    _ => String::new(),
                });
        tried.collect()
    }

    /// The scores of every node by one plugin, normalized, in the order of their names.
    pub fn scored(&self, plugin: &Plugin, pod: &PodInfo) -> Vec<i64> {
        let mut state = State::default();
        let mut nodes: Vec<_> = self.cache.nodes().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        if !plugin
            .pre_score(self.view(), pod, &mut state, &nodes)
            .unwrap()
        {
            return vec![0; nodes.len()];
        }
        let mut scores: Vec<i64> = nodes
            .iter()
            .map(|node| plugin.score(self.view(), &state, pod, node))
            .collect();
        plugin.normalize(&state, &mut scores);
        scores
    }
}

/// Nodes: a has a pod on port 80, b is cordoned, c is tainted, for keeping off and for rather not, and in a zone.
fn three_nodes() -> World {
    let mut world = World::default();
    world.node("a", json!({}));
    world.node("b", json!({"spec": {"unschedulable": true}}));
    let taints = json!([{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "soft", "effect": "PreferNoSchedule"}]);
    world.node(
        "c",
        json!({"metadata": {"labels": {"zone": "z"}}, "spec": {"taints": taints}}),
    );
    let port =
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    world
        .cache
        .put_pod("a", pod("other", json!({"spec": port})));
    world
}

fn plugin(name: &str) -> &'static Plugin {
    *PLUGINS.iter().find(|plugin| plugin.name() == name).unwrap()
}

#[test]
fn which_nodes_can_take_a_pod() {
    // of each node: `.` when it can, `x` when the plugin says why not
    let table = r#"
        NodeName          | {}                                                             | ... |
        NodeName          | {"nodeName": "b"}                                              | x.x | node(s) didn't match the requested node name
        NodePorts         | {"containers": [{"name": "c", "ports": [{"hostPort": 80, "containerPort": 1}]}]} | x.. | node(s) didn't have free ports for the requested pod ports
        NodePorts         | {"containers": [{"name": "c", "ports": [{"hostPort": 81, "containerPort": 1}]}]} | ... |
        NodePorts         | {"containers": [{"name": "c", "ports": [{"hostPort": 80, "containerPort": 1, "protocol": "UDP"}]}]} | ... |
        NodeUnschedulable | {}                                                             | .x. | node(s) were unschedulable
        NodeUnschedulable | {"tolerations": [{"operator": "Exists"}]}                      | ... |
        TaintToleration   | {}                                                             | ..x | node(s) had untolerated taint(s)
        TaintToleration   | {"tolerations": [{"key": "k", "value": "v"}]}                  | ... |
        TaintToleration   | {"tolerations": [{"key": "k", "value": "w"}]}                  | ..x | node(s) had untolerated taint(s)
        TaintToleration   | {"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]} | ..x | node(s) had untolerated taint(s)
        NodeAffinity      | {"nodeSelector": {"zone": "z"}}                                | xx. | node(s) didn't match Pod's node affinity/selector
        NodeAffinity      | {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}]}}}} | ..x | node(s) didn't match Pod's node affinity/selector
        NodeAffinity      | {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["few"]}]}]}}}} | xxx | node(s) didn't match Pod's node affinity/selector
    "#;
    let world = three_nodes();
    for [name, spec, nodes, why] in skiff_testing::table::rows(table) {
        let spec: Value = serde_json::from_str(spec).unwrap();
        let tried = world.tried(plugin(name), &pod("p", json!({"spec": spec})));
        let found: String = tried
            .iter()
            .map(|why| if why.is_empty() { '.' } else { 'x' })
            .collect();
        assert_eq!(found, nodes, "{name} {spec}");
        assert!(
            tried.iter().all(|told| told.is_empty() || told == why),
            "{name} {tried:?}"
        );
    }
}

#[test]
fn which_nodes_are_better() {
    let table = r#"
        TaintToleration | {}                                                           | 100 100 0
        TaintToleration | {"tolerations": [{"key": "soft", "operator": "Exists"}]}     | 100 100 100
        NodeAffinity    | {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]}}} | 0 0 100
        NodeAffinity    | {}                                                           | 0 0 0
    "#;
    let world = three_nodes();
    for [name, spec, expected] in skiff_testing::table::rows(table) {
        let spec: Value = serde_json::from_str(spec).unwrap();
        let scored = world.scored(plugin(name), &pod("p", json!({"spec": spec})));
        let found: Vec<_> = scored.iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected, "{name} {spec}");
    }
}

#[test]
fn what_cannot_be_read_breaks_the_comparing_off() {
    let world = three_nodes();
    let few = json!({"matchExpressions": [{"key": "zone", "operator": "Lt", "values": ["few"]}]});
    let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": few}]});
    let pod = pod(
        "p",
        json!({"spec": {"affinity": {"nodeAffinity": preferred}}}),
    );
    let nodes: Vec<_> = world.cache.nodes().collect();
    let broken = crate::run::scores(world.view(), &mut State::default(), &pod, &nodes).unwrap_err();
    assert_eq!(
        broken.to_string(),
        "running PreScore plugin \"NodeAffinity\": [0].matchExpressions[0].values[0]: Invalid value: \"few\": for 'Gt', 'Lt' operators, the value must be an integer"
    );
}

#[test]
fn what_of_storage_lets_pods_hope() {
    // the plugin | whether the claim, volume or class is new (+), changed (~) or gone (-) | the claim's name, or what the object is | whether the pod hopes
    let table = r#"
        VolumeBinding      | + | claim  | {"metadata": {"name": "c"}}                  | yes
        VolumeBinding      | ~ | claim  | {"metadata": {"name": "c"}}                  | yes
        VolumeBinding      | - | claim  | {"metadata": {"name": "c"}}                  | no
        VolumeBinding      | ~ | claim  | {"metadata": {"name": "p-own"}}              | yes
        VolumeBinding      | ~ | claim  | {"metadata": {"name": "other"}}              | no
        VolumeBinding      | ~ | claim  | {"metadata": {"name": "c", "namespace": "other"}} | no
        VolumeBinding      | ~ | volume | {}                                           | yes
        VolumeBinding      | - | volume | {}                                           | no
        VolumeBinding      | + | class  | {"provisioner": "x"}                         | yes
        VolumeBinding      | ~ | class  | {"provisioner": "x"}                         | no
        VolumeBinding      | ~ | class  | {"provisioner": "x", "allowedTopologies": []} | yes
        VolumeRestrictions | + | claim  | {"metadata": {"name": "c"}}                  | yes
        VolumeRestrictions | ~ | claim  | {"metadata": {"name": "c"}}                  | no
        VolumeRestrictions | + | claim  | {"metadata": {"name": "p-own"}}              | no
        VolumeRestrictions | + | volume | {}                                           | no
        VolumeZone         | ~ | claim  | {"metadata": {"name": "c"}}                  | yes
        VolumeZone         | ~ | claim  | {"metadata": {"name": "other"}}              | no
        VolumeZone         | + | volume | {}                                           | yes
        VolumeZone         | ~ | volume | {}                                           | no
        VolumeZone         | ~ | volume | {"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}} | yes
        VolumeZone         | + | class  | {"provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"} | yes
        VolumeZone         | + | class  | {"provisioner": "x"}                         | no
        NodeResourcesFit   | + | claim  | {"metadata": {"name": "c"}}                  | no
    "#;
    let volumes = json!([
        {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
    ]);
    let pod = pod("p", json!({"spec": {"volumes": volumes}}));
    fn change<K: serde::de::DeserializeOwned>(how: &str, is: &Value, was: Value) -> Change<K> {
        Change {
            old: (how != "+").then(|| object("old", "ns", was)),
            new: (how != "-").then(|| object("new", "ns", is.clone())),
        }
    }
    for [name, how, kind, is, hopes] in skiff_testing::table::rows(table) {
        let is: Value = serde_json::from_str(is).unwrap();
        let event = match kind {
            "claim" => ClusterEvent::Claim(change(how, &is, is.clone())),
            "volume" => ClusterEvent::Volume(change(how, &is, json!({}))),
            _ => ClusterEvent::Class(change(how, &is, json!({"provisioner": "x"}))),
        };
        let found = plugin(name).hopes(&pod, &event);
        assert_eq!(found, hopes == "yes", "{name} {how} {kind} {is}");
    }
}

#[test]
fn what_of_the_pod_itself_lets_it_hope() {
    let table = r#"
        NodeAffinity      | {"metadata": {"labels": {"app": "b"}}}                            | no
        NodeAffinity      | {"metadata": {"annotations": {"a": "b"}}}                         | no
        InterPodAffinity  | {"metadata": {"labels": {"app": "b"}}}                            | yes
        InterPodAffinity  | {"spec": {"tolerations": [{"operator": "Exists"}]}}               | no
        PodTopologySpread | {"metadata": {"labels": {"app": "b"}}}                            | yes
        PodTopologySpread | {"metadata": {"labels": {"other": "b"}}}                          | no
        PodTopologySpread | {"spec": {"tolerations": [{"operator": "Exists"}]}}               | yes
        TaintToleration   | {"spec": {"tolerations": [{"key": "x", "operator": "Exists"}]}}   | yes
        TaintToleration   | {"metadata": {"labels": {"app": "b"}}}                            | no
        NodeUnschedulable | {"spec": {"tolerations": [{"key": "x", "operator": "Exists"}]}}   | no
        NodeUnschedulable | {"spec": {"tolerations": [{"operator": "Exists"}]}}               | yes
        NodeResourcesFit  | {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}} | yes
        NodeResourcesFit  | {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}]}} | no
        NodeDeclaredFeatures | {"spec": {"hostNetwork": true, "hostUsers": false}}            | yes
        NodePorts         | {"spec": {"tolerations": [{"operator": "Exists"}]}}               | no
    "#;
    let spread = json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {"app": "a"}}}]);
    let containers = json!([{"name": "c", "resources": {"requests": {"cpu": "2"}}}]);
    let before = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers, "topologySpreadConstraints": spread}});
    for [name, change, hopes] in skiff_testing::table::rows(table) {
        let mut after = before.clone();
        let change: Value = serde_json::from_str(change).unwrap();
        skiff_api::machinery::patch::merge::apply(&mut after, change.clone(), false).unwrap();
        let (old, new) = (pod("p", before.clone()), pod("p", after));
        let event = ClusterEvent::Own {
            old,
            new: new.clone(),
        };
        let found = plugin(name).hopes(&new, &event);
        assert_eq!(found, hopes == "yes", "{name} {change}");
    }
}

#[test]
fn taints_let_pods_hope_that_were_kept_off_for_something_else() {
    let node = |spec: Value| object::<k8s_openapi::api::core::v1::Node>("n", "", spec);
    let tainted =
        || node(json!({"spec": {"taints": [{"key": "other", "effect": "PreferNoSchedule"}]}}));
    let cordoned = || node(json!({"spec": {"unschedulable": true}}));
    let plain = || node(json!({}));
    let pod = pod("p", json!({"spec": {"nodeSelector": {"a": "b"}}}));
    let hopes = |name: &str, old, new| {
        let place = PLUGINS.iter().position(|plugin| plugin.name() == name);
        let by = crate::framework::Plugins::one(place.unwrap());
        crate::run::hopes(by, &pod, &ClusterEvent::NodeUpdated { old, new })
    };
    for name in ["NodeAffinity", "NodeResourcesFit", "VolumeBinding"] {
        assert!(hopes(name, plain(), tainted()), "{name}");
        assert!(hopes(name, cordoned(), plain()), "{name}");
        assert!(!hopes(name, plain(), cordoned()), "{name}");
    }
    assert!(!hopes("TaintToleration", plain(), tainted()));
    assert!(!hopes("NodeUnschedulable", plain(), tainted()));
    assert!(hopes("NodeUnschedulable", cordoned(), plain()));
}
