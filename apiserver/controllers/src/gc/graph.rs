//! Who owns whom: every object of the cluster as a node, with what has to be looked at when something changes.
//!
//! Invariant: pure; an owner that was only heard of through its dependents is virtual until a watch shows it, and is looked up.
//! Follows pkg/controller/garbagecollector/graph_builder.go and graph.go.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// One object.
#[derive(Clone, Debug)]
pub struct Node {
    pub identity: Identity,
    pub owners: Vec<OwnerReference>,
    pub dependents: HashSet<String>,
    pub deleted: bool,
    pub deleting_dependents: bool,
    orphaning: bool,
    /// Nobody has seen it yet.
    pub is_virtual: bool,
}

/// What has to be looked at, by uid.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Todo {
    pub delete: Vec<String>,
    pub orphan: Vec<String>,
}

/// All nodes, by uid.
#[derive(Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    absent: HashSet<String>,
}

/// How many absent owners are remembered.
const MOST_ABSENT: usize = 500;

impl Graph {
    /// The node.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Whether this owner is known not to exist.
    pub fn is_absent(&self, uid: &str) -> bool {
        self.absent.contains(uid)
    }

    /// Remembers that this owner does not exist.
    pub fn note_absent(&mut self, uid: &str) {
        if self.absent.len() >= MOST_ABSENT {
            self.absent.clear();
        }
        self.absent.insert(uid.to_string());
    }

    /// The dependents that keep `uid` from going, when it is deleted in the foreground.
    pub fn blocking(&self, uid: &str) -> Vec<&Node> {
        let blocks = |node: &&Node| node.owners.iter().any(|r| r.uid == uid && r.block_owner_deletion == Some(true));
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    /// All dependents.
    pub fn dependents(&self, uid: &str) -> Vec<&Node> {
        self.nodes.get(uid).into_iter().flat_map(|node| &node.dependents).filter_map(|dep| self.nodes.get(dep)).collect()
    }

    /// The object was seen, new or changed.
    pub fn observe(&mut self, api_version: &str, kind: &str, meta: &Meta) -> Todo {
        let mut todo = Todo::default();
        let identity =
            Identity { api_version: api_version.into(), kind: kind.into(), namespace: meta.namespace.clone(), name: meta.name.clone(), uid: meta.uid.clone() };
        let has = |finalizer: &str| meta.deleted && meta.finalizers.iter().any(|f| f == finalizer);
        let (foreground, orphan) = (has(FOREGROUND), has(ORPHAN));
        let node = self.nodes.entry(meta.uid.clone()).or_insert_with(|| Node {
            identity: identity.clone(),
            owners: Vec::new(),
            dependents: HashSet::new(),
            deleted: false,
            deleting_dependents: false,
            orphaning: false,
            is_virtual: true,
        });
        let starts_foreground = foreground && !node.deleting_dependents;
        let starts_orphaning = orphan && !node.orphaning;
        node.identity = identity;
        node.is_virtual = false;
        node.deleted |= meta.deleted;
        node.deleting_dependents = foreground;
        node.orphaning = orphan;
        let old = std::mem::replace(&mut node.owners, meta.owner_references.clone());
        if starts_foreground {
            todo.delete.extend(node.dependents.iter().cloned());
            todo.delete.push(meta.uid.clone());
        }
        if starts_orphaning {
            todo.orphan.push(meta.uid.clone());
        }
        self.absent.remove(&meta.uid);
        self.relink(meta, &old, &mut todo);
        todo
    }

    fn relink(&mut self, meta: &Meta, old: &[OwnerReference], todo: &mut Todo) {
        for owner in old {
            let now = meta.owner_references.iter().find(|r| r.uid == owner.uid);
            let Some(node) = self.nodes.get_mut(&owner.uid) else { continue };
            if now.is_none() {
                node.dependents.remove(&meta.uid);
            }
            let blocked = |r: &OwnerReference| r.block_owner_deletion == Some(true);
            if blocked(owner) && !now.is_some_and(blocked) && node.deleting_dependents {
                todo.delete.push(owner.uid.clone());
            }
        }
        let mut owner_waits = false;
        for owner in &meta.owner_references {
            let is_new = !old.iter().any(|r| r.uid == owner.uid);
            let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                // the owner's namespace is not in the reference: it is the dependent's, or none
                let identity = Identity {
                    api_version: owner.api_version.clone(),
                    kind: owner.kind.clone(),
                    namespace: meta.namespace.clone(),
                    name: owner.name.clone(),
                    uid: owner.uid.clone(),
                };
                Node {
                    identity,
                    owners: Vec::new(),
                    dependents: HashSet::new(),
                    deleted: false,
                    deleting_dependents: false,
                    orphaning: false,
                    is_virtual: true,
                }
            });
            if node.dependents.insert(meta.uid.clone()) && node.is_virtual {
                todo.delete.push(owner.uid.clone());
            }
            let elsewhere =
                !node.is_virtual && (node.identity.name != owner.name || node.identity.kind != owner.kind || !fits(&node.identity, &meta.namespace));
            owner_waits |= is_new && (node.deleting_dependents || elsewhere);
        }
        if owner_waits || meta.owner_references.iter().any(|r| self.absent.contains(&r.uid)) {
            todo.delete.push(meta.uid.clone());
        }
    }

    /// The object is gone.
    pub fn remove(&mut self, uid: &str) -> Todo {
        let mut todo = Todo::default();
        let Some(node) = self.nodes.remove(uid) else { return todo };
        for owner in &node.owners {
            let Some(owner_node) = self.nodes.get_mut(&owner.uid) else { continue };
            owner_node.dependents.remove(uid);
            if owner_node.deleting_dependents {
                todo.delete.push(owner.uid.clone());
            } else if owner_node.is_virtual && owner_node.dependents.is_empty() {
                self.nodes.remove(&owner.uid);
            }
        }
        if !node.dependents.is_empty() {
            self.note_absent(uid);
        }
        todo.delete.extend(node.dependents);
        todo
    }

    /// Those of a kind that a fresh list does not show.
    pub fn missing(&self, api_version: &str, kind: &str, seen: &HashSet<&str>) -> Vec<String> {
        let of_kind = |node: &&Node| !node.is_virtual && node.identity.api_version == api_version && node.identity.kind == kind;
        self.nodes.values().filter(of_kind).map(|n| &n.identity.uid).filter(|uid| !seen.contains(uid.as_str())).cloned().collect()
    }
}

