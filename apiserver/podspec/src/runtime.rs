//! What the container runtime of a pod's node, as the node's status tells it, means for the pod.
//!
//! `status.nodeInfo.containerRuntimeVersion` is `containerd://2.1.0` and the like (`pkg/kubelet/nodestatus/setters.go`).

/// The scheme in the runtime version of nodes that only pretend to run pods.
pub const SIMULATED: &str = "skiff-simulated";

/// Whether pods on a node with this runtime version have containers, and the node an API of its own to reach them by.
pub fn has_containers(runtime_version: &str) -> bool {
    runtime_version
        .split_once("://")
        .is_none_or(|(scheme, _)| scheme != SIMULATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_simulated_nodes_have_no_containers() {
        for (version, wanted) in [
            ("skiff-simulated://1.0.0", false),
            ("skiff://1.0.0", true),
            ("containerd://2.1.0", true),
            ("", true),
        ] {
            assert_eq!(has_containers(version), wanted, "{version:?}");
        }
    }
}
