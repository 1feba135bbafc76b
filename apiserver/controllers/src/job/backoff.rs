//! How long a Job waits before it replaces failed pods.
//!
//! Invariant: ten seconds after the first failure since the last success, doubling, at most ten minutes. Follows
//! pkg/controller/job/backoff_utils.go.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStatus;
use skiff_podspec::pod::Pod;

use crate::{
    clock::{since, whole_seconds},
    pods,
};

const FIRST: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(600);

/// The failures since the last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    last: Option<Timestamp>,
}

/// When a pod ended, as well as can be told.
pub fn finished_at(pod: &Pod) -> Timestamp {
    let created = pod
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let status = pod.status.as_deref();
    let ended = |container: &ContainerStatus| {
        container
            .state
            .as_ref()?
            .terminated
            .as_ref()?
            .finished_at
            .as_ref()
            .map(|t| t.0)
    };
    let containers: Option<Vec<Timestamp>> = status
        .and_then(|s| s.container_statuses.as_ref())
        .map(|all| all.iter().map(ended).collect())
        .unwrap_or_default();
    let unready = pods::condition(status, "Ready")
        .filter(|c| c.status == "False")
        .and_then(|c| c.last_transition_time.as_ref())
        .map(|t| t.0);
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|t| {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        Timestamp::from_second(t.0.as_second().saturating_sub(grace)).unwrap_or(t.0)
    });
    containers
        .and_then(|all| all.into_iter().max())
        .or(unready)
        .or(deleted)
        .unwrap_or(created)
}

impl Backoff {
    /// With pods that ended meanwhile.
    pub fn with(self, succeeded: &[Arc<Pod>], failed: &[Arc<Pod>]) -> Self {
        let mut times: Vec<Timestamp> = failed.iter().map(|pod| finished_at(pod)).collect();
        times.sort();
        let success = succeeded.iter().map(|pod| finished_at(pod)).max();
        match success {
            None if times.is_empty() => self,
            None => Self {
                failures: self.failures.saturating_add(count(times.len())),
                last: times.last().copied(),
            },
            Some(success) => {
                times.retain(|time| *time > success);
                Self {
                    failures: count(times.len()),
                    last: times.last().copied(),
                }
            }
        }
    }

    /// How long still to wait.
    pub fn remaining(&self, now: Timestamp) -> Duration {
        match self.last {
            Some(last) => remaining(self.failures, last, now),
            None => Duration::ZERO,
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// How long still to wait after so many failures, the last one at `last`.
pub fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let pause = FIRST
        .saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX))
        .min(LAST);
    pause.saturating_sub(since(now, whole_seconds(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_since_the_last_success() {
        let at = |s| Timestamp::from_second(s).unwrap();
        for (failures, now, expected) in [
            (0, 0, 0),
            (1, 0, 10),
            (1, 4, 6),
            (3, 0, 40),
            (20, 0, 600),
            (40, 0, 600),
            (1, 99, 0),
        ] {
            assert_eq!(
                remaining(failures, at(0), at(now)).as_secs(),
                expected,
                "{failures} at {now}"
            );
        }
        let ended = |s: i64| {
            let mut pod = crate::pods::tests::pod("p", "n", "Failed", None);
            pod.status.as_mut().unwrap().conditions = None;
            pod.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(s)));
            Arc::new(pod)
        };
        let backoff = Backoff::default().with(&[], &[ended(1), ended(2)]);
        assert_eq!(
            backoff,
            Backoff {
                failures: 2,
                last: Some(at(2))
            }
        );
        assert_eq!(
            backoff.with(&[ended(5)], &[ended(4), ended(6)]),
            Backoff {
                failures: 1,
                last: Some(at(6))
            }
        );
        assert_eq!(backoff.with(&[ended(5)], &[]), Backoff::default());
    }
}
