//! Jobs: the selector and labels that tie a job to its pods. Follows `pkg/registry/batch/job/strategy.go` (generateSelector).

use serde_json::{Value, json};

use crate::{
    kinds::{Strategy, rows::apps::defaults},
    machinery::meta::Meta,
};

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::job,
    after_system_fields: generate_selector,
    has_status: true,
    has_generation: true,
    orphan_by_default: true,
    ..Strategy::DEFAULT
};

/// Runs when the job has its uid.
fn generate_selector(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (job.uid().to_string(), job.name().to_string());
    let labels = [("batch.kubernetes.io/controller-uid", &uid), ("controller-uid", &uid), ("batch.kubernetes.io/job-name", &name), ("job-name", &name)];
    for (label, value) in labels {
        if job["spec"]["template"]["metadata"]["labels"].get(label).is_none() {
            job["spec"]["template"]["metadata"]["labels"][label] = value.as_str().into();
        }
    }
    job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = json!(uid);
}
