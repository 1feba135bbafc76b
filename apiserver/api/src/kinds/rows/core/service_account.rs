//! ServiceAccount: its row, and its secrets, which are known by name alone.
//!
//! Follows `pkg/registry/core/serviceaccount/strategy.go`.

use crate::kinds::prelude::*;

pub const STRATEGY: Strategy = Strategy {
    prepare_for_create: names_alone,
    prepare_for_update: |new, _| names_alone(new),
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
}