/// Whether an object in `namespace` may be owned by `owner`: in the same namespace, or by something that is in none.
fn fits(owner: &Identity, namespace: &str) -> bool {
    owner.namespace.is_empty() || owner.namespace == namespace
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
pub fn decide(solid: usize, dangling: Vec<String>, waiting: Vec<String>, has_dependents: bool, finalizers: &[String]) -> Action {
    if solid > 0 {
        let forget: Vec<_> = dangling.into_iter().chain(waiting).collect();
        return if forget.is_empty() { Action::Keep } else { Action::Forget(forget) };
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
mod tests {
    use super::*;

    fn meta(uid: &str, owners: &[(&str, bool)]) -> Meta {
        let reference = |(uid, block): &(&str, bool)| OwnerReference {
            uid: uid.to_string(),
            name: uid.to_string(),
            kind: "K".into(),
            block_owner_deletion: Some(*block),
            ..Default::default()
        };
        Meta { uid: uid.into(), name: uid.into(), namespace: "ns".into(), owner_references: owners.iter().map(reference).collect(), ..Meta::default() }
    }

    fn going(mut meta: Meta, finalizer: &str) -> Meta {
        meta.deleted = true;
        meta.finalizers = vec![finalizer.into()];
        meta
    }

    fn todo(delete: &[&str], orphan: &[&str]) -> Todo {
        let list = |l: &[&str]| l.iter().map(ToString::to_string).collect();
        Todo { delete: list(delete), orphan: list(orphan) }
    }

    #[test]
    fn an_unseen_owner_is_looked_up_and_its_loss_tells_the_dependents() {
        let mut graph = Graph::default();
        assert_eq!(graph.observe("v1", "K", &meta("child", &[("owner", false)])), todo(&["owner"], &[]));
        assert_eq!(graph.observe("v1", "K", &meta("owner", &[])), todo(&[], &[]));
        assert_eq!(graph.remove("owner"), todo(&["child"], &[]));
        assert!(graph.is_absent("owner"));
    }

    #[test]
    fn a_foreground_deletion_waits_for_those_that_block() {
        let mut graph = Graph::default();
        graph.observe("v1", "K", &meta("owner", &[]));
        graph.observe("v1", "K", &meta("child", &[("owner", true)]));
        assert_eq!(graph.observe("v1", "K", &going(meta("owner", &[]), FOREGROUND)), todo(&["child", "owner"], &[]));
        assert_eq!(graph.blocking("owner").len(), 1);
        assert_eq!(graph.observe("v1", "K", &going(meta("owner", &[]), FOREGROUND)), todo(&[], &[]), "only once");
        assert_eq!(graph.remove("child"), todo(&["owner"], &[]));
        assert!(graph.blocking("owner").is_empty());
    }

    #[test]
    fn a_dependent_that_stops_blocking_wakes_its_owner() {
        let mut graph = Graph::default();
        graph.observe("v1", "K", &going(meta("owner", &[]), FOREGROUND));
        graph.observe("v1", "K", &meta("child", &[("owner", true)]));
        assert_eq!(graph.observe("v1", "K", &meta("child", &[("owner", false)])), todo(&["owner"], &[]));
        assert_eq!(graph.observe("v1", "K", &meta("child", &[])), todo(&[], &[]));
    }

    #[test]
    fn orphaning_is_asked_for_once() {
        let mut graph = Graph::default();
        assert_eq!(graph.observe("v1", "K", &going(meta("owner", &[]), ORPHAN)), todo(&[], &["owner"]));
        assert_eq!(graph.observe("v1", "K", &going(meta("owner", &[]), ORPHAN)), todo(&[], &[]));
    }

    #[test]
    fn decisions() {
        let s = |l: &[&str]| l.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (solid, dangling, waiting, dependents, finalizers, expected) in [
            (1, s(&[]), s(&[]), false, s(&[]), Action::Keep),
            (1, s(&["d"]), s(&["w"]), true, s(&[]), Action::Forget(s(&["d", "w"]))),
            (0, s(&["d"]), s(&[]), false, s(&[]), Action::Delete("Background")),
            (0, s(&["d"]), s(&[]), false, s(&[ORPHAN]), Action::Delete("Orphan")),
            (0, s(&[]), s(&["w"]), false, s(&[FOREGROUND]), Action::Delete("Foreground")),
            (0, s(&[]), s(&["w"]), true, s(&[]), Action::DeleteForeground),
        ] {
            assert_eq!(decide(solid, dangling, waiting, dependents, &finalizers), expected);
        }
    }
}
