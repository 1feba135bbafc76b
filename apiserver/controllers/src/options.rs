//! The options of the controller manager, and which controllers they turn on.
//!
//! Invariant: a name that is in no list is refused, naming those that are. Follows cmd/kube-controller-manager/app/options and
//! k8s.io/controller-manager/app/helper.go (IsControllerEnabled).

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{clock::Clock, error::Error, horizontalpodautoscaler, list};

/// What the controller manager is told on its command line.
#[derive(Clone)]
pub struct Options {
    /// `--controllers`: `*` for all that are on by default, `name` to turn one on, `-name` to turn one off, `-*` for none but those that are named.
    pub controllers: Vec<String>,
    /// `--node-monitor-period`: how often nodes' health is looked at.
    pub node_monitor_period: Duration,
    /// `--node-monitor-grace-period`: how long a node may be silent before it counts as unhealthy.
    pub node_monitor_grace_period: Duration,
    /// `--allocate-node-cidrs`: whether nodes are given pod networks.
    pub allocate_node_cidrs: bool,
    /// `--cluster-cidr`: the networks that nodes' pod networks are cut from; at most one of each family.
    pub cluster_cidrs: Vec<IpNet>,
    /// `--node-cidr-mask-size-ipv4` and, second, its IPv6 sibling.
    pub node_cidr_mask_sizes: (u8, u8),
    /// `--root-ca-file`'s content: what `kube-root-ca.crt` holds; without it that controller does not run.
    pub root_ca_pem: Option<String>,
    /// Signs certificate requests; without it they are not signed.
    pub cluster_signing: Option<Signer>,
    /// `--cluster-signing-duration`: how long signed certificates are valid at most.
    pub cluster_signing_duration: Duration,
    /// Signs the tokens that are kept in secrets; without it those secrets stay empty.
    pub token_signer: Option<TokenSigner>,
    /// `--legacy-service-account-token-clean-up-period`: how long a legacy token may be unused.
    pub legacy_token_clean_up_period: Duration,
    /// `--concurrent-*-syncs`: how many keys each controller works on at once.
    pub concurrent_syncs: usize,
    /// `--terminated-pod-gc-threshold`: how many ended pods may exist before the oldest are deleted; 0 or less: any number.
    pub terminated_pod_gc_threshold: i32,
    /// How the horizontal pod autoscaler is to run.
    pub horizontal_pod_autoscaler: horizontalpodautoscaler::Options,
    /// Where the time comes from.
    pub clock: Clock,
}

/// An authority that signs: takes a request (PEM), the usages that the certificate is to have and its seconds at most, and gives the certificate
/// (PEM). The request's signature is checked by it, its subject and names are not.
pub type Signer = Arc<dyn Fn(&[u8], &[String], i64) -> Result<String, String> + Send + Sync>;

/// Makes the token of a service account, by its metadata, that is to be kept in the secret of this name.
pub type TokenSigner = Arc<dyn Fn(&ObjectMeta, &str) -> Result<String, String> + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: vec!["*".into()],
            node_monitor_period: Duration::from_secs(5),
            node_monitor_grace_period: Duration::from_secs(50),
            allocate_node_cidrs: false,
            cluster_cidrs: vec![IpNet::V4(ipnet::Ipv4Net::new_assert(
                std::net::Ipv4Addr::new(10, 244, 0, 0),
                16,
            ))],
            node_cidr_mask_sizes: (24, 64),
            root_ca_pem: None,
            cluster_signing: None,
            cluster_signing_duration: Duration::from_secs(365 * 24 * 3600),
            token_signer: None,
            legacy_token_clean_up_period: Duration::from_secs(365 * 24 * 3600),
            concurrent_syncs: 5,
            terminated_pod_gc_threshold: 12_500,
            horizontal_pod_autoscaler: horizontalpodautoscaler::Options::default(),
            clock: Clock::system(),
        }
    }
}

/// The names that `--controllers` may hold besides [`list::CONTROLLERS`]'s: the scheduler runs in the same process.
const SCHEDULER: [&str; 2] = ["kube-scheduler", "scheduler"];

/// Upstream's controllers that this program does not have: to turn them off is nothing, to turn them on is refused.
const ABSENT: [&str; 15] = [
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
    "validatingadmissionpolicy-status-controller",
];

/// All names that `--controllers` knows.
pub fn known() -> &'static [&'static str] {
    static NAMES: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| {
        list::CONTROLLERS
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
    list::CONTROLLERS
        .iter()
        .find(|c| c.name == name || (!name.is_empty() && c.alias == name))
        .map_or(name, |c| c.name)
}

/// Whether the options turn `name` on. The scheduler counts as on by default.
pub fn enabled(name: &str, options: &Options) -> bool {
    let name = canonical(name);
    let on_by_default = list::CONTROLLERS
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

/// Refuses names that nobody knows, those of controllers that are not here, and all together with none.
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
    Ok(())
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
        let mut names: Vec<_> = list::CONTROLLERS
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
