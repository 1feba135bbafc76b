//! The conditions of a namespace that is being deleted.
//!
//! Invariant: all five stand, each saying what holds the deletion up or that nothing does.
//! Follows pkg/controller/namespace/deletion/status_condition_utils.go.

use k8s_openapi::{
    api::core::v1::{NamespaceCondition, NamespaceStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::Counts;

/// What is left, and what went wrong.
#[derive(Default)]
pub struct Remaining {
    /// `resource.group` to how many.
    pub counts: Counts,
    /// Finalizer to how many objects have it.
    pub finalizers: Counts,
    /// Groups that could not be asked.
    pub discovery: Vec<String>,
    /// Deletions that failed.
    pub errors: Vec<String>,
    /// Only pods were looked at: nothing can be said of the rest yet.
    pub only_pods: bool,
}

/// Type, and reason and message when all is well.
const ALL: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (
        "NamespaceContentRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

fn trouble(kind: &str, remaining: &Remaining) -> Option<(&'static str, String)> {
    let list = |counts: &Counts, text: fn(&str, usize) -> String| {
        counts
            .iter()
            .map(|(name, count)| text(name, *count))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match kind {
        "NamespaceDeletionDiscoveryFailure" if !remaining.discovery.is_empty() => {
            let (count, what) = (remaining.discovery.len(), remaining.discovery.join(", "));
            Some((
                "DiscoveryFailed",
                format!(
                    "Discovery failed for some groups, {count} failing: unable to retrieve the complete list of server APIs: {what}"
                ),
            ))
        }
        "NamespaceDeletionContentFailure" if !remaining.errors.is_empty() => {
            let mut errors = remaining.errors.clone();
            errors.sort();
            Some((
                "ContentDeletionFailed",
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    errors.len(),
                    errors.join(", ")
                ),
            ))
        }
        "NamespaceContentRemaining" if !remaining.counts.is_empty() && !remaining.only_pods => {
            let what = list(&remaining.counts, |name, count| {
                format!("{name} has {count} resource instances")
            });
            Some((
                "SomeResourcesRemain",
                format!("Some resources are remaining: {what}"),
            ))
        }
        "NamespaceFinalizersRemaining"
            if !remaining.finalizers.is_empty() && !remaining.only_pods =>
        {
            let what = list(&remaining.finalizers, |name, count| {
                format!("{name} in {count} resource instances")
            });
            Some((
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {what}"),
            ))
        }
        _ => None,
    }
}

/// Brings the conditions up to date; true when one changed.
pub fn update(status: &mut NamespaceStatus, remaining: &Remaining, now: Time) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    let mut changed = false;
    for (kind, ok_reason, ok_message) in ALL {
        let (state, reason, message) = match trouble(kind, remaining) {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", ok_reason, ok_message.to_string()),
        };
        let new = NamespaceCondition {
            type_: kind.into(),
            status: state.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(now.clone()),
        };
        match conditions.iter_mut().find(|c| c.type_ == kind) {
            None => conditions.push(new),
            Some(old)
                if (&old.status, &old.reason, &old.message)
                    == (&new.status, &new.reason, &new.message) =>
            {
                continue;
            }
            Some(old) => {
                let since = if old.status == new.status {
                    old.last_transition_time.take()
                } else {
                    new.last_transition_time.clone()
                };
                *old = NamespaceCondition {
                    last_transition_time: since,
                    ..new
                };
            }
        }
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        let now = || Time(jiff::Timestamp::UNIX_EPOCH);
        let mut status = NamespaceStatus::default();
        let remaining = Remaining {
            counts: [("configmaps.".to_string(), 1)].into(),
            finalizers: [("example.com/hold".to_string(), 1)].into(),
            ..Default::default()
        };
        assert!(update(&mut status, &remaining, now()));
        assert!(!update(&mut status, &remaining, now()));
        let conditions = status.conditions.clone().unwrap();
        let messages: Vec<_> = conditions
            .iter()
            .map(|c| (c.status.as_str(), c.message.as_deref().unwrap()))
            .collect();
        assert_eq!(
            messages[3],
            (
                "True",
                "Some resources are remaining: configmaps. has 1 resource instances"
            )
        );
        assert_eq!(
            messages[4],
            (
                "True",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
            )
        );
        assert_eq!(
            messages[0],
            ("False", "All resources successfully discovered")
        );
        assert!(update(&mut status, &Remaining::default(), now()));
    }
}
