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

use crate::typed::Kind;

/// A kind that is cached.
pub trait Cached: Kind {
    /// One more thing to look objects up by, such as the node of a pod.
    fn group_by(&self) -> Option<&str> {
        None
    }
    /// Drops what no controller reads, to save memory.
    fn trim(&mut self) {
        self.meta_mut().managed_fields = None;
    }
}

impl Cached for Pod {
    fn group_by(&self) -> Option<&str> {
        self.spec.as_ref()?.node_name.as_deref()
    }
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
        let Some(spec) = &mut self.spec else { return };
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            (container.env, container.env_from, container.command, container.args) = (None, None, None, None);
            (container.volume_mounts, container.security_context, container.lifecycle) = (None, None, None);
            (container.liveness_probe, container.readiness_probe, container.startup_probe) = (None, None, None);
        }
    }
}

impl Cached for Secret {
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
        // of those by which machines join the data is what counts
        if self.type_.as_deref() != Some("bootstrap.kubernetes.io/token") {
            (self.data, self.string_data) = (None, None);
        }
    }
}

impl Cached for EndpointSlice {
    fn group_by(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get("kubernetes.io/service-name").map(String::as_str)
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
