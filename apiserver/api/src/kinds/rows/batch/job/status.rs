//! What a controller may say of a Job in its status. Follows `pkg/apis/batch/validation/validation.go` (validateJobStatus,
//! ValidateJobStatusUpdate) and `pkg/registry/batch/job/strategy.go` (getStatusValidationOptions).
//!
//! Invariant: a Job that has ended stays so; a rule is looked at when what it is about changes.

use super::indexes;
use super::spec::invalid_silent;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{IMMUTABLE, invalid_shown, nonnegative};

fn is_true(job: &Value, kind: &str) -> bool {
    job.at("status")
        .list("conditions")
        .iter()
        .any(|condition| condition.text("type") == kind && condition.text("status") == "True")
}

fn is_finished(job: &Value) -> bool {
    is_true(job, "Complete") || is_true(job, "Failed")
}

/// The two ends of an update, and what differs.
struct Update<'v> {
    new: &'v Value,
    old: &'v Value,
    status: &'v Value,
    before: &'v Value,
    spec: &'v Value,
}

impl Update<'_> {
    fn changed(&self, field: &str) -> bool {
        self.status.some(field) != self.before.some(field)
    }
    fn turned(&self, kind: &str) -> bool {
        is_true(self.new, kind) != is_true(self.old, kind)
    }
    fn is(&self, kind: &str) -> bool {
        is_true(self.new, kind)
    }
    fn ended(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }
}

pub fn validate(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("status");
    let update = Update {
        new,
        old,
        status: new.at("status"),
        before: old.at("status"),
        spec: new.at("spec"),
    };
    for name in ["active", "succeeded", "failed", "ready", "terminating"] {
        nonnegative(update.status.int(name), &path.child(name), &mut errors);
    }
    uncounted(
        update.status,
        &path.child("uncountedTerminatedPods"),
        &mut errors,
    );
    completion(&update, &path, &mut errors);
    endings(&update, &path, &mut errors);
    finished(&update, &path, &mut errors);
    index_lists(&update, &path, &mut errors);
    pods(&update, &path, &mut errors);
    success_criteria(&update, &path.child("conditions"), &mut errors);
    transitions(&update, &path, &mut errors);
    errors
}

fn uncounted(status: &Value, path: &Path, errors: &mut Errors) {
    let pods = status.at("uncountedTerminatedPods");
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        for (index, uid) in pods.texts(list).enumerate() {
            let at = path.child(list);
            if uid.is_empty() {
                errors.invalid(&at.index(index), uid, "must not be empty");
            } else if seen.contains(&uid) {
                errors.duplicate(&at.index(index), uid);
            } else {
                seen.push(uid);
            }
        }
    }
}

/// `Complete` beside what does not go with it, and the time of completion.
fn completion(update: &Update, path: &Path, errors: &mut Errors) {
    let (conditions, at) = (path.child("conditions"), path.child("completionTime"));
    let complete = update.is("Complete");
    if complete && update.is("Failed") && (update.turned("Complete") || update.turned("Failed")) {
        invalid_silent(
            "cannot set Complete=True and Failed=true conditions",
            &conditions,
            errors,
        );
    }
    if complete
        && update.is("FailureTarget")
        && (update.turned("Complete") || update.turned("FailureTarget"))
    {
        invalid_silent(
            "cannot set Complete=True and FailureTarget=true conditions",
            &conditions,
            errors,
        );
    }
    let time = update.status.some("completionTime");
    let looked_at = update.turned("Complete") || update.changed("completionTime");
    if let Some(time) = time.filter(|_| looked_at && !complete) {
        errors.invalid(
            &at,
            time.clone(),
            "cannot set completionTime when there is no Complete=True condition",
        );
    }
    if looked_at && complete && time.is_none() {
        errors.required(&at, "completionTime is required for Complete jobs");
    }
    if let (Some(time), Some(start)) = (time, update.status.text_ptr("startTime"))
        && (update.changed("startTime") || update.changed("completionTime"))
        && time.as_str().is_some_and(|time| time < start)
    {
        errors.invalid(&at, time.clone(), "must be equal to or after `startTime`");
    }
}

