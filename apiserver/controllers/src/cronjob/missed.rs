//! Which of a CronJob's times is due.
//!
//! Invariant: pure; of several missed times only the latest is served. Follows pkg/controller/cronjob/utils.go
//! (mostRecentScheduleTime, nextScheduleTimeDuration).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use skiff_api::machinery::cron::Schedule;
use skiff_podspec::parts::HasStatus;

use crate::clock::{after, until};

/// Past so many missed times something is thought to be wrong.
const MANY: i64 = 100;
/// What is waited longer than to the next time, lest it be looked at a moment early.
const MARGIN: Duration = Duration::from_millis(100);

/// How many times went by unserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// At most the present one.
    None,
    /// Some.
    Few,
    /// So many that something is wrong.
    Many,
}

fn earliest(cron: &CronJob, now: Timestamp, with_deadline: bool) -> Timestamp {
    let created = cron
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |t| t.0);
    let last = cron
        .status()
        .last_schedule_time
        .as_ref()
        .map_or(created, |t| t.0);
    let deadline = cron
        .spec
        .starting_deadline_seconds
        .filter(|_| with_deadline);
    let limit =
        deadline.and_then(|s| Timestamp::from_second(now.as_second().saturating_sub(s)).ok());
    limit.map_or(last, |limit| limit.max(last))
}

/// The latest time that is due and not served yet.
pub fn due(
    cron: &CronJob,
    schedule: &Schedule,
    now: Timestamp,
    with_deadline: bool,
) -> (Option<Timestamp>, Missed) {
    let Some(first) = schedule
        .next(earliest(cron, now, with_deadline))
        .filter(|t| *t <= now)
    else {
        return (None, Missed::None);
    };
    let Some(second) = schedule.next(first).filter(|t| *t <= now) else {
        return (Some(first), Missed::None);
    };
    let between = (second.as_second() - first.as_second()).max(1);
    let count = (now.as_second() - first.as_second()) / between + 1;
    let start = Timestamp::from_second(first.as_second() + (count - 2) * between).unwrap_or(first);
    let (mut latest, mut time) = (None, schedule.next(start));
    while let Some(next) = time.filter(|t| *t <= now) {
        latest = Some(next);
        time = schedule.next(next);
    }
    (
        latest,
        if count > MANY {
            Missed::Many
        } else {
            Missed::Few
        },
    )
}

/// How long until the next time, a little more.
pub fn next_wait(cron: &CronJob, schedule: &Schedule, now: Timestamp) -> Option<Duration> {
    let from = match due(cron, schedule, now, false) {
        (Some(time), _) => time,
        (None, Missed::None) => earliest(cron, now, false),
        (None, _) => now,
    };
    Some(until(now, after(schedule.next(from)?, MARGIN)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{api::batch::v1::CronJobSpec, apimachinery::pkg::apis::meta::v1::Time};

    #[test]
    fn the_latest_missed_time_is_due() {
        let schedule = Schedule::parse("0 * * * *", "").unwrap();
        let case = |created: &str, now: &str, deadline: Option<i64>| {
            let mut cron = CronJob {
                spec: CronJobSpec {
                    starting_deadline_seconds: deadline,
                    ..Default::default()
                },
                ..Default::default()
            };
            cron.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
            let (time, missed) = due(&cron, &schedule, now.parse().unwrap(), true);
            (time.map(|t| t.to_string()), missed)
        };
        assert_eq!(
            case("2026-01-01T00:10:00Z", "2026-01-01T00:50:00Z", None),
            (None, Missed::None)
        );
        assert_eq!(
            case("2026-01-01T00:10:00Z", "2026-01-01T01:00:00Z", None),
            (Some("2026-01-01T01:00:00Z".into()), Missed::None)
        );
        assert_eq!(
            case("2026-01-01T00:10:00Z", "2026-01-01T05:30:00Z", None),
            (Some("2026-01-01T05:00:00Z".into()), Missed::Few)
        );
        assert_eq!(
            case("2026-01-01T00:10:00Z", "2026-01-09T05:30:00Z", None),
            (Some("2026-01-09T05:00:00Z".into()), Missed::Many)
        );
        assert_eq!(
            case("2026-01-01T00:10:00Z", "2026-01-01T05:30:00Z", Some(600)),
            (None, Missed::None)
        );
    }
}
