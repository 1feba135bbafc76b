//! Which of a CronJob's times is due.
//!
//! Invariant: pure; of several missed times only the latest is served. Follows pkg/controller/cronjob/utils.go
//! (mostRecentScheduleTime, nextScheduleTimeDuration).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use skiff_api::machinery::cron::Schedule;
use skiff_podspec::parts::HasStatus;

use crate::{
    clock::{after, until},
    prelude::Change,
};

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

/// A schedule whose times do not follow one another, as `59 23 31 2 *`, which has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time difference between two schedules is less than 1 second")]
pub struct Timeless;

/// The latest time that is due and not served yet.
///
/// # Errors
/// There is none, and never will be.
pub fn due(
    cron: &CronJob,
    schedule: &Schedule,
    now: Timestamp,
    with_deadline: bool,
) -> Result<(Option<Timestamp>, Missed), Timeless> {
    let begin = earliest(cron, now, with_deadline);
    let first = schedule.next(begin).ok_or(Timeless)?;
    if first > now {
        return Ok((None, Missed::None));
    }
    let second = schedule.next(first).ok_or(Timeless)?;
    if second > now {
        return Ok((Some(first), Missed::None));
    }
    let between = second.as_second() - first.as_second();
    if between < 1 {
        return Err(Timeless);
    }
    let count = (now.as_second() - first.as_second()) / between + 1;
    let start = Timestamp::from_second(first.as_second() + (count - 2) * between).unwrap_or(first);
    let (mut latest, mut time) = (None, schedule.next(start));
    while let Some(next) = time.filter(|t| *t <= now) {
        latest = Some(next);
        time = schedule.next(next);
    }
    let missed = match count > MANY {
        true => Missed::Many,
        false => Missed::Few,
    };
    Ok((latest, missed))
}

/// How long until the next time, a little more.
pub fn next_wait(cron: &CronJob, schedule: &Schedule, now: Timestamp) -> Option<Duration> {
    let from = match due(cron, schedule, now, false) {
        Ok((Some(time), _)) => time,
        Ok((None, Missed::None)) => earliest(cron, now, false),
        Ok((None, _)) | Err(Timeless) => now,
    };
    Some(until(now, after(schedule.next(from)?, MARGIN)))
}

/// When a changed CronJob is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Now,
    After(Duration),
    /// Its times cannot be read.
    Never,
}

/// One whose times are others now is looked at when the next of them has come: those that have gone by do not count. Follows
/// cronjob_controllerv2.go (updateCronJob).
pub fn look(change: &Change<CronJob>, now: Timestamp) -> Look {
    let Change::Updated { old, new } = change else {
        return Look::Now;
    };
    if old.spec.schedule == new.spec.schedule && old.spec.time_zone == new.spec.time_zone {
        return Look::Now;
    }
    let zone = new.spec.time_zone.as_deref().unwrap_or("");
    let Ok(schedule) = Schedule::parse(&new.spec.schedule, zone) else {
        return Look::Never;
    };
    // one that has no times is told of at once
    next_wait(new, &schedule, now).map_or(Look::Now, Look::After)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_times_are_waited_for() {
        let cron = |schedule: &str, zone: Option<&str>, suspend: bool| {
            let mut cron = CronJob::default();
            cron.metadata.creation_timestamp = Some(Time("2026-01-01T00:10:00Z".parse().unwrap()));
            (cron.spec.schedule, cron.spec.suspend) = (schedule.into(), Some(suspend));
            cron.spec.time_zone = zone.map(Into::into);
            std::sync::Arc::new(cron)
        };
        let now = "2026-01-01T05:30:00Z".parse().unwrap();
        let old = cron("0 0 1 1 *", None, false);
        let after = |new| {
            let old = old.clone();
            look(&Change::Updated { old, new }, now)
        };
        let minutes = |minutes: u64| Look::After(Duration::from_secs(minutes * 60) + MARGIN);
        assert_eq!(after(cron("0 0 1 1 *", None, true)), Look::Now);
        assert_eq!(after(cron("0 * * * *", None, false)), minutes(30));
        assert_eq!(
            after(cron("0 0 1 1 *", Some("Asia/Tokyo"), false)),
            minutes(364 * 24 * 60 + 9 * 60 + 30)
        );
        assert_eq!(after(cron("nonsense", None, false)), Look::Never);
        assert_eq!(after(cron("0 0 31 2 *", None, false)), Look::Now);
        assert_eq!(look(&Change::Added(old.clone()), now), Look::Now);
    }
    use k8s_openapi::{api::batch::v1::CronJobSpec, apimachinery::pkg::apis::meta::v1::Time};

    #[test]
    fn the_latest_missed_time_is_due() {
        let every_hour = Schedule::parse("0 * * * *", "").unwrap();
        let never = Schedule::parse("59 23 31 2 *", "").unwrap();
        let of = |schedule: &Schedule, created: &str, now: &str, deadline: Option<i64>| {
            let mut cron = CronJob {
                spec: CronJobSpec {
                    starting_deadline_seconds: deadline,
                    ..Default::default()
                },
                ..Default::default()
            };
            cron.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
            let found = due(&cron, schedule, now.parse().unwrap(), true);
            found.map(|(time, missed)| (time.map(|t| t.to_string()), missed))
        };
        let at = "2026-01-01T00:10:00Z";
        assert_eq!(of(&never, at, at, None), Err(Timeless));
        let case = |created: &str, now: &str, deadline: Option<i64>| {
            of(&every_hour, created, now, deadline).unwrap()
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
