//! CronJobs. Follows `pkg/apis/batch/validation/validation.go` (validateCronJobSpec) and `pkg/registry/batch/cronjob/strategy.go`.
//!
//! Invariant: the schedule can be read, in a time zone that is known.

use crate::kinds::prelude::*;
use crate::kinds::rows::apps::defaults;
use crate::kinds::rows::batch::job;
use crate::kinds::rows::core::pod::disabled;
use crate::kinds::validation::checks::{invalid_shown, nonnegative, required_one_of, unsupported};
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::workload;
use crate::machinery::cron;
use crate::machinery::cron::Schedule;

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::cron_job,
    prepare_for_create: |new| {
        disabled::drop_from_template(&mut new["spec"]["jobTemplate"]["spec"], None)
    },
    prepare_for_update: |new, old| {
        disabled::drop_from_template(
            &mut new["spec"]["jobTemplate"]["spec"],
            Some(old.at("spec").at("jobTemplate").at("spec")),
        )
    },
    validate: |new| {
        const LONGEST: usize = 52;
        let mut errors = validate(new, None);
        if new.name().len() > LONGEST {
            errors.invalid(
                &Path::new("metadata").child("name"),
                new.name(),
                "must be no more than 52 characters",
            );
        }
        errors
    },
    validate_update: |new, old| validate(new, Some(old)),
    warnings,
    ..Strategy::DEFAULT
};

fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let mut out = Warnings::new();
    if old.is_none() {
        workload::name_warning(new, &mut out);
    }
    if workload::is_new_generation(new, old) {
        job::spec_warnings(
            new.at("spec").at("jobTemplate").at("spec"),
            &Path::new("spec.jobTemplate.spec"),
            &mut out,
        );
    }
    if old.is_some() && new.at("spec").text("schedule").contains("TZ") {
        out.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into());
    }
    out
}

fn validate(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, before, path) = (
        new.at("spec"),
        old.map(|old| old.at("spec")),
        Path::new("spec"),
    );
    let schedule = spec.text("schedule");
    if schedule.is_empty() {
        errors.required(&path.child("schedule"), "");
    } else {
        let zone_was_there = before.is_some_and(|before| before.text("schedule").contains("TZ"));
        self::schedule(
            schedule,
            zone_was_there,
            spec.some("timeZone").is_some(),
            &path.child("schedule"),
            &mut errors,
        );
    }
    nonnegative(
        spec.int("startingDeadlineSeconds"),
        &path.child("startingDeadlineSeconds"),
        &mut errors,
    );
    if before.is_none_or(|before| before.some("timeZone") != spec.some("timeZone"))
        && let Some(zone) = spec.text_ptr("timeZone")
    {
        time_zone(zone, &path.child("timeZone"), &mut errors);
    }
    required_one_of(
        spec.text("concurrencyPolicy"),
        &["Allow", "Forbid", "Replace"],
        &path.child("concurrencyPolicy"),
        &mut errors,
    );
    let template = |spec: &Value| spec.at("jobTemplate").at("spec").at("template").clone();
    let options = Options::of(before.map(template).as_ref());
    job_template(
        spec.at("jobTemplate").at("spec"),
        &options,
        &path.child("jobTemplate").child("spec"),
        &mut errors,
    );
    workload::counts(
        spec,
        &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
        &path,
        &mut errors,
    );
    errors
}

fn schedule(text: &str, zone_was_there: bool, has_zone: bool, path: &Path, errors: &mut Errors) {
    if let Err(error) = Schedule::parse(text, "") {
        errors.invalid(path, text, error.to_string());
    }
    if text.contains("TZ") {
        if zone_was_there && has_zone {
            errors.invalid(
                path,
                text,
                "cannot use both timeZone field and TZ or CRON_TZ in schedule",
            );
        } else if !zone_was_there {
            errors.invalid(
                path,
                text,
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            );
        }
    }
}

fn time_zone(zone: &str, path: &Path, errors: &mut Errors) {
    const LONGEST_PART: usize = 14;
    if zone.is_empty() {
        return errors.invalid(path, zone, "timeZone must be nil or non-empty string");
    }
    let good = |part: &str| {
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=LONGEST_PART).contains(&part.len())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
    };
    if !zone.split('/').all(good) {
        return errors.invalid(path, zone, format!("unknown time zone {zone}"));
    }
    if zone.eq_ignore_ascii_case("local") {
        errors.invalid(
            path,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
    if zone.contains("..") {
        errors.invalid(path, zone, "time: invalid location name");
    } else if zone != "Local" && cron::zone(zone).is_err() {
        errors.invalid(path, zone, format!("unknown time zone {zone}"));
    }
}

fn job_template(spec: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    job::spec::validate(spec, options, path, errors);
    let selector = spec.some("selector");
    if selector.is_some() {
        invalid_shown(
            &workload::shown_selector(selector),
            "`selector` will be auto-generated",
            &path.child("selector"),
            errors,
        );
    }
    if spec.flag("manualSelector") {
        let at = path.child("manualSelector");
        unsupported("true", &["nil", "false"], &at, errors);
        // a flag, not a text
        if let Some(last) = errors.0.last_mut() {
            last.value = Some(true.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_and_zones() {
        let said = |spec: Value| {
            let errors = validate(&json!({"spec": spec}), None);
            errors
                .0
                .iter()
                .filter(|error| error.field == "spec.schedule" || error.field == "spec.timeZone")
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        for (spec, wanted) in [
            (
                json!({"schedule": "*/5 * * * *", "timeZone": "Europe/Paris"}),
                vec![],
            ),
            (json!({}), vec!["spec.schedule: Required value"]),
            (
                json!({"schedule": "odd"}),
                vec![
                    "spec.schedule: Invalid value: \"odd\": expected exactly 5 fields, found 1: [odd]",
                ],
            ),
            (
                json!({"schedule": "TZ=UTC * * * * *"}),
                vec![
                    "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                ],
            ),
            (
                json!({"schedule": "@daily", "timeZone": ""}),
                vec![
                    "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string",
                ],
            ),
            (
                json!({"schedule": "@daily", "timeZone": "a..b"}),
                vec!["spec.timeZone: Invalid value: \"a..b\": time: invalid location name"],
            ),
            (
                json!({"schedule": "@daily", "timeZone": "Europe/Parisx"}),
                vec![
                    "spec.timeZone: Invalid value: \"Europe/Parisx\": unknown time zone Europe/Parisx",
                ],
            ),
        ] {
            assert_eq!(said(spec), wanted);
        }
    }

    #[test]
    fn templates() {
        let mut errors = Errors::default();
        job_template(
            &json!({"manualSelector": true, "selector": {}}),
            &Options::default(),
            &Path::new("s"),
            &mut errors,
        );
        let said: Vec<String> = errors
            .0
            .iter()
            .rev()
            .take(2)
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "s.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
                "s.selector: Invalid value: {}: `selector` will be auto-generated"
            ]
        );
    }
}
