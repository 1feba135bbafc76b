//! Fields of a pod, and resources of its containers, as text: for environment variables and for downward API files.
//!
//! Invariant: pure; an unknown path is an error.
//! Follows `pkg/fieldpath/fieldpath.go` and `pkg/api/v1/resource/helpers.go`.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use skiff_api::machinery::quantity::Quantity;
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::resources::{List, Unreadable, get, read_one};

use super::names::{self, spec};

/// Why a field has no value.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("fieldPath {} does not support subscript", GoQuoted(.0))]
    Subscript(String),
    #[error("unsupported fieldPath: {0}")]
    Path(String),
    #[error("container {0} not found")]
    Container(String),
    #[error("containerName is required for resourceFieldRef")]
    NoContainer,
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("no source for the file {}", GoQuoted(.0))]
    NoSource(String),
    #[error(transparent)]
    Quantity(#[from] Unreadable),
}

/// What is known about the pod beside its object.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    pub host_ips: &'a [IpAddr],
    pub pod_ips: &'a [IpAddr],
    /// What counts as a limit where a container has none.
    pub allocatable: Option<&'a List>,
}

/// The value of `path`.
pub fn field(pod: &Pod, path: &str, known: &Known) -> Result<String, Error> {
    let joined = |ips: &[IpAddr]| {
        ips.iter()
            .map(IpAddr::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let first = |ips: &[IpAddr]| ips.first().map(IpAddr::to_string).unwrap_or_default();
    Ok(match path {
        "spec.nodeName" => spec(pod).node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(known.host_ips),
        "status.hostIPs" => joined(known.host_ips),
        "status.podIP" => first(known.pod_ips),
        "status.podIPs" => joined(known.pod_ips),
        _ => return metadata(pod, path),
    })
}

/// The value of a path below `metadata`: all that files may hold.
pub fn metadata(pod: &Pod, path: &str) -> Result<String, Error> {
    let empty = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&empty);
    if let Some((map, key)) = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        return match map {
            "metadata.labels" => Ok(labels.get(key).cloned().unwrap_or_default()),
            "metadata.annotations" => Ok(annotations.get(key).cloned().unwrap_or_default()),
            _ => Err(Error::Subscript(path.to_owned())),
        };
    }
    Ok(match path {
        "metadata.labels" => listed(labels),
        "metadata.annotations" => listed(annotations),
        "metadata.name" => names::name(pod).to_owned(),
        "metadata.namespace" => names::namespace(pod).to_owned(),
        "metadata.uid" => names::uid(pod).to_owned(),
        _ => return Err(Error::Path(path.to_owned())),
    })
}

fn listed(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={}", GoQuoted(value)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The value of a `resourceFieldRef` for `container`, or for the one that it names.
pub fn resource(
    pod: &Pod,
    container: Option<&Container>,
    selector: &ResourceFieldSelector,
    known: &Known,
) -> Result<String, Error> {
    let named = selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let found = named
        .and_then(|name| names::find_container(pod, name))
        .map(|(_, container)| container);
    let container = match named {
        Some(name) => found
            .as_ref()
            .ok_or_else(|| Error::Container(name.to_owned()))?,
        None => container.ok_or(Error::NoContainer)?,
    };
    let unsupported = || Error::Resource(selector.resource.clone());
    let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let resources = container.resources.as_ref();
    let of = |list| get(list, name).map(|value| value.filter(|value| !value.is_zero()));
    let value = match list {
        "requests" => of(resources.and_then(|resources| resources.requests.as_ref()))?,
        "limits" => match of(resources.and_then(|resources| resources.limits.as_ref()))? {
            None if !name.starts_with("hugepages-") => of(known.allocatable)?,
            own => own,
        },
        _ => return Err(unsupported()),
    };
    let divisor = selector
        .divisor
        .as_ref()
        .map(|divisor| read_one(&selector.resource, divisor))
        .transpose()?
        .filter(|divisor| !divisor.is_zero());
    let scaled = |quantity: &Quantity| {
        if name == "cpu" {
            quantity.milli_value()
        } else {
            quantity.value()
        }
    };
    let by = divisor
        .as_ref()
        .map_or(if name == "cpu" { 1000 } else { 1 }, scaled)
        .max(1);
    let value = value.as_ref().map_or(0, scaled);
    Ok((value / by + i64::from(value % by > 0)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use skiff_testing::With;

    use super::*;

    fn pod() -> Pod {
        from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "x\"y\n"}},
            "spec": {"nodeName": "node", "containers": [{"name": "c", "resources": {"limits": {"cpu": "250m", "memory": "100Mi"}}}]}}))
        .unwrap()
    }

    #[test]
    fn fields() {
        let ips = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let known = Known::default().with(|k| k.pod_ips = &ips);
        let table = [
            ("metadata.name", "p"),
            ("metadata.labels", "a=\"x\\\"y\\n\"\nb=\"2\""),
            ("metadata.labels['b']", "2"),
            ("metadata.annotations['none']", ""),
            ("spec.nodeName", "node"),
            ("status.podIP", "10.0.0.1"),
            ("status.podIPs", "10.0.0.1,fd00::1"),
        ];
        for (path, expected) in table {
            assert_eq!(field(&pod(), path, &known).unwrap(), expected, "{path}");
        }
        assert_eq!(
            field(&pod(), "spec.x", &known).unwrap_err().to_string(),
            "unsupported fieldPath: spec.x"
        );
    }

    #[test]
    fn resources_are_rounded_up_by_their_divisor() {
        let allocatable: List = from_value(json!({"ephemeral-storage": "10Gi"})).unwrap();
        let known = Known::default().with(|k| k.allocatable = Some(&allocatable));
        let table = [
            ("limits.cpu", None, "1"),
            ("limits.cpu", Some("1m"), "250"),
            ("limits.memory", Some("1Mi"), "100"),
            ("limits.memory", None, "104857600"),
            ("limits.ephemeral-storage", Some("1Gi"), "10"),
            ("requests.cpu", None, "0"),
        ];
        for (name, divisor, expected) in table {
            let selector: ResourceFieldSelector =
                from_value(json!({"resource": name, "divisor": divisor})).unwrap();
            let pod = pod();
            assert_eq!(
                resource(&pod, Some(&spec(&pod).containers[0]), &selector, &known).unwrap(),
                expected,
                "{name} {divisor:?}"
            );
        }
    }
}
