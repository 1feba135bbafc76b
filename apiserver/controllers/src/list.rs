//! The list of controllers, one line each, and which of them `--controllers` turns on.
//!
//! Invariant: names, old names (aliases) and accounts are kube-controller-manager's: no controller writes as one that may do everything (what is
//! read into the shared caches is read as `system:kube-controller-manager`); a name that is in no list is refused, naming those that are. Follows
//! cmd/kube-controller-manager/names, app/controllermanager.go (NewControllerDescriptors; NewClient, as with
//! `--use-service-account-credentials`) and k8s.io/controller-manager/app/helper.go (IsControllerEnabled).

use crate::{
    bootstrap_tokens::{cleaner as token_cleaner, signer as bootstrap_signer},
    certificates::{approver, cleaner, signer},
    clusterrole_aggregation, cronjob, daemonset, deployment, disruption, endpoints, endpointslice,
    endpointslice_mirroring,
    error::Error,
    gc, horizontalpodautoscaler, job, legacy_token_cleaner, namespace, node_ipam, node_lifecycle,
    node_ttl,
    options::Options,
    pod_gc, quota, replicaset, root_ca,
    runner::{Context, Work},
    service_cidr, serviceaccount, serviceaccount_tokens, statefulset, taint_eviction,
    ttl_after_finished, validatingadmissionpolicy_status, volume,
};

type Start = fn(&Context) -> Result<Work, Error>;

/// One controller.
pub struct Controller {
    /// Its name in `--controllers`.
    pub name: &'static str,
    /// Its name there until v1.28.
    pub alias: &'static str,
    /// The service account of kube-system as which it writes, whose rights are the cluster role `system:controller:ACCOUNT`; empty: the manager's own identity.
    pub account: &'static str,
    /// Whether `*` turns it on.
    pub on_by_default: bool,
    /// Subscribes to what it needs, and gives its work.
    pub start: Start,
}

const fn on(
    name: &'static str,
    alias: &'static str,
    account: &'static str,
    start: Start,
) -> Controller {
    Controller {
        name,
        alias,
        account,
        on_by_default: true,
        start,
    }
}

const fn off(
    name: &'static str,
    alias: &'static str,
    account: &'static str,
    start: Start,
) -> Controller {
    Controller {
        on_by_default: false,
        ..on(name, alias, account, start)
    }
}

/// All controllers: name, alias, account, and what starts it.
#[rustfmt::skip]
pub const CONTROLLERS: &[Controller] = &[
    on("serviceaccount-token-controller", "serviceaccount-token", "", serviceaccount_tokens::start),
    on("deployment-controller", "deployment", "deployment-controller", deployment::start),
    on("replicaset-controller", "replicaset", "replicaset-controller", replicaset::start),
    on("replicationcontroller-controller", "replicationcontroller", "replication-controller", replicaset::start_replication_controller),
    on("daemonset-controller", "daemonset", "daemon-set-controller", daemonset::start),
    on("endpoints-controller", "endpoint", "endpoint-controller", endpoints::start),
    on("endpointslice-controller", "endpointslice", "endpointslice-controller", endpointslice::start),
    on("endpointslice-mirroring-controller", "endpointslicemirroring", "endpointslicemirroring-controller", endpointslice_mirroring::start),
    on("persistentvolume-binder-controller", "persistentvolume-binder", "persistent-volume-binder", volume::binder::start),
    on("persistentvolume-expander-controller", "persistentvolume-expander", "expand-controller", volume::expander::start),
    on("persistentvolumeclaim-protection-controller", "pvc-protection", "pvc-protection-controller", volume::protection::start_claims),
    on("persistentvolume-protection-controller", "pv-protection", "pv-protection-controller", volume::protection::start_volumes),
    on("volumeattributesclass-protection-controller", "", "volumeattributesclass-protection-controller", volume::class_protection::start),
    on("ephemeral-volume-controller", "ephemeral-volume", "ephemeral-volume-controller", volume::ephemeral::start),
    on("garbage-collector-controller", "garbagecollector", "generic-garbage-collector", gc::start),
    on("statefulset-controller", "statefulset", "statefulset-controller", statefulset::start),
    on("job-controller", "job", "job-controller", job::start),
    on("cronjob-controller", "cronjob", "cronjob-controller", cronjob::start),
    on("ttl-after-finished-controller", "ttl-after-finished", "ttl-after-finished-controller", ttl_after_finished::start),
    on("horizontal-pod-autoscaler-controller", "horizontalpodautoscaling", "horizontal-pod-autoscaler", horizontalpodautoscaler::start),
    on("disruption-controller", "disruption", "disruption-controller", disruption::start),
    on("resourcequota-controller", "resourcequota", "resourcequota-controller", quota::start),
    on("clusterrole-aggregation-controller", "clusterrole-aggregation", "clusterrole-aggregation-controller", clusterrole_aggregation::start),
    on("namespace-controller", "namespace", "namespace-controller", namespace::start),
    on("serviceaccount-controller", "serviceaccount", "service-account-controller", serviceaccount::start),
    on("legacy-serviceaccount-token-cleaner-controller", "legacy-service-account-token-cleaner", "legacy-service-account-token-cleaner", legacy_token_cleaner::start),
    on("root-ca-certificate-publisher-controller", "root-ca-cert-publisher", "root-ca-cert-publisher", root_ca::start),
    on("node-ipam-controller", "nodeipam", "node-controller", node_ipam::start),
    on("node-lifecycle-controller", "nodelifecycle", "node-controller", node_lifecycle::start),
    on("taint-eviction-controller", "", "node-controller", taint_eviction::start),
    on("pod-garbage-collector-controller", "podgc", "pod-garbage-collector", pod_gc::start),
    on("ttl-controller", "ttl", "ttl-controller", node_ttl::start),
    on("service-cidr-controller", "", "service-cidrs-controller", service_cidr::start),
    on("validatingadmissionpolicy-status-controller", "", "validatingadmissionpolicy-status-controller", validatingadmissionpolicy_status::start),
    off("bootstrap-signer-controller", "bootstrapsigner", "bootstrap-signer", bootstrap_signer::start),
    off("token-cleaner-controller", "tokencleaner", "token-cleaner", token_cleaner::start),
    on("certificatesigningrequest-signing-controller", "csrsigning", "certificate-controller", signer::start),
    on("certificatesigningrequest-approving-controller", "csrapproving", "certificate-controller", approver::start),
    on("certificatesigningrequest-cleaner-controller", "csrcleaner", "certificate-controller", cleaner::start),
];

