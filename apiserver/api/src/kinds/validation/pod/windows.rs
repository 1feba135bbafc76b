//! What is particular to Windows and to Linux pods. Follows `pkg/apis/core/validation/validation.go`
//! (validateWindowsSecurityContextOptions, validateWindowsHostProcessPod, validateWindows, validateLinux).
//!
//! Invariant: a pod that says which system it is for bears no settings of the other.

use super::containers;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::subdomain;

const SPEC_LIMIT_KIB: usize = 64;
const DOMAIN_LIMIT: usize = 256;
const USER_LIMIT: usize = 104;

/// `windowsOptions` of a pod or container.
pub fn options(options: Option<&Value>, path: &Path, errors: &mut Errors) {
    let Some(options) = options else { return };
    if let Some(name) = options.text_ptr("gmsaCredentialSpecName") {
        subdomain(name, &path.child("gmsaCredentialSpecName"), errors);
    }
    if let Some(spec) = options.text_ptr("gmsaCredentialSpec") {
        let at = path.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid(&at, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > SPEC_LIMIT_KIB * 1024 {
            errors.invalid(
                &at,
                spec,
                format!("gmsaCredentialSpec size must be under {SPEC_LIMIT_KIB} KiB"),
            );
        }
    }
    if let Some(name) = options.text_ptr("runAsUserName") {
        for fault in user_name_faults(name) {
            errors.invalid(&path.child("runAsUserName"), name, fault);
        }
    }
}

fn user_name_faults(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string".into()];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters".into()];
    }
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash".into()],
    };
    let mut faults = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= DOMAIN_LIMIT) {
        faults.push(format!(
            "runAsUserName's Domain length must be under {DOMAIN_LIMIT} characters"
        ));
    }
    if domain.is_some_and(|domain| !is_netbios(domain) && !is_dns(domain)) {
        faults.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".into());
    }
    if user.is_empty() {
        faults.push("runAsUserName's User cannot be empty".into());
    } else if user.len() > USER_LIMIT {
        faults.push(format!(
            "runAsUserName's User length must not be longer than {USER_LIMIT} characters"
        ));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        faults.push("runAsUserName's User cannot contain only periods or spaces".into());
    }
    if user.contains([
        '"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']',
    ]) {
        faults.push(
            "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"
                .into(),
        );
    }
    faults
}

