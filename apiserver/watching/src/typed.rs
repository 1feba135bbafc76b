//! The kinds that are read and written typed, and the one place where each one's code for that is made.
//!
//! Invariant: nothing here is generic over how an object is encoded, so that a kind's decoding is compiled once in the program and not once
//! in each crate that reads it. A further kind is one word in the list below.

use k8s_openapi::{
    Metadata, Resource,
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicy,
        apps::v1::*,
        authentication::v1::{TokenRequest, TokenReview},
        authorization::v1::*,
        autoscaling::{v1::Scale, v2::*},
        batch::v1::*,
        certificates::v1::*,
        coordination::v1::*,
        core::v1::*,
        discovery::v1::*,
        networking::v1::{IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR},
        node::v1::*,
        policy::v1::*,
        rbac::v1::*,
        storage::v1::*,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;
use skiff_podspec::pod;

pub use crate::decode::{Dropped, Error as DecodeError};

/// What can be read from JSON and written as JSON.
pub trait Wire: Sized {
    /// Reads as Go does, see [`crate::decode`], as if the fields in `dropped` were not there.
    fn decode_without(text: &str, dropped: Dropped) -> Result<Self, DecodeError>;
    /// Writes compact JSON; fails for a time that has no RFC 3339 form.
    fn encode(&self) -> Result<Vec<u8>, serde_json::Error>;

    /// Reads as Go does.
    fn decode(text: &str) -> Result<Self, DecodeError> {
        Self::decode_without(text, &[])
    }
    /// The same from a value.
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        Self::decode(&value.to_string())
    }
    /// The same as a value.
    fn to_value(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(&self.encode()?)
    }
}

/// A built-in kind.
pub trait Kind: Wire + Metadata<Ty = ObjectMeta> + Clone + Send + Sync + 'static {
    /// Whether its objects are in namespaces.
    const NAMESPACED: bool;

    /// `apps/v1`, or `v1`.
    fn api_version() -> &'static str {
        <Self as Resource>::API_VERSION
    }
    /// `Deployment`.
    fn kind() -> &'static str {
        <Self as Resource>::KIND
    }
    /// `deployments`.
    fn plural() -> &'static str {
        <Self as Resource>::URL_PATH_SEGMENT
    }
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
    /// The same, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }
}

/// What reads the objects of one kind, whatever its type.
pub struct Reads {
    /// `apps/v1`, or `v1`.
    pub api_version: &'static str,
    /// `Deployment`.
    pub kind: &'static str,
    /// Reads an object's text and gives what is written of that.
    pub again: fn(&str) -> Result<Vec<u8>, Box<dyn std::error::Error>>,
}

impl Reads {
    const fn of<K: Wire + Resource>() -> Self {
        Self {
            api_version: K::API_VERSION,
            kind: K::KIND,
            again: |text| Ok(K::decode(text)?.encode()?),
        }
    }
}

macro_rules! wire {
    ($($of:ty),* $(,)?) => { $(
        impl Wire for $of {
            #[inline(never)]
            fn decode_without(text: &str, dropped: Dropped) -> Result<Self, DecodeError> {
                crate::decode::decode(text, dropped)
            }
            #[inline(never)]
            fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
                serde_json::to_vec(self)
            }
        }
    )* };
}

macro_rules! kinds {
    (namespaced: $($namespaced:ty),*; cluster: $($cluster:ty),* $(,)?) => {
        wire!($($namespaced,)* $($cluster),*);
        $( impl Kind for $namespaced { const NAMESPACED: bool = true; } )*
        $( impl Kind for $cluster { const NAMESPACED: bool = false; } )*

        /// All that is read typed and stands on its own; a kind that has two types is there twice.
        pub const READERS: &[Reads] = &[
            $(Reads::of::<$namespaced>(),)*
            $(Reads::of::<$cluster>(),)*
            Reads::of::<Scale>(),
            Reads::of::<TokenRequest>(),
        ];
    };
}

kinds!(
    namespaced: Pod, pod::Pod, Service, Endpoints, ServiceAccount, ConfigMap, Secret, Event, ReplicationController, PersistentVolumeClaim, ResourceQuota,
        Deployment, ReplicaSet, StatefulSet, DaemonSet, ControllerRevision, Job, CronJob, PodDisruptionBudget, HorizontalPodAutoscaler, Lease,
        EndpointSlice, NetworkPolicy, Ingress, CSIStorageCapacity;
    cluster: Node, Namespace, PersistentVolume, StorageClass, VolumeAttributesClass, VolumeAttachment, CSIDriver, CSINode, CertificateSigningRequest, ClusterRole, RuntimeClass, IPAddress, IngressClass,
        ServiceCIDR, ValidatingAdmissionPolicy,
        TokenReview, SubjectAccessReview
);

// parts of objects that are read or written on their own
wire!(PodTemplateSpec, ResourceQuotaSpec, Scale, TokenRequest);

#[cfg(test)]
mod tests;
