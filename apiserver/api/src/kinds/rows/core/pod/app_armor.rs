//! AppArmor annotations of old become the field that replaced them.
//!
//! Invariant: a field that is there wins; an annotation that names no good profile is left as it is. Follows
//! `pkg/registry/core/pod/strategy.go` (applyAppArmorVersionSkew).

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::is_good;
use crate::kinds::validation::pod::warnings::profile_of;
use crate::kinds::validation::pod::{APPARMOR, LISTS, all_containers, app_armor};

/// What an annotation makes of a container's field.
enum Outcome {
    Nothing,
    /// No profile that could be understood.
    Unusable,
    Field(Value),
}

fn outcome(pod: &Value, container: &Value) -> Outcome {
    let Some(annotations) = pod.at("metadata").map("annotations") else {
        return Outcome::Nothing;
    };
    let annotation = annotations
        .get(&format!("{APPARMOR}{}", container.text("name")))
        .and_then(Value::as_str);
    let Some(annotation) = annotation.filter(|_| {
        container
            .at("securityContext")
            .some("appArmorProfile")
            .is_none()
    }) else {
        return Outcome::Nothing;
    };
    match profile_of(annotation)
        .filter(|profile| is_good(|errors| app_armor(Some(profile), &Path::new(""), errors)))
    {
        None => Outcome::Unusable,
        Some(profile)
            if Some(&profile) == pod.at("spec").at("securityContext").some("appArmorProfile") =>
        {
            Outcome::Nothing
        }
        Some(profile) => Outcome::Field(profile),
    }
}

fn is_windows(pod: &Value) -> bool {
    pod.at("spec").at("os").text("name") == "windows"
}

pub fn annotations_to_fields(pod: &mut Value) {
    if is_windows(pod) || pod.at("metadata").some("annotations").is_none() {
        return;
    }
    for list in LISTS {
        for index in 0..pod.at("spec").list(list).len() {
            if let Outcome::Field(profile) = outcome(pod, &pod["spec"][list][index]) {
                pod["spec"][list][index]["securityContext"]["appArmorProfile"] = profile;
            }
        }
    }
}

/// Of the annotations that are made fields of, or that cannot be.
pub fn warnings(pod: &Value) -> Warnings {
    if is_windows(pod) || pod.at("metadata").some("annotations").is_none() {
        return Warnings::new();
    }
    all_containers(pod.at("spec"))
        .filter(|(_, _, container)| !matches!(outcome(pod, container), Outcome::Nothing))
        .map(|(_, _, container)| {
            format!("metadata.annotations[{APPARMOR}{}]: deprecated since v1.30; use the \"appArmorProfile\" field instead", container.text("name"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        for (annotation, field, warned) in [
            ("runtime/default", json!({"type": "RuntimeDefault"}), 1),
            (
                "localhost/x",
                json!({"type": "Localhost", "localhostProfile": "x"}),
                1,
            ),
            ("odd", Value::Null, 1),
            ("unconfined", Value::Null, 0),
        ] {
            let mut pod = json!({"metadata": {"annotations": {format!("{APPARMOR}c"): annotation}},
                "spec": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}, "containers": [{"name": "c"}]}});
            assert_eq!(warnings(&pod).len(), warned, "{annotation}");
            annotations_to_fields(&mut pod);
            assert_eq!(
                pod["spec"]["containers"][0]
                    .at("securityContext")
                    .at("appArmorProfile"),
                &field,
                "{annotation}"
            );
        }
    }
}
