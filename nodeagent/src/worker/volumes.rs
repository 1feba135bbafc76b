//! A pod's volumes: set up before anything of it starts, brought up to date while it runs.
//!
//! Invariant: a volume that cannot be set up holds none of the others up. It is tried anew when its wait is over, and at once when an object changes
//! that it is made of; each attempt that fails is told.
//! Follows `pkg/kubelet/volumemanager/reconciler`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use skiff_api::machinery::quote::GoQuoted;

use crate::{
    agent::context::Context,
    pod::{
        handle::Handle,
        names::{self, spec, uid},
    },
    time, volume,
};

/// A volume is not there, as the event `FailedMount` says it.
#[derive(thiserror::Error, Debug)]
#[error("MountVolume.SetUp failed for volume {volume} : {source}", volume = GoQuoted(.volume))]
pub struct NotMounted {
    volume: String,
    source: volume::Error,
}

/// Not all volumes are there.
#[derive(Debug)]
pub struct Incomplete {
    /// When the first of them is tried again.
    pub again: Timestamp,
}

/// Sets all volumes up, or up to date, but for those whose time has not come yet.
pub async fn set_up(node: &Context, handle: &Handle, pod: &Pod) -> Result<(), Incomplete> {
    if node.config.simulated {
        return Ok(());
    }
    node.objects.watch(
        uid(pod),
        names::namespace(pod),
        &volume::references(spec(pod).volumes.iter().flatten()),
        &handle.wake,
    );
    let mut again: Option<Timestamp> = None;
    for wanted in spec(pod).volumes.iter().flatten() {
        if let Some(at) = set_up_one(node, handle, pod, wanted).await {
            again = Some(again.map_or(at, |first| first.min(at)));
        }
    }
    again.map_or(Ok(()), |again| Err(Incomplete { again }))
}

/// Answers when the volume is to be tried again, if it is not there.
async fn set_up_one(
    node: &Context,
    handle: &Handle,
    pod: &Pod,
    wanted: &Volume,
) -> Option<Timestamp> {
    let present = handle.state.lock().volumes.contains_key(&wanted.name);
    if present && !volume::changes(wanted) {
        return None;
    }
    let sources = node.objects.versions(
        names::namespace(pod),
        &volume::references(std::iter::once(wanted)),
    );
    let (pod_ips, waits) = {
        let state = handle.state.lock();
        let waits = state.unmounted.waits(&wanted.name, &sources, time::now());
        (state.ips.clone(), waits)
    };
    if waits.is_some() {
        return waits;
    }
    let request = volume::Request {
        node,
        pod,
        name: &wanted.name,
        pod_ips: &pod_ips,
    };
    match volume::set_up(&request, wanted).await {
        Ok(mounted) => {
            let mut state = handle.state.lock();
            state.unmounted.forget(&wanted.name);
            state.volumes.insert(wanted.name.clone(), mounted);
            None
        }
        Err(error) if present => {
            tracing::debug!(%error, volume = wanted.name, "volume not brought up to date");
            None
        }
        Err(source) => {
            let error = NotMounted {
                volume: wanted.name.clone(),
                source,
            };
            node.events
                .warn(names::reference(pod), "FailedMount", error.to_string());
            let mut state = handle.state.lock();
            Some(state.unmounted.note(&wanted.name, sources, time::now()))
        }
    }
}
