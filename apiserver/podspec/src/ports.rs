//! The ports of its node that a pod takes.
//!
//! Invariant: only what stays takes them; an init container's are given back before anything else runs. Follows `HostPortInfo` of
//! `k8s.io/kube-scheduler/framework/types.go` and `pkg/scheduler/util/utils.go` (GetHostPorts).

use crate::{containers, pod::AnySpec};

/// All addresses.
const ANY: &str = "0.0.0.0";

/// A port of the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// `0.0.0.0` for all addresses.
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether the two cannot be had at the same time.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ANY || other.ip == ANY)
    }
}

/// Those that the pod's containers ask for.
pub fn host_ports(spec: &impl AnySpec) -> Vec<HostPort> {
    let or = |text: &Option<String>, default: &str| {
        text.as_deref()
            .filter(|text| !text.is_empty())
            .unwrap_or(default)
            .to_string()
    };
    let ports = containers::staying(spec).flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| Some((port, port.host_port.filter(|number| *number > 0)?)));
    taken
        .map(|(port, number)| HostPort {
            ip: or(&port.host_ip, ANY),
            protocol: or(&port.protocol, "TCP"),
            port: number,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn of_what_stays() {
        let container = |name: &str, policy: Option<&str>, port: i32| json!({"name": name, "restartPolicy": policy, "ports": [{"containerPort": 1, "hostPort": port}]});
        let spec = json!({"containers": [container("a", None, 1), container("b", None, 0)],
            "initContainers": [container("i", None, 2), container("s", Some("Always"), 3)]});
        let found = host_ports(&from_value::<PodSpec>(spec).unwrap());
        assert_eq!(
            found.iter().map(|port| port.port).collect::<Vec<_>>(),
            [3, 1]
        );
        assert_eq!(
            (found[0].ip.as_str(), found[0].protocol.as_str()),
            ("0.0.0.0", "TCP")
        );
    }

    #[test]
    fn conflicts() {
        let port = |text: &str| {
            let parts: Vec<&str> = text.split(' ').collect();
            let spec = json!({"containers": [{"name": "c", "ports": [
                {"containerPort": 1, "hostIP": parts[0], "protocol": parts[1], "hostPort": parts[2].parse::<i32>().unwrap()}]}]});
            host_ports(&from_value::<PodSpec>(spec).unwrap()).remove(0)
        };
        for (a, b, wanted) in [
            (" TCP 80", "10.0.0.1 TCP 80", true),
            ("0.0.0.0  80", " TCP 80", true),
            ("10.0.0.1 TCP 80", "10.0.0.1 TCP 80", true),
            ("10.0.0.1 TCP 80", "10.0.0.2 TCP 80", false),
            (" TCP 80", " UDP 80", false),
            (" TCP 80", " TCP 81", false),
        ] {
            assert_eq!(
                (port(a).conflicts(&port(b)), port(b).conflicts(&port(a))),
                (wanted, wanted),
                "{a} and {b}"
            );
        }
    }
}
