//! Who owns whom: every object of the cluster as a node, with what has to be looked at when something changes.
//!
//! Invariant: pure; an owner that was only heard of through its dependents is virtual until a watch shows it, and is looked up.
//! Follows pkg/controller/garbagecollector/graph_builder.go and graph.go.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;
use skiff_podspec::shared::{Pool, Shared};
use skiff_watching::sweep::Sweep;

/// The finalizer that makes an owner wait for its blocking dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that makes dependents be let go first.
pub const ORPHAN: &str = "orphan";

/// What the collector reads of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub owner_references: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    #[serde(rename = "deletionTimestamp", deserialize_with = "is_there")]
    pub deleted: bool,
}

fn is_there<'de, D: serde::Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    Ok(Option::<serde::de::IgnoredAny>::deserialize(d)?.is_some())
}

impl From<&ObjectMeta> for Meta {
    fn from(meta: &ObjectMeta) -> Self {
        Self {
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            owner_references: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleted: meta.deletion_timestamp.is_some(),
        }
    }
}

/// Where an object is: enough to ask the server for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub api_version: Arc<str>,
    pub kind: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Box<str>,
    pub uid: Arc<str>,
}

impl Identity {
    /// What a reference of an object in `namespace` points at, if that is in a namespace.
    pub fn meant(reference: &OwnerReference, namespace: &str) -> Self {
        Self {
            api_version: reference.api_version.as_str().into(),
            kind: reference.kind.as_str().into(),
            namespace: namespace.into(),
            name: reference.name.as_str().into(),
            uid: reference.uid.as_str().into(),
        }
    }

    fn is_named_by(&self, r: &OwnerReference) -> bool {
        (&*r.uid, &*r.name, &*r.kind, &*r.api_version)
            == (&*self.uid, &*self.name, &*self.kind, &*self.api_version)
    }

    /// Whether an object in `namespace` may be owned by this one: in the same namespace, or by something that is in none.
    fn may_own_in(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || *self.namespace == *namespace
    }

    /// The order in which places are tried.
    fn rank(&self) -> (&str, &str, &str, &str) {
        (&self.kind, &self.api_version, &self.namespace, &self.name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{}/{}, namespace: {}, name: {}, uid: {}]",
            self.api_version, self.kind, self.namespace, self.name, self.uid
        )
    }
}

/// One object.
#[derive(Clone, Debug)]
pub struct Node {
    pub identity: Identity,
    /// Those of one owner name it alike.
    pub owners: Shared<Vec<OwnerReference>>,
    pub dependents: HashSet<Arc<str>>,
    pub deleted: bool,
    pub deleting_dependents: bool,
    orphaning: bool,
    /// Nobody has seen it yet.
    pub is_virtual: bool,
}

impl Node {
    fn unseen(identity: Identity) -> Self {
        Self {
            identity,
            owners: Shared::default(),
            dependents: HashSet::new(),
            deleted: false,
            deleting_dependents: false,
            orphaning: false,
            is_virtual: true,
        }
    }

    /// Whether a reference of this object means `owner` where it is, and whether one means it elsewhere.
    fn means(&self, owner: &Identity) -> (bool, bool) {
        if !owner.may_own_in(&self.identity.namespace) {
            return (false, true);
        }
        let mut references = self.owners.iter().filter(|r| *r.uid == *owner.uid);
        (
            references.clone().any(|r| owner.is_named_by(r)),
            references.any(|r| !owner.is_named_by(r)),
        )
    }
}

/// What has to be looked at, by uid.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Todo {
    pub delete: Vec<String>,
    pub orphan: Vec<String>,
    /// Objects whose owner is in another namespace, and what they take for their owner: that is to be told.
    pub misplaced: Vec<(Identity, Identity)>,
}

/// All nodes, by uid: there is one for every object of the cluster, so what they have alike is kept once.
#[derive(Default)]
pub struct Graph {
    nodes: HashMap<Arc<str>, Box<Node>>,
    absent: HashSet<Identity>,
    names: Names,
    owners: Pool<Vec<OwnerReference>>,
}

/// Names of versions, kinds and namespaces.
struct Names {
    known: HashSet<Arc<str>>,
    /// When those that nobody uses any more are forgotten.
    sweep: Sweep,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            known: HashSet::new(),
            sweep: Sweep::new(64),
        }
    }
}

impl Names {
    fn one(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.sweep.is_due(self.known.len()) {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.sweep.done(self.known.len());
        }
        let name: Arc<str> = name.into();
        self.known.insert(name.clone());
        name
    }
}

/// How many absent owners are remembered.
const MOST_ABSENT: usize = 500;

