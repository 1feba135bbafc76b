//! Jobs: the selector and labels that tie a job to its pods, and what may change of one. Follows `pkg/registry/batch/job/strategy.go`
//! and `pkg/apis/batch/validation/validation.go` (ValidateJob, ValidateJobSpecUpdate).
//!
//! Invariant: no two jobs select the same pods, unless a client took that upon itself.

mod indexes;
pub mod spec;
mod status;

use crate::kinds::prelude::*;
use crate::kinds::rows::apps::defaults;
use crate::kinds::validation::checks::{IMMUTABLE, invalid_or_null, invalid_shown, label_selector};
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::pod::warnings::warnings as pod_warnings;
use crate::kinds::validation::workload;
use crate::machinery::object_meta;
use crate::machinery::selector::Selector;

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::job,
    after_system_fields: generate_selector,
    validate: |new| Errors::of(|errors| validate(new, &How::of(None), errors)),
    validate_update,
    prepare_for_status_update: |new, _| defaults::labels_of_template(new),
    validate_status_update: status::validate,
    warnings: |new, old| {
        let mut out = Warnings::new();
        if old.is_none() {
            workload::name_warning(new, &mut out);
        }
        if workload::is_new_generation(new, old) {
            spec_warnings(new.at("spec"), &Path::new("spec"), &mut out);
        }
        out
    },
    ..defaults::TEMPLATED
};

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

