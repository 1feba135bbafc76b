//! ServiceAccount: its row, and its secrets, which are known by name alone.
//!
//! Follows `pkg/registry/core/serviceaccount/strategy.go`.

use crate::kinds::prelude::*;

pub const STRATEGY: Strategy = Strategy {
    prepare_for_create: names_alone,
    prepare_for_update: |new, _| names_alone(new),
    warnings,
    ..Strategy::DEFAULT
};

fn names_alone(account: &mut Value) {
    for secret in account
        .get_mut("secrets")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        *secret = secret
            .get("name")
            .map_or_else(|| json!({}), |name| json!({"name": name}));
    }
}

const MOUNTABLE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

/// Whoever gives the annotation, whatever it says, is told that it is old.
fn warnings(account: &Value, old: Option<&Value>) -> Warnings {
    let has = |account: &Value| {
        account
            .at("metadata")
            .at("annotations")
            .get(MOUNTABLE_SECRETS)
            .is_some()
    };
    match has(account) && !old.is_some_and(has) {
        true => vec![format!(
            "metadata.annotations[{MOUNTABLE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )],
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name_alone() {
        let mut account =
            json!({"secrets": [{"name": "a", "namespace": "b", "uid": "c"}, {"kind": "d"}]});
        names_alone(&mut account);
        assert_eq!(account, json!({"secrets": [{"name": "a"}, {}]}));
        let mut none = json!({"metadata": {}});
        names_alone(&mut none);
        assert_eq!(none, json!({"metadata": {}}));
    }

    #[test]
    fn who_begins_to_enforce_mountable_secrets_is_warned() {
        let bare = json!({"metadata": {}});
        let enforced = json!({"metadata": {"annotations": {MOUNTABLE_SECRETS: "false"}}});
        assert!(warnings(&bare, None).is_empty());
        assert_eq!(warnings(&enforced, None).len(), 1);
        assert_eq!(warnings(&enforced, Some(&bare)).len(), 1);
        assert!(warnings(&enforced, Some(&enforced)).is_empty());
    }
}
