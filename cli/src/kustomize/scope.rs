//! Which kinds are in no namespace, as far as kustomize knows.
//! Invariant: a kind of another group or version than those that it knows is in namespaces, whatever it is called.
//! Behaviour follows `sigs.k8s.io/kustomize/kyaml/openapi`: its table is that of Kubernetes 1.21.

use skiff_api::kinds::Registry;

/// Kinds that have come since, by group; kustomize takes them for kinds in namespaces.
const NEWER: &[(&str, &[&str])] = &[
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
    ),
    (
        "authentication.k8s.io",
        &["SelfSubjectReview", "TokenReview"],
    ),
    (
        "authorization.k8s.io",
        &[
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
    ),
    ("networking.k8s.io", &["IPAddress", "ServiceCIDR"]),
    ("resource.k8s.io", &["DeviceClass", "ResourceSlice"]),
    ("storage.k8s.io", &["VolumeAttributesClass"]),
];
/// Kinds in no namespace that it knows, and that have no row.
const OTHERS: &[(&str, &str, &str)] = &[
    ("", "v1", "NodeProxyOptions"),
    ("policy", "v1beta1", "PodSecurityPolicy"),
];
/// The group whose kinds had not come to `v1`.
const BETA_ONLY: &str = "flowcontrol.apiserver.k8s.io";

/// Whether objects of a kind are in no namespace.
pub fn is_cluster_wide(group: &str, version: &str, kind: &str) -> bool {
    let newer = |(g, kinds): &(&str, &[&str])| *g == group && kinds.contains(&kind);
    if OTHERS.contains(&(group, version, kind)) {
        return true;
    }
    match version {
        "v1" if group == BETA_ONLY => return false,
        // All that was `v1` had been `v1beta1` before, but for the kinds without a group.
        "v1beta1" if group.is_empty() => return false,
        "v1" | "v1beta1" => {}
        _ => return false,
    }
    let row = Registry::builtin().find_kind(group, "v1", kind);
    row.is_some_and(|row| !row.namespaced) && !NEWER.iter().any(newer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_group_and_version() {
        for (group, version, kind, want) in [
            ("", "v1", "Node", true),
            ("", "v1", "ComponentStatus", true),
            ("example.com", "v1", "Node", false),
            ("", "v2", "Node", false),
            ("", "v1", "Pod", false),
            ("storage.k8s.io", "v1", "VolumeAttachment", true),
            ("storage.k8s.io", "v1beta1", "CSIDriver", true),
            ("storage.k8s.io", "v1", "VolumeAttributesClass", false),
            (
                "flowcontrol.apiserver.k8s.io",
                "v1beta1",
                "FlowSchema",
                true,
            ),
            ("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", false),
            ("policy", "v1beta1", "PodSecurityPolicy", true),
            ("", "v1", "NodeProxyOptions", true),
        ] {
            assert_eq!(
                is_cluster_wide(group, version, kind),
                want,
                "{group}/{version} {kind}"
            );
        }
    }
}
