//! The extension points that plugins fill: which nodes can take a pod, which of those it had best go to, and what lets it hope again.
//!
//! Invariant: plugins are pure: what they say hangs on what they are shown alone. Follows `kube-scheduler/framework/interface.go`,
//! `pkg/scheduler/framework/runtime/framework.go` and `apis/config/v1/default_plugins.go`.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Node};

use crate::{
    cache::Cache,
    node::NodeInfo,
    nominator::Nominator,
    owners::Owners,
    plugins,
    pod::PodInfo,
    volumes::{Store, Volumes},
};

/// The best score.
pub const BEST: i64 = 100;

/// Why a node cannot take a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    /// Upstream's text; several for resources.
    pub reasons: Vec<String>,
    /// Removing other pods would not help.
    pub unresolvable: bool,
    /// Who says so.
    pub by: Plugins,
}

impl Rejection {
    pub fn new(reason: impl Into<String>) -> Rejection {
        Rejection {
            reasons: vec![reason.into()],
            ..Rejection::default()
        }
    }
    pub fn unresolvable(reason: impl Into<String>) -> Rejection {
        Rejection {
            unresolvable: true,
            ..Rejection::new(reason)
        }
    }
}

/// A set of plugins, by their places in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plugins(u32);

impl Plugins {
    fn one(place: usize) -> Plugins {
        Plugins(1 << place)
    }
    fn has(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    #[must_use]
    pub fn and(self, other: Plugins) -> Plugins {
        Plugins(self.0 | other.0)
    }
    /// Their names, sorted.
    pub fn names(self) -> Vec<&'static str> {
        let mut names: Vec<_> = (0..PLUGINS.len())
            .filter(|place| self.has(*place))
            .map(|place| PLUGINS[place].name())
            .collect();
        names.sort_unstable();
        names
    }
}

/// What plugins are shown.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub cache: &'a Cache,
    pub volumes: &'a Volumes,
    pub namespaces: &'a Store<Namespace>,
    pub owners: &'a Owners,
    pub nominator: &'a Nominator,
}

/// What a plugin says before nodes are looked at.
#[derive(Debug)]
pub enum First {
    /// It has nothing to say about this pod.
    Skip,
    /// Any node may do.
    Any,
    /// No node but these.
    Only(BTreeSet<String>),
    /// None.
    No(Rejection),
}

/// What plugins found out about a pod, for one attempt. Parts are each one plugin's own.
#[derive(Clone, Default)]
pub struct State {
    skipped: Plugins,
    unscored: Plugins,
    pub restrictions: plugins::volume_restrictions::State,
    pub claims: plugins::volume_binding::Claims,
    pub zones: plugins::volume_zone::State,
    pub spread: plugins::pod_topology_spread::State,
    pub pods: plugins::inter_pod_affinity::State,
}

/// Something that may let pods fit that did not.
pub enum ClusterEvent {
    PodAdded(Arc<PodInfo>),
    PodUpdated {
        old: Arc<PodInfo>,
        new: Arc<PodInfo>,
    },
    PodDeleted(Arc<PodInfo>),
    NodeAdded(Arc<Node>),
    NodeUpdated {
        old: Arc<Node>,
        new: Arc<Node>,
    },
    NodeDeleted,
    /// Claims, volumes or classes changed.
    Storage,
    /// A namespace's labels changed.
    Namespace,
}

/// One plugin.
pub trait Plugin: Sync {
    fn name(&self) -> &'static str;

    /// Looks at the pod once.
    fn pre_filter(&self, _: View, _: &PodInfo, _: &mut State) -> First {
        First::Any
    }

    /// Whether the node can take the pod.
    fn filter(&self, _: View, _: &State, _: &PodInfo, _: &NodeInfo) -> Result<(), Rejection> {
        Ok(())
    }

    /// Another pod is thought to come to the node (`by` 1) or to leave it (-1).
    fn change(
        &self,
        _: View,
        _: &mut State,
        _pod: &PodInfo,
        _other: &PodInfo,
        _: &NodeInfo,
        _by: i64,
    ) {
    }

    /// How much its scores count; 0 for a plugin that does not compare nodes.
    fn weight(&self) -> i64 {
        0
    }

    /// Looks at the nodes that can take the pod; false when it has no preference.
    fn pre_score(&self, _: View, _: &PodInfo, _: &mut State, _: &[&NodeInfo]) -> bool {
        true
    }

    /// Any number, if [`Plugin::normalize`] makes it one from 0 to 100.
    fn score(&self, _: View, _: &State, _: &PodInfo, _: &NodeInfo) -> i64 {
        0
    }

    /// Makes the scores of all nodes numbers from 0 to 100.
    fn normalize(&self, _: &State, _: &mut [i64]) {}

    /// Whether the event may let a pod fit that this plugin kept off.
    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool;
}

