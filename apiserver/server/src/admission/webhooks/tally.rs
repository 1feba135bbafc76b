//! How often each webhook was asked, what came of it, and how long it took.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/metrics/metrics.go`, and the codes that the dispatchers of
//! `.../admission/plugin/webhook/{mutating,validating}` give to what went wrong.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use skiff_watching::tally::{Histogram, family};

use super::{
    failure::{CallError, Failure},
    hook::Hook,
};
use crate::admission::Operation;

/// Upper ends, in seconds.
const BOUNDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// No code above it is told.
const HIGHEST: u16 = 600;

/// What a webhook was asked for: which sort it is, and about which operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub mutating: bool,
    pub operation: Operation,
}

impl Asked {
    fn sort(self) -> &'static str {
        match self.mutating {
            true => "admit",
            false => "validating",
        }
    }
}

/// How it ended.
struct Outcome {
    rejected: bool,
    code: u16,
    /// Empty when nothing went wrong.
    error: &'static str,
}

impl Outcome {
    fn of(hook: &Hook, failure: Option<&Failure>) -> Outcome {
        let (rejected, code, error) = match failure {
            None => (false, 200, ""),
            Some(Failure::Refused(status)) => (true, status.code, "no_error"),
            Some(Failure::Internal(_)) => (true, 0, "apiserver_internal_error"),
            Some(Failure::Calling(why)) => {
                (!hook.ignores_failures, code(why), "calling_webhook_error")
            }
        };
        Outcome {
            rejected,
            code: code.min(HIGHEST),
            error,
        }
    }
}

fn code(why: &CallError) -> u16 {
    match why {
        CallError::SideEffects | CallError::Versions | CallError::Question(_) => 400,
        CallError::Client(_) => 500,
        CallError::Post(_) | CallError::Answer(_) | CallError::Invalid(_) => 503,
        CallError::Patch(_) => 503,
        CallError::PatchType(_) => 400,
    }
}

/// Counts by the labels of their lines.
type Lines = BTreeMap<String, u64>;

#[derive(Default)]
struct Counts {
    requests: Lines,
    rejections: Lines,
    failed_open: Lines,
    times: BTreeMap<String, Histogram>,
}

/// Of all webhooks.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    /// One was asked.
    pub fn asked(&self, hook: &Hook, asked: Asked, failure: Option<&Failure>, took: Duration) {
        let outcome = Outcome::of(hook, failure);
        let (sort, rejected) = (asked.sort(), outcome.rejected);
        let (name, operation) = (&hook.name, asked.operation.name());
        let (code, error) = (outcome.code, outcome.error);
        let mut counts = self.0.lock();
        let labels = format!(
            "code=\"{code}\",name={name:?},operation=\"{operation}\",rejected=\"{rejected}\",type=\"{sort}\""
        );
        *counts.requests.entry(labels).or_default() += 1;
        let labels = format!(
            "name={name:?},operation=\"{operation}\",rejected=\"{rejected}\",type=\"{sort}\""
        );
        let times = counts.times.entry(labels);
        times
            .or_insert_with(|| Histogram::new(BOUNDS))
            .observe(took.as_secs_f64());
        if rejected {
            let labels = format!(
                "error_type=\"{error}\",name={name:?},operation=\"{operation}\",rejection_code=\"{code}\",type=\"{sort}\""
            );
            *counts.rejections.entry(labels).or_default() += 1;
        } else if failure.is_some() {
            let labels = format!("name={name:?},type=\"{sort}\"");
            *counts.failed_open.entry(labels).or_default() += 1;
        }
    }

    /// Lines of `/metrics`; none before a webhook was asked.
    pub fn text(&self, text: &mut String) {
        let counts = self.0.lock();
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        let help = "Seconds until a webhook had answered.";
        family(text, name, "histogram", help);
        for (labels, times) in &counts.times {
            times.text(name, labels, text);
        }
        for (name, help, lines) in [
            (
                "apiserver_admission_webhook_fail_open_count",
                "Writes that went on though a webhook could not be asked.",
                &counts.failed_open,
            ),
            (
                "apiserver_admission_webhook_rejection_count",
                "Writes that were refused because of a webhook.",
                &counts.rejections,
            ),
            (
                "apiserver_admission_webhook_request_total",
                "Questions to webhooks.",
                &counts.requests,
            ),
        ] {
            family(text, name, "counter", help);
            for (labels, count) in lines {
                *text += &format!("{name}{{{labels}}} {count}\n");
            }
        }
    }
}
