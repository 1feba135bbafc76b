//! The list of controllers: one line each.
//!
//! Invariant: names and old names (aliases) are kube-controller-manager's. Follows cmd/kube-controller-manager/names and
//! app/controllermanager.go (NewControllerDescriptors).

use futures::future::BoxFuture;

use crate::{
    bootstrap_tokens::{cleaner as token_cleaner, signer as bootstrap_signer},
    certificates::{approver, cleaner, signer},
    clusterrole_aggregation, cronjob, daemonset, deployment, disruption, endpoints, endpointslice,
    endpointslice_mirroring,
    error::Error,
    gc, horizontalpodautoscaler, job, legacy_token_cleaner, namespace, node_ipam, node_lifecycle,
    node_ttl, pod_gc, quota, replicaset, root_ca,
    runner::Context,
    service_cidr, serviceaccount, serviceaccount_tokens, statefulset, taint_eviction,
    ttl_after_finished, volume,
};

/// What a controller does once its caches are filled; `None` when the options leave it nothing to do.
pub type Work = Option<BoxFuture<'static, ()>>;

/// One controller.
pub struct Controller {
    /// Its name in `--controllers`.
    pub name: &'static str,
    /// Its name there until v1.28.
    pub alias: &'static str,
    /// Whether `*` turns it on.
    pub on_by_default: bool,
    /// Subscribes to what it needs, and gives its work.
    pub start: fn(&Context) -> Result<Work, Error>,
}

const fn on(
    name: &'static str,
    alias: &'static str,
    start: fn(&Context) -> Result<Work, Error>,
) -> Controller {
    Controller {
        name,
        alias,
        on_by_default: true,
        start,
    }
}

const fn off(
    name: &'static str,
    alias: &'static str,
    start: fn(&Context) -> Result<Work, Error>,
) -> Controller {
    Controller {
        name,
        alias,
        on_by_default: false,
        start,
    }
}

/// All controllers.
pub const CONTROLLERS: &[Controller] = &[
    on(
        "serviceaccount-token-controller",
        "serviceaccount-token",
        serviceaccount_tokens::start,
    ),
    on("deployment-controller", "deployment", deployment::start),
    on("replicaset-controller", "replicaset", replicaset::start),
    on(
        "replicationcontroller-controller",
        "replicationcontroller",
        replicaset::start_replication_controller,
    ),
    on("daemonset-controller", "daemonset", daemonset::start),
    on("endpoints-controller", "endpoint", endpoints::start),
    on(
        "endpointslice-controller",
        "endpointslice",
        endpointslice::start,
    ),
    on(
        "endpointslice-mirroring-controller",
        "endpointslicemirroring",
        endpointslice_mirroring::start,
    ),
    on(
        "persistentvolume-binder-controller",
        "persistentvolume-binder",
        volume::binder::start,
    ),
    on(
        "persistentvolume-expander-controller",
        "persistentvolume-expander",
        volume::expander::start,
    ),
    on(
        "persistentvolumeclaim-protection-controller",
        "pvc-protection",
        volume::protection::start_claims,
    ),
    on(
        "persistentvolume-protection-controller",
        "pv-protection",
        volume::protection::start_volumes,
    ),
    on(
        "volumeattributesclass-protection-controller",
        "",
        volume::class_protection::start,
    ),
    on(
        "ephemeral-volume-controller",
        "ephemeral-volume",
        volume::ephemeral::start,
    ),
    on(
        "garbage-collector-controller",
        "garbagecollector",
        gc::start,
    ),
    on("statefulset-controller", "statefulset", statefulset::start),
    on("job-controller", "job", job::start),
    on("cronjob-controller", "cronjob", cronjob::start),
    on(
        "ttl-after-finished-controller",
        "ttl-after-finished",
        ttl_after_finished::start,
    ),
    on(
        "horizontal-pod-autoscaler-controller",
        "horizontalpodautoscaling",
        horizontalpodautoscaler::start,
    ),
    on("disruption-controller", "disruption", disruption::start),
    on("resourcequota-controller", "resourcequota", quota::start),
    on(
        "clusterrole-aggregation-controller",
        "clusterrole-aggregation",
        clusterrole_aggregation::start,
    ),
    on("namespace-controller", "namespace", namespace::start),
    on(
        "serviceaccount-controller",
        "serviceaccount",
        serviceaccount::start,
    ),
    on(
        "legacy-serviceaccount-token-cleaner-controller",
        "legacy-service-account-token-cleaner",
        legacy_token_cleaner::start,
    ),
    on(
        "root-ca-certificate-publisher-controller",
        "root-ca-cert-publisher",
        root_ca::start,
    ),
    on("node-ipam-controller", "nodeipam", node_ipam::start),
    on(
        "node-lifecycle-controller",
        "nodelifecycle",
        node_lifecycle::start,
    ),
    on("taint-eviction-controller", "", taint_eviction::start),
    on("pod-garbage-collector-controller", "podgc", pod_gc::start),
    on("ttl-controller", "ttl", node_ttl::start),
    on("service-cidr-controller", "", service_cidr::start),
    off(
        "bootstrap-signer-controller",
        "bootstrapsigner",
        bootstrap_signer::start,
    ),
    off(
        "token-cleaner-controller",
        "tokencleaner",
        token_cleaner::start,
    ),
    on(
        "certificatesigningrequest-signing-controller",
        "csrsigning",
        signer::start,
    ),
    on(
        "certificatesigningrequest-approving-controller",
        "csrapproving",
        approver::start,
    ),
    on(
        "certificatesigningrequest-cleaner-controller",
        "csrcleaner",
        cleaner::start,
    ),
];
