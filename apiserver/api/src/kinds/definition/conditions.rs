//! Conditions of a definition's status, and how its deletion begins.
//!
//! Invariant: a condition's time is that of the last change of its status. Follows `pkg/apihelpers/helpers.go`.

use serde_json::{Value, json};

use crate::machinery::{meta::Meta, read::Read};

/// What keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The condition of this type.
pub fn find<'v>(status: &'v Value, of: &str) -> Option<&'v Value> {
    let mut conditions = status.list("conditions").iter();
    conditions.find(|condition| condition.text("type") == of)
}

/// Sets the condition of this type at the moment `now`.
pub fn set(status: &mut Value, of: &str, state: &str, (reason, message): (&str, &str), now: &str) {
    let old = find(status, of);
    let since = old
        .filter(|old| old.text("status") == state && !old.text("lastTransitionTime").is_empty())
        .map_or(now, |old| old.text("lastTransitionTime"));
    let new = json!({"type": of, "status": state, "lastTransitionTime": since, "reason": reason, "message": message});
    let mut conditions = status.list("conditions").to_vec();
    match conditions
        .iter_mut()
        .find(|condition| condition.text("type") == of)
    {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    status["conditions"] = conditions.into();
}

/// The definition's condition of this type has this status.
pub fn is_condition(definition: &Value, of: &str, state: &str) -> bool {
    find(definition.at("status"), of).is_some_and(|condition| condition.text("status") == state)
}

/// A deletion has begun: its objects are to go first.
pub fn terminate(definition: &mut Value) {
    let now = definition.meta_str("deletionTimestamp").to_string();
    if !definition
        .finalizers()
        .any(|finalizer| finalizer == CLEANUP)
    {
        let kept = [CLEANUP]
            .into_iter()
            .chain(definition.finalizers())
            .map(Value::from);
        let kept: Vec<Value> = kept.collect();
        definition.set_meta("finalizers", kept);
    }
    let mut status = definition.at("status").clone();
    let pending = (
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    );
    set(&mut status, "Terminating", "True", pending, &now);
    definition["status"] = status;
}
