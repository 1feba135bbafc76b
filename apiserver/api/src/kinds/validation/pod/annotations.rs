//! Annotations that mean something on a pod: mirror pods, deletion cost, tolerations, seccomp, AppArmor.
//!
//! Invariant: on create, an annotation and the field that replaced it say the same.
//! Follows `pkg/apis/core/validation/validation.go` (ValidatePodSpecificAnnotations and its neighbours).

use super::{Options, containers, tolerations};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::descending_path;
use crate::machinery::quote::go_quote;

pub const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// `metadata.annotations` against the spec.
pub fn validate(
    metadata: &Value,
    spec: &Value,
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    let Some(annotations) = metadata.map("annotations") else {
        return;
    };
    if let Some(mirror) = annotations.get(MIRROR)
        && spec.text("nodeName").is_empty()
    {
        errors.invalid(
            &path.key(MIRROR),
            mirror.clone(),
            "must set spec.nodeName if mirror pod annotation is set",
        );
    }
    let given = metadata.at("annotations").text(TOLERATIONS);
    if !given.is_empty() {
        match serde_json::from_str::<Vec<Value>>(given) {
            Ok(list) => tolerations::validate(&list, options, &path.child(TOLERATIONS), errors),
            Err(error) => errors.invalid(path, TOLERATIONS, error.to_string()),
        }
    }
    if !options.invalid_deletion_cost && !deletion_cost_is_good(metadata) {
        errors.invalid(
            &path.key(DELETION_COST),
            metadata.at("annotations").text(DELETION_COST),
            "must be a 32bit integer",
        );
    }
    if let Some(profile) = annotations.get(SECCOMP_POD) {
        seccomp_profile(
            profile.as_str().unwrap_or(""),
            &path.child(SECCOMP_POD),
            errors,
        );
    }
    for (key, profile) in annotations
        .iter()
        .filter(|(key, _)| key.starts_with(SECCOMP_CONTAINER))
    {
        seccomp_profile(profile.as_str().unwrap_or(""), &path.child(key), errors);
    }
    for (key, profile) in annotations {
        let Some(container) = key.strip_prefix(APPARMOR) else {
            continue;
        };
        let at = path.key(key);
        if !containers::all(spec).any(|(_, _, c)| c.text("name") == container) {
            errors.invalid(&at, container, "container not found");
        }
        let profile = profile.as_str().unwrap_or("");
        if !matches!(profile, "" | "runtime/default" | "unconfined")
            && !profile.starts_with("localhost/")
        {
            errors.invalid(
                &at,
                profile,
                format!("invalid AppArmor profile name: {}", go_quote(profile)),
            );
        }
    }
}

/// The cost of a deletion is absent or a number in its plainest form.
pub fn deletion_cost_is_good(metadata: &Value) -> bool {
    let Some(cost) = metadata.at("annotations").text_ptr(DELETION_COST) else {
        return true;
    };
    cost.parse::<i32>()
        .is_ok_and(|number| cost == number.to_string())
}

