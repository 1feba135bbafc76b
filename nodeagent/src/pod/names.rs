//! Small questions about a pod that many places ask.
//!
//! Follows `pkg/api/v1/pod/util.go` and `pkg/kubelet/container/helpers.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, ContainerStatus, EphemeralContainer, ObjectReference, Pod,
    PodSpec,
};
use sha2::{Digest, Sha256};
pub use skiff_podspec::{
    conditions::{is_terminal, phase},
    containers::is_sidecar,
    spec,
};

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`, as messages name pods.
pub fn describe(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

pub fn is_host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

/// The three lists in which a container can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Init,
    Regular,
    Ephemeral,
}

/// An ephemeral container in the shape of the others: the fields are the same by definition.
pub fn ephemeral_as_container(ephemeral: &EphemeralContainer) -> Container {
    let e = ephemeral.clone();
    Container {
        args: e.args,
        command: e.command,
        env: e.env,
        env_from: e.env_from,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        lifecycle: e.lifecycle,
        liveness_probe: e.liveness_probe,
        name: e.name,
        ports: e.ports,
        readiness_probe: e.readiness_probe,
        resize_policy: e.resize_policy,
        resources: e.resources,
        restart_policy: e.restart_policy,
        restart_policy_rules: e.restart_policy_rules,
        security_context: e.security_context,
        startup_probe: e.startup_probe,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        tty: e.tty,
        volume_devices: e.volume_devices,
        volume_mounts: e.volume_mounts,
        working_dir: e.working_dir,
    }
}

/// The container of that name, and in which list it stands.
pub fn find_container(pod: &Pod, name: &str) -> Option<(Kind, Container)> {
    let spec = spec(pod);
    let named = |container: &&Container| container.name == name;
    if let Some(container) = spec.init_containers.iter().flatten().find(named) {
        return Some((Kind::Init, container.clone()));
    }
    if let Some(container) = spec.containers.iter().find(named) {
        return Some((Kind::Regular, container.clone()));
    }
    let ephemeral = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .find(|container| container.name == name)?;
    Some((Kind::Ephemeral, ephemeral_as_container(ephemeral)))
}

/// The reference that events about one container bear.
pub fn container_reference(pod: &Pod, container: &str) -> ObjectReference {
    let list = match find_container(pod, container) {
        Some((Kind::Init, _)) => "initContainers",
        Some((Kind::Ephemeral, _)) => "ephemeralContainers",
        Some((Kind::Regular, _)) | None => "containers",
    };
    ObjectReference {
        field_path: Some(format!("spec.{list}{{{container}}}")),
        ..reference(pod)
    }
}

/// The reference that events about the pod bear.
pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// What must stay as it is for a running container to be kept, and for one that keeps failing to wait longer: its name and image.
pub fn hash(container: &Container) -> String {
    let digest = Sha256::digest(format!(
        "{}\0{}",
        container.name,
        container.image.as_deref().unwrap_or_default()
    ));
    hex::encode(&digest[..8])
}

/// The first of the container's restart rules that matches `exit_code`.
pub fn matching_rule(container: &Container, exit_code: i32) -> Option<&ContainerRestartRule> {
    container
        .restart_policy_rules
        .iter()
        .flatten()
        .find(|rule| {
            rule.exit_codes.as_ref().is_some_and(|codes| {
                let listed = codes
                    .values
                    .iter()
                    .flatten()
                    .any(|value| *value == exit_code);
                match codes.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    _ => false,
                }
            })
        })
}

/// Whether a container that ended with `exit_code` is to run again.
pub fn should_restart(container: &Container, spec: &PodSpec, exit_code: i32) -> bool {
    if let Some(policy) = container.restart_policy.as_deref() {
        if let Some(rule) = matching_rule(container, exit_code)
            && matches!(rule.action.as_str(), "Restart" | "RestartAllContainers")
        {
            return true;
        }
        match policy {
            "Always" => return true,
            "OnFailure" => return exit_code != 0,
            "Never" => return false,
            _ => {}
        }
    }
    match spec.restart_policy.as_deref() {
        Some("OnFailure") => exit_code != 0,
        Some("Never") => false,
        _ => true,
    }
}

/// By name, for look-ups among statuses of several lists.
pub fn by_name<'a>(
    lists: impl IntoIterator<Item = &'a ContainerStatus>,
) -> BTreeMap<&'a str, &'a ContainerStatus> {
    lists
        .into_iter()
        .map(|status| (status.name.as_str(), status))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies() {
        let table: &[(&str, Option<&str>, i32, bool)] = &[
            ("Always", None, 0, true),
            ("Always", None, 1, true),
            ("OnFailure", None, 0, false),
            ("OnFailure", None, 2, true),
            ("Never", None, 2, false),
            ("Never", Some("Always"), 0, true),
            ("Always", Some("Never"), 1, false),
            ("Never", Some("OnFailure"), 1, true),
            ("Never", Some("Never"), 42, true),
        ];
        for (policy, own, code, expected) in table {
            let rules = serde_json::json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
            let container = Container {
                restart_policy: own.map(Into::into),
                restart_policy_rules: serde_json::from_value(rules).unwrap(),
                ..Default::default()
            };
            let spec = PodSpec {
                restart_policy: Some((*policy).into()),
                ..Default::default()
            };
            assert_eq!(
                should_restart(&container, &spec, *code),
                *expected,
                "{policy} {own:?} {code}"
            );
        }
    }
}
