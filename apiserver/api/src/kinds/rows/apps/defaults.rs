//! The defaults of the workload kinds. Follows `pkg/apis/{apps,batch}/v1/defaults.go` and `pkg/apis/core/v1/defaults.go`.

use crate::kinds::fill::{absent, each, inner, spec, text};
use crate::kinds::prelude::*;
use crate::kinds::rows::apps::daemon_set;
use crate::kinds::rows::core::pod::defaults::{claim_spec, template};
use crate::kinds::rows::core::pod::disabled;
use crate::kinds::validation::workload;

/// What all kinds do whose `spec` has a pod template.
pub const TEMPLATED: Strategy = Strategy {
    prepare_for_create: |new| disabled::drop_from_template(&mut new["spec"], None),
    prepare_for_update: |new, old| {
        disabled::drop_from_template(&mut new["spec"], Some(old.at("spec")))
    },
    warnings: |new, old| workload::template_warnings(new, old, true),
    ..Strategy::DEFAULT
};

fn child<'v>(map: &'v mut Map<String, Value>, name: &str) -> Option<&'v mut Map<String, Value>> {
    map.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

pub fn deployment(object: &mut Value) {
    let spec = spec(object);
    template(spec);
    absent(spec, "replicas", 1);
    absent(spec, "revisionHistoryLimit", 10);
    absent(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = child(spec, "strategy") {
        text(strategy, "type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            absent(rolling, "maxUnavailable", "25%");
            absent(rolling, "maxSurge", "25%");
        }
    }
}

pub fn replica_set(object: &mut Value) {
    let spec = spec(object);
    template(spec);
    absent(spec, "replicas", 1);
}

/// Replicationcontrollers take their labels and selector from the template.
pub fn replication_controller(object: &mut Value) {
    let labels = template_labels(object).cloned();
    let spec = spec(object);
    template(spec);
    absent(spec, "replicas", 1);
    if let Some(labels) = labels {
        absent(spec, "selector", labels);
    }
    labels_of_template(object);
}

fn template_labels(object: &Value) -> Option<&Value> {
    let labels = object.at("spec").at("template").at("metadata").at("labels");
    let is_some = labels.as_object().is_some_and(|labels| !labels.is_empty());
    is_some.then_some(labels)
}

/// An object without labels has those of its template. What is stored is read with its defaults: so it is after a write of its status, too, whose
/// metadata may lack them.
pub fn labels_of_template(object: &mut Value) {
    if object.at("metadata").some("labels").is_none()
        && let Some(labels) = template_labels(object).cloned()
    {
        object["metadata"]["labels"] = labels;
    }
}

pub fn stateful_set(object: &mut Value) {
    let spec = spec(object);
    template(spec);
    text(spec, "podManagementPolicy", "OrderedReady");
    absent(spec, "replicas", 1);
    absent(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child(spec, "updateStrategy") {
        if strategy
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("")
            .is_empty()
        {
            text(strategy, "type", "RollingUpdate");
            absent(strategy, "rollingUpdate", json!({}));
        }
        if strategy.text("type") == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            absent(rolling, "partition", 0);
        }
    }
    if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        text(policy, "whenDeleted", "Retain");
        text(policy, "whenScaled", "Retain");
    }
    for claim in each(spec, "volumeClaimTemplates") {
        if let Some(spec) = inner(claim, "spec") {
            claim_spec(spec);
        }
        if let Some(status) = inner(claim, "status") {
            text(status, "phase", "Pending");
        }
        // whatever was given
        claim.insert("apiVersion".into(), "v1".into());
        claim.insert("kind".into(), "PersistentVolumeClaim".into());
    }
}

pub fn daemon_set(object: &mut Value) {
    // the hub type has it as a number, which v1 always shows
    let generation = daemon_set::template_generation(object);
    daemon_set::set_template_generation(object, generation);
    let spec = spec(object);
    template(spec);
    absent(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child(spec, "updateStrategy") {
        text(strategy, "type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            absent(rolling, "maxUnavailable", 1);
            absent(rolling, "maxSurge", 0);
        } else if let Some(rolling) = inner(strategy, "rollingUpdate") {
            // the hub type has both as numbers, which v1 always shows
            absent(rolling, "maxUnavailable", 0);
            absent(rolling, "maxSurge", 0);
        }
    }
}

pub fn job(object: &mut Value) {
    job_spec(spec(object));
    labels_of_template(object);
}

fn job_spec(spec: &mut Map<String, Value>) {
    template(spec);
    let single = spec.get("completions").is_none() && spec.get("parallelism").is_none();
    if single {
        absent(spec, "completions", 1);
    }
    absent(spec, "parallelism", 1);
    let per_index = spec.contains_key("backoffLimitPerIndex");
    absent(
        spec,
        "backoffLimit",
        if per_index { i64::from(i32::MAX) } else { 6 },
    );
    absent(spec, "completionMode", "NonIndexed");
    absent(spec, "suspend", false);
    absent(spec, "manualSelector", false);
    failure_policy(spec);
    let policy = if spec.contains_key("podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    absent(spec, "podReplacementPolicy", policy);
}

/// A pattern of a pod failure policy asks for a condition that is true.
fn failure_policy(spec: &mut Map<String, Value>) {
    let Some(policy) = inner(spec, "podFailurePolicy") else {
        return;
    };
    for rule in each(policy, "rules") {
        for pattern in each(rule, "onPodConditions") {
            text(pattern, "status", "True");
        }
    }
}

pub fn cron_job(object: &mut Value) {
    let spec = spec(object);
    text(spec, "concurrencyPolicy", "Allow");
    absent(spec, "suspend", false);
    absent(spec, "successfulJobsHistoryLimit", 3);
    absent(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = inner(spec, "jobTemplate").and_then(|job| inner(job, "spec")) {
        template(job);
        failure_policy(job);
    }
}
