//! The checks of the Pod Security Standards, in the order in which they are told.
//!
//! Invariant: a check that a later release changed goes on as it was for who asks for an earlier one. Follows
//! `staging/src/k8s.io/pod-security-admission/policy/{registry,check_*}.go`.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_api::machinery::read::Read;

use super::policy::{Asked, Level, Minor};

/// What is checked: a pod, or the template of some.
#[derive(Clone, Copy)]
pub struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

/// Why a pod is not let in.
struct Fault {
    reason: &'static str,
    detail: String,
}

type Outcome = Option<Fault>;

/// What one check found of a pod.
type Judge = fn(Pod<'_>) -> Outcome;

/// How a check was done from this minor release on.
type Since = (u32, Judge);

struct Check {
    level: Level,
    /// Upstream's name of it.
    id: &'static str,
    versions: &'static [Since],
    /// The check of the baseline that it is done in place of.
    instead_of: &'static str,
}

const fn baseline(id: &'static str, versions: &'static [Since]) -> Check {
    Check {
        level: Level::Baseline,
        id,
        versions,
        instead_of: "",
    }
}

const fn restricted(
    id: &'static str,
    instead_of: &'static str,
    versions: &'static [Since],
) -> Check {
    Check {
        level: Level::Restricted,
        id,
        versions,
        instead_of,
    }
}

/// By level, then by name.
#[rustfmt::skip]
const CHECKS: &[Check] = &[
    baseline("appArmorProfile", &[(0, app_armor)]),
    baseline("capabilities_baseline", &[(0, added_capabilities)]),
    baseline("hostNamespaces", &[(0, host_namespaces)]),
    baseline("hostPathVolumes", &[(0, host_paths)]),
    baseline("hostPorts", &[(0, host_ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, probed_hosts)]),
    baseline("privileged", &[(0, privileged)]),
    baseline("procMount", &[(0, proc_mount), (35, proc_mount_35)]),
    baseline("seLinuxOptions", &[(0, se_linux), (31, se_linux_31)]),
    baseline("seccompProfile_baseline", &[(0, seccomp_annotations), (19, seccomp)]),
    baseline("sysctls", &[(0, sysctls), (27, sysctls_27), (29, sysctls_29), (32, sysctls_32)]),
    baseline("windowsHostProcess", &[(0, host_process)]),
    restricted("allowPrivilegeEscalation", "", &[(8, escalation), (25, escalation_25)]),
    restricted("capabilities_restricted", "capabilities_baseline", &[(22, capabilities), (25, capabilities_25)]),
    restricted("procMount_restricted", "procMount", &[(35, proc_mount)]),
    restricted("restrictedVolumes", "hostPathVolumes", &[(0, volume_types)]),
    restricted("runAsNonRoot", "", &[(0, non_root), (35, non_root_35)]),
    restricted("runAsUser", "", &[(23, user), (35, user_35)]),
    restricted("seccompProfile_restricted", "seccompProfile_baseline", &[(19, seccomp_set), (25, seccomp_set_25)]),
];

impl Check {
    /// How it is done in a release, if it was done then.
    fn at(&self, version: Minor) -> Option<Judge> {
        let known = |(from, _): &&Since| version.is_none_or(|version| *from <= version);
        self.versions
            .iter()
            .rev()
            .find(known)
            .map(|(_, judge)| *judge)
    }

    fn is_replaced(&self, asked: Asked) -> bool {
        asked.level == Level::Restricted
            && CHECKS
                .iter()
                .any(|other| other.instead_of == self.id && other.at(asked.version).is_some())
    }
}

/// All that is wrong with a pod.
#[derive(Default)]
pub struct Violations(Vec<Fault>);

impl Violations {
    /// What the level finds in the pod.
    pub fn of(pod: Pod<'_>, asked: Asked) -> Violations {
        let judges = CHECKS
            .iter()
            .filter(|check| check.level <= asked.level && !check.is_replaced(asked))
            .filter_map(|check| check.at(asked.version));
        Violations(judges.filter_map(|judge| judge(pod)).collect())
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

impl<'a> Pod<'a> {
    /// In the order in which they are told.
    fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| self.spec.list(list))
    }

    /// The names of the containers of which it is true.
    fn named(self, is: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| is(container))
            .map(|container| container.text("name"))
            .collect()
    }

    fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.metadata
            .entries("annotations")
            .map(|(name, value)| (name, value.as_str().unwrap_or_default()))
    }

    fn is_windows(self) -> bool {
        self.spec.at("os").text("name") == "windows"
    }

    fn has_users_of_its_own(self) -> bool {
        self.spec.flag_ptr("hostUsers") == Some(false)
    }
}

