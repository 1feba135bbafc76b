//! Runs the plugins: which nodes can take a pod, which of those it had best go to, and what lets it hope again.
//!
//! Invariant: nothing is decided here but in which order plugins are asked. Follows `pkg/scheduler/framework/runtime/framework.go`.

use std::collections::BTreeSet;

use crate::{
    broken::Broken,
    framework::{ClusterEvent, First, Plugins, Rejection, View},
    node::NodeInfo,
    plugins::{PLUGINS, State},
    pod::PodInfo,
};

/// The names of plugins, sorted.
pub fn names(plugins: Plugins) -> Vec<&'static str> {
    let mut names: Vec<_> = (0..PLUGINS.len())
        .filter(|place| plugins.has(*place))
        .map(|place| PLUGINS[place].name())
        .collect();
    names.sort_unstable();
    names
}

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
            let reason = match names(narrowed.by).as_slice() {
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
pub fn scores(
    view: View,
    state: &mut State,
    pod: &PodInfo,
    nodes: &[&NodeInfo],
) -> Result<Vec<i64>, Broken> {
    let scoring = || {
        PLUGINS
            .iter()
            .enumerate()
            .filter(|(_, plugin)| plugin.weight() > 0)
    };
    for (place, plugin) in scoring() {
        let prefers = plugin
            .pre_score(view, pod, state, nodes)
            .map_err(|source| {
                let plugin = plugin.name();
                Broken::PreScore { plugin, source }
            })?;
        if !prefers {
            state.unscored = state.unscored.and(Plugins::one(place));
        }
    }
    let mut totals = vec![0; nodes.len()];
    for (_, plugin) in scoring().filter(|(place, _)| !state.unscored.has(*place)) {
        let score = |node: &&NodeInfo| plugin.score(view, state, pod, node);
        let mut scores: Vec<i64> = nodes.iter().map(score).collect();
        plugin.normalize(state, &mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    Ok(totals)
}

/// Whether an event may let a pod fit that these plugins kept off. Without any, the attempt failed for other reasons, and everything may.
pub fn hopes(by: Plugins, pod: &PodInfo, event: &ClusterEvent) -> bool {
    by.is_empty()
        || PLUGINS
            .iter()
            .enumerate()
            .filter(|(place, _)| by.has(*place))
            .any(|(_, plugin)| {
                plugin.hopes(pod, event) || event.is_of_taints() && plugin.hopes_for_taints()
            })
}