impl Graph {
    /// The node.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid).map(|node| &**node)
    }

    /// Whether what a reference of an object in `namespace` means is known not to exist, in that namespace or in none.
    pub fn is_absent(&self, reference: &OwnerReference, namespace: &str) -> bool {
        !self.absent.is_empty()
            && ["", namespace]
                .iter()
                .any(|ns| self.absent.contains(&Identity::meant(reference, ns)))
    }

    /// Remembers that this owner does not exist.
    pub fn note_absent(&mut self, identity: Identity) {
        if self.absent.len() >= MOST_ABSENT {
            self.absent.clear();
        }
        self.absent.insert(identity);
    }

    /// The dependents that keep `uid` from going, when it is deleted in the foreground.
    pub fn blocking(&self, uid: &str) -> Vec<&Node> {
        let blocks = |node: &&Node| {
            node.owners
                .iter()
                .any(|r| r.uid == uid && r.block_owner_deletion == Some(true))
        };
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    /// All dependents.
    pub fn dependents(&self, uid: &str) -> Vec<&Node> {
        self.nodes
            .get(uid)
            .into_iter()
            .flat_map(|node| &node.dependents)
            .filter_map(|dep| self.get(dep))
            .collect()
    }

    /// The object was seen, new or changed.
    pub fn observe(&mut self, api_version: &str, kind: &str, meta: &Meta) -> Todo {
        let mut todo = Todo::default();
        let uid = match self.nodes.get_key_value(meta.uid.as_str()) {
            Some((uid, _)) => uid.clone(),
            None => meta.uid.as_str().into(),
        };
        let identity = Identity {
            api_version: self.names.one(api_version),
            kind: self.names.one(kind),
            namespace: self.names.one(&meta.namespace),
            name: meta.name.as_str().into(),
            uid,
        };
        let has = |finalizer: &str| meta.deleted && meta.finalizers.iter().any(|f| f == finalizer);
        let (foreground, orphan) = (has(FOREGROUND), has(ORPHAN));
        let node = self
            .nodes
            .entry(identity.uid.clone())
            .or_insert_with(|| Box::new(Node::unseen(identity.clone())));
        let found_elsewhere = node.is_virtual && node.identity != identity;
        let starts_foreground = foreground && !node.deleting_dependents;
        let starts_orphaning = orphan && !node.orphaning;
        node.identity = identity.clone();
        node.is_virtual = false;
        node.deleted |= meta.deleted;
        node.deleting_dependents = foreground;
        node.orphaning = orphan;
        let mut owners = Shared::from(meta.owner_references.clone());
        self.owners.share(&mut owners, Some(&node.owners));
        let old = std::mem::replace(&mut node.owners, owners);
        if starts_foreground {
            todo.delete
                .extend(node.dependents.iter().map(|uid| uid.to_string()));
            todo.delete.push(meta.uid.clone());
        }
        if starts_orphaning {
            todo.orphan.push(meta.uid.clone());
        }
        if found_elsewhere {
            self.check_dependents(&meta.uid, &mut todo);
        }
        self.relink(&identity, meta, &old, &mut todo);
        todo
    }

    /// An owner was seen for the first time, and not where it was thought to be.
    fn check_dependents(&self, uid: &str, todo: &mut Todo) {
        let Some(owner) = self.nodes.get(uid) else {
            return;
        };
        for dependent in self
            .dependents(uid)
            .into_iter()
            .filter(|dependent| dependent.means(&owner.identity).1)
        {
            todo.delete.push(dependent.identity.uid.to_string());
            if !owner.identity.may_own_in(&dependent.identity.namespace)
                && let Some(reference) = dependent.owners.iter().find(|r| r.uid == uid)
            {
                todo.misplaced.push((
                    dependent.identity.clone(),
                    Identity::meant(reference, &dependent.identity.namespace),
                ));
            }
        }
    }

    fn relink(
        &mut self,
        identity: &Identity,
        meta: &Meta,
        old: &[OwnerReference],
        todo: &mut Todo,
    ) {
        for owner in old {
            let now = meta.owner_references.iter().find(|r| r.uid == owner.uid);
            let Some(node) = self.nodes.get_mut(owner.uid.as_str()) else {
                continue;
            };
            if now.is_none() {
                node.dependents.remove(meta.uid.as_str());
            }
            let blocked = |r: &OwnerReference| r.block_owner_deletion == Some(true);
            if blocked(owner) && !now.is_some_and(blocked) && node.deleting_dependents {
                todo.delete.push(owner.uid.clone());
            }
        }
        let mut suspicious = false;
        for owner in &meta.owner_references {
            let is_new = !old.iter().any(|r| r.uid == owner.uid);
            // the owner's namespace is not in the reference: it is the dependent's, or none
            let meant = Identity::meant(owner, &meta.namespace);
            let node = self
                .nodes
                .entry(meant.uid.clone())
                .or_insert_with(|| Box::new(Node::unseen(meant.clone())));
            if node.dependents.insert(identity.uid.clone()) && node.is_virtual {
                todo.delete.push(owner.uid.clone());
            }
            if !is_new {
                continue;
            }
            let misplaced = !node.identity.may_own_in(&meta.namespace);
            let unsure =
                node.is_virtual && node.identity.namespace.is_empty() && !meta.namespace.is_empty();
            suspicious |= node.deleting_dependents
                || misplaced
                || unsure
                || !node.identity.is_named_by(owner);
            if misplaced && !node.is_virtual {
                todo.misplaced.push((identity.clone(), meant));
            }
        }
        if suspicious
            || meta
                .owner_references
                .iter()
                .any(|r| self.is_absent(r, &meta.namespace))
        {
            todo.delete.push(meta.uid.clone());
        }
    }

    /// The object is gone.
    pub fn remove(&mut self, uid: &str) -> Todo {
        let mut todo = Todo::default();
        let Some(node) = self.nodes.remove(uid) else {
            return todo;
        };
        for owner in node.owners.iter() {
            let Some(owner_node) = self.nodes.get_mut(owner.uid.as_str()) else {
                continue;
            };
            owner_node.dependents.remove(uid);
            if owner_node.deleting_dependents {
                todo.delete.push(owner.uid.clone());
            } else if owner_node.is_virtual && owner_node.dependents.is_empty() {
                self.nodes.remove(owner.uid.as_str());
            }
        }
        if !node.dependents.is_empty() {
            self.note_absent(node.identity.clone());
        }
        todo.delete
            .extend(node.dependents.iter().map(|uid| uid.to_string()));
        todo
    }

    /// The server says that there is no such object. One that dependents mean elsewhere, or that was seen elsewhere, stays.
    pub fn lost(&mut self, identity: &Identity) -> Todo {
        let Some(node) = self.nodes.get(&identity.uid) else {
            return Todo::default();
        };
        let of_whom = |means: fn((bool, bool)) -> bool| -> Vec<&Node> {
            self.dependents(&identity.uid)
                .into_iter()
                .filter(|dependent| means(dependent.means(identity)))
                .collect()
        };
        let (here, elsewhere) = (
            of_whom(|(here, _)| here),
            of_whom(|(_, elsewhere)| elsewhere),
        );
        if if node.is_virtual {
            elsewhere.is_empty()
        } else {
            node.identity == *identity
        } {
            return self.remove(&identity.uid);
        }
        let mut todo = Todo {
            delete: here
                .iter()
                .map(|dependent| dependent.identity.uid.to_string())
                .collect(),
            ..Todo::default()
        };
        let looked_here = node.is_virtual
            && Identity {
                namespace: identity.namespace.clone(),
                ..node.identity.clone()
            } == *identity;
        let next = looked_here
            .then(|| next_place(identity, &elsewhere))
            .flatten();
        if !todo.delete.is_empty() {
            self.note_absent(identity.clone());
        }
        if let Some(next) = next
            && let Some(node) = self.nodes.get_mut(&identity.uid)
        {
            node.identity = next;
            todo.delete.push(identity.uid.to_string());
        }
        todo
    }

    /// Those of a kind that a fresh list does not show.
    pub fn missing(&self, api_version: &str, kind: &str, seen: &HashSet<&str>) -> Vec<String> {
        let of_kind = |node: &&Node| {
            !node.is_virtual
                && *node.identity.api_version == *api_version
                && *node.identity.kind == *kind
        };
        self.nodes
            .values()
            .map(|node| &**node)
            .filter(of_kind)
            .map(|n| &n.identity.uid)
            .filter(|uid| !seen.contains(&***uid))
            .map(|uid| uid.to_string())
            .collect()
    }
}

