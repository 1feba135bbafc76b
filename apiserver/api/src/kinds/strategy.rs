//! What is particular to a kind in the life of its objects and cannot be said in its line of `kinds.txt`, as functions. All work on values in
//! canonical form.
//!
//! Follows the strategies of upstream's `pkg/registry/*/*/strategy.go` and `pkg/apis/*/*/defaults.go`.

use serde_json::Value;

use super::{Alias, UpdateChecks};
use crate::machinery::{field::Errors, meta::Meta, read::Read};

/// Texts for the Warning header.
pub type Warnings = Vec<String>;

/// The functions of a kind. `..Strategy::DEFAULT` fills what a kind does not need.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    /// Upstream's versioned defaults; runs after each decode, so it is idempotent.
    pub defaults: fn(&mut Value),
    /// Clears what a client may not set and sets what the server does. Runs after mutating admission.
    pub prepare_for_create: fn(&mut Value),
    /// Runs on a new object when it has its uid and name.
    pub after_system_fields: fn(&mut Value),
    /// `(new, old)`; where there is a `status` subresource it was taken from `old` already.
    pub prepare_for_update: fn(&mut Value, &Value),
    /// For the `status` subresource: `(new, old)`; what is not status was taken from `old` already.
    pub prepare_for_status_update: fn(&mut Value, &Value),
    /// Sets what the moment and the writer decide: `(new, old)`, after the functions that prepare; `old` is absent on creation.
    pub stamp: Option<fn(&mut Value, Option<&Value>, &Stamp<'_>)>,
    /// What is wrong with the name, or the prefix of one, of a new object in the light of what else it says; besides what its kind asks of all names.
    pub name_problems: fn(&Value, &str) -> Vec<String>,
    /// Everything but metadata, which is validated for all kinds alike.
    pub validate: fn(&Value) -> Errors,
    /// `(new, old)`.
    pub validate_update: fn(&Value, &Value) -> Errors,
    pub validate_status_update: fn(&Value, &Value) -> Errors,
    /// Subresources that write a part of the object by rules of their own.
    pub parts: &'static [PartStrategy],
    /// Of an object as the client sent it, before `prepare_for_create` changes it.
    pub early_warnings: fn(&Value) -> Warnings,
    /// `(new, old)`.
    pub warnings: fn(&Value, Option<&Value>) -> Warnings,
    /// Of a new status.
    pub status_warnings: fn(&Value) -> Warnings,
    /// Why the object of a name is not deleted by whoever names it; a deletion of many asks nobody.
    pub stays: fn(&str) -> Option<&'static str>,
    /// Seconds of grace that a deletion gives when it says nothing; `None`: objects go at once.
    pub default_grace: Option<fn(&Value) -> i64>,
    /// Objects that go at once whatever grace is given (pods that no node has, or that have ended).
    pub skips_grace: fn(&Value) -> bool,
    /// Besides the finalizers of its metadata, something keeps an object that is being deleted (namespaces: `spec.finalizers`).
    pub held: fn(&Value) -> bool,
    /// Deletion begins with a mark, whatever there is to wait for, and this is done to the object then (namespaces: their phase).
    pub terminate: Option<fn(&mut Value)>,
    /// Conditions of an object's row in a Table.
    pub row_conditions: fn(&Value) -> Vec<Value>,
    /// Annotations that stand for what this version has no field for: the whole object has them, its metadata alone does not.
    pub annotations_of_version: &'static [&'static str],
    /// The kind whose objects this one shows in another form (autoscaling/v1, core events). `None` for the kind that is stored.
    pub stored_as: Option<&'static Alias>,
}

impl Strategy {
    pub const DEFAULT: Strategy = Strategy {
        defaults: |_| {},
        prepare_for_create: |_| {},
        after_system_fields: |_| {},
        prepare_for_update: |_, _| {},
        prepare_for_status_update: |_, _| {},
        stamp: None,
        name_problems: |_, _| Vec::new(),
        validate: |_| Errors::default(),
        validate_update: |_, _| Errors::default(),
        validate_status_update: |_, _| Errors::default(),
        parts: &[],
        early_warnings: |_| Vec::new(),
        warnings: |_, _| Vec::new(),
        status_warnings: |_| Vec::new(),
        stays: |_| None,
        default_grace: None,
        skips_grace: |_| false,
        held: |_| false,
        terminate: None,
        row_conditions: |_| Vec::new(),
        annotations_of_version: &[],
        stored_as: None,
    };
}

/// The moment and the writer of a request.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// In whole seconds, as the API writes it.
    pub now: &'a str,
    /// `username`, `uid`, `groups` and `extra`, those that there are.
    pub user: &'a Value,
}

/// How a subresource writes its part of an object.
#[derive(Debug, Clone, Copy)]
pub struct PartStrategy {
    /// The subresource's name.
    pub name: &'static str,
    /// `(new, old)`: takes from `old` all that is not the part.
    pub prepare: fn(&mut Value, &Value),
    /// Paths that it leaves alone; `None`: those that the main resource does.
    pub reset: Option<&'static [&'static str]>,
    /// `(new, old)`.
    pub validate: fn(&Value, &Value) -> Errors,
    /// How it checks metadata besides what all updates check.
    pub checks: UpdateChecks,
}

impl Strategy {
    pub fn part(&self, name: &str) -> Option<&'static PartStrategy> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// All of the metadata stays as it was, but who manages what.
pub fn keep_whole_metadata(new: &mut Value, old: &Value) {
    let managers = new.meta_mut().remove("managedFields");
    new["metadata"] = old.at("metadata").clone();
    match managers {
        Some(managers) => {
            new.meta_mut().insert("managedFields".into(), managers);
        }
        None => {
            new.meta_mut().remove("managedFields");
        }
    }
}

/// Metadata that only writes of the whole object change is as it was in `old`.
pub fn keep_metadata(new: &mut Value, old: &Value) {
    for name in [
        "deletionTimestamp",
        "generation",
        "selfLink",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
    ] {
        match old.meta().and_then(|meta| meta.get(name)) {
            Some(value) => {
                new.meta_mut().insert(name.into(), value.clone());
            }
            None => {
                new.meta_mut().remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_whole_metadata_the_managers_alone_change() {
        let old = json!({"metadata": {"name": "a", "uid": "u", "managedFields": [1]}});
        let mut new = json!({"metadata": {"name": "a", "uid": "v", "generateName": "g", "managedFields": [2]}});
        keep_whole_metadata(&mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "uid": "u", "managedFields": [2]}})
        );
        let mut new = json!({"metadata": {"name": "a"}});
        keep_whole_metadata(&mut new, &old);
        assert_eq!(new, json!({"metadata": {"name": "a", "uid": "u"}}));
    }
}
