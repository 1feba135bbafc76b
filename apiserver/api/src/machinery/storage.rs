//! The words by which those who store things tell each other what is whose: annotations of claims, volumes and classes.
//!
//! Invariant: each stands here alone. Follows `staging/src/k8s.io/component-helpers/storage/volume/helpers.go` and `pkg/volume/util/storageclass.go`.

use serde_json::Value;

use super::{meta::Meta, read::Read};

/// Where claims and volumes named their class before there was a field for it; it goes before the field.
pub const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// With one of these a class is that of claims that say nothing of one.
pub const DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
/// The node that the scheduler chose for a claim.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Whom a claim is left to, for its volume to be made: by the name that is used, and by the one before it.
pub const LEFT_TO: [&str; 2] = [
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
];
/// Who made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// A claim has its volume.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Nobody asked for this claim and this volume to come together.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// The class that a claim or a volume names; `None` where it says nothing of one, even not that it wants none.
pub fn class_of(object: &Value) -> Option<&str> {
    let named = || object.at("spec").text_ptr("storageClassName");
    object.annotation(OLD_CLASS).or_else(named)
}

/// Whether a class is the default one.
pub fn is_default(class: &Value) -> bool {
    let mut marks = DEFAULT_CLASS.iter();
    marks.any(|mark| class.annotation(mark) == Some("true"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_older_way_to_name_a_class_goes_first() {
        let old = json!({"annotations": {OLD_CLASS: "old"}});
        for (metadata, class, wanted) in [
            (json!({}), json!(null), None),
            (json!({}), json!(""), Some("")),
            (json!({}), json!("a"), Some("a")),
            (old.clone(), json!("a"), Some("old")),
            (old, json!(null), Some("old")),
        ] {
            let claim = json!({"metadata": metadata, "spec": {"storageClassName": class}});
            assert_eq!(class_of(&claim), wanted, "{claim}");
        }
    }

    #[test]
    fn either_mark_makes_a_default() {
        for mark in DEFAULT_CLASS {
            for (value, wanted) in [("true", true), ("false", false), ("", false)] {
                let class = json!({"metadata": {"annotations": {mark: value}}});
                assert_eq!(is_default(&class), wanted, "{class}");
            }
        }
        assert!(!is_default(&json!({"metadata": {}})));
    }
}