/// Where else the dependents mean an owner: the first place after that where it is not, or else the first.
fn next_place(absent: &Identity, dependents: &[&Node]) -> Option<Identity> {
    let mut places: Vec<Identity> = Vec::new();
    for dependent in dependents {
        for reference in dependent.owners.iter().filter(|r| *r.uid == *absent.uid) {
            let without_namespace = absent.namespace.is_empty()
                && (&*reference.api_version, &*reference.kind)
                    == (&*absent.api_version, &*absent.kind);
            let place = Identity::meant(
                reference,
                if without_namespace {
                    ""
                } else {
                    &dependent.identity.namespace
                },
            );
            if place != *absent {
                places.push(place);
            }
        }
    }
    places.sort_by(|a, b| a.rank().cmp(&b.rank()));
    places
        .iter()
        .find(|place| place.rank() > absent.rank())
        .or(places.first())
        .cloned()
}

/// What is to become of an object, given its references.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// It has an owner, and nothing to forget.
    Keep,
    /// It has an owner; these references lead nowhere.
    Forget(Vec<String>),
    /// Its owner waits for it, and it has dependents of its own.
    DeleteForeground,
    /// Nobody holds it any more.
    Delete(&'static str),
}

/// Decides about an object whose references were looked up.
pub fn decide(
    solid: usize,
    dangling: Vec<String>,
    waiting: Vec<String>,
    has_dependents: bool,
    finalizers: &[String],
) -> Action {
    if solid > 0 {
        let forget: Vec<_> = dangling.into_iter().chain(waiting).collect();
        return if forget.is_empty() {
            Action::Keep
        } else {
            Action::Forget(forget)
        };
    }
    if !waiting.is_empty() && has_dependents {
        return Action::DeleteForeground;
    }
    let has = |finalizer: &str| finalizers.iter().any(|f| f == finalizer);
    Action::Delete(if has(ORPHAN) {
        "Orphan"
    } else if has(FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    })
}

#[cfg(test)]
mod tests;
