//! The Node objects as the API has them: what others labelled, tainted and patched counts as much as what the node said of itself.
//!
//! Invariant: what is known is never older than what this node wrote last. One follower may serve all nodes of a process.
//! Follows the node lister of `pkg/kubelet/kubelet.go` and `GetCachedNode` in `pkg/kubelet/kubelet_getters.go`.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Node;
use parking_lot::RwLock;
use skiff_watching::{
    api::Api,
    clock::Clock,
    events::Events,
    follow::{Seen, Selection, follow},
    unreadable::Unreadable,
};
use tokio_util::sync::CancellationToken;

/// Nodes by name.
#[derive(Default)]
pub struct Nodes(RwLock<HashMap<String, Arc<Node>>>);

impl Nodes {
    /// Follows one node until `stop`.
    pub fn follow_one(
        api: &Api,
        unreadable: &Unreadable,
        name: &str,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        Self::follow(
            api,
            unreadable,
            Selection {
                field: Some(("metadata.name", name.to_owned())),
                ..Selection::default()
            },
            stop,
        )
    }

    /// Follows all nodes until `stop`, for many agents in one process.
    pub fn follow_all(api: &Api, stop: &CancellationToken) -> Arc<Self> {
        let events = Events::start(api.clone(), Clock::system(), stop.clone());
        Self::follow(api, &Unreadable::new(&events), Selection::default(), stop)
    }

    fn follow(
        api: &Api,
        unreadable: &Unreadable,
        selection: Selection,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let nodes = Arc::new(Self::default());
        let mut changes = follow::<Node>(api, &Clock::system(), unreadable, selection, stop);
        let known = nodes.clone();
        skiff_watching::task::spawn(async move {
            while let Some(seen) = changes.recv().await {
                known.take(seen);
            }
        });
        nodes
    }

    fn take(&self, seen: Seen<Node>) {
        match seen {
            Seen::Listed(all) => {
                let mut nodes = self.0.write();
                let listed: HashMap<String, Node> = all
                    .into_iter()
                    .map(|node| (name(&node).to_owned(), node))
                    .collect();
                nodes.retain(|name, _| listed.contains_key(name));
                listed.into_values().for_each(|node| put(&mut nodes, node));
            }
            Seen::Applied(node) => put(&mut self.0.write(), node),
            Seen::Deleted(node) => _ = self.0.write().remove(name(&node)),
        }
    }

    /// Takes what the API answered, unless something newer is known already.
    pub fn put(&self, node: Node) {
        put(&mut self.0.write(), node);
    }

    pub fn get(&self, name: &str) -> Option<Arc<Node>> {
        self.0.read().get(name).cloned()
    }
}

fn put(nodes: &mut HashMap<String, Arc<Node>>, mut node: Node) {
    let version = |node: &Node| {
        node.metadata
            .resource_version
            .as_deref()
            .and_then(|version| version.parse::<u64>().ok())
    };
    let newer = nodes.get(name(&node)).is_none_or(|known| {
        known.metadata.uid != node.metadata.uid || version(known) <= version(&node)
    });
    if newer {
        // Nobody here asks who wrote what.
        node.metadata.managed_fields = None;
        nodes.insert(name(&node).to_owned(), Arc::new(node));
    }
}

fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn node(uid: &str, version: &str) -> Node {
        from_value(json!({"metadata": {"name": "n", "uid": uid, "resourceVersion": version}}))
            .unwrap()
    }

    #[test]
    fn an_older_answer_does_not_replace_a_newer_one() {
        let nodes = Nodes::default();
        let version = || {
            nodes
                .get("n")
                .and_then(|node| node.metadata.resource_version.clone())
        };
        nodes.put(node("a", "10"));
        nodes.put(node("a", "9"));
        assert_eq!(version().as_deref(), Some("10"));
        nodes.put(node("b", "3"));
        assert_eq!(version().as_deref(), Some("3"), "another node of that name");
        nodes.take(Seen::Listed(Vec::new()));
        assert_eq!(version(), None);
    }
}
