//! The kinds that are cached, what each drops to save memory, and what it is looked up by.

use k8s_openapi::api::{
    apps::v1::*,
    autoscaling::v2::*,
    batch::v1::*,
    certificates::v1::*,
    coordination::v1::Lease,
    core::v1::*,
    discovery::v1::*,
    networking::v1::{IPAddress, ServiceCIDR},
    policy::v1::*,
    rbac::v1::*,
    storage::v1::*,
};

use crate::typed::{Dropped, Kind};

/// A kind that is cached.
pub trait Cached: Kind {
    /// One more thing to look objects up by, such as the node of a pod.
    fn group_by(&self) -> Option<&str> {
        None
    }
    /// What no controller reads, and is not read into the cache.
    const DROPPED: Dropped = &[MANAGED_FIELDS];

    /// Drops what no controller reads in some objects of the kind, to save memory.
    fn trim(&mut self) {}
}

const MANAGED_FIELDS: (&str, &str) = ("ObjectMeta", "managedFields");

impl Cached for Pod {
    const DROPPED: Dropped = &[
        MANAGED_FIELDS,
        ("Container", "env"),
        ("Container", "envFrom"),
        ("Container", "command"),
        ("Container", "args"),
        ("Container", "volumeMounts"),
        ("Container", "securityContext"),
        ("Container", "lifecycle"),
        ("Container", "livenessProbe"),
        ("Container", "readinessProbe"),
        ("Container", "startupProbe"),
    ];

    fn group_by(&self) -> Option<&str> {
        self.spec.as_ref()?.node_name.as_deref()
    }
}

impl Cached for Secret {
    fn trim(&mut self) {
        // of those by which machines join the data is what counts
        if self.type_.as_deref() != Some("bootstrap.kubernetes.io/token") {
            (self.data, self.string_data) = (None, None);
        }
    }
}

impl Cached for EndpointSlice {
    fn group_by(&self) -> Option<&str> {
        self.metadata
            .labels
            .as_ref()?
            .get("kubernetes.io/service-name")
            .map(String::as_str)
    }
}

/// Is shown every kind.
#[cfg(test)]
pub(super) trait Visitor {
    fn visit<K: Cached>(&mut self);
}

macro_rules! cached {
    ($($kind:ident),* $(,)?) => {
        $(impl Cached for $kind {})*

        /// Shows every kind that can be cached.
        #[cfg(test)]
        pub(super) fn each(visitor: &mut impl Visitor) {
            visitor.visit::<Pod>();
            visitor.visit::<Secret>();
            visitor.visit::<EndpointSlice>();
            $(visitor.visit::<$kind>();)*
        }
    };
}

cached!(
    Deployment,
    IPAddress,
    ServiceCIDR,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    ControllerRevision,
    ReplicationController,
    Service,
    Endpoints,
    Node,
    Namespace,
    ServiceAccount,
    ConfigMap,
    Job,
    CronJob,
    PodDisruptionBudget,
    ResourceQuota,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttributesClass,
    CertificateSigningRequest,
    ClusterRole,
    HorizontalPodAutoscaler,
    VolumeAttachment,
    Lease,
);
