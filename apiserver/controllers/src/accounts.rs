//! Who each controller is when it writes: a service account of kube-system, whose rights are the cluster role `system:controller:NAME`.
//!
//! Invariant: no controller writes as one that may do everything. What is read into the shared caches is read as `system:kube-controller-manager`.
//! Follows the names in cmd/kube-controller-manager/app (NewClient), as with `--use-service-account-credentials`.

/// Controllers whose account has another name than they have themselves. Empty: the manager's own identity.
const NAMED_OTHERWISE: &[(&str, &str)] = &[
    (
        "certificatesigningrequest-approving-controller",
        "certificate-controller",
    ),
    (
        "certificatesigningrequest-cleaner-controller",
        "certificate-controller",
    ),
    (
        "certificatesigningrequest-signing-controller",
        "certificate-controller",
    ),
    ("bootstrap-signer-controller", "bootstrap-signer"),
    ("daemonset-controller", "daemon-set-controller"),
    ("endpoints-controller", "endpoint-controller"),
    (
        "endpointslice-mirroring-controller",
        "endpointslicemirroring-controller",
    ),
    ("garbage-collector-controller", "generic-garbage-collector"),
    (
        "horizontal-pod-autoscaler-controller",
        "horizontal-pod-autoscaler",
    ),
    (
        "legacy-serviceaccount-token-cleaner-controller",
        "legacy-service-account-token-cleaner",
    ),
    ("node-ipam-controller", "node-controller"),
    ("node-lifecycle-controller", "node-controller"),
    (
        "persistentvolume-attach-detach-controller",
        "attachdetach-controller",
    ),
    (
        "persistentvolume-binder-controller",
        "persistent-volume-binder",
    ),
    ("persistentvolume-expander-controller", "expand-controller"),
    (
        "persistentvolume-protection-controller",
        "pv-protection-controller",
    ),
    (
        "persistentvolumeclaim-protection-controller",
        "pvc-protection-controller",
    ),
    ("pod-garbage-collector-controller", "pod-garbage-collector"),
    ("replicationcontroller-controller", "replication-controller"),
    ("resourceclaim-controller", "resource-claim-controller"),
    (
        "root-ca-certificate-publisher-controller",
        "root-ca-cert-publisher",
    ),
    ("service-cidr-controller", "service-cidrs-controller"),
    ("serviceaccount-controller", "service-account-controller"),
    ("serviceaccount-token-controller", ""),
    ("taint-eviction-controller", "node-controller"),
    ("token-cleaner-controller", "token-cleaner"),
];

/// The account's name; empty for the manager's own identity.
pub fn account_of(controller: &'static str) -> &'static str {
    NAMED_OTHERWISE
        .iter()
        .find(|(name, _)| *name == controller)
        .map_or(controller, |(_, account)| account)
}