/// The labels that a job's pods bear; the plain ones are older.
fn own_labels(job: &Value) -> [(&'static str, &str); 4] {
    [
        ("controller-uid", job.uid()),
        ("job-name", job.name()),
        (UID_LABEL, job.uid()),
        (NAME_LABEL, job.name()),
    ]
}

/// Runs when the job has its uid. What a client set is left for validation to refuse.
fn generate_selector(job: &mut Value) {
    if job.at("spec").flag("manualSelector") {
        return;
    }
    let own = own_labels(job).map(|(label, value)| (label, value.to_string()));
    // Upstream's defaults let a job without labels have those of its template, the very same map: what is added to one is in both.
    // A job that was given the same labels as its template cannot be told from one that was given none.
    // Where neither has any there is no map to share; then the job has them when it is read.
    let of_template = job.at("spec").at("template").at("metadata").at("labels");
    let shared = !of_template.is_null() && job.at("metadata").at("labels") == of_template;
    let uid = job.uid().to_string();
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    for (label, value) in own {
        if labels.some(label).is_none() {
            labels[label] = value.into();
        }
    }
    let selected = &mut job["spec"]["selector"]["matchLabels"];
    if selected.some(UID_LABEL).is_none() {
        selected[UID_LABEL] = json!(uid);
    }
    if shared {
        job["metadata"]["labels"] = job
            .at("spec")
            .at("template")
            .at("metadata")
            .at("labels")
            .clone();
    }
}

/// Of the spec of a job, alone or in a cron job.
pub fn spec_warnings(spec: &Value, path: &Path, out: &mut Warnings) {
    const MANY_COMPLETIONS: i64 = 100_000;
    const MANY_PARALLEL: i64 = 10_000;
    if spec.text("completionMode") == "Indexed"
        && spec.int("completions") > MANY_COMPLETIONS
        && spec.int("parallelism") > MANY_PARALLEL
    {
        out.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    pod_warnings(spec.at("template"), Some(&path.child("template")), out);
}

/// What an update lets pass.
struct How {
    options: Options,
    /// The old job bore the labels with a prefix, so the new one must.
    prefixed_labels: bool,
    /// The job waits and has no pods: where and how its pods run may change.
    idle: bool,
}

impl How {
    fn of(old: Option<&Value>) -> How {
        let Some(old) = old else {
            return How {
                options: Options::of(None),
                prefixed_labels: true,
                idle: false,
            };
        };
        let (spec, status) = (old.at("spec"), old.at("status"));
        let mut options = Options::of(Some(spec.at("template")));
        let mut values = spec
            .at("selector")
            .list("matchExpressions")
            .iter()
            .flat_map(|one| one.texts("values"));
        options.invalid_selector_values |=
            values.any(|value| !names::is_label_value(value).is_empty());
        let labels = spec.at("template").at("metadata").at("labels");
        let suspended = status
            .list("conditions")
            .iter()
            .any(|one| one.text("type") == "Suspended" && one.text("status") == "True");
        How {
            options,
            prefixed_labels: labels.some(UID_LABEL).is_some() && labels.some(NAME_LABEL).is_some(),
            idle: spec.flag("suspend")
                && (status.some("startTime").is_none() || suspended)
                && status.int("active") == 0,
        }
    }
}

fn validate(job: &Value, how: &How, errors: &mut Errors) {
    let (given, path) = (job.at("spec"), Path::new("spec"));
    generated_selector(job, how, errors);
    job_spec(given, how, &path, errors);
    let completions = given.int("completions");
    if given.text("completionMode") == "Indexed" && completions > 0 {
        let host = format!("{}-{}", job.name(), completions - 1);
        if !names::is_dns1123_label(&host).is_empty() {
            errors.invalid(
                &Path::new("metadata").child("name"),
                job.name(),
                format!("will not able to create pod with invalid DNS label: {host}"),
            );
        }
    }
}

fn job_spec(given: &Value, how: &How, path: &Path, errors: &mut Errors) {
    spec::validate(given, &how.options, path, errors);
    let selector = given.some("selector");
    if selector.is_none() {
        errors.required(&path.child("selector"), "");
    }
    label_selector(
        selector,
        how.options.invalid_selector_values,
        &path.child("selector"),
        errors,
    );
    if let Ok(selector) = Selector::from_label_selector(selector) {
        let at = path.child("template");
        workload::template_matches(&selector, given.at("template"), &at, errors);
    }
}

fn generated_selector(job: &Value, how: &How, errors: &mut Errors) {
    let given = job.at("spec");
    let Some(selector) = given
        .some("selector")
        .filter(|_| !given.flag("manualSelector"))
    else {
        return;
    };
    if job.uid().is_empty() {
        errors.required(&Path::new("metadata").child("uid"), "");
    }
    let labels = given.at("template").at("metadata");
    let own = own_labels(job);
    let expected = if how.prefixed_labels {
        &own[..]
    } else {
        &own[..2]
    };
    for (label, value) in expected {
        let at = Path::new("spec.template.metadata.labels");
        match labels.at("labels").text_ptr(label) {
            None => errors.required(&at.key(label), format!("must be '{value}'")),
            Some(other) if other != *value => {
                invalid_shown(
                    &workload::shown_labels(labels.some("labels")),
                    &format!("must be '{value}'"),
                    &at.key(label),
                    errors,
                );
            }
            Some(_) => {}
        }
    }
    let set: Value = expected
        .iter()
        .map(|(label, value)| (label.to_string(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    if Selector::from_label_selector(Some(selector)).is_ok_and(|selector| !selector.matches(&set)) {
        invalid_shown(
            &workload::shown_selector(Some(selector)),
            "`selector` not auto-generated",
            &Path::new("spec").child("selector"),
            errors,
        );
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let how = How::of(Some(old));
    // upstream checks an update as a new job first, then as an update
    validate(new, &how, &mut errors);
    errors.extend(object_meta::validate_update(new, old));
    errors.extend(object_meta::standard_finalizers(new));
    let (now, before, path) = (new.at("spec"), old.at("spec"), Path::new("spec"));
    job_spec(now, &how, &path, &mut errors);
    completions(now, before, &path.child("completions"), &mut errors);
    workload::same_selector(now, before, &path, &mut errors);
    template_update(now, before, &how, &path, &mut errors);
    for (name, kind) in [
        ("completionMode", None),
        ("podFailurePolicy", Some("batch.PodFailurePolicy")),
        ("backoffLimitPerIndex", None),
        ("managedBy", None),
        ("successPolicy", Some("batch.SuccessPolicy")),
    ] {
        let given = now.some(name);
        if given == before.some(name) {
            continue;
        }
        match (given, kind) {
            (Some(given), Some(kind)) => invalid_shown(
                &internal::json(given, kind),
                IMMUTABLE,
                &path.child(name),
                &mut errors,
            ),
            _ => invalid_or_null(given, IMMUTABLE, &path.child(name), &mut errors),
        }
    }
    errors
}

/// Jobs with indexes are scaled with their parallelism.
fn completions(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (now, before) = (new.some("completions"), old.some("completions"));
    if now == before {
        return;
    }
    if new.text("completionMode") != "Indexed" {
        invalid_or_null(now, IMMUTABLE, path, errors);
    } else if now.is_some() && now != new.some("parallelism") {
        invalid_or_null(
            now,
            "can only be modified in tandem with spec.parallelism",
            path,
            errors,
        );
    }
}

fn template_update(new: &Value, old: &Value, how: &How, path: &Path, errors: &mut Errors) {
    let (now, mut before) = (new.at("template"), old.at("template").clone());
    if how.idle {
        let_scheduling_change(now, &mut before);
    }
    let at = path.child("template");
    if old.flag("suspend") && how.idle {
        let_amounts_change(now.at("spec"), &mut before["spec"]);
        if now.at("spec") != before.at("spec") {
            invalid_shown(
                &internal::json(now.at("spec"), "core.PodSpec"),
                IMMUTABLE,
                &path.child("template.spec"),
                errors,
            );
        }
    } else if *now != before {
        invalid_shown(
            &internal::json(now, "core.PodTemplateSpec"),
            IMMUTABLE,
            &at,
            errors,
        );
    }
}

fn take(from: &Value, to: &mut Value, name: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.some(name) {
        Some(value) => to.insert(name.into(), value.clone()),
        None => to.remove(name),
    };
}

/// Where pods run is open until they do: `old` is brought to what `new` says of it.
fn let_scheduling_change(new: &Value, old: &mut Value) {
    let (now, before) = (new.at("spec"), &mut old["spec"]);
    let node = now.at("affinity").some("nodeAffinity");
    match (
        now.some("affinity").is_some(),
        before.some("affinity").is_some(),
    ) {
        (false, true) => {
            take(&Value::Null, &mut before["affinity"], "nodeAffinity");
            if before
                .at("affinity")
                .as_object()
                .is_some_and(serde_json::Map::is_empty)
            {
                take(&Value::Null, before, "affinity");
            }
        }
        (true, false) => {
            before["affinity"] =
                node.map_or_else(|| json!({}), |node| json!({"nodeAffinity": node}))
        }
        (true, true) => take(now.at("affinity"), &mut before["affinity"], "nodeAffinity"),
        (false, false) => {}
    }
    for name in ["nodeSelector", "tolerations", "schedulingGates"] {
        take(now, before, name);
    }
    for name in ["annotations", "labels"] {
        take(new.at("metadata"), &mut old["metadata"], name);
    }
}

/// What containers of the same names ask for is open, too.
fn let_amounts_change(new: &Value, old: &mut Value) {
    for list in ["containers", "initContainers"] {
        let now = new.list(list);
        let Some(before) = old
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .filter(|before| before.len() == now.len())
        else {
            continue;
        };
        for (now, before) in now
            .iter()
            .zip(before)
            .filter(|(now, before)| now.text("name") == before.text("name"))
        {
            take(now, before, "resources");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(change: impl Fn(&mut Value)) -> Value {
        let pod = json!({"terminationGracePeriodSeconds": 30, "restartPolicy": "Never", "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}]});
        let mut job = json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"completions": 1, "parallelism": 1, "manualSelector": false, "template": {"metadata": {}, "spec": pod}}});
        change(&mut job["spec"]);
        generate_selector(&mut job);
        job
    }

    fn said(errors: &Errors) -> Vec<String> {
        errors
            .0
            .iter()
            .map(|error| error.to_string().chars().take(110).collect())
            .collect()
    }

    #[test]
    fn selectors() {
        assert!((STRATEGY.validate)(&job(|_| {})).is_empty());
        let own = job(|s| s["template"]["metadata"]["labels"] = json!({"job-name": "b"}));
        assert!(said(&(STRATEGY.validate)(&own))[0].starts_with(
            "spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io"
        ));
    }

    #[test]
    fn updates() {
        let old = job(|_| {});
        for (change, wanted) in [
            (
                Box::new(|s: &mut Value| s["parallelism"] = 3.into()) as Box<dyn Fn(&mut Value)>,
                vec![],
            ),
            (
                Box::new(|s: &mut Value| s["completions"] = 3.into()),
                vec!["spec.completions: Invalid value: 3: field is immutable"],
            ),
            (
                Box::new(|s: &mut Value| s["managedBy"] = "a.io/b".into()),
                vec!["spec.managedBy: Invalid value: \"a.io/b\": field is immutable"],
            ),
        ] {
            assert_eq!(said(&validate_update(&job(change), &old)), wanted);
        }
        let image = |s: &mut Value| s["template"]["spec"]["containers"][0]["image"] = "j".into();
        assert!(
            said(&validate_update(&job(image), &old))[0]
                .starts_with("spec.template: Invalid value: {\"labels\":{")
        );
    }

    #[test]
    fn idle_jobs_may_be_moved() {
        let old = job(|s| s["suspend"] = true.into());
        let moved = |s: &mut Value| {
            s["suspend"] = true.into();
            s["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
            s["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
        };
        assert!(validate_update(&job(moved), &old).is_empty());
        assert!(!validate_update(&job(moved), &job(|_| {})).is_empty());
    }
}
