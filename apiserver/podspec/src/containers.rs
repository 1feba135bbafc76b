//! Which of a pod's containers stay, and in which order they are visited.
//!
//! Follows `VisitContainers` and `IsRestartableInitContainer` of `pkg/api/v1/pod/util.go`.

use k8s_openapi::api::core::v1::Container;

use crate::pod::AnySpec;

/// Whether an init container is a sidecar: it is started in its turn, and stays.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The init containers that stay.
pub fn sidecars(spec: &impl AnySpec) -> impl Iterator<Item = &Container> {
    spec.init_containers()
        .iter()
        .flatten()
        .filter(|container| is_sidecar(container))
}

/// All that stay while the pod runs, sidecars first.
pub fn staying(spec: &impl AnySpec) -> impl Iterator<Item = &Container> {
    sidecars(spec).chain(spec.containers())
}

/// All but the ephemeral ones, init containers first.
pub fn all(spec: &impl AnySpec) -> impl Iterator<Item = &Container> {
    spec.init_containers()
        .iter()
        .flatten()
        .chain(spec.containers())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn which_and_in_which_order() {
        let spec: PodSpec = from_value(json!({
            "containers": [{"name": "a"}, {"name": "b", "restartPolicy": "Never"}],
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "j", "restartPolicy": "OnFailure"}]}))
        .unwrap();
        fn names<'a>(all: impl Iterator<Item = &'a Container>) -> Vec<&'a str> {
            all.map(|container| container.name.as_str()).collect()
        }
        assert_eq!(names(sidecars(&spec)), ["s"]);
        assert_eq!(names(staying(&spec)), ["s", "a", "b"]);
        assert_eq!(names(all(&spec)), ["i", "s", "j", "a", "b"]);
    }
}