fn context(of: &Value) -> &Value {
    of.at("securityContext")
}

fn plural<'t>(one: &'t str, many: &'t str, count: usize) -> &'t str {
    if count == 1 { one } else { many }
}

fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{}\"", item.as_ref()))
        .collect();
    items.join(", ")
}

/// `containers "a", "b"`.
fn those(containers: &[&str]) -> String {
    let word = plural("container", "containers", containers.len());
    format!("{word} {}", quoted(containers))
}

/// `pod and container "a"`: who sets what may not be set.
fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    match (pod, containers.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".into()),
        (false, false) => Some(those(containers)),
        (true, false) => Some(format!("pod and {}", those(containers))),
    }
}

fn fault(reason: &'static str, detail: String) -> Outcome {
    Some(Fault { reason, detail })
}

fn app_armor(pod: Pod<'_>) -> Outcome {
    let mut values = BTreeSet::new();
    let mut bad = |of: &Value| {
        let Some(profile) = context(of).some("appArmorProfile") else {
            return false;
        };
        let kind = profile.text("type");
        let bad = !matches!(kind, "RuntimeDefault" | "Localhost");
        if bad {
            values.insert(kind.to_string());
        }
        bad
    };
    let mut who = Vec::new();
    if bad(pod.spec) {
        who.push("pod".to_string());
    }
    let mut containers = Vec::new();
    for container in pod.containers() {
        if bad(container) {
            containers.push(container.text("name"));
        }
    }
    if !containers.is_empty() {
        who.push(those(&containers));
    }
    let annotations: BTreeSet<String> = pod
        .annotations()
        .filter(|(name, value)| {
            name.starts_with("container.apparmor.security.beta.kubernetes.io/")
                && !(value.is_empty()
                    || *value == "runtime/default"
                    || value.starts_with("localhost/"))
        })
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).into());
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<String> = values.into_iter().chain(annotations).collect();
    fault(
        plural(
            "forbidden AppArmor profile",
            "forbidden AppArmor profiles",
            values.len(),
        ),
        format!(
            "{} must not set AppArmor profile type to {}",
            who.join(" and "),
            quoted(&values)
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

fn added_capabilities(pod: Pod<'_>) -> Outcome {
    fault(
        "non-default capabilities",
        adding_others(pod, USUAL_CAPABILITIES)?,
    )
}

fn capabilities(pod: Pod<'_>) -> Outcome {
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

fn capabilities_25(pod: Pod<'_>) -> Outcome {
    (!pod.is_windows()).then(|| capabilities(pod))?
}

fn host_namespaces(pod: Pod<'_>) -> Outcome {
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

fn host_paths(pod: Pod<'_>) -> Outcome {
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

fn host_ports(pod: Pod<'_>) -> Outcome {
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

fn probed_hosts(pod: Pod<'_>) -> Outcome {
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

fn privileged(pod: Pod<'_>) -> Outcome {
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

fn proc_mount(pod: Pod<'_>) -> Outcome {
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

fn proc_mount_35(pod: Pod<'_>) -> Outcome {
    (!pod.has_users_of_its_own()).then(|| proc_mount(pod))?
}

const SE_LINUX_TYPES: &[&str] = &[
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];

fn se_linux(pod: Pod<'_>) -> Outcome {
    se_linux_of(pod, &SE_LINUX_TYPES[..4])
}

fn se_linux_31(pod: Pod<'_>) -> Outcome {
    se_linux_of(pod, SE_LINUX_TYPES)
}

fn se_linux_of(pod: Pod<'_>, allowed: &[&str]) -> Outcome {
    fn options(of: &Value) -> &Value {
        context(of).at("seLinuxOptions")
    }
    let bad = |of: &Value| {
        let options = options(of);
        !allowed.contains(&options.text("type"))
            || !options.text("user").is_empty()
            || !options.text("role").is_empty()
    };
    let who = setters(bad(pod.spec), &pod.named(bad))?;
    let all = || {
        std::iter::once(pod.spec)
            .chain(pod.containers())
            .map(options)
    };
    let types: BTreeSet<&str> = all()
        .map(|options| options.text("type"))
        .filter(|kind| !allowed.contains(kind))
        .collect();
    let mut what = Vec::new();
    if !types.is_empty() {
        let word = plural("type", "types", types.len());
        what.push(format!("{word} {}", quoted(types)));
    }
    for part in ["user", "role"] {
        if all().any(|options| !options.text(part).is_empty()) {
            what.push(format!("{part} may not be set"));
        }
    }
    fault(
        "seLinuxOptions",
        format!(
            "{who} set forbidden securityContext.seLinuxOptions: {}",
            what.join("; ")
        ),
    )
}

fn seccomp_annotations(pod: Pod<'_>) -> Outcome {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let bad: BTreeSet<String> = pod
        .annotations()
        .filter(|(name, _)| {
            let container = name.strip_prefix(CONTAINER);
            *name == POD
                || container
                    .is_some_and(|wanted| pod.containers().any(|one| one.text("name") == wanted))
        })
        .filter(|(_, value)| {
            !(matches!(*value, "runtime/default" | "docker/default")
                || value.starts_with("localhost/"))
        })
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let word = plural("annotation", "annotations", bad.len());
    let listed: Vec<String> = bad.into_iter().collect();
    fault(
        "seccompProfile",
        format!("forbidden {word} {}", listed.join(", ")),
    )
}

fn seccomp_type(of: &Value) -> Option<&str> {
    context(of)
        .some("seccompProfile")
        .map(|profile| profile.text("type"))
}

fn bad_seccomp(of: &Value) -> Option<&str> {
    seccomp_type(of).filter(|kind| !matches!(*kind, "RuntimeDefault" | "Localhost"))
}

fn seccomp(pod: Pod<'_>) -> Outcome {
    let bad = |of: &Value| bad_seccomp(of).is_some();
    let who = setters(bad(pod.spec), &pod.named(bad))?;
    let kinds: BTreeSet<&str> = std::iter::once(pod.spec)
        .chain(pod.containers())
        .filter_map(bad_seccomp)
        .collect();
    fault(
        "seccompProfile",
        format!(
            "{who} must not set securityContext.seccompProfile.type to {}",
            quoted(kinds)
        ),
    )
}

fn seccomp_set(pod: Pod<'_>) -> Outcome {
    if let Some(found) = seccomp(pod) {
        return Some(found);
    }
    if seccomp_type(pod.spec).is_some() {
        return None;
    }
    let bad = pod.named(|container| seccomp_type(container).is_none());
    if bad.is_empty() {
        return None;
    }
    fault(
        "seccompProfile",
        format!(
            r#"pod or {} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost""#,
            those(&bad)
        ),
    )
}

fn seccomp_set_25(pod: Pod<'_>) -> Outcome {
    (!pod.is_windows()).then(|| seccomp_set(pod))?
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

fn sysctls(pod: Pod<'_>) -> Outcome {
    sysctls_of(pod, 0)
}

fn sysctls_27(pod: Pod<'_>) -> Outcome {
    sysctls_of(pod, 27)
}

fn sysctls_29(pod: Pod<'_>) -> Outcome {
    sysctls_of(pod, 29)
}

fn sysctls_32(pod: Pod<'_>) -> Outcome {
    sysctls_of(pod, 32)
}

fn sysctls_of(pod: Pod<'_>, minor: u32) -> Outcome {
    let allowed = |name: &&str| {
        SYSCTLS
            .iter()
            .any(|(from, known)| *from <= minor && known == name)
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

fn host_process(pod: Pod<'_>) -> Outcome {
    let bad = |of: &Value| context(of).at("windowsOptions").flag("hostProcess");
    let who = setters(bad(pod.spec), &pod.named(bad))?;
    fault(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

fn escalation(pod: Pod<'_>) -> Outcome {
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

fn escalation_25(pod: Pod<'_>) -> Outcome {
    (!pod.is_windows()).then(|| escalation(pod))?
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

fn volume_types(pod: Pod<'_>) -> Outcome {
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

fn non_root(pod: Pod<'_>) -> Outcome {
    const REASON: &str = "runAsNonRoot != true";
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

fn non_root_35(pod: Pod<'_>) -> Outcome {
    (!pod.has_users_of_its_own()).then(|| non_root(pod))?
}

fn user(pod: Pod<'_>) -> Outcome {
    let bad = |of: &Value| context(of).int_ptr("runAsUser") == Some(0);
    let who = setters(bad(pod.spec), &pod.named(bad))?;
    fault("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

fn user_35(pod: Pod<'_>) -> Outcome {
    (!pod.has_users_of_its_own()).then(|| user(pod))?
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
