//! A small cluster for plugins to look at.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use crate::{
    cache::Cache,
    framework::{First, View},
    heard::Event,
    nominator::Nominator,
    owners::Owners,
    plugins::{Plugin, State},
    pod::PodInfo,
    volumes::{Store, Volumes},
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
fn object<K: serde::de::DeserializeOwned>(name: &str, namespace: &str, changes: Value) -> Arc<K> {
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
