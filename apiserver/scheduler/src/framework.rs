//! The extension points that plugins fill: which nodes can take a pod, which of those it had best go to, and what lets it hope again.
//!
//! Invariant: plugins are pure: what they say hangs on what they are shown alone. Follows `kube-scheduler/framework/interface.go`,
//! `pkg/scheduler/framework/runtime/framework.go` and `apis/config/v1/default_plugins.go`.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};
use skiff_podspec::{
    affinity::UnreadableTerms,
    parts::{HasSpec, HasStatus},
};

use crate::{
    cache::Cache,
    node::NodeInfo,
    nominator::Nominator,
    owners::Owners,
    pod::PodInfo,
    volumes::{Change, Store, Volumes},
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
    /// For this reason, unless it holds.
    pub fn unless(holds: bool, reason: &str) -> Result<(), Rejection> {
        if holds {
            Ok(())
        } else {
            Err(Rejection::new(reason))
        }
    }
    /// The same where removing other pods would not help.
    pub fn unresolvable_unless(holds: bool, reason: &str) -> Result<(), Rejection> {
        if holds {
            Ok(())
        } else {
            Err(Rejection::unresolvable(reason))
        }
    }
}

/// A set of plugins, by their places in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plugins(u32);

impl Plugins {
    pub fn one(place: usize) -> Plugins {
        Plugins(1 << place)
    }
    pub fn has(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    #[must_use]
    pub fn and(self, other: Plugins) -> Plugins {
        Plugins(self.0 | other.0)
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

/// Something that may let pods fit that did not.
pub enum ClusterEvent {
    PodAdded(Arc<PodInfo>),
    PodUpdated {
        old: Arc<PodInfo>,
        new: Arc<PodInfo>,
    },
    PodDeleted(Arc<PodInfo>),
    /// The pod itself that waits.
    Own {
        old: Arc<PodInfo>,
        new: Arc<PodInfo>,
    },
    NodeAdded(Arc<Node>),
    NodeUpdated {
        old: Arc<Node>,
        new: Arc<Node>,
    },
    NodeDeleted(Arc<Node>),
    Claim(Change<PersistentVolumeClaim>),
    Volume(Change<PersistentVolume>),
    Class(Change<StorageClass>),
    /// What drivers a node has.
    DriversOfNode(Change<CSINode>),
    Attachment(Change<VolumeAttachment>),
    Driver(Change<CSIDriver>),
    Capacity(Change<CSIStorageCapacity>),
    /// A namespace's labels changed.
    Namespace,
}

/// Upstream's names of what happens to objects of a kind: one is new, changed, or gone.
macro_rules! names {
    ($kind:literal) => {
        [
            concat!($kind, "Add"),
            concat!($kind, "Update"),
            concat!($kind, "Delete"),
        ]
    };
}

impl ClusterEvent {
    /// Whether a node has other taints now, or takes pods again.
    pub fn is_of_taints(&self) -> bool {
        let ClusterEvent::NodeUpdated { old, new } = self else {
            return false;
        };
        let taints = |node: &Node| node.spec().taints.clone().unwrap_or_default();
        let is_cordoned = |node: &Node| node.spec().unschedulable == Some(true);
        taints(old) != taints(new) || is_cordoned(old) && !is_cordoned(new)
    }

    /// Upstream's name of it; of a change that is several at once the first.
    pub fn label(&self) -> &'static str {
        match self {
            ClusterEvent::PodAdded(_) => "AssignedPodAdd",
            ClusterEvent::PodUpdated { old, new } => match old.labels() == new.labels() {
                true => "AssignedPodUpdate",
                false => "AssignedPodUpdatePodLabel",
            },
            ClusterEvent::PodDeleted(_) => "AssignedPodDelete",
            ClusterEvent::Own { old, new } => own_change(old, new),
            ClusterEvent::NodeAdded(_) => "NodeAdd",
            ClusterEvent::NodeUpdated { old, new } => node_change(old, new),
            ClusterEvent::NodeDeleted(_) => "NodeDelete",
            ClusterEvent::Claim(change) => change.label(names!("PersistentVolumeClaim")),
            ClusterEvent::Volume(change) => change.label(names!("PersistentVolume")),
            ClusterEvent::Class(change) => change.label(names!("storage.k8s.io/StorageClass")),
            ClusterEvent::DriversOfNode(change) => change.label(names!("storage.k8s.io/CSINode")),
            ClusterEvent::Attachment(change) => {
                change.label(names!("storage.k8s.io/VolumeAttachment"))
            }
            ClusterEvent::Driver(change) => change.label(names!("storage.k8s.io/CSIDriver")),
            ClusterEvent::Capacity(change) => {
                change.label(names!("storage.k8s.io/CSIStorageCapacity"))
            }
            ClusterEvent::Namespace => "NamespaceUpdate",
        }
    }
}

fn own_change(old: &PodInfo, new: &PodInfo) -> &'static str {
    match () {
        () if old.labels() != new.labels() => "UnschedulablePodUpdatePodLabel",
        () if new.has_less(old) => "UnschedulablePodUpdatePodScaleDown",
        () if new.has_other_tolerations(old) => "UnschedulablePodUpdatePodToleration",
        () => "UnschedulablePodUpdate",
    }
}

fn node_change(old: &Node, new: &Node) -> &'static str {
    let allocatable = |node: &Node| node.status().allocatable.clone();
    let kept_off = |node: &Node| {
        let spec = node.spec.as_ref();
        spec.map(|spec| (spec.taints.clone(), spec.unschedulable))
    };
    match () {
        () if allocatable(old) != allocatable(new) => "NodeUpdateNodeAllocatable",
        () if old.metadata.labels != new.metadata.labels => "NodeUpdateNodeLabel",
        () if kept_off(old) != kept_off(new) => "NodeUpdateNodeTaint",
        () => "NodeUpdate",
    }
}

/// One plugin. `State` is what all plugins found out about a pod in one attempt, each its own part.
pub trait Plugin<State>: Sync {
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

    /// Looks at the nodes that can take the pod; false when it has no preference. What cannot be read breaks the attempt off.
    fn pre_score(
        &self,
        _: View,
        _: &PodInfo,
        _: &mut State,
        _: &[&NodeInfo],
    ) -> Result<bool, UnreadableTerms> {
        Ok(true)
    }

    /// Any number, if [`Plugin::normalize`] makes it one from 0 to 100.
    fn score(&self, _: View, _: &State, _: &PodInfo, _: &NodeInfo) -> i64 {
        0
    }

    /// Makes the scores of all nodes numbers from 0 to 100.
    fn normalize(&self, _: &State, _: &mut [i64]) {}

    /// Whether any change of a node's taints lets pods hope that this plugin kept off: upstream, which does not always look at what a new
    /// node means to them, has it so for all plugins that hope for new nodes and do not look at taints themselves (`buildQueueingHintMap`).
    fn hopes_for_taints(&self) -> bool {
        true
    }

    /// Whether the event may let a pod fit that this plugin kept off.
    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool;
}

/// Makes the largest score 100, or with `reverse` the smallest.
pub fn normalize(scores: &mut [i64], reverse: bool) {
    let most = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let share = if most == 0 { 0 } else { BEST * *score / most };
        *score = if reverse { BEST - share } else { share };
    }
}
