//! What breaks off an attempt to give a pod a node: then it is tried again after a while, whatever happens in the cluster.
//!
//! Invariant: the words are those of upstream's events (`SchedulerError`). Follows `pkg/scheduler/framework/runtime/framework.go`.

use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::affinity::UnreadableTerms;
use skiff_watching::Error;

/// Why an attempt broke off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A plugin could not look at the pod before nodes were compared.
    #[error("running PreScore plugin {plugin}: {source}", plugin = GoQuoted(.plugin))]
    PreScore {
        plugin: &'static str,
        #[source]
        source: UnreadableTerms,
    },
    /// What the pod's claims need could not be written.
    #[error("running PreBind plugin \"VolumeBinding\": {0}")]
    Volumes(#[source] Error),
    /// The pod's claims will not be bound on the node that it was given.
    #[error("running PreBind plugin \"VolumeBinding\": binding volumes: {0}")]
    Binding(String),
    /// The pod's claims were not bound in time.
    #[error("running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded")]
    VolumesLate,
    /// It was deleted while it waited for its claims.
    #[error(
        "running PreBind plugin \"VolumeBinding\": binding volumes: pod does not exist any more: pod {pod} not found",
        pod = GoQuoted(.0)
    )]
    Gone(String),
    /// The binding was refused, or nobody answered.
    #[error("running Bind plugin \"DefaultBinder\": {0}")]
    Bind(#[source] Error),
    /// Its place was needed for another while it waited for its volumes.
    #[error("preempted by DefaultPreemption")]
    Preempted,
    /// A fault of ours.
    #[error("the scheduler panicked over this pod")]
    Panicked,
}
