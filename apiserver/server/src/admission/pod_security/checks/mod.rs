//! The checks of the Pod Security Standards, in the order in which they are told; each in the file of what it is about.
//!
//! Invariant: who asks for an earlier release is judged as that release did. Follows
//! `staging/src/k8s.io/pod-security-admission/policy/{registry,check_*}.go`.

mod host;
mod pod;
mod profiles;
mod rights;

use super::policy::Level;
pub use pod::Pod;
use pod::{Fault, Outcome};

/// What one check found of a pod.
type Judge = fn(Pod<'_>) -> Outcome;

struct Check {
    level: Level,
    /// Upstream's name of it.
    id: &'static str,
    /// The minor release that it came with.
    since: u32,
    judge: Judge,
    /// The check of the baseline that it is done in place of.
    instead_of: &'static str,
}

const fn baseline(id: &'static str, since: u32, judge: Judge) -> Check {
    Check {
        level: Level::Baseline,
        id,
        since,
        judge,
        instead_of: "",
    }
}

const fn restricted(id: &'static str, since: u32, judge: Judge, instead_of: &'static str) -> Check {
    Check {
        level: Level::Restricted,
        id,
        since,
        judge,
        instead_of,
    }
}

/// By level, then by name.
#[rustfmt::skip]
const CHECKS: &[Check] = &[
    baseline("appArmorProfile", 0, profiles::app_armor),
    baseline("capabilities_baseline", 0, rights::added_capabilities),
    baseline("hostNamespaces", 0, host::host_namespaces),
    baseline("hostPathVolumes", 0, host::host_paths),
    baseline("hostPorts", 0, host::host_ports),
    baseline("hostProbesAndHostLifecycle", 34, host::probed_hosts),
    baseline("privileged", 0, rights::privileged),
    baseline("procMount", 0, rights::proc_mount_of_machines_users),
    baseline("seLinuxOptions", 0, profiles::se_linux),
    baseline("seccompProfile_baseline", 0, profiles::seccomp),
    baseline("sysctls", 0, rights::sysctls),
    baseline("windowsHostProcess", 0, host::host_process),
    restricted("allowPrivilegeEscalation", 8, rights::escalation, ""),
    restricted("capabilities_restricted", 22, rights::capabilities, "capabilities_baseline"),
    restricted("procMount_restricted", 35, rights::proc_mount, "procMount"),
    restricted("restrictedVolumes", 0, host::volume_types, "hostPathVolumes"),
    restricted("runAsNonRoot", 0, rights::non_root, ""),
    restricted("runAsUser", 23, rights::user, ""),
    restricted("seccompProfile_restricted", 19, profiles::seccomp_set, "seccompProfile_baseline"),
];

impl Check {
    fn is_done(&self, level: Level, minor: u32) -> bool {
        self.level <= level && self.since <= minor
    }

    /// Another check of that level and release stands for it.
    fn is_replaced(&self, level: Level, minor: u32) -> bool {
        CHECKS
            .iter()
            .any(|other| other.instead_of == self.id && other.is_done(level, minor))
    }
}

/// All that is wrong with a pod.
#[derive(Default)]
pub struct Violations(Vec<Fault>);

impl Violations {
    /// What is found in the pod at this level, by the rules of the pod's release.
    pub fn of(pod: Pod<'_>, level: Level) -> Violations {
        let done = CHECKS.iter().filter(|check| {
            check.is_done(level, pod.minor) && !check.is_replaced(level, pod.minor)
        });
        Violations(done.filter_map(|check| (check.judge)(pod)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In few words.
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|fault| fault.reason).collect();
        reasons.join(", ")
    }

    /// With what is to be done.
    pub fn details(&self) -> String {
        let told = self.0.iter().map(|fault| match fault.detail.as_str() {
            "" => fault.reason.to_string(),
            detail => format!("{} ({detail})", fault.reason),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;
