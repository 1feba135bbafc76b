//! Why a pod fits nowhere, and the words for it.
//!
//! Follows `pkg/scheduler/framework/types.go` (Diagnosis, FitError).

use std::collections::{BTreeMap, HashMap};

use crate::framework::{Plugins, Rejection};

/// What was found out about nodes.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    nodes: HashMap<String, Rejection>,
    /// What holds for all nodes that were not looked at: nothing can be done about them.
    absent: Rejection,
    by: Plugins,
}

impl Diagnosis {
    /// Nodes that were not looked at are none that the pod could go to, for this reason.
    pub fn with_absent(reason: impl Into<String>, by: Plugins) -> Diagnosis {
        Diagnosis {
            absent: Rejection::unresolvable(reason),
            by,
            ..Diagnosis::default()
        }
    }

    pub fn reject(&mut self, node: &str, rejection: Rejection) {
        self.by = self.by.and(rejection.by);
        self.nodes.insert(node.to_string(), rejection);
    }

    /// All plugins that kept the pod off some node.
    pub fn by(&self) -> Plugins {
        self.by
    }

    /// Whether removing pods from the node could help.
    pub fn is_resolvable(&self, node: &str) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|rejection| !rejection.unresolvable)
    }

    /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).`
    pub fn message(&self, all: usize) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.nodes.values().flat_map(|rejection| &rejection.reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        let absent = all.saturating_sub(self.nodes.len());
        for reason in self.absent.reasons.iter().filter(|_| absent > 0) {
            *counts.entry(reason).or_default() += absent;
        }
        let mut list: Vec<String> = counts
            .into_iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        list.sort();
        let head = format!("0/{all} nodes are available:");
        if list.is_empty() {
            head
        } else {
            format!("{head} {}.", list.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_upstream() {
        let mut found = Diagnosis::default();
        found.reject(
            "a",
            Rejection::unresolvable("node(s) had untolerated taint(s)"),
        );
        found.reject("b", Rejection::new("Insufficient cpu"));
        found.reject(
            "c",
            Rejection {
                reasons: vec!["Insufficient cpu".into(), "Too many pods".into()],
                ..Rejection::default()
            },
        );
        assert_eq!(
            found.message(3),
            "0/3 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
        );
        assert_eq!(
            ["a", "b", "x"].map(|node| found.is_resolvable(node)),
            [false, true, false]
        );
        let mut found = Diagnosis::with_absent(
            "node(s) didn't satisfy plugin(s) [NodeAffinity]",
            Plugins::default(),
        );
        found.reject("a", Rejection::new("Too many pods"));
        assert_eq!(
            found.message(3),
            "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
        );
        assert_eq!(Diagnosis::default().message(1), "0/1 nodes are available:");
    }
}
