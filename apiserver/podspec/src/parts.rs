//! The parts that objects have: metadata, spec, status; each read as Go reads it, where what is absent is empty.
//!
//! Invariant: nothing is guessed: an empty name, spec or status is what the API server would decode from an object without one.

use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::*, autoscaling::v2::*, batch::v1::*, certificates::v1::*, core::v1::*,
        networking::v1::*, policy::v1::*,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    pod::{Pod, Spec},
    shared::Shared,
};

/// What is asked of an object's metadata.
pub trait Meta {
    /// Empty where the server is still to choose one.
    fn name(&self) -> &str;
    /// Empty for what is cluster-scoped.
    fn namespace(&self) -> &str;
    fn uid(&self) -> &str;
    fn label(&self, key: &str) -> Option<&str>;
    fn annotation(&self, key: &str) -> Option<&str>;
    fn has_finalizer(&self, name: &str) -> bool;
    /// Whether it is on its way out.
    fn is_deleting(&self) -> bool;
    fn created(&self) -> Option<Timestamp>;
}

impl Meta for ObjectMeta {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("")
    }
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("")
    }
    fn uid(&self) -> &str {
        self.uid.as_deref().unwrap_or("")
    }
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str)
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
    fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().flatten().any(|f| f == name)
    }
    fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
    fn created(&self) -> Option<Timestamp> {
        self.creation_timestamp.as_ref().map(|time| time.0)
    }
}

/// A kind whose objects have a spec.
pub trait HasSpec {
    type Spec: 'static;
    fn spec(&self) -> &Self::Spec;
}

/// A kind whose objects have a status.
pub trait HasStatus {
    type Status: 'static;
    fn status(&self) -> &Self::Status;
}

macro_rules! parts {
    ($trait:ident $part:ident $method:ident: $($kind:ident $type:ident),* $(,)?) => {$(
        impl $trait for $kind {
            type $part = $type;
            fn $method(&self) -> &$type {
                static NONE: LazyLock<$type> = LazyLock::new($type::default);
                self.$method.as_ref().unwrap_or(&NONE)
            }
        }
    )*};
}

parts!(HasSpec Spec spec:
    DaemonSet DaemonSetSpec, Deployment DeploymentSpec, Job JobSpec, Namespace NamespaceSpec, Node NodeSpec, PersistentVolume PersistentVolumeSpec,
    PersistentVolumeClaim PersistentVolumeClaimSpec, Pod Spec, PodDisruptionBudget PodDisruptionBudgetSpec, ReplicaSet ReplicaSetSpec,
    ReplicationController ReplicationControllerSpec, ResourceQuota ResourceQuotaSpec, Service ServiceSpec, ServiceCIDR ServiceCIDRSpec,
    StatefulSet StatefulSetSpec,
);

parts!(HasStatus Status status:
    CertificateSigningRequest CertificateSigningRequestStatus, CronJob CronJobStatus, DaemonSet DaemonSetStatus, Deployment DeploymentStatus,
    HorizontalPodAutoscaler HorizontalPodAutoscalerStatus, Job JobStatus, Namespace NamespaceStatus, Node NodeStatus,
    PersistentVolume PersistentVolumeStatus, PersistentVolumeClaim PersistentVolumeClaimStatus,
    PodDisruptionBudget PodDisruptionBudgetStatus, ReplicaSet ReplicaSetStatus, ReplicationController ReplicationControllerStatus,
    ResourceQuota ResourceQuotaStatus, ServiceCIDR ServiceCIDRStatus, StatefulSet StatefulSetStatus,
);

impl HasStatus for Pod {
    type Status = PodStatus;
    fn status(&self) -> &PodStatus {
        static NONE: LazyLock<Shared<PodStatus>> = LazyLock::new(Shared::default);
        self.status.as_ref().unwrap_or(&NONE)
    }
}
