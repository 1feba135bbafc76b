//! A Job's own rules for when a failed pod counts, and when it has succeeded.
//!
//! Invariant: pure; the first rule that fits decides. Follows pkg/controller/job/pod_failure_policy.go and success_policy.go.

use k8s_openapi::api::{
    batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, SuccessPolicy},
    core::v1::ContainerStatus,
};
use skiff_podspec::parts::{HasSpec, HasStatus, Meta};
use skiff_podspec::pod::Pod;

use super::indexes::{Indexes, parse, total};
use crate::pods;

/// What is to come of a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It counts against the limit.
    Count,
    /// It does not.
    Ignore,
    /// Its index has failed for good.
    FailIndex,
    /// The Job has failed, for this reason.
    FailJob(String),
}

/// Whether a pod is replaced only when it has ended, not already when it is being deleted.
pub fn only_replaces_failed(job: &Job) -> bool {
    job.spec().pod_replacement_policy.as_deref() == Some("Failed")
        || job.spec().pod_failure_policy.is_some()
}

/// Whether the pod counts as failed.
pub fn is_failed(job: &Job, pod: &Pod) -> bool {
    match pods::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => pods::is_deleting(pod) && !only_replaces_failed(job),
    }
}

/// What the Job's failure policy says of a failed pod.
pub fn judge(job: &Job, pod: &Pod) -> Failure {
    let Some(policy) = &job.spec().pod_failure_policy else {
        return Failure::Count;
    };
    let what = || format!("{}/{}", pod.metadata.namespace(), pod.metadata.name());
    for (index, rule) in policy.rules.iter().enumerate() {
        let fitting = match (&rule.on_exit_codes, &rule.on_pod_conditions) {
            (Some(codes), _) => exit_code(pod, codes).map(|(container, code)| {
                format!(
                    "Container {container} for pod {} failed with exit code {code}",
                    what()
                )
            }),
            (None, Some(patterns)) => {
                let conditions = pod.status().conditions.iter().flatten();
                let mut fitting = conditions.filter(|c| {
                    patterns.iter().any(|p| {
                        p.type_ == c.type_ && p.status.as_deref().unwrap_or("True") == c.status
                    })
                });
                fitting
                    .next()
                    .map(|c| format!("Pod {} has condition {}", what(), c.type_))
            }
            (None, None) => None,
        };
        let Some(why) = fitting else { continue };
        return match rule.action.as_str() {
            "Ignore" => Failure::Ignore,
            "FailIndex" => Failure::FailIndex,
            "FailJob" => Failure::FailJob(format!("{why} matching FailJob rule at index {index}")),
            _ => Failure::Count,
        };
    }
    Failure::Count
}

fn exit_code<'a>(
    pod: &'a Pod,
    wanted: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<(&'a str, i32)> {
    let status = pod.status.as_ref()?;
    let fits = |container: &'a ContainerStatus| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        let named = wanted
            .container_name
            .as_ref()
            .is_none_or(|n| *n == container.name);
        let listed = wanted.values.contains(&code);
        let wanted = (wanted.operator == "In" && listed) || (wanted.operator == "NotIn" && !listed);
        (code != 0 && named && wanted).then_some((container.name.as_str(), code))
    };
    let containers = status.container_statuses.iter().flatten();
    containers
        .chain(status.init_container_statuses.iter().flatten())
        .find_map(fits)
}

/// Why the Job counts as succeeded already, if it does.
pub fn succeeded(
    policy: Option<&SuccessPolicy>,
    completions: i32,
    done: &Indexes,
) -> Option<String> {
    if done.is_empty() {
        return None;
    }
    let fits = |rule: &k8s_openapi::api::batch::v1::SuccessPolicyRule| match &rule.succeeded_indexes
    {
        Some(text) => {
            let required = parse(text, completions);
            let have = required.in_common(done);
            !required.is_empty()
                && (have == total(&required)
                    || rule.succeeded_count.is_some_and(|count| have >= count))
        }
        None => rule
            .succeeded_count
            .is_some_and(|count| total(done) >= count),
    };
    let index = policy?.rules.iter().position(fits)?;
    Some(format!("Matched rules at index {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::{
        batch::v1::{PodFailurePolicy, PodFailurePolicyRule, SuccessPolicyRule},
        core::v1::{ContainerState, ContainerStateTerminated},
    };

    #[test]
    fn exit_codes() {
        let mut pod = crate::pods::tests::pod("p", "n", "Failed", None);
        let state = ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 42,
                ..Default::default()
            }),
            ..Default::default()
        };
        pod.status.as_mut().unwrap().container_statuses = Some(vec![ContainerStatus {
            name: "main".into(),
            state: Some(state),
            ..Default::default()
        }]);
        let case = |action: &str, operator: &str, values: &[i32]| {
            let codes = PodFailurePolicyOnExitCodesRequirement {
                container_name: None,
                operator: operator.into(),
                values: values.to_vec(),
            };
            let rule = PodFailurePolicyRule {
                action: action.into(),
                on_exit_codes: Some(codes),
                ..Default::default()
            };
            let job = Job {
                spec: Some(k8s_openapi::api::batch::v1::JobSpec {
                    pod_failure_policy: Some(PodFailurePolicy { rules: vec![rule] }),
                    ..Default::default()
                }),
                ..Default::default()
            };
            judge(&job, &pod)
        };
        assert_eq!(
            case("FailJob", "In", &[42]),
            Failure::FailJob("Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 0".into())
        );
        assert_eq!(case("Ignore", "In", &[42]), Failure::Ignore);
        assert_eq!(case("Ignore", "NotIn", &[42]), Failure::Count);
        assert_eq!(case("FailIndex", "NotIn", &[1]), Failure::FailIndex);
    }

    #[test]
    fn success_rules() {
        let rule = |indexes: Option<&str>, count: Option<i32>| SuccessPolicyRule {
            succeeded_indexes: indexes.map(Into::into),
            succeeded_count: count,
        };
        let case = |rule: SuccessPolicyRule, done: &str| {
            succeeded(
                Some(&SuccessPolicy { rules: vec![rule] }),
                10,
                &parse(done, 10),
            )
            .is_some()
        };
        assert!(case(rule(Some("0,2"), None), "0-2"));
        assert!(!case(rule(Some("0,2"), None), "0,1"));
        assert!(case(rule(Some("0-4"), Some(2)), "1,3"));
        assert!(case(rule(None, Some(2)), "1,3"));
        assert!(!case(rule(None, Some(2)), "1"));
    }
}
