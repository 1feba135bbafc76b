//! Containers of which no end was seen, once all of a pod is over.
//!
//! Invariant: pure; a container that never had a chance to start is not said to have ended.
//! Follows `TerminatePod` in `pkg/kubelet/status/status_manager.go`.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::{
    names::{is_sidecar, spec},
    told::{self, Told},
};

/// Gives an end to those that have none: it is not known to be a good one, so it is a bad one.
pub fn end_the_lost(pod: &Pod, regular: &mut [ContainerStatus], init: &mut [ContainerStatus]) {
    if has_initialized(pod, regular, init) {
        regular.iter_mut().for_each(end);
    }
    let begun = init.iter().rposition(has_begun).map_or(1, |last| last + 1);
    init.iter_mut().take(begun).for_each(end);
}

/// Whether the container is running or has run.
fn has_begun(status: &ContainerStatus) -> bool {
    let waits = status.state.as_ref().is_none_or(|state| {
        state.waiting.is_some() || (state.running.is_none() && state.terminated.is_none())
    });
    !waits || status.last_state.terminated().is_some()
}

fn has_initialized(pod: &Pod, regular: &[ContainerStatus], init: &[ContainerStatus]) -> bool {
    let wanted = spec(pod).init_containers.as_deref().unwrap_or_default();
    let (Some(last), Some(status)) = (wanted.last(), init.last()) else {
        return wanted.is_empty();
    };
    if regular.iter().any(has_begun) {
        return true;
    }
    if is_sidecar(last) {
        return status.started == Some(true) && status.state.running().is_some();
    }
    let succeeded = |state: &Option<ContainerState>| {
        state.terminated().is_some_and(|ended| ended.exit_code == 0)
    };
    succeeded(&status.last_state) || succeeded(&status.state)
}

fn end(status: &mut ContainerStatus) {
    if status.state.terminated().is_some() {
        return;
    }
    let ended = ContainerStateTerminated {
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        exit_code: 137,
        ..Default::default()
    };
    status.state = Some(told::terminated(ended));
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    /// `name=state`: `w` waits, `r` runs, a number is an exit code; `i…` are init containers, `s…` sidecars.
    fn case(text: &str) -> (Pod, Vec<ContainerStatus>, Vec<ContainerStatus>) {
        let (mut spec, mut regular, mut init) = (
            json!({"initContainers": [], "containers": []}),
            Vec::new(),
            Vec::new(),
        );
        for (name, state) in text
            .split_whitespace()
            .map(|part| part.split_once('=').unwrap())
        {
            let state = match state {
                "w" => json!({"waiting": {}}),
                "r" => json!({"running": {}}),
                code => json!({"terminated": {"exitCode": code.parse::<i32>().unwrap()}}),
            };
            let status: ContainerStatus =
                from_value(json!({"name": name, "state": state, "started": true, "ready": false, "image": "", "imageID": "", "restartCount": 0})).unwrap();
            let container = if name.starts_with('s') {
                json!({"name": name, "restartPolicy": "Always"})
            } else {
                json!({"name": name})
            };
            let (list, statuses) = if name.starts_with(['i', 's']) {
                ("initContainers", &mut init)
            } else {
                ("containers", &mut regular)
            };
            spec[list].as_array_mut().unwrap().push(container);
            statuses.push(status);
        }
        (from_value(json!({"spec": spec})).unwrap(), regular, init)
    }

    #[test]
    fn who_gets_an_end() {
        let table = [
            ("a=w b=r c=0", "137 137 0"),
            ("i=w a=w", "137 w"),
            ("i=1 i2=w a=w", "1 w w"),
            ("i=0 a=w", "0 137"),
            ("i=0 i2=r i3=w a=w", "0 137 w w"),
            ("s=r a=w", "137 137"),
            ("i=0 a=r", "0 137"),
        ];
        for (text, expected) in table {
            let (pod, mut regular, mut init) = case(text);
            end_the_lost(&pod, &mut regular, &mut init);
            let told: Vec<String> = init
                .iter()
                .chain(&regular)
                .map(|status| {
                    status
                        .state
                        .as_ref()
                        .unwrap()
                        .terminated
                        .as_ref()
                        .map_or("w".to_owned(), |ended| ended.exit_code.to_string())
                })
                .collect();
            assert_eq!(told.join(" "), expected, "{text}");
        }
    }
}
