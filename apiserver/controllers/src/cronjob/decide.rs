//! What is to be done about a CronJob's Jobs: which are active, whether the next may start, and which need not be kept.
//!
//! Invariant: pure; no time is served twice. Follows pkg/controller/cronjob/cronjob_controllerv2.go (syncCronJob, cleanupFinishedJobs).

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::ObjectReference,
};

use crate::{clock::after, job::finished_condition, prelude::*};

/// An event about a CronJob.
pub type Told = (EventType, &'static str, String);

/// The Jobs that run, as the status says.
pub fn active(cron: &CronJob) -> &[ObjectReference] {
    cron.status().active.as_deref().unwrap_or(&[])
}

pub fn is_active(cron: &CronJob, uid: Option<&String>) -> bool {
    active(cron).iter().any(|r| r.uid.as_ref() == uid)
}

pub fn drop_active(cron: &mut CronJob, uid: Option<&String>) {
    let active = &mut cron.status.get_or_insert_default().active;
    if let Some(list) = active {
        list.retain(|r| r.uid.as_ref() != uid);
    }
    if active.as_ref().is_some_and(Vec::is_empty) {
        *active = None;
    }
}

/// When a Job was to start, in its CronJob's zone as Go writes times: one that is no hours off is `Z`, whatever the zone's name.
pub fn scheduled_at(at: Timestamp, zone: TimeZone) -> String {
    let at = at.to_zoned(zone);
    let form = match at.offset().is_zero() {
        true => "%Y-%m-%dT%H:%M:%SZ",
        false => "%Y-%m-%dT%H:%M:%S%:z",
    };
    at.strftime(form).to_string()
}

/// The name of the Job of one minute.
pub fn job_name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.metadata.name(), at.as_second().div_euclid(60))
}

/// Brings the status up to date with what became of Jobs; gives what is to be told.
pub fn follow(cron: &mut CronJob, jobs: &[Arc<Job>]) -> Vec<Told> {
    let mut told = Vec::new();
    for job in jobs {
        let (uid, name) = (job.metadata.uid.as_ref(), job.metadata.name());
        let Some(end) = finished_condition(job) else {
            if !is_active(cron, uid) {
                let message =
                    format!("Saw a job that the controller did not create or forgot: {name}");
                told.push((EventType::Warning, "UnexpectedJob", message));
            }
            continue;
        };
        if is_active(cron, uid) {
            drop_active(cron, uid);
            let message = format!("Saw completed job: {name}, condition: {}", end.type_);
            told.push((EventType::Normal, "SawCompletedJob", message));
        }
        let completed = job
            .status()
            .completion_time
            .clone()
            .filter(|_| end.type_ == "Complete");
        let last = &mut cron.status.get_or_insert_default().last_successful_time;
        if completed > *last {
            *last = completed;
        }
    }
    told
}

/// Why the Job of `time` is not started, with what is told of that, if anything is.
pub fn refusal(cron: &CronJob, time: Timestamp, now: Timestamp) -> Option<Option<Told>> {
    let deadline = cron
        .spec
        .starting_deadline_seconds
        .and_then(|s| u64::try_from(s).ok());
    if deadline.is_some_and(|s| after(time, Duration::from_secs(s)) < now) {
        let when = time.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let message = format!("Missed scheduled time to start a job: {when}");
        return Some(Some((EventType::Warning, "MissSchedule", message)));
    }
    let served = cron
        .status()
        .last_schedule_time
        .as_ref()
        .is_some_and(|t| t.0 == time);
    let name = job_name(cron, time);
    if served
        || active(cron)
            .iter()
            .any(|r| r.name.as_deref() == Some(&name))
    {
        return Some(None);
    }
    let forbids = cron.spec.concurrency_policy.as_deref() == Some("Forbid");
    (forbids && !active(cron).is_empty()).then(|| {
        let message =
            "Not starting job because prior execution is running and concurrency policy is Forbid";
        Some((EventType::Normal, "JobAlreadyActive", message.into()))
    })
}

