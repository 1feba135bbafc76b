//! Security contexts of pods and containers. Follows `pkg/apis/core/validation/validation.go` (ValidateSecurityContext,
//! validatePodSpecSecurityContext).
//!
//! Invariant: privileged containers are allowed here; admission narrows it.

use super::{Options, windows};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    descending_path, invalid_or_null, invalid_shown, one_of, range, unsupported,
};

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const SYSCTL_MAX: usize = 253;
const SYSCTL_SHAPE: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn id(owner: &Value, name: &str, path: &Path, errors: &mut Errors) {
    if let Some(number) = owner.int_ptr(name) {
        range(number, 0, i32::MAX.into(), &path.child(name), errors);
    }
}

/// Of a container.
pub fn of_container(context: Option<&Value>, host_users: bool, path: &Path, errors: &mut Errors) {
    let Some(context) = context else { return };
    id(context, "runAsUser", path, errors);
    id(context, "runAsGroup", path, errors);
    if let Some(mount) = context.text_ptr("procMount") {
        one_of(
            mount,
            &["Default", "Unmasked"],
            &path.child("procMount"),
            errors,
        );
        if host_users && mount == "Unmasked" {
            errors.invalid(
                &path.child("procMount"),
                mount,
                "`hostUsers` must be false to use `Unmasked`",
            );
        }
    }
    seccomp(
        context.some("seccompProfile"),
        &path.child("seccompProfile"),
        errors,
    );
    if context.flag_ptr("allowPrivilegeEscalation") == Some(false) {
        let mut refuse = |detail: &str| {
            invalid_shown(
                &internal::json(context, "core.SecurityContext"),
                detail,
                path,
                errors,
            )
        };
        if context.flag("privileged") {
            refuse("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        for _ in context
            .at("capabilities")
            .texts("add")
            .filter(|name| *name == "CAP_SYS_ADMIN")
        {
            refuse(
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
    windows::options(
        context.some("windowsOptions"),
        &path.child("windowsOptions"),
        errors,
    );
    app_armor(
        context.some("appArmorProfile"),
        &path.child("appArmorProfile"),
        errors,
    );
}

/// Of a pod; some of its fields stand beside it in the spec.
pub fn of_pod(spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let Some(context) = spec.some("securityContext") else {
        return;
    };
    let path = &path.child("securityContext");
    id(context, "fsGroup", path, errors);
    id(context, "runAsUser", path, errors);
    id(context, "runAsGroup", path, errors);
    let groups = path.child("supplementalGroups");
    for (index, group) in context.list("supplementalGroups").iter().enumerate() {
        range(
            group.as_i64().unwrap_or(0),
            0,
            i32::MAX.into(),
            &groups.index(index),
            errors,
        );
    }
    if spec.flag("hostPID") && spec.flag("shareProcessNamespace") {
        errors.invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    sysctls(context, spec, options, &path.child("sysctls"), errors);
    if let Some(policy) = context.text_ptr("fsGroupChangePolicy") {
        one_of(
            policy,
            &["Always", "OnRootMismatch"],
            &path.child("fsGroupChangePolicy"),
            errors,
        );
    }
    seccomp(
        context.some("seccompProfile"),
        &path.child("seccompProfile"),
        errors,
    );
    windows::options(
        context.some("windowsOptions"),
        &path.child("windowsOptions"),
        errors,
    );
    app_armor(
        context.some("appArmorProfile"),
        &path.child("appArmorProfile"),
        errors,
    );
    if let Some(policy) = context.text_ptr("supplementalGroupsPolicy") {
        one_of(
            policy,
            &["Merge", "Strict"],
            &path.child("supplementalGroupsPolicy"),
            errors,
        );
    }
    if let Some(policy) = context.text_ptr("seLinuxChangePolicy") {
        let allowed: &[&str] = if options.any_selinux_change_policy {
            &["MountOption", "Recursive"]
        } else {
            &["Recursive"]
        };
        one_of(policy, allowed, &path.child("seLinuxChangePolicy"), errors);
    }
}

fn seccomp(profile: Option<&Value>, path: &Path, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let (kind, at) = (profile.text("type"), path.child("type"));
    match kind {
        "" => errors.required(&at, "type is required when seccompProfile is set"),
        _ => one_of(kind, PROFILE_TYPES, &at, errors),
    }
    let at = path.child("localhostProfile");
    match (kind, profile.text_ptr("localhostProfile")) {
        ("Localhost", None) => errors.required(&at, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(local)) => descending_path(local, &at, errors),
        (_, Some(_)) => invalid_shown(
            &internal::json(profile, "core.SeccompProfile"),
            "can only be set when seccomp type is Localhost",
            &at,
            errors,
        ),
        (_, None) => {}
    }
}

/// An AppArmor profile; `None` is good.
pub fn app_armor(profile: Option<&Value>, path: &Path, errors: &mut Errors) {
    const MISSING: &str = "must be set when AppArmor type is Localhost";
    const LONGEST: usize = 4095;
    let Some(profile) = profile else { return };
    let at = path.child("localhostProfile");
    let local = profile.text_ptr("localhostProfile");
    match profile.text("type") {
        "Localhost" => {
            let Some(local) = local else {
                return errors.required(&at, MISSING);
            };
            if local.trim() != local {
                errors.invalid(&at, local, "must not be padded with whitespace");
            } else if local.is_empty() {
                errors.required(&at, MISSING);
            }
            if local.len() > LONGEST {
                errors.too_long(&at, LONGEST as i64);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if local.is_some() {
                invalid_or_null(
                    profile.some("localhostProfile"),
                    "can only be set when AppArmor type is Localhost",
                    &at,
                    errors,
                );
            }
        }
        "" => errors.required(
            &path.child("type"),
            "type is required when appArmorProfile is set",
        ),
        other => unsupported(other, PROFILE_TYPES, &path.child("type"), errors),
    }
}

fn sysctls(context: &Value, spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let list = context.list("sysctls");
    for (index, sysctl) in list.iter().enumerate() {
        let at = path.index(index);
        let (name, at) = (sysctl.text("name"), at.child("name"));
        if name.is_empty() {
            errors.required(&at, "");
        } else if !is_sysctl_name(name) {
            errors.invalid(&at, name, SYSCTL_SHAPE);
        } else if list[..index].iter().any(|other| other.text("name") == name) {
            errors.duplicate(&at, name);
        }
        if let Some(why) = host_sysctl(name, spec).filter(|_| !options.host_sysctls) {
            errors.invalid(&at, name, why);
        }
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |s: &str| {
        let b = s.as_bytes();
        b.first().is_some_and(|b| plain(*b))
            && b.last().is_some_and(|b| plain(*b))
            && b.iter().all(|b| plain(*b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(segment)
}

/// Why a sysctl of a namespace that the pod shares with its host is refused.
pub fn host_sysctl(name: &str, spec: &Value) -> Option<&'static str> {
    // with a slash for a separator, dots are part of the names
    let dotted = match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_string(),
    };
    let within = |prefixes: &[&str]| prefixes.iter().any(|prefix| dotted.starts_with(prefix));
    let ipc = dotted == "kernel.sem" || within(&["kernel.shm", "kernel.msg", "fs.mqueue."]);
    if spec.flag("hostNetwork") && within(&["net."]) {
        return Some("may not be specified when 'hostNetwork' is true");
    }
    (spec.flag("hostIPC") && ipc).then_some("may not be specified when 'hostIPC' is true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: Value) -> Vec<String> {
        Errors::of(|errors| of_pod(&spec, &Options::default(), &Path::new("spec"), errors)).texts()
    }

    #[test]
    fn pods() {
        let context = |of: Value| json!({"securityContext": of});
        for (spec, wanted) in [
            (
                context(json!({"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}})),
                vec![],
            ),
            (
                context(json!({"runAsUser": -1})),
                vec![
                    "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                ],
            ),
            (
                context(json!({"seccompProfile": {}})),
                vec![
                    "spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
                ],
            ),
            (
                context(json!({"seccompProfile": {"type": "Unconfined", "localhostProfile": "x"}})),
                vec![
                    "spec.securityContext.seccompProfile.localhostProfile: Invalid value: {\"Type\":\"Unconfined\",\"LocalhostProfile\":\"x\"}: can only be set when seccomp type is Localhost",
                ],
            ),
            (
                context(json!({"seLinuxChangePolicy": "MountOption"})),
                vec![
                    "spec.securityContext.seLinuxChangePolicy: Unsupported value: \"MountOption\": supported values: \"Recursive\"",
                ],
            ),
            (
                json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net/ipv4.x/y"}]}}),
                vec![
                    "spec.securityContext.sysctls[0].name: Invalid value: \"net/ipv4.x/y\": may not be specified when 'hostNetwork' is true",
                ],
            ),
        ] {
            assert_eq!(pod(spec), wanted);
        }
    }

    #[test]
    fn containers() {
        let mut errors = Errors::default();
        let context =
            json!({"allowPrivilegeEscalation": false, "privileged": true, "procMount": "Unmasked"});
        of_container(Some(&context), true, &Path::new("s"), &mut errors);
        assert_eq!(
            errors.0[0].to_string(),
            "s.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"
        );
        assert!(
            errors.0[1]
                .to_string()
                .starts_with("s: Invalid value: {\"Capabilities\":null,\"Privileged\":true,"),
            "{}",
            errors.0[1]
        );
    }

    #[test]
    fn names() {
        for (name, good) in [
            ("a.b", true),
            ("a/b.c-d_e", true),
            ("", false),
            ("a..b", false),
            ("A.b", false),
            ("-a", false),
        ] {
            assert_eq!(is_sysctl_name(name), good, "{name}");
        }
    }
}
