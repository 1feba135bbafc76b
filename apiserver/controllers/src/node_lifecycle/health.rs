//! When a node counts as silent.
//!
//! Invariant: only our own clock is compared with: a node's heartbeat counts from when we saw it change, whatever its clock says.
//! Follows pkg/controller/nodelifecycle/node_lifecycle_controller.go (tryUpdateNodeHealth).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use skiff_podspec::parts::HasStatus;

use crate::clock::{after, whole_seconds};

/// A node that never said anything gets this long.
const STARTUP: Duration = Duration::from_secs(60);

/// What is remembered of a node.
#[derive(Default, Debug)]
pub struct Health {
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    probed: Timestamp,
    heartbeat: Option<Option<Time>>,
    renewed: Option<Timestamp>,
}

/// The condition `Ready` before and after our look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the node had; `Unknown` when it had none.
    pub before: String,
    /// What it has now; `None` when it still has none.
    pub now: Option<String>,
}

impl Verdict {
    /// Whether the node is ready.
    pub fn is_ready(&self) -> bool {
        self.now.as_deref() == Some("True")
    }
}

/// The condition of this type.
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status()
        .conditions
        .as_ref()?
        .iter()
        .find(|c| c.type_ == kind)
}

/// The status of the condition `Ready`.
pub fn ready_status(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|c| c.status.as_str())
}

impl Health {
    /// Counts from now on, as if the node had just been heard of.
    pub fn start_anew(&mut self, now: Timestamp) {
        if let Some(seen) = &mut self.seen {
            seen.probed = now;
        }
    }

    /// Our own write did not arrive: what was remembered may not fit the node any more.
    pub fn start_over(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.heartbeat = seen.heartbeat.take();
        }
    }

    /// Looks at a node. The second answer is the node with conditions that say that it is silent, when that has to be written.
    pub fn examine(
        &mut self,
        node: &Node,
        renewed: Option<Timestamp>,
        grace: Duration,
        now: Timestamp,
    ) -> (Verdict, Option<Node>) {
        let ready = condition(node, "Ready");
        let created = node
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(now, |t| t.0);
        let heartbeat = ready.map(|c| c.last_heartbeat_time.clone());
        let seen = self.seen.get_or_insert_with(|| Seen {
            probed: if ready.is_some() { now } else { created },
            heartbeat: heartbeat.clone(),
            renewed: None,
        });
        if seen.heartbeat != heartbeat {
            seen.probed = now;
            seen.heartbeat = heartbeat;
        }
        if renewed > seen.renewed {
            seen.renewed = renewed;
            seen.probed = now;
        }
        let before = ready.map_or("Unknown", |c| c.status.as_str()).to_string();
        let patience = if ready.is_some() { grace } else { STARTUP };
        if now <= after(seen.probed, patience) {
            return (
                Verdict {
                    before,
                    now: ready.map(|c| c.status.clone()),
                },
                None,
            );
        }
        let silent = silenced(node, now);
        let changed = silent.status != node.status;
        (
            Verdict {
                before,
                now: Some("Unknown".into()),
            },
            changed.then_some(silent),
        )
    }
}

/// The node with conditions that say that nothing is known of it.
fn silenced(node: &Node, now: Timestamp) -> Node {
    let mut silent = node.clone();
    let now = Time(whole_seconds(now));
    let conditions = silent
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        match conditions.iter_mut().find(|c| c.type_ == kind) {
            None => conditions.push(NodeCondition {
                type_: kind.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(now.clone()),
            }),
            Some(condition) if condition.status != "Unknown" => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(now.clone());
            }
            Some(_) => {}
        }
    }
    silent
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::NodeStatus;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node(heartbeat: i64) -> Node {
        let ready = NodeCondition {
            type_: "Ready".into(),
            status: "True".into(),
            last_heartbeat_time: Some(Time(at(heartbeat))),
            ..Default::default()
        };
        Node {
            status: Some(NodeStatus {
                conditions: Some(vec![ready]),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn silence_is_counted_from_the_last_change_that_we_saw() {
        let (mut health, grace) = (Health::default(), Duration::from_secs(40));
        assert!(health.examine(&node(1), None, grace, at(100)).1.is_none());
        assert!(health.examine(&node(1), None, grace, at(140)).1.is_none());
        assert!(
            health
                .examine(&node(1), Some(at(7)), grace, at(141))
                .1
                .is_none(),
            "the lease was renewed"
        );
        assert!(
            health
                .examine(&node(2), Some(at(7)), grace, at(181))
                .1
                .is_none(),
            "a heartbeat"
        );
        let (verdict, update) = health.examine(&node(2), Some(at(7)), grace, at(222));
        assert_eq!(
            verdict,
            Verdict {
                before: "True".into(),
                now: Some("Unknown".into())
            }
        );
        let conditions = update.unwrap().status.unwrap().conditions.unwrap();
        assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(
            conditions[1].reason.as_deref(),
            Some("NodeStatusNeverUpdated")
        );
    }

    #[test]
    fn a_new_node_gets_more_time() {
        let mut fresh = Node::default();
        fresh.metadata.creation_timestamp = Some(Time(at(100)));
        let mut health = Health::default();
        assert!(
            health
                .examine(&fresh, None, Duration::from_secs(1), at(159))
                .1
                .is_none()
        );
        assert!(
            health
                .examine(&fresh, None, Duration::from_secs(1), at(161))
                .1
                .is_some()
        );
    }
}
