//! What a pod would share with its machine: namespaces, files, ports, and whom its probes may ask.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_api::machinery::read::Read;

use super::pod::{Outcome, Pod, context, fault, plural, quoted, setters, those};

pub(super) fn host_namespaces(pod: Pod<'_>) -> Outcome {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|name| pod.spec.flag(name))
        .map(|name| format!("{name}=true"))
        .collect();
    if shared.is_empty() {
        return None;
    }
    fault("host namespaces", shared.join(", "))
}

pub(super) fn host_paths(pod: Pod<'_>) -> Outcome {
    let volumes = pod.spec.list("volumes").iter();
    let bad: Vec<&str> = volumes
        .filter(|volume| volume.some("hostPath").is_some())
        .map(|volume| volume.text("name"))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let word = plural("volume", "volumes", bad.len());
    fault("hostPath volumes", format!("{word} {}", quoted(&bad)))
}

pub(super) fn host_ports(pod: Pod<'_>) -> Outcome {
    let used = |container| {
        Read::list(container, "ports")
            .iter()
            .map(|port| port.int("hostPort"))
            .filter(|port| *port != 0)
    };
    let bad = pod.named(|container| used(container).next().is_some());
    let ports: BTreeSet<String> = pod
        .containers()
        .flat_map(used)
        .map(|port| port.to_string())
        .collect();
    if bad.is_empty() {
        return None;
    }
    fault(
        "hostPort",
        format!(
            "{} {} {} {}",
            those(&bad),
            plural("uses", "use", bad.len()),
            plural("hostPort", "hostPorts", ports.len()),
            ports.into_iter().collect::<Vec<_>>().join(", ")
        ),
    )
}

pub(super) fn probed_hosts(pod: Pod<'_>) -> Outcome {
    fn hosts(container: &Value) -> impl Iterator<Item = &str> {
        let lifecycle = container.at("lifecycle");
        [
            container.at("livenessProbe"),
            container.at("readinessProbe"),
            container.at("startupProbe"),
            lifecycle.at("postStart"),
            lifecycle.at("preStop"),
        ]
        .into_iter()
        .flat_map(|handler| [handler.at("httpGet"), handler.at("tcpSocket")])
        .map(|action| action.text("host"))
        .filter(|host| !host.is_empty())
    }
    let bad: BTreeSet<&str> = pod
        .named(|container| hosts(container).next().is_some())
        .into_iter()
        .collect();
    let named: BTreeSet<&str> = pod.containers().flat_map(hosts).collect();
    if bad.is_empty() {
        return None;
    }
    let bad: Vec<&str> = bad.into_iter().collect();
    fault(
        "probe or lifecycle host",
        format!(
            "{} {} {} {}",
            those(&bad),
            plural("uses", "use", bad.len()),
            plural(
                "probe or lifecycle host",
                "probe or lifecycle hosts",
                named.len()
            ),
            quoted(named)
        ),
    )
}

pub(super) fn host_process(pod: Pod<'_>) -> Outcome {
    let bad = |of: &Value| context(of).at("windowsOptions").flag("hostProcess");
    let who = setters(bad(pod.spec), &pod.named(bad))?;
    fault(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

const FREE_VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Everything else that a volume may be, in the order in which it is looked for.
const RESTRICTED_VOLUMES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn volume_types(pod: Pod<'_>) -> Outcome {
    let has = |volume: &Value, names: &[&'static str]| {
        names
            .iter()
            .copied()
            .find(|name| volume.some(name).is_some())
    };
    let bad: Vec<&Value> = pod
        .spec
        .list("volumes")
        .iter()
        .filter(|volume| has(volume, FREE_VOLUMES).is_none())
        .collect();
    if bad.is_empty() {
        return None;
    }
    let types: BTreeSet<&str> = bad
        .iter()
        .map(|volume| has(volume, RESTRICTED_VOLUMES).unwrap_or("unknown"))
        .collect();
    fault(
        "restricted volume types",
        format!(
            "{} {} {} {} {}",
            plural("volume", "volumes", bad.len()),
            quoted(bad.iter().map(|volume| volume.text("name"))),
            plural("uses", "use", bad.len()),
            plural(
                "restricted volume type",
                "restricted volume types",
                types.len()
            ),
            quoted(types)
        ),
    )
}
