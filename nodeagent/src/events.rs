//! Events of the node, as component `kubelet`.
//!
//! Invariant: recording never blocks and never fails its caller; repetitions are counted instead of repeated (see [`skiff_watching::events`]).

pub use skiff_watching::events::EventType as Type;
use skiff_watching::{api::Api, clock::Clock, events::Events};

use k8s_openapi::api::core::v1::ObjectReference;
use tokio_util::sync::CancellationToken;

/// Where events are given in; cheap to clone.
#[derive(Clone)]
pub struct Recorder(skiff_watching::events::Recorder);

impl Recorder {
    /// Starts the task that writes, as component `kubelet` on `node`.
    pub fn start(api: Api, node: &str, stop: CancellationToken) -> (Self, Events) {
        let events = Events::start(api, Clock::system(), stop);
        (Self(events.recorder("kubelet").on(node)), events)
    }

    /// Records that all is as it should be with `object`.
    pub fn normal(&self, object: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(object, Type::Normal, reason, message);
    }

    /// Records that something is wrong with `object`.
    pub fn warn(&self, object: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(object, Type::Warning, reason, message);
    }

    /// Records that something happened to `object`.
    pub fn record(
        &self,
        object: ObjectReference,
        type_: Type,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.0.about(object, type_, reason, message);
    }
}
