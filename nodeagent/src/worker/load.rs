//! What simulated containers use follows the annotations of their pod while it runs.
//!
//! Invariant: a container is told only what it is not told already.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use crate::{
    agent::context::Context,
    pod::{names, view::PodView},
    runtime::{
        ContainerState, Limits,
        simulated::{CPU, MEMORY},
    },
};

/// Brings the containers' load to what the pod says.
pub async fn follow(node: &Arc<Context>, pod: &Pod, view: &PodView) {
    if !node.config.simulated {
        return;
    }
    for container in view.running() {
        let told = untold(pod, container);
        if told.is_empty() {
            continue;
        }
        let limits = Limits::default();
        let update = node.runtime.update_container(&container.id, &limits, &told);
        if let Err(error) = update.await {
            node.events
                .warn(names::reference(pod), "FailedSimulation", error.to_string());
        }
    }
}

/// What the pod says and the container does not know; what the pod says no more is empty.
fn untold(pod: &Pod, container: &ContainerState) -> BTreeMap<String, String> {
    let said = pod.metadata.annotations.as_ref();
    let differs = |key: &&str| {
        let wanted = said
            .and_then(|said| said.get(*key))
            .map_or("", String::as_str);
        let known = container.annotations.get(*key).map_or("", String::as_str);
        (wanted != known).then(|| ((*key).to_owned(), wanted.to_owned()))
    };
    [CPU, MEMORY].iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pod::view::tests::container, runtime::ContainerPhase};

    #[test]
    fn changes_alone_are_told() {
        let mut pod = Pod::default();
        let mut state = container("c", ContainerPhase::Running, None);
        assert!(untold(&pod, &state).is_empty());
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        pod.metadata.annotations = Some([pair(CPU, "2"), pair("other", "x")].into());
        assert_eq!(untold(&pod, &state), [pair(CPU, "2")].into());
        state.annotations = [pair(CPU, "2"), pair(MEMORY, "1Mi")].into();
        assert_eq!(untold(&pod, &state), [pair(MEMORY, "")].into());
    }
}
