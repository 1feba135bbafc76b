//! Kernel settings that a pod may have: those that concern the pod's own namespaces and cannot harm other pods.
//!
//! Follows `pkg/kubelet/sysctl/{allowlist,safe_sysctls}.go` and `staging/src/k8s.io/component-helpers/node/util/sysctl`.

use k8s_openapi::api::core::v1::Pod;

use super::Rejection;
use crate::pod::names::{is_host_network, spec};
use skiff_api::machinery::quote::GoQuoted;

/// A name, the namespace it belongs to, and the kernel that first had it there.
const SAFE: [(&str, &str, (u32, u32)); 12] = [
    ("kernel.shm_rmid_forced", "IPC", (0, 0)),
    ("net.ipv4.ip_local_port_range", "Net", (0, 0)),
    ("net.ipv4.tcp_syncookies", "Net", (0, 0)),
    ("net.ipv4.ping_group_range", "Net", (0, 0)),
    ("net.ipv4.ip_unprivileged_port_start", "Net", (0, 0)),
    ("net.ipv4.ip_local_reserved_ports", "Net", (3, 16)),
    ("net.ipv4.tcp_keepalive_time", "Net", (4, 5)),
    ("net.ipv4.tcp_fin_timeout", "Net", (4, 6)),
    ("net.ipv4.tcp_keepalive_intvl", "Net", (4, 5)),
    ("net.ipv4.tcp_keepalive_probes", "Net", (4, 5)),
    ("net.ipv4.tcp_rmem", "Net", (4, 15)),
    ("net.ipv4.tcp_wmem", "Net", (4, 15)),
];

/// Why a setting is not taken.
#[derive(thiserror::Error, Debug)]
enum Forbidden {
    #[error("forbidden sysctl: {} not allowlisted", GoQuoted(.0))]
    Unknown(String),
    #[error("forbidden sysctl: {name} not allowed with host {namespace} enabled", name = GoQuoted(.name))]
    OfHost {
        name: String,
        namespace: &'static str,
    },
}

pub fn admit(pod: &Pod) -> Result<(), Rejection> {
    let kernel = nix::sys::utsname::uname()
        .ok()
        .and_then(|name| version(name.release().to_str()?));
    let wanted = spec(pod)
        .security_context
        .iter()
        .flat_map(|security| security.sysctls.iter().flatten());
    for sysctl in wanted {
        check(pod, normalized(&sysctl.name), kernel)
            .map_err(|reason| Rejection::new("SysctlForbidden", reason.to_string()))?;
    }
    Ok(())
}

fn check(pod: &Pod, name: String, kernel: Option<(u32, u32)>) -> Result<(), Forbidden> {
    let known = SAFE.iter().find(|(safe, _, since)| {
        *safe == name && (*since == (0, 0) || kernel.is_some_and(|kernel| kernel >= *since))
    });
    let Some(&(_, namespace, _)) = known else {
        return Err(Forbidden::Unknown(name));
    };
    let of_host = match namespace {
        "IPC" => spec(pod).host_ipc.unwrap_or(false),
        _ => is_host_network(pod),
    };
    if of_host {
        Err(Forbidden::OfHost { name, namespace })
    } else {
        Ok(())
    }
}

/// With dots between the parts; a name whose first separator is a slash has its dots and slashes swapped.
fn normalized(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name[first..].starts_with('/') => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn only_safe_ones() {
        let pod = |name: &str, more: Value| {
            let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            from_value::<Pod>(json!({"spec": spec})).unwrap()
        };
        let table = [
            ("kernel.shm_rmid_forced", json!({}), ""),
            ("kernel/shm_rmid_forced", json!({}), ""),
            (
                "kernel.shm_rmid_forced",
                json!({"hostIPC": true}),
                "forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host IPC enabled",
            ),
            (
                "net.ipv4.tcp_syncookies",
                json!({"hostNetwork": true}),
                "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled",
            ),
            (
                "kernel.msgmax",
                json!({}),
                "forbidden sysctl: \"kernel.msgmax\" not allowlisted",
            ),
        ];
        for (name, more, expected) in table {
            let message = admit(&pod(name, more.clone()))
                .map_or_else(|refused| refused.message, |()| String::new());
            assert_eq!(message, expected, "{name} {more}");
        }
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert!(
            check(
                &pod("x", json!({})),
                "net.ipv4.tcp_rmem".into(),
                Some((4, 9))
            )
            .is_err(),
            "an old kernel shares it"
        );
    }
}
