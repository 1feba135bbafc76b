//! Groups of the community (`*.k8s.io`): who defines a kind in one of them says where that was approved.
//!
//! Follows `pkg/apihelpers/helpers.go` and `validateAPIApproval` of `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use crate::kinds::prelude::*;
use crate::kinds::validation::url;

const ANNOTATION: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

impl Approval {
    fn of(definition: &Value) -> Approval {
        let given = definition.annotation(ANNOTATION).unwrap_or("");
        let is_url = || {
            url::parse_request(given)
                .is_ok_and(|url| !url.host.is_empty() && !url.scheme.is_empty())
        };
        if given.is_empty() {
            Approval::Missing
        } else if given.starts_with("unapproved") {
            Approval::Bypassed
        } else if is_url() {
            Approval::Approved
        } else {
            Approval::Invalid
        }
    }
}

/// Whether a group is the community's.
pub fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| {
        group
            .strip_suffix(own)
            .is_some_and(|lead| lead.is_empty() || lead.ends_with('.'))
    })
}

/// What was so before may stay.
pub fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let approval = Approval::of(new);
    if !is_protected(new.at("spec").text("group"))
        || old.is_some_and(|old| Approval::of(old) == approval)
    {
        return;
    }
    let path = Path::new("metadata");
    let path = path.child("annotations");
    let path = path.key(ANNOTATION);
    let must = format!("protected groups must have approval annotation {ANNOTATION:?}");
    match approval {
        Approval::Missing => errors.required(&path, format!("{must}, {SEE}")),
        Approval::Invalid => errors.invalid(
            &path,
            new.annotation(ANNOTATION).unwrap_or(""),
            format!("{must} with either a URL or a reason starting with \"unapproved\", {SEE}"),
        ),
        Approval::Bypassed | Approval::Approved => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(group: &str, given: Option<&str>) -> Value {
        let annotations = given.map(|given| json!({ANNOTATION: given}));
        json!({"metadata": {"annotations": annotations}, "spec": {"group": group}})
    }

    #[test]
    fn what_was_approved() {
        for (group, given, said) in [
            ("a.example.com", None, ""),
            ("ak8s.io", None, ""),
            (
                "a.k8s.io",
                None,
                "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
            ),
            (
                "kubernetes.io",
                Some("x"),
                "metadata.annotations[api-approved.kubernetes.io]: Invalid value: \"x\": protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111",
            ),
            ("k8s.io", Some("https://github.com/a"), ""),
            ("k8s.io", Some("unapproved, a test"), ""),
        ] {
            let given = definition(group, given);
            let texts = Errors::of(|errors| validate(&given, None, errors)).texts();
            assert_eq!(texts.join(""), said, "{given}");
            assert!(Errors::of(|errors| validate(&given, Some(&given), errors)).is_empty());
        }
    }
}
