//! Which of two versions of an API comes first: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then other names by the alphabet.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/version/helpers.go` (CompareKubeAwareVersionStrings).

use std::cmp::{Ordering, Reverse};

/// How stable a version is: `v1` is 2, a beta 1, an alpha 0; then its numbers.
fn parts(version: &str) -> Option<(u8, u64, u64)> {
    let number = |digits: &str| {
        let fine = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        fine.then(|| digits.parse().ok()).flatten()
    };
    let rest = version.strip_prefix('v')?;
    let Some(at) = rest.find(|letter: char| !letter.is_ascii_digit()) else {
        return Some((2, number(rest)?, 0));
    };
    let (major, stage) = rest.split_at(at);
    let (stability, minor) = match stage.strip_prefix("beta") {
        Some(minor) => (1, minor),
        None => (0, stage.strip_prefix("alpha")?),
    };
    Some((stability, number(major)?, number(minor)?))
}

/// Less comes first.
pub fn compare_versions(one: &str, other: &str) -> Ordering {
    match (parts(one), parts(other)) {
        (Some(one), Some(other)) => Reverse(one).cmp(&Reverse(other)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_ones_and_late_ones_come_first() {
        let mut versions = [
            "foo1",
            "v1alpha1",
            "v11beta2",
            "v10",
            "v3beta1",
            "v12alpha1",
            "v2",
            "foo10",
            "v1",
            "v11alpha2",
            "v03",
        ];
        versions.sort_by(|one, other| compare_versions(one, other));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v11beta2",
                "v3beta1",
                "v12alpha1",
                "v11alpha2",
                "v1alpha1",
                "foo1",
                "foo10",
                "v03"
            ]
        );
    }
}
