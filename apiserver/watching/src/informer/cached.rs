//! The kinds that are cached, what each drops to save memory, and what it is looked up by.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicy,
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
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_podspec::pod::{self, Pod};

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

    /// By which parts that objects of the kind have alike are found.
    type Parts: Default + Send;

    /// Makes parts one with equal ones of other objects, or of what this one was `before`, which is asked for where it counts.
    fn share(
        &mut self,
        _parts: &mut Self::Parts,
        _before: impl FnOnce(&ObjectMeta) -> Option<Arc<Self>>,
    ) {
    }
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
        ("Volume", "configMap"),
        ("Volume", "downwardAPI"),
        ("Volume", "emptyDir"),
        ("Volume", "hostPath"),
        ("Volume", "image"),
        ("Volume", "nfs"),
        ("Volume", "projected"),
        ("Volume", "secret"),
    ];

    fn group_by(&self) -> Option<&str> {
        self.spec.as_ref()?.node_name.as_deref()
    }

    /// Volumes that no claim and no attachment stands behind: each takes 3 KB in memory, and every pod has one for its token.
    fn trim(&mut self) {
        let Some(volumes) = self.spec.as_mut().and_then(|spec| spec.volumes.as_mut()) else {
            return;
        };
        let bare = Volume::default();
        volumes.retain_mut(|volume| {
            let name = std::mem::take(&mut volume.name);
            let has_source = *volume != bare;
            volume.name = name;
            has_source
        });
        volumes.shrink_to_fit();
    }

    type Parts = pod::Parts;

    fn share(
        &mut self,
        parts: &mut pod::Parts,
        before: impl FnOnce(&ObjectMeta) -> Option<Arc<Self>>,
    ) {
        let before = before(&self.metadata);
        Pod::share(self, parts, before.as_deref());
    }
}

impl Cached for Secret {
    type Parts = ();

    fn trim(&mut self) {
        // of those by which machines join the data is what counts
        if self.type_.as_deref() != Some("bootstrap.kubernetes.io/token") {
            (self.data, self.string_data) = (None, None);
        }
    }
}

impl Cached for EndpointSlice {
    type Parts = ();

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
        $(impl Cached for $kind { type Parts = (); })*

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
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    Lease,
    ValidatingAdmissionPolicy,
);