/// All plugins that filter or score, in upstream's order.
pub const PLUGINS: &[&dyn Plugin] = &[
    &plugins::node_unschedulable::NodeUnschedulable,
    &plugins::node_name::NodeName,
    &plugins::taint_toleration::TaintToleration,
    &plugins::node_affinity::NodeAffinity,
    &plugins::node_ports::NodePorts,
    &plugins::node_resources_fit::NodeResourcesFit,
    &plugins::volume_restrictions::VolumeRestrictions,
    &plugins::volume_binding::VolumeBinding,
    &plugins::volume_zone::VolumeZone,
    &plugins::pod_topology_spread::PodTopologySpread,
    &plugins::inter_pod_affinity::InterPodAffinity,
    &plugins::dynamic_resources::DynamicResources,
    &plugins::balanced_allocation::NodeResourcesBalancedAllocation,
    &plugins::image_locality::ImageLocality,
    &plugins::node_declared_features::NodeDeclaredFeatures,
];

/// The nodes that plugins leave before any is looked at, and who narrowed them down.
#[derive(Debug, Default)]
pub struct Narrowed {
    pub nodes: Option<BTreeSet<String>>,
    pub by: Plugins,
}

/// Lets every plugin look at the pod once.
pub fn pre_filter(view: View, pod: &PodInfo, state: &mut State) -> Result<Narrowed, Rejection> {
    let mut narrowed = Narrowed::default();
    let mut rejected = None;
    for (place, plugin) in PLUGINS.iter().enumerate() {
        match plugin.pre_filter(view, pod, state) {
            First::Skip => state.skipped = state.skipped.and(Plugins::one(place)),
            First::Any => {}
            First::Only(names) => {
                narrowed.by = narrowed.by.and(Plugins::one(place));
                narrowed.nodes = Some(narrowed.nodes.map_or(names.clone(), |had| &had & &names));
            }
            First::No(rejection) => {
                let rejection = Rejection {
                    by: Plugins::one(place),
                    ..rejection
                };
                if rejection.unresolvable {
                    return Err(rejection);
                }
                rejected.get_or_insert(rejection);
            }
        }
        if narrowed.nodes.as_ref().is_some_and(BTreeSet::is_empty) {
            let reason = match narrowed.by.names().as_slice() {
                [one] => format!("node(s) didn't satisfy plugin {one}"),
                names => format!(
                    "node(s) didn't satisfy plugin(s) [{}] simultaneously",
                    names.join(" ")
                ),
            };
            return Err(Rejection {
                by: narrowed.by,
                ..Rejection::unresolvable(reason)
            });
        }
    }
    rejected.map_or(Ok(narrowed), Err)
}

fn filter_once(view: View, state: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    for (place, plugin) in PLUGINS
        .iter()
        .enumerate()
        .filter(|(place, _)| !state.skipped.has(*place))
    {
        plugin
            .filter(view, state, pod, node)
            .map_err(|rejection| Rejection {
                by: Plugins::one(place),
                ..rejection
            })?;
    }
    Ok(())
}

/// Tells every plugin that another pod is thought to come to the node or to leave it.
pub fn change(
    view: View,
    state: &mut State,
    pod: &PodInfo,
    other: &PodInfo,
    node: &NodeInfo,
    by: i64,
) {
    for (place, plugin) in PLUGINS.iter().enumerate() {
        if !state.skipped.has(place) {
            plugin.change(view, state, pod, other, node, by);
        }
    }
}

/// Whether the node can take the pod, and could if those that were promised the node and matter as much were there already.
pub fn filter(view: View, state: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let promised = view
        .nominator
        .of_node(&node.name)
        .filter(|other| other.priority >= pod.priority && other.uid != pod.uid);
    let mut with = None;
    for other in promised {
        let (state, node) = with.get_or_insert_with(|| (state.clone(), node.clone()));
        node.add(other.clone());
        change(view, state, pod, other, node, 1);
    }
    if let Some((state, node)) = &with {
        filter_once(view, state, pod, node)?;
    }
    filter_once(view, state, pod, node)
}

/// The weighted scores of nodes, in their order.
pub fn scores(view: View, state: &mut State, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    for (place, plugin) in PLUGINS
        .iter()
        .enumerate()
        .filter(|(_, plugin)| plugin.weight() > 0)
    {
        if !plugin.pre_score(view, pod, state, nodes) {
            state.unscored = state.unscored.and(Plugins::one(place));
        }
    }
    let mut totals = vec![0; nodes.len()];
    for (place, plugin) in PLUGINS
        .iter()
        .enumerate()
        .filter(|(_, plugin)| plugin.weight() > 0)
    {
        if state.unscored.has(place) {
            continue;
        }
        let mut scores: Vec<i64> = nodes
            .iter()
            .map(|node| plugin.score(view, state, pod, node))
            .collect();
        plugin.normalize(state, &mut scores);
        totals
            .iter_mut()
            .zip(scores)
            .for_each(|(total, score)| *total += score * plugin.weight());
    }
    totals
}

/// Makes the largest score 100, or with `reverse` the smallest.
pub fn normalize(scores: &mut [i64], reverse: bool) {
    let most = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let share = if most == 0 { 0 } else { BEST * *score / most };
        *score = if reverse { BEST - share } else { share };
    }
}

/// Whether an event may let a pod fit that these plugins kept off. Without any, the attempt failed for other reasons, and everything may.
pub fn hopes(by: Plugins, pod: &PodInfo, event: &ClusterEvent) -> bool {
    by.is_empty()
        || PLUGINS
            .iter()
            .enumerate()
            .any(|(place, plugin)| by.has(place) && plugin.hopes(pod, event))
}