/// The names that `--controllers` may hold besides [`CONTROLLERS`]'s: the scheduler runs in the same process.
const SCHEDULER: [&str; 2] = ["kube-scheduler", "scheduler"];

/// Upstream's controllers that this program does not have: to turn them off is nothing, to turn them on is refused.
const ABSENT: [&str; 14] = [
    "cloud-node-lifecycle-controller",
    "device-taint-eviction-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "node-route-controller",
    "persistentvolume-attach-detach-controller",
    "podcertificaterequest-cleaner-controller",
    "podgroup-protection-controller",
    "resourceclaim-controller",
    "resourcepoolstatusrequest-controller",
    "selinux-warning-controller",
    "service-ca-certificate-publisher-controller",
    "service-lb-controller",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
];

/// All names that `--controllers` knows.
pub fn known() -> &'static [&'static str] {
    static NAMES: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| {
        CONTROLLERS
            .iter()
            .map(|c| c.name)
            .chain([SCHEDULER[0]])
            .collect()
    });
    &NAMES
}

/// The one name of a controller that has several: upstream's older names still work.
fn canonical(name: &str) -> &str {
    if SCHEDULER.contains(&name) {
        return SCHEDULER[0];
    }
    CONTROLLERS
        .iter()
        .find(|c| c.name == name || (!name.is_empty() && c.alias == name))
        .map_or(name, |c| c.name)
}

/// Whether the options turn `name` on. The scheduler counts as on by default.
pub fn enabled(name: &str, options: &Options) -> bool {
    let name = canonical(name);
    let on_by_default = CONTROLLERS
        .iter()
        .find(|c| c.name == name)
        .is_none_or(|c| c.on_by_default);
    let mut star = false;
    for wish in &options.controllers {
        match wish.strip_prefix('-') {
            Some(off) if canonical(off) == name => return false,
            None if canonical(wish) == name => return true,
            None if wish == "*" => star = true,
            _ => {}
        }
    }
    star && on_by_default
}

/// Refuses names that nobody knows, those of controllers that are not here, all together with none, and networks that nodes cannot be given.
pub fn check(options: &Options) -> Result<(), Error> {
    let wishes = &options.controllers;
    if ["*", "-*"]
        .iter()
        .all(|all| wishes.iter().any(|wish| wish == all))
    {
        return Err(Error::AllAndNone);
    }
    for wish in wishes {
        let name = canonical(wish.strip_prefix('-').unwrap_or(wish));
        match ABSENT.contains(&name) {
            true if wish.starts_with('-') => {}
            true => return Err(Error::AbsentController { name: name.into() }),
            false if name == "*" || known().contains(&name) => {}
            false => {
                return Err(Error::UnknownController {
                    name: name.into(),
                    known: known().join(", "),
                });
            }
        }
    }
    match enabled("node-ipam-controller", options) {
        true => node_ipam::check(options),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        Options {
            controllers: text
                .split(',')
                .filter(|s| !s.is_empty())
                .map(Into::into)
                .collect(),
            ..Options::default()
        }
    }

    #[test]
    fn controllers_flag() {
        for (text, name, expected) in [
            ("*", "deployment-controller", true),
            ("*,-deployment-controller", "deployment-controller", false),
            ("*,-deployment", "deployment-controller", false),
            ("deployment", "deployment-controller", true),
            ("deployment-controller", "replicaset-controller", false),
            ("", "deployment-controller", false),
            ("*", "kube-scheduler", true),
            ("*,-scheduler", "kube-scheduler", false),
            ("-scheduler,*", "scheduler", false),
            ("-*", "deployment-controller", false),
            ("-*", "kube-scheduler", false),
            ("-*,scheduler", "kube-scheduler", true),
        ] {
            assert_eq!(enabled(name, &options(text)), expected, "{text} for {name}");
        }
        assert!(check(&options("*,-scheduler,deployment")).is_ok());
        assert!(check(&options("-*,deployment")).is_ok());
        assert!(check(&options("*,-persistentvolume-attach-detach-controller")).is_ok());
        for (text, says) in [
            ("resourceclaim-controller", "does not have"),
            ("*,-*", "all and none"),
            ("-*,*,job", "all and none"),
            ("Job", "\"Job\" is not in"),
        ] {
            let error = check(&options(text)).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(ABSENT.iter().all(|name| !known().contains(name)));
        let error = check(&options("*,nonsense")).unwrap_err().to_string();
        assert!(
            error.contains("\"nonsense\"") && error.contains("deployment-controller"),
            "{error}"
        );
    }

    #[test]
    fn every_controller_has_one_name() {
        let mut names: Vec<_> = CONTROLLERS
            .iter()
            .flat_map(|c| [c.name, c.alias])
            .filter(|n| !n.is_empty())
            .collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
