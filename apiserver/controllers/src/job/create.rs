//! The making of a Job's pods.
//!
//! Invariant: an indexed Job's pod says its index in an annotation, a label, its host name and its environment. Follows
//! pkg/controller/job/job_controller.go (manageJob) and indexed_job_utils.go.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector},
};
use skiff_podspec::parts::{HasSpec, Meta};
use skiff_podspec::pod::{Common, Pod};

use super::{
    FINALIZER,
    policy::{self, Failure},
};
use crate::{owners::controller_ref, pods};

/// The annotation and label that say a pod's index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
const ENV: &str = "JOB_COMPLETION_INDEX";
/// How long the part of a name before the random end may be.
const LONGEST_PREFIX: usize = 63 - 5;

/// Whether the Job's pods have indexes.
pub fn is_indexed(job: &Job) -> bool {
    job.spec().completion_mode.as_deref() == Some("Indexed")
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotation(key)
}

/// The pod's index, if it is one of the Job's.
pub fn index_of(job: &Job, pod: &Pod) -> Option<i32> {
    let index = annotation(pod, INDEX)?.parse().ok().filter(|i| *i >= 0)?;
    job.spec()
        .completions
        .is_none_or(|completions| index < completions)
        .then_some(index)
}

/// How often the index had failed before this pod: counted failures, and ignored ones.
pub fn failures(pod: &Pod) -> (u32, u32) {
    let number = |key| {
        annotation(pod, key)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    (number(FAILURES), number(IGNORED))
}

fn index_env(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|e| e.name == ENV) {
        return;
    }
    let field = ObjectFieldSelector {
        field_path: format!("metadata.labels['{INDEX}']"),
        api_version: None,
    };
    env.push(EnvVar {
        name: ENV.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(field),
            ..Default::default()
        }),
        value: None,
    });
}

/// A new pod, for an index where the Job has indexes, in place of a failed one where there is one.
pub fn new_pod(job: &Job, index: Option<i32>, replaced: Option<&Pod>) -> Pod {
    let namespace = job.metadata.namespace();
    let job_name = job.metadata.name();
    let mut pod = pods::from_template(
        &job.spec().template,
        namespace,
        job_name,
        controller_ref(job),
    );
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    let Some(index) = index else { return pod };
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), index.to_string());
    if job.spec().backoff_limit_per_index.is_some() {
        let (mut failures, mut ignored) = replaced.map(failures).unwrap_or_default();
        match replaced.map(|pod| policy::judge(job, pod)) {
            None => {}
            Some(Failure::Ignore) => ignored += 1,
            Some(_) => failures += 1,
        }
        annotations.insert(FAILURES.into(), failures.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED.into(), ignored.to_string());
        }
    }
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert(INDEX.into(), index.to_string());
    let end = format!("-{index}-");
    let start = &job_name[..job_name.len().min(LONGEST_PREFIX - end.len())];
    pod.metadata.generate_name = Some(format!("{start}{end}"));
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(format!("{job_name}-{index}"));
    let rest: &mut Common = pod_spec;
    rest.containers
        .iter_mut()
        .chain(rest.init_containers.iter_mut().flatten())
        .for_each(index_env);
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::{
        batch::v1::JobSpec,
        core::v1::{PodSpec, PodTemplateSpec},
    };

    #[test]
    fn an_index_is_told_in_four_ways() {
        let template = PodTemplateSpec {
            spec: Some(PodSpec {
                containers: vec![Container::default()],
                ..Default::default()
            }),
            ..Default::default()
        };
        let spec = JobSpec {
            completion_mode: Some("Indexed".into()),
            completions: Some(3),
            backoff_limit_per_index: Some(1),
            template,
            ..Default::default()
        };
        let mut job = Job {
            spec: Some(spec),
            ..Default::default()
        };
        job.metadata.name = Some("work".into());
        let first = new_pod(&job, Some(2), None);
        assert_eq!(
            (
                first.metadata.generate_name.as_deref(),
                index_of(&job, &first),
                failures(&first)
            ),
            (Some("work-2-"), Some(2), (0, 0))
        );
        let spec = first.spec.as_ref().unwrap();
        assert_eq!(
            (
                spec.hostname.as_deref(),
                spec.containers[0].env.as_ref().unwrap()[0].name.as_str()
            ),
            (Some("work-2"), ENV)
        );
        assert_eq!(failures(&new_pod(&job, Some(2), Some(&first))), (1, 0));
        assert_eq!(
            new_pod(&job, None, None).metadata.finalizers.unwrap(),
            [FINALIZER]
        );
    }
}
