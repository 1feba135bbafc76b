//! Pods that were promised a node on which room is being made for them.
//!
//! Invariant: a pod is promised at most one node, and none once it is bound or counted there. Follows
//! `pkg/scheduler/backend/queue/nominator.go`.

use std::{collections::HashMap, sync::Arc};

use crate::pod::PodInfo;

/// Who was promised what.
#[derive(Default)]
pub struct Nominator {
    pods: HashMap<Arc<str>, (Arc<PodInfo>, String)>,
    nodes: HashMap<String, Vec<Arc<str>>>,
}

impl Nominator {
    /// The pods that were promised a node.
    pub fn of_node(&self, node: &str) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.nodes
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|uid| self.pods.get(uid))
            .map(|(pod, _)| pod)
    }

    /// Promises the pod a node, or takes the promise back.
    pub fn set(&mut self, pod: &Arc<PodInfo>, node: Option<&str>) {
        self.remove(&pod.uid);
        if let Some(node) = node.filter(|node| !node.is_empty()) {
            self.pods
                .insert(pod.uid.clone(), (pod.clone(), node.to_string()));
            self.nodes
                .entry(node.to_string())
                .or_default()
                .push(pod.uid.clone());
        }
    }

    /// A pod that waits appeared or changed. What was promised here stands until its status says something else.
    pub fn heard(&mut self, pod: &Arc<PodInfo>) {
        let kept = match self.pods.get(&pod.uid) {
            Some((old, node)) if old.nominated().is_none() && pod.nominated().is_none() => {
                Some(node.clone())
            }
            _ => pod.nominated().map(String::from),
        };
        self.set(pod, kept.as_deref());
    }

    pub fn remove(&mut self, uid: &str) {
        let Some((_, node)) = self.pods.remove(uid) else {
            return;
        };
        if let Some(list) = self.nodes.get_mut(&node) {
            list.retain(|other| &**other != uid);
            if list.is_empty() {
                self.nodes.remove(&node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::tests::pod;

    #[test]
    fn a_promise_stands_until_the_status_says_otherwise() {
        let mut nominator = Nominator::default();
        let names = |nominator: &Nominator, node: &str| {
            nominator
                .of_node(node)
                .map(|pod| pod.name.clone())
                .collect::<Vec<_>>()
        };
        nominator.set(&pod("p", json!({})), Some("a"));
        nominator.heard(&pod("p", json!({})));
        assert_eq!(names(&nominator, "a"), ["p"]);
        nominator.heard(&pod("p", json!({"status": {"nominatedNodeName": "b"}})));
        assert_eq!(
            (names(&nominator, "a"), names(&nominator, "b")),
            (vec![], vec!["p".to_string()])
        );
        nominator.heard(&pod("p", json!({})));
        assert_eq!(names(&nominator, "b"), Vec::<String>::new());
    }
}