fn endings(update: &Update, path: &Path, errors: &mut Errors) {
    let at = path.child("conditions");
    if update.is("Failed")
        && !update.is("FailureTarget")
        && (update.turned("Failed") || update.changed("failedIndexes"))
    {
        invalid_silent(
            "cannot set Failed=True condition without the FailureTarget=true condition",
            &at,
            errors,
        );
    }
    if update.is("Complete")
        && !update.is("SuccessCriteriaMet")
        && (update.turned("Complete") || update.turned("SuccessCriteriaMet"))
    {
        invalid_silent(
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            &at,
            errors,
        );
    }
}

fn finished(update: &Update, path: &Path, errors: &mut Errors) {
    if !is_finished(update.new) {
        return;
    }
    let active = update.status.int("active");
    if active > 0 && (update.ended() || active != update.before.int("active")) {
        errors.invalid(
            &path.child("active"),
            active,
            "active>0 is invalid for finished job",
        );
    }
    let nothing_to_do =
        update.spec.flag("suspend") && update.spec.int_ptr("completions") == Some(0);
    if update.status.some("startTime").is_none()
        && (update.ended() || update.changed("startTime"))
        && !nothing_to_do
    {
        errors.required(
            &path.child("startTime"),
            "startTime is required for finished job",
        );
    }
    let pods = update.status.at("uncountedTerminatedPods");
    let some_left = ["failed", "succeeded"]
        .iter()
        .any(|list| !pods.list(list).is_empty());
    if some_left && (update.ended() || update.changed("uncountedTerminatedPods")) {
        invalid_shown(
            &internal::json(pods, "batch.UncountedTerminatedPods"),
            "must be empty for finished job",
            &path.child("uncountedTerminatedPods"),
            errors,
        );
    }
}

fn index_lists(update: &Update, path: &Path, errors: &mut Errors) {
    let (done_at, lost_at) = (path.child("completedIndexes"), path.child("failedIndexes"));
    let (done, lost) = (
        update.status.text("completedIndexes"),
        update.status.text_ptr("failedIndexes"),
    );
    let (done_changed, lost_changed) = (
        done != update.before.text("completedIndexes"),
        update.changed("failedIndexes"),
    );
    let completions = update.spec.int_ptr("completions");
    let per_index = update.spec.some("backoffLimitPerIndex").is_some();
    if let Some(fault) = completions
        .filter(|_| done_changed)
        .and_then(|completions| indexes::count(done, completions).err())
    {
        errors.invalid(
            &done_at,
            done,
            format!("error parsing completedIndexes: {fault}"),
        );
    }
    if let (Some(completions), Some(lost)) = (completions, lost)
        && per_index
        && lost_changed
        && let Err(fault) = indexes::count(lost, completions)
    {
        errors.invalid(
            &lost_at,
            lost,
            format!("error parsing failedIndexes: {fault}"),
        );
    }
    if done_changed && !done.is_empty() && update.spec.text("completionMode") != "Indexed" {
        errors.invalid(
            &done_at,
            done,
            "cannot set non-empty completedIndexes when non-indexed completion mode",
        );
    }
    let Some(lost) = lost else { return };
    if lost_changed && !per_index {
        errors.invalid(
            &lost_at,
            lost,
            "cannot set non-null failedIndexes when backoffLimitPerIndex is null",
        );
    }
    let both = completions
        .filter(|_| (done_changed || lost_changed) && !done.is_empty() && !lost.is_empty());
    if let Some(index) = both.and_then(|completions| indexes::overlap(done, lost, completions)) {
        errors.invalid(
            &lost_at,
            lost,
            format!("failedIndexes and completedIndexes overlap at index: {index}"),
        );
    }
}

fn pods(update: &Update, path: &Path, errors: &mut Errors) {
    let (terminating, ready) = (
        update.status.int("terminating"),
        update.status.int_ptr("ready"),
    );
    if terminating > 0
        && is_finished(update.new)
        && (update.ended() || update.changed("terminating"))
    {
        errors.invalid(
            &path.child("terminating"),
            terminating,
            "terminating>0 is invalid for finished job",
        );
    }
    let active = update.status.int("active");
    if let Some(ready) = ready.filter(|ready| {
        *ready > active && (update.changed("ready") || active != update.before.int("active"))
    }) {
        errors.invalid(
            &path.child("ready"),
            ready,
            "cannot set more ready pods than active",
        );
    }
}

