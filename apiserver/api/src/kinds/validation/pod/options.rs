//! What validation of a pod spec lets pass: on an update, what the old object already had.
//!
//! Invariant: the default is the strict one, for new objects. Follows `pkg/api/pod/util.go` (GetValidationOptionsFromPodSpecAndMeta);
//! what hangs on feature gates there is as the gates of v1.36 are by default.

use super::{affinity, annotations, containers, resources, security, topology};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{is_good, label_selector, non_reserved_path};

/// The leniencies. `Options::default()` is for new objects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The object is a pod, not one with a template of pods.
    pub is_pod: bool,
    pub invalid_deletion_cost: bool,
    pub invalid_selector_values: bool,
    pub invalid_node_affinity_values: bool,
    pub indivisible_huge_pages: bool,
    pub invalid_spread_selector: bool,
    /// The old object's spread constraints break the newer rules for `matchLabelKeys`: the older ones stay in force.
    pub legacy_match_label_keys: bool,
    pub nonlocal_token_path: bool,
    pub host_sysctls: bool,
    pub any_selinux_change_policy: bool,
    pub toleration_comparison: bool,
    pub host_network_with_user_namespace: bool,
    pub devices_with_user_namespace: bool,
    pub restart_on_resize_of_init_containers: bool,
}

impl Options {
    /// For a pod: `old` is the one that is replaced.
    pub fn of_pod(old: Option<&Value>) -> Options {
        Options {
            is_pod: true,
            ..Options::of(old)
        }
    }

    /// For a template or whatever else has `metadata` and `spec` of a pod.
    pub fn of(old: Option<&Value>) -> Options {
        let Some(old) = old else {
            return Options::default();
        };
        let spec = old.at("spec");
        let tokens = || {
            spec.list("volumes")
                .iter()
                .flat_map(|volume| volume.at("projected").list("sources"))
                .filter_map(|source| source.some("serviceAccountToken"))
        };
        let nowhere = Path::new("");
        Options {
            is_pod: false,
            invalid_deletion_cost: !annotations::deletion_cost_is_good(old.at("metadata")),
            invalid_selector_values: !affinity::selectors_are_good(spec),
            invalid_node_affinity_values: !affinity::required_values_are_good(spec),
            indivisible_huge_pages: resources::uses_indivisible_huge_pages(spec),
            invalid_spread_selector: spec.list("topologySpreadConstraints").iter().any(
                |constraint| {
                    !is_good(|errors| {
                        label_selector(constraint.some("labelSelector"), false, &nowhere, errors)
                    })
                },
            ),
            legacy_match_label_keys: spec
                .list("topologySpreadConstraints")
                .iter()
                .any(|constraint| !topology::match_label_keys_are_good(constraint)),
            nonlocal_token_path: tokens().any(|token| {
                !is_good(|errors| non_reserved_path(token.text("path"), &nowhere, errors))
            }),
            host_sysctls: spec
                .at("securityContext")
                .list("sysctls")
                .iter()
                .any(|sysctl| security::host_sysctl(sysctl.text("name"), spec).is_some()),
            any_selinux_change_policy: spec
                .at("securityContext")
                .some("seLinuxChangePolicy")
                .is_some(),
            toleration_comparison: spec
                .list("tolerations")
                .iter()
                .any(|toleration| matches!(toleration.text("operator"), "Lt" | "Gt")),
            host_network_with_user_namespace: spec.flag("hostNetwork")
                && spec.flag_ptr("hostUsers") == Some(false),
            devices_with_user_namespace: spec.flag_ptr("hostUsers") == Some(false)
                && containers::all(spec)
                    .any(|(_, _, container)| !container.list("volumeDevices").is_empty()),
            restart_on_resize_of_init_containers: spec.list("initContainers").iter().any(
                |container| {
                    !containers::is_sidecar(container)
                        && container
                            .list("resizePolicy")
                            .iter()
                            .any(|policy| policy.text("restartPolicy") == "RestartContainer")
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_may_stay() {
        let strict = Options::of(Some(&json!({"spec": {}})));
        assert!(
            !strict.host_sysctls
                && !strict.invalid_deletion_cost
                && !strict.legacy_match_label_keys
        );
        let old = json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "x"}},
            "spec": {"hostNetwork": true, "hostUsers": false, "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies"}], "seLinuxChangePolicy": "MountOption"},
                "tolerations": [{"operator": "Gt"}], "topologySpreadConstraints": [{"matchLabelKeys": ["a"]}],
                "containers": [{"resources": {"limits": {"hugepages-2Mi": "1Mi"}}, "volumeDevices": [{}]}]}});
        let lenient = Options::of(Some(&old));
        assert!(
            lenient.invalid_deletion_cost
                && lenient.host_sysctls
                && lenient.any_selinux_change_policy
                && lenient.toleration_comparison
        );
        assert!(
            lenient.legacy_match_label_keys
                && lenient.indivisible_huge_pages
                && lenient.devices_with_user_namespace
        );
        assert!(lenient.host_network_with_user_namespace);
    }
}
