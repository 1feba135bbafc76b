//! The profiles by which the kernel confines a pod: AppArmor, SELinux, seccomp.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::read::Read;

use super::pod::{Outcome, Pod, context, fault, plural, quoted, setters, those};

pub(super) fn app_armor(pod: Pod<'_>) -> Outcome {
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
        .map(|(name, value)| format!("{name}={value}", value = GoQuoted(&value)))
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

/// The last since 1.31.
const SE_LINUX_TYPES: &[&str] = &[
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];

pub(super) fn se_linux(pod: Pod<'_>) -> Outcome {
    let allowed = &SE_LINUX_TYPES[..if pod.minor < 31 { 4 } else { 5 }];
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

/// Of a pod, what is said of it by annotations, or by fields since there are some.
pub(super) fn seccomp(pod: Pod<'_>) -> Outcome {
    match pod.minor {
        ..19 => seccomp_annotations(pod),
        _ => seccomp_types(pod),
    }
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
        .map(|(name, value)| format!("{name}={value}", value = GoQuoted(&value)))
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

fn seccomp_types(pod: Pod<'_>) -> Outcome {
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

pub(super) fn seccomp_set(pod: Pod<'_>) -> Outcome {
    if pod.is_spared_for_windows() {
        return None;
    }
    if let Some(found) = seccomp_types(pod) {
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