fn seccomp_profile(profile: &str, path: &Path, errors: &mut Errors) {
    if matches!(profile, "runtime/default" | "docker/default" | "unconfined") {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(local) => descending_path(local, path, errors),
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

/// Some annotations are fixed once the pod is there.
pub fn validate_update(
    new: &Value,
    old: &Value,
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    let nothing = serde_json::Map::new();
    let (now, before) = (
        new.at("metadata").map("annotations").unwrap_or(&nothing),
        old.at("metadata").map("annotations").unwrap_or(&nothing),
    );
    for (key, _) in before
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
    {
        if key.starts_with(APPARMOR) {
            errors.forbidden(
                &path.key(key),
                "may not remove or update AppArmor annotations",
            );
        }
        if key == MIRROR {
            errors.forbidden(
                &path.key(key),
                "may not remove or update mirror pod annotation",
            );
        }
    }
    for (key, _) in now.iter().filter(|(key, _)| !before.contains_key(*key)) {
        if key.starts_with(APPARMOR) {
            errors.forbidden(&path.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not add mirror pod annotation");
        }
    }
    validate(new.at("metadata"), new.at("spec"), options, path, errors);
}

/// How an annotation may name the profile that a field of some type names.
struct Names {
    subject: &'static str,
    unconfined: &'static str,
    runtime_default: &'static [&'static str],
    local: &'static str,
}

const SECCOMP: Names = Names {
    subject: "seccomp",
    unconfined: "unconfined",
    runtime_default: &["runtime/default", "docker/default"],
    local: "localhost/",
};
const APPARMOR_NAMES: Names = Names {
    subject: "apparmor",
    unconfined: "unconfined",
    runtime_default: &["runtime/default"],
    local: "localhost/",
};

impl Names {
    fn agree(&self, annotation: &str, profile: &Value, path: &Path, errors: &mut Errors) {
        let type_differs = match profile.text("type") {
            "Unconfined" => annotation != self.unconfined,
            "RuntimeDefault" => !self.runtime_default.contains(&annotation),
            "Localhost" => match annotation.strip_prefix(self.local) {
                None => true,
                Some(name) => {
                    if profile.text_ptr("localhostProfile") != Some(name) {
                        errors.forbidden(
                            &path.child("localhostProfile"),
                            format!(
                                "{} profile in annotation and field must match",
                                self.subject
                            ),
                        );
                    }
                    false
                }
            },
            _ => false,
        };
        if type_differs {
            errors.forbidden(
                &path.child("type"),
                format!("{} type in annotation and field must match", self.subject),
            );
        }
    }
}

/// Seccomp and AppArmor: where both the annotation and the field are there, they agree.
pub fn fields_match(metadata: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let Some(annotations) = metadata.map("annotations") else {
        return;
    };
    let found = |prefix: &str, container: &Value| {
        annotations
            .get(&format!("{prefix}{}", container.text("name")))
            .and_then(Value::as_str)
    };
    let pod = spec.at("securityContext");
    if let (Some(profile), Some(annotation)) = (
        pod.some("seccompProfile"),
        annotations.get(SECCOMP_POD).and_then(Value::as_str),
    ) {
        SECCOMP.agree(
            annotation,
            profile,
            &path.child("securityContext").child("seccompProfile"),
            errors,
        );
    }
    for (list, index, container) in containers::all(spec) {
        if let (Some(profile), Some(annotation)) = (
            container.at("securityContext").some("seccompProfile"),
            found(SECCOMP_CONTAINER, container),
        ) {
            SECCOMP.agree(
                annotation,
                profile,
                &path
                    .child(list)
                    .index(index)
                    .child("securityContext")
                    .child("seccompProfile"),
                errors,
            );
        }
    }
    if spec.at("os").text("name") == "windows" {
        return;
    }
    for (list, index, container) in containers::all(spec) {
        let profile = container
            .at("securityContext")
            .some("appArmorProfile")
            .or_else(|| pod.some("appArmorProfile"));
        if let (Some(profile), Some(annotation)) = (profile, found(APPARMOR, container)) {
            APPARMOR_NAMES.agree(
                annotation,
                profile,
                &path
                    .child(list)
                    .index(index)
                    .child("securityContext")
                    .child("appArmorProfile"),
                errors,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(annotations: Value, spec: Value) -> Vec<String> {
        let mut errors = Errors::default();
        let metadata = json!({"annotations": annotations});
        validate(
            &metadata,
            &spec,
            &Options::default(),
            &Path::new("a"),
            &mut errors,
        );
        fields_match(&metadata, &spec, &Path::new("spec"), &mut errors);
        errors.texts()
    }

    #[test]
    fn each() {
        let container = json!({"containers": [{"name": "c", "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}}]});
        for (annotations, spec, wanted) in [
            (json!({DELETION_COST: "12"}), json!({}), vec![]),
            (
                json!({DELETION_COST: "+1"}),
                json!({}),
                vec![
                    "a[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer",
                ],
            ),
            (
                json!({SECCOMP_POD: "odd"}),
                json!({}),
                vec![
                    "a.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"odd\": must be a valid seccomp profile",
                ],
            ),
            (
                json!({"container.apparmor.security.beta.kubernetes.io/x": "runtime/default"}),
                container.clone(),
                vec![
                    "a[container.apparmor.security.beta.kubernetes.io/x]: Invalid value: \"x\": container not found",
                ],
            ),
            (
                json!({"container.seccomp.security.alpha.kubernetes.io/c": "localhost/y"}),
                container,
                vec![
                    "spec.containers[0].securityContext.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match",
                ],
            ),
        ] {
            assert_eq!(said(annotations, spec), wanted);
        }
    }
}
