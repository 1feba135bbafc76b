//! Which kinds Go's clients have types of: more than are served today, as those of APIs that are gone stay.
//! Behaviour follows `staging/src/k8s.io/client-go/kubernetes/scheme/register.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Kinds by `apiVersion`.
static KINDS: LazyLock<BTreeMap<&str, BTreeSet<&str>>> = LazyLock::new(|| {
    let lines = include_str!("scheme.txt").lines();
    let lines = lines.filter_map(|line| line.split_once(": "));
    lines
        .filter(|(version, _)| !version.starts_with('#'))
        .map(|(version, kinds)| (version, kinds.split(' ').collect()))
        .collect()
});

/// What every version has.
const EVERYWHERE: &[&str] = &[
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "UpdateOptions",
    "WatchEvent",
];

/// Whether there is a type of this kind.
pub fn knows(api_version: &str, kind: &str) -> bool {
    let of = |kinds: &BTreeSet<&str>| {
        let one = kind.strip_suffix("List").unwrap_or(kind);
        kinds.contains(kind) || kinds.contains(one) || EVERYWHERE.contains(&kind)
    };
    KINDS.get(api_version).is_some_and(of)
}

#[cfg(test)]
mod tests {
    use super::knows;

    #[test]
    fn what_is_gone_has_types_still() {
        for (version, kind) in [
            ("v1", "Pod"),
            ("v1", "PodList"),
            ("v1", "List"),
            ("rbac.authorization.k8s.io/v1beta1", "Role"),
            ("extensions/v1beta1", "Ingress"),
            ("apps/v1beta2", "Deployment"),
            ("batch/v1", "DeleteOptions"),
        ] {
            assert!(knows(version, kind), "{version} {kind}");
        }
        for (version, kind) in [
            ("v1", "Deployment"),
            ("v1", "Container"),
            ("rbac.authorization.k8s.io/v2", "Role"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("apiregistration.k8s.io/v1", "APIService"),
            ("# A kind has its list beside it. Behaviour follows", "x"),
        ] {
            assert!(!knows(version, kind), "{version} {kind}");
        }
    }
}