/// The oldest finished Jobs that the history need not keep.
pub fn surplus(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let limits = [
        ("Complete", cron.spec.successful_jobs_history_limit),
        ("Failed", cron.spec.failed_jobs_history_limit),
    ];
    let mut surplus = Vec::new();
    for (kind, limit) in limits {
        let Some(limit) = limit.and_then(|l| usize::try_from(l).ok()) else {
            continue;
        };
        let is_of_kind = |job: &&Arc<Job>| finished_condition(job).is_some_and(|c| c.type_ == kind);
        let mut ended: Vec<_> = jobs.iter().filter(is_of_kind).cloned().collect();
        ended.sort_by_key(|job| {
            let started = job.status().start_time.as_ref().map(|t| t.0);
            (started.is_none(), started, job.metadata.name.clone())
        });
        let too_many = ended.len().saturating_sub(limit);
        surplus.extend(ended.drain(..too_many));
    }
    surplus
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_str, from_value, json};

    use super::*;

    fn cron(spec: &str, status: &str) -> CronJob {
        let mut all = json!({"schedule": "* * * * *", "jobTemplate": {}});
        skiff_api::machinery::patch::merge::apply(&mut all, from_str(spec).unwrap(), false)
            .unwrap();
        let status: Value = from_str(status).unwrap();
        from_value(json!({"metadata": {"name": "c"}, "spec": all, "status": status})).unwrap()
    }

    #[test]
    fn times_of_schedules_are_written_as_go_writes_them() {
        for (zone, at, wanted) in [
            ("UTC", "2026-07-01T03:52:00Z", "2026-07-01T03:52:00Z"),
            ("Etc/UTC", "2026-07-01T03:52:00Z", "2026-07-01T03:52:00Z"),
            (
                "Europe/London",
                "2026-01-01T03:52:00Z",
                "2026-01-01T03:52:00Z",
            ),
            (
                "Europe/London",
                "2026-07-01T03:52:00Z",
                "2026-07-01T04:52:00+01:00",
            ),
            (
                "Asia/Kolkata",
                "2026-07-01T03:52:00Z",
                "2026-07-01T09:22:00+05:30",
            ),
        ] {
            let zone = skiff_api::machinery::cron::zone(zone).unwrap();
            assert_eq!(scheduled_at(at.parse().unwrap(), zone), wanted);
        }
    }

    /// Jobs, each `NAME:END:STARTED`, with what ends it (C, F or nothing) and when it began.
    fn jobs(text: &str) -> Vec<Arc<Job>> {
        let job = |word: &str| {
            let [name, end, started]: [&str; 3] =
                word.split(':').collect::<Vec<_>>().try_into().unwrap();
            let kind = if end == "C" { "Complete" } else { "Failed" };
            let conditions = if end.is_empty() {
                json!([])
            } else {
                json!([{"type": kind, "status": "True"}])
            };
            let time = format!("2026-01-01T00:0{started}:00Z");
            let status =
                json!({"conditions": conditions, "startTime": time, "completionTime": time});
            Arc::new(
                from_value(json!({"metadata": {"name": name, "uid": name}, "status": status}))
                    .unwrap(),
            )
        };
        text.split_whitespace().map(job).collect()
    }

    #[test]
    fn whether_the_next_may_start() {
        // the time is 00:10, the name of its Job ends with 29453770
        let table = r#"
            at once              | {}                                | {}                                             | 00:10:00 | start
            in time              | {"startingDeadlineSeconds": 60}   | {}                                             | 00:11:00 | start
            too late             | {"startingDeadlineSeconds": 60}   | {}                                             | 00:11:01 | MissSchedule
            served before        | {}                                | {"lastScheduleTime": "2026-01-01T00:10:00Z"}   | 00:10:00 | quiet
            running already      | {}                                | {"active": [{"name": "c-29453770"}]}           | 00:10:00 | quiet
            another runs         | {}                                | {"active": [{"name": "x"}]}                    | 00:10:00 | start
            another runs, forbid | {"concurrencyPolicy": "Forbid"}   | {"active": [{"name": "x"}]}                    | 00:10:00 | JobAlreadyActive
            none runs, forbid    | {"concurrencyPolicy": "Forbid"}   | {}                                             | 00:10:00 | start
            another, replace     | {"concurrencyPolicy": "Replace"}  | {"active": [{"name": "x"}]}                    | 00:10:00 | start
        "#;
        for [what, spec, status, now, expected] in skiff_testing::table::rows(table) {
            let time = "2026-01-01T00:10:00Z".parse().unwrap();
            let now = format!("2026-01-01T{now}Z").parse().unwrap();
            let found = match refusal(&cron(spec, status), time, now) {
                None => "start",
                Some(None) => "quiet",
                Some(Some((_, reason, _))) => reason,
            };
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn what_became_of_jobs() {
        let table = r#"
            | a::1       | a   | a |   |
            | a::1       |     |   |   | UnexpectedJob
            | a:C:1      | a b | b | 1 | SawCompletedJob
            | a:F:1      | a   |   |   | SawCompletedJob
            | a:C:1 b:C:2 | a b |  | 2 | SawCompletedJob SawCompletedJob
            | a:C:1      |     |   | 1 |
        "#;
        for [_, seen, known, left, successful, told] in skiff_testing::table::rows(table) {
            let known: Vec<_> = known
                .split_whitespace()
                .map(|name| json!({"name": name, "uid": name}))
                .collect();
            let mut cron = cron("{}", &json!({"active": known}).to_string());
            let reasons: Vec<_> = follow(&mut cron, &jobs(seen))
                .into_iter()
                .map(|told| told.1)
                .collect();
            let names: Vec<_> = active(&cron)
                .iter()
                .filter_map(|r| r.name.as_deref())
                .collect();
            let last = cron
                .status()
                .last_successful_time
                .as_ref()
                .map(|t| t.0.to_string());
            let minute = last
                .map(|text| text[15..16].to_string())
                .unwrap_or_default();
            assert_eq!(
                (reasons.join(" "), names.join(" "), minute),
                (told.into(), left.into(), successful.into()),
                "{seen}"
            );
        }
    }

    #[test]
    fn what_the_history_need_not_keep() {
        let all = "old:C:1 new:C:3 mid:C:2 bad:F:1 worse:F:2 runs::0";
        let table = r#"
            {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1} | old mid bad
            {"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 9} | old mid new
            {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 2} |
            {}                                                             |
        "#;
        for [limits, expected] in skiff_testing::table::rows(table) {
            let names: Vec<_> = surplus(&cron(limits, "{}"), &jobs(all))
                .iter()
                .map(|j| j.metadata.name().to_string())
                .collect();
            assert_eq!(names.join(" "), expected, "{limits}");
        }
    }
}