fn is_netbios(domain: &str) -> bool {
    let count = domain.chars().count();
    (1..=15).contains(&count)
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Host process containers: all or none, and on the host's network.
pub fn host_process(spec: &Value, path: &Path, errors: &mut Errors) {
    let wanted = |owner: &Value| {
        owner
            .at("securityContext")
            .at("windowsOptions")
            .flag_ptr("hostProcess")
    };
    let pod = wanted(spec);
    let (mut all, mut host) = (0, 0);
    for (list, index, container) in containers::all(spec) {
        all += 1;
        let own = wanted(container);
        if let (Some(pod), Some(own)) = (pod, own)
            && pod != own
        {
            let at = path.child(list);
            let at = at.index(index);
            let at = at.child("securityContext.windowsOptions.hostProcess");
            errors.invalid(
                &at,
                own,
                format!("pod hostProcess value must be identical if both are specified, was {pod}"),
            );
        }
        if own.or(pod) == Some(true) {
            host += 1;
        }
    }
    if host == 0 {
        return;
    }
    if host != all {
        errors.invalid(path, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers");
    }
    if !spec.flag("hostNetwork") {
        errors.invalid(
            &path.child("hostNetwork"),
            false,
            "hostNetwork must be true if pod contains any hostProcess containers",
        );
    }
}

const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";
/// Fields of the pod that Windows does not have: path below the spec, and whether false counts as unset.
const POD_FIELDS: &[(&str, &str)] = &[
    ("securityContext", "appArmorProfile"),
    ("securityContext", "seLinuxOptions"),
    ("", "hostUsers"),
    ("", "hostPID"),
    ("", "hostIPC"),
    ("securityContext", "seccompProfile"),
    ("securityContext", "fsGroup"),
    ("securityContext", "fsGroupChangePolicy"),
    ("securityContext", "sysctls"),
    ("", "shareProcessNamespace"),
    ("securityContext", "runAsUser"),
    ("securityContext", "runAsGroup"),
    ("securityContext", "supplementalGroups"),
    ("securityContext", "supplementalGroupsPolicy"),
    ("securityContext", "seLinuxChangePolicy"),
];
const CONTAINER_FIELDS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// `spec.os`, and what the system named there does not have.
pub fn system(spec: &Value, path: &Path, errors: &mut Errors) {
    let Some(os) = spec.some("os") else { return };
    match os.text("name") {
        "" => errors.required(&path.child("os").child("name"), ""),
        "linux" => on_linux(spec, path, errors),
        "windows" => on_windows(spec, path, errors),
        other => errors.not_supported(&path.child("os"), other, &["linux", "windows"]),
    }
}

fn on_linux(spec: &Value, path: &Path, errors: &mut Errors) {
    const REFUSED: &str = "windows options cannot be set for a linux pod";
    let context = |owner: &Value| owner.at("securityContext").some("windowsOptions").is_some();
    if context(spec) {
        errors.forbidden(
            &path.child("securityContext").child("windowsOptions"),
            REFUSED,
        );
    }
    for (list, index, _) in containers::all(spec).filter(|(_, _, container)| context(container)) {
        errors.forbidden(
            &path
                .child(list)
                .index(index)
                .child("securityContext")
                .child("windowsOptions"),
            REFUSED,
        );
    }
}

fn on_windows(spec: &Value, path: &Path, errors: &mut Errors) {
    if spec.some("securityContext").is_some() {
        for (place, name) in POD_FIELDS {
            let owner = if place.is_empty() {
                spec
            } else {
                spec.at(place)
            };
            let is_plain_flag = matches!(*name, "hostPID" | "hostIPC");
            if owner.some(name).is_some() && (!is_plain_flag || owner.flag(name)) {
                let at = path.child(place);
                errors.forbidden(
                    &if place.is_empty() {
                        path.child(name)
                    } else {
                        at.child(name)
                    },
                    NOT_ON_WINDOWS,
                );
            }
        }
    }
    for (list, index, container) in containers::all(spec) {
        let context = container.at("securityContext");
        for name in CONTAINER_FIELDS
            .iter()
            .filter(|name| context.some(name).is_some())
        {
            errors.forbidden(
                &path
                    .child(list)
                    .index(index)
                    .child("securityContext")
                    .child(name),
                NOT_ON_WINDOWS,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        for (name, faults) in [
            ("ContainerUser", 0),
            ("NT AUTHORITY\\LocalService", 0),
            ("a.b.c\\user", 0),
            ("", 1),
            ("a\\b\\c", 1),
            ("..", 1),
            ("a@b", 1),
            (".bad/\\u", 1),
            ("d\\", 1),
        ] {
            assert_eq!(user_name_faults(name).len(), faults, "{name}");
        }
    }

    #[test]
    fn systems() {
        for (spec, wanted) in [
            (
                json!({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}}),
                vec![
                    "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
                ],
            ),
            (
                json!({"os": {"name": "windows"}, "hostPID": true, "securityContext": {"runAsUser": 1}, "containers": [{"securityContext": {"privileged": true}}]}),
                vec![
                    "spec.hostPID: Forbidden: cannot be set for a windows pod",
                    "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
                    "spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod",
                ],
            ),
            (
                json!({"os": {"name": "x"}}),
                vec!["spec.os: Unsupported value: \"x\": supported values: \"linux\", \"windows\""],
            ),
            (json!({"os": {}}), vec!["spec.os.name: Required value"]),
        ] {
            let mut errors = Errors::default();
            system(&spec, &Path::new("spec"), &mut errors);
            assert_eq!(errors.texts(), wanted);
        }
    }
}
