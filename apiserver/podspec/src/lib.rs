//! What a pod means: what it asks for, where it may be, which class it has, which of its containers stay, how it stands.
//!
//! Invariant: pure, and each meaning stands here once: server, scheduler, controllers, node agent and CLI cannot differ in it. One file a subject.
//! Follows `k8s.io/component-helpers` and `pkg/api/v1/pod`.

pub mod affinity;
pub mod conditions;
pub mod containers;
pub mod parts;
pub mod pod;
pub mod ports;
pub mod qos;
pub mod resources;
pub mod runtime;
pub mod selector;
pub mod shared;
pub mod storage;
pub mod tolerations;

/// The pod's spec. Every pod has one.
pub fn spec<P: pod::AnyPod>(pod: &P) -> &P::Spec {
    pod.its_spec()
}