fn success_criteria(update: &Update, path: &Path, errors: &mut Errors) {
    if update.is("SuccessCriteriaMet") && update.is("Failed") {
        invalid_silent(
            "cannot set SuccessCriteriaMet=True and Failed=true conditions",
            path,
            errors,
        );
    }
    if update.is("SuccessCriteriaMet") && update.is("FailureTarget") {
        invalid_silent(
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            path,
            errors,
        );
    }
    if update.spec.some("successPolicy").is_some()
        && !update.is("SuccessCriteriaMet")
        && update.is("Complete")
    {
        invalid_silent(
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
            path,
            errors,
        );
    }
}

fn transitions(update: &Update, path: &Path, errors: &mut Errors) {
    let conditions = path.child("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is_true(update.old, kind) && !update.is(kind) {
            invalid_silent(
                &format!("cannot disable the terminal {kind}=True condition"),
                &conditions,
                errors,
            );
        }
    }
    let shrinks = |name: &str| update.status.int(name) < update.before.int(name);
    if shrinks("failed") {
        errors.invalid(
            &path.child("failed"),
            update.status.int("failed"),
            "cannot decrease the failed counter",
        );
    }
    // a job that is scaled with its parallelism may be scaled down
    let elastic = update.spec.text("completionMode") == "Indexed"
        && update.spec.some("completions") == update.spec.some("parallelism");
    if shrinks("succeeded") && !elastic {
        errors.invalid(
            &path.child("succeeded"),
            update.status.int("succeeded"),
            "cannot decrease the succeeded counter",
        );
    }
    let time = |name: &str| (update.status.some(name), update.before.some(name));
    if let (Some(now), Some(before)) = time("completionTime")
        && now != before
    {
        errors.invalid(&path.child("completionTime"), now.clone(), IMMUTABLE);
    }
    let resuming = is_true(update.old, "Suspended")
        && update.status.list("conditions").iter().any(|condition| {
            condition.text("type") == "Suspended" && condition.text("status") == "False"
        });
    let (now, before) = time("startTime");
    if before.is_some() && now != before && !resuming && !update.spec.flag("suspend") {
        errors.invalid(
            &path.child("startTime"),
            now.cloned().unwrap_or_default(),
            "field is immutable for unsuspended job once set",
        );
    }
    if is_true(update.old, "SuccessCriteriaMet") && !update.is("SuccessCriteriaMet") {
        invalid_silent(
            "cannot disable the SuccessCriteriaMet=True condition",
            &conditions,
            errors,
        );
    }
    if is_true(update.old, "Complete")
        && !is_true(update.old, "SuccessCriteriaMet")
        && update.is("SuccessCriteriaMet")
    {
        invalid_silent(
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
            &conditions,
            errors,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        let condition = |kinds: &[&str]| {
            kinds
                .iter()
                .map(|kind| json!({"type": kind, "status": "True"}))
                .collect::<Vec<_>>()
        };
        let done = json!({"conditions": condition(&["Complete", "SuccessCriteriaMet"]), "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z"});
        for (new, old, wanted) in [
            (
                done.clone(),
                json!({"startTime": "2026-01-01T00:00:00Z"}),
                vec![],
            ),
            (
                json!({"conditions": condition(&["Complete"])}),
                json!({}),
                vec![
                    "status.completionTime: Required value: completionTime is required for Complete jobs",
                    "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
                    "status.startTime: Required value: startTime is required for finished job",
                ],
            ),
            (
                json!({"startTime": "2026-01-01T00:00:00Z", "conditions": condition(&["SuccessCriteriaMet"])}),
                done,
                vec![
                    "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
                ],
            ),
            (
                json!({"failed": 1}),
                json!({"failed": 2}),
                vec!["status.failed: Invalid value: 1: cannot decrease the failed counter"],
            ),
            (
                json!({"active": 1, "ready": 2}),
                json!({}),
                vec!["status.ready: Invalid value: 2: cannot set more ready pods than active"],
            ),
            (
                json!({"completedIndexes": "1"}),
                json!({}),
                vec![
                    "status.completedIndexes: Invalid value: \"1\": cannot set non-empty completedIndexes when non-indexed completion mode",
                ],
            ),
        ] {
            let job = |status: Value| json!({"spec": {}, "status": status});
            assert_eq!(validate(&job(new), &job(old)).texts(), wanted);
        }
    }
}
