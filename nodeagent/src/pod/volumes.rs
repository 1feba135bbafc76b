//! A pod's volumes: set up before anything of it starts, brought up to date while it runs.
//!
//! Invariant: a volume that cannot be set up holds none of the others up. It is tried anew when its wait is over, and at once when an object changes
//! that it is made of; each attempt that fails is told.
//! Follows `pkg/kubelet/volumemanager/reconciler` and `pkg/util/goroutinemap/exponentialbackoff`.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use skiff_api::machinery::quote::GoQuoted;

use super::{
    backoff::{Backoff, Limits},
    handle::Handle,
    names::{self, spec, uid},
};
use crate::{
    agent::{context::Context, objects::Version},
    time, volume,
};

/// The waits between two attempts.
const LIMITS: Limits = Limits {
    initial: Duration::from_millis(500),
    max: Duration::from_secs(122),
};

/// What is remembered of volumes that could not be set up.
#[derive(Debug)]
pub struct Failures {
    backoff: Backoff,
    /// What the volume was to be made of when it failed, by the volume's name.
    sources: HashMap<String, Vec<Version>>,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(LIMITS),
            sources: HashMap::new(),
        }
    }
}

impl Failures {
    /// Until when the volume is not tried again.
    fn waits(&self, name: &str, sources: &[Version], now: Timestamp) -> Option<Timestamp> {
        let same = self.sources.get(name).is_some_and(|then| then == sources);
        self.backoff.waits(name, now).filter(|_| same)
    }

    /// Notes a failure; answers until when the volume is not tried again.
    fn note(&mut self, name: &str, sources: Vec<Version>, now: Timestamp) -> Timestamp {
        self.backoff.next(name, now);
        self.sources.insert(name.to_owned(), sources);
        time::after(now, self.backoff.delay(name))
    }

    fn forget(&mut self, name: &str) {
        self.backoff.forget(name);
        self.sources.remove(name);
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
    }

    #[test]
    fn each_volume_waits_longer_and_longer() {
        let mut failures = Failures::default();
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..10 {
            assert_eq!(failures.waits("v", &[], now), None);
            let again = failures.note("v", Vec::new(), now);
            assert_eq!(failures.waits("v", &[], now), Some(again));
            waits.push(again.duration_since(now).as_millis());
            now = again;
        }
        assert_eq!(
            waits,
            [
                500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 122_000, 122_000
            ]
        );
        assert_eq!(failures.waits("other", &[], now), None);
        failures.forget("v");
        let again = failures.note("v", Vec::new(), now);
        assert_eq!(again.duration_since(now).as_millis(), 500);
    }

    #[test]
    fn what_a_volume_is_made_of_ends_its_wait_by_changing() {
        let version = |text: &str| Some(text.to_owned());
        let mut failures = Failures::default();
        failures.note("v", vec![None, version("7")], at(0));
        let waits = |sources: &[Version]| failures.waits("v", sources, at(1)).is_some();
        assert!(waits(&[None, version("7")]));
        assert!(!waits(&[version("9"), version("7")]), "it appeared");
        assert!(!waits(&[None, version("8")]), "it has another content");
    }
}
