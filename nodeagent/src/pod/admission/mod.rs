//! Whether the node can take a pod that was bound to it: each check a file, asked in upstream's order.
//!
//! Invariant: pure; the first refusal counts.
//! Follows `canAdmitPod` in `pkg/kubelet/allocation/allocation_manager.go` and the list of handlers in `pkg/kubelet/kubelet.go`.

use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_podspec::resources::Unreadable;

use super::{held::Held, names::spec, resources};

mod predicate;
mod pressure;
mod sysctls;

pub use predicate::is_extended;

/// Pods of this priority and above are taken even when the node is short of something.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;

/// Why a pod is turned away: the reason and the message of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: String,
    pub message: String,
}

impl Rejection {
    fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Nothing is known of the node itself.
    pub fn without_node() -> Self {
        Self::new("InvalidNodeInfo", "Kubelet cannot get node info.")
    }

    /// Whether a newer Node object could make a difference: then it is asked for before this counts.
    pub fn is_about_labels(&self) -> bool {
        self.reason == predicate::NODE_AFFINITY
    }
}

impl From<Unreadable> for Rejection {
    fn from(error: Unreadable) -> Self {
        Self::new("UnexpectedAdmissionError", error.to_string())
    }
}

/// Nothing after this could say what the pod asks for.
fn readable(pod: &Pod) -> Result<(), Unreadable> {
    resources::pod_requests(pod)?;
    resources::pod_limits(pod)?;
    Ok(())
}

/// Checks `pod` against the node as the API has it, beside what the other pods hold of it.
pub fn admit(pod: &Pod, node: &Node, others: &[&Held]) -> Result<(), Rejection> {
    readable(pod)?;
    pressure::admit(pod, node)?;
    sysctls::admit(pod)?;
    predicate::admit(pod, node, others)
}

/// Whether the pod is needed for the node or the cluster to work.
pub fn is_critical(pod: &Pod) -> bool {
    spec(pod)
        .priority
        .is_some_and(|priority| priority >= SYSTEM_CRITICAL)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_taken() {
        for resources in [
            json!({"limits": {"memory": "much"}}),
            json!({"requests": {"cpu": "many"}}),
        ] {
            let pod: Pod = from_value(
                json!({"spec": {"containers": [{"name": "c", "resources": resources}]}}),
            )
            .unwrap();
            let refused = admit(&pod, &Node::default(), &[]).unwrap_err();
            assert_eq!(refused.reason, "UnexpectedAdmissionError");
            assert!(
                refused.message.ends_with("cannot be read"),
                "{}",
                refused.message
            );
        }
    }
}
