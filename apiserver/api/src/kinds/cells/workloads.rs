//! Cells of Deployments, Jobs, CronJobs and ControllerRevisions. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use super::{Makers, NONE, UNSET, human_duration, is_true, items, makers, moment};
use crate::machinery::{meta::Meta, read::Read, selector::Selector};

pub(super) const MAKERS: Makers = makers! { of;
    "controller" => controller(of.at),
    "deployment.selector" => Selector::from_label_selector(Some(of.at)).map_or_else(|_| "<invalid>".into(), |selector| selector.to_string()),
    "cron_job.suspended" => of.at.as_bool().map_or(UNSET, |suspended| if suspended { "True" } else { "False" }),
    "job.state" => state(of.object),
    "job.completions" => completions(of.object.at("spec"), of.object.at("status")),
    "job.duration" => duration(of.at, of.now),
};

/// `kind.group/name` of the owner that controls the object.
fn controller(owners: &Value) -> String {
    let Some(owner) = items(owners).iter().find(|owner| owner.flag("controller")) else {
        return NONE.to_string();
    };
    let kind = owner.text("kind").to_lowercase();
    match owner.text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{}/{}", group.to_lowercase(), owner.text("name")),
        None => format!("{kind}/{}", owner.text("name")),
    }
}

fn state(job: &Value) -> &'static str {
    match () {
        () if is_true(job, "Complete") => "Complete",
        () if is_true(job, "Failed") => "Failed",
        () if job.is_deleting() => "Terminating",
        () if is_true(job, "Suspended") => "Suspended",
        () if is_true(job, "FailureTarget") => "FailureTarget",
        () if is_true(job, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

/// `succeeded/wanted`; a job without a count is done when one pod of its parallel ones is.
fn completions(spec: &Value, status: &Value) -> String {
    let succeeded = status.int("succeeded");
    match (spec.int_ptr("completions"), spec.int("parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(status: &Value, now: Timestamp) -> String {
    let Some(start) = moment(status.at("startTime")) else {
        return String::new();
    };
    let end = moment(status.at("completionTime")).unwrap_or(now);
    human_duration(end.duration_since(start))
}
