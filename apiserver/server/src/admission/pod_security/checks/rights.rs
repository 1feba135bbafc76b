//! What a pod's processes could do: as whom they run, with which capabilities, and what of the kernel they may set.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_api::machinery::read::Read;

use super::pod::{Outcome, Pod, context, fault, quoted, setters, those};

pub(super) fn privileged(pod: Pod<'_>) -> Outcome {
    let bad = pod.named(|container| context(container).flag("privileged"));
    if bad.is_empty() {
        return None;
    }
    fault(
        "privileged",
        format!(
            "{} must not set securityContext.privileged=true",
            those(&bad)
        ),
    )
}

const USUAL_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// `containers "a" must not include "X" in …`, where they add other capabilities than these.
fn adding_others(pod: Pod<'_>, allowed: &[&str]) -> Option<String> {
    let others = |container| {
        context(container)
            .at("capabilities")
            .texts("add")
            .filter(|name| !allowed.contains(name))
    };
    let bad = pod.named(|container| others(container).next().is_some());
    let names: BTreeSet<&str> = pod.containers().flat_map(others).collect();
    (!bad.is_empty()).then(|| {
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            those(&bad),
            quoted(names)
        )
    })
}

pub(super) fn added_capabilities(pod: Pod<'_>) -> Outcome {
    fault(
        "non-default capabilities",
        adding_others(pod, USUAL_CAPABILITIES)?,
    )
}

pub(super) fn capabilities(pod: Pod<'_>) -> Outcome {
    if pod.is_spared_for_windows() {
        return None;
    }
    let mut details = Vec::new();
    let keeping = pod.named(|container| {
        let capabilities = context(container).at("capabilities");
        !capabilities.texts("drop").any(|name| name == "ALL")
    });
    if !keeping.is_empty() {
        details.push(format!(
            r#"{} must set securityContext.capabilities.drop=["ALL"]"#,
            those(&keeping)
        ));
    }
    details.extend(adding_others(pod, &["NET_BIND_SERVICE"]));
    if details.is_empty() {
        return None;
    }
    fault("unrestricted capabilities", details.join("; "))
}

pub(super) fn escalation(pod: Pod<'_>) -> Outcome {
    if pod.is_spared_for_windows() {
        return None;
    }
    let bad = pod
        .named(|container| context(container).flag_ptr("allowPrivilegeEscalation") != Some(false));
    if bad.is_empty() {
        return None;
    }
    fault(
        "allowPrivilegeEscalation != false",
        format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            those(&bad)
        ),
    )
}

pub(super) fn non_root(pod: Pod<'_>) -> Outcome {
    const REASON: &str = "runAsNonRoot != true";
    if pod.is_spared_for_its_users() {
        return None;
    }
    let set = |of: &Value| context(of).flag_ptr("runAsNonRoot");
    let bad = |of: &Value| set(of) == Some(false);
    if let Some(who) = setters(bad(pod.spec), &pod.named(bad)) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return fault(REASON, detail);
    }
    if set(pod.spec) == Some(true) {
        return None;
    }
    let unset = pod.named(|container| set(container).is_none());
    if unset.is_empty() {
        return None;
    }
    fault(
        REASON,
        format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            those(&unset)
        ),
    )
}

pub(super) fn user(pod: Pod<'_>) -> Outcome {
    if pod.is_spared_for_its_users() {
        return None;
    }
    let bad = |of: &Value| context(of).int_ptr("runAsUser") == Some(0);
    let who = setters(bad(pod.spec), &pod.named(bad))?;
    fault("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

pub(super) fn proc_mount(pod: Pod<'_>) -> Outcome {
    let other = |container| {
        context(container)
            .text_ptr("procMount")
            .filter(|kind| *kind != "Default")
    };
    let bad = pod.named(|container| other(container).is_some());
    let kinds: BTreeSet<&str> = pod.containers().filter_map(other).collect();
    if bad.is_empty() {
        return None;
    }
    fault(
        "procMount",
        format!(
            "{} must not set securityContext.procMount to {}",
            those(&bad),
            quoted(kinds)
        ),
    )
}

/// Unless its users are its own.
pub(super) fn proc_mount_of_machines_users(pod: Pod<'_>) -> Outcome {
    if pod.is_spared_for_its_users() {
        return None;
    }
    proc_mount(pod)
}

/// With the release from which on each is allowed.
const SYSCTLS: &[(u32, &str)] = &[
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

pub(super) fn sysctls(pod: Pod<'_>) -> Outcome {
    let allowed = |name: &&str| {
        SYSCTLS
            .iter()
            .any(|(from, known)| *from <= pod.minor && known == name)
    };
    let bad: Vec<&str> = context(pod.spec)
        .list("sysctls")
        .iter()
        .map(|sysctl| sysctl.text("name"))
        .filter(|name| !allowed(name))
        .collect();
    if bad.is_empty() {
        return None;
    }
    fault("forbidden sysctls", bad.join(", "))
}
