//! What a kind that is built in says of itself, as data and functions known at compile time.

use serde_json::Value;

use super::{Columns, Strategy, Subresource};

/// One resource in one served version, as it is built in. A server's registry makes a [`super::Kind`] of it.
#[derive(Debug)]
pub struct Row {
    /// Empty for the legacy group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    pub verbs: Verbs,
    pub subresources: &'static [Subresource],
    /// The type's name in the schema table (`core.v1.Pod`).
    pub schema: &'static str,
    /// Fields that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [Selectable],
    pub columns: Columns,
    pub strategy: Strategy,
    /// The row whose objects this one shows in another form (autoscaling/v1, core events). `None` for the row that is stored.
    pub stored_as: Option<&'static Alias>,
    /// Part of discovery's `storageVersionHash`, `group/version/kind` of the storage version where that is another than this row's.
    pub storage_version: Option<&'static str>,
}

/// How a row that is not stored reads and writes the one that is.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// `plural.group` of the stored row.
    pub resource: &'static str,
    pub version: &'static str,
    /// This form to the stored one.
    pub to_stored: fn(&mut Value),
    /// The stored form to this one.
    pub from_stored: fn(&mut Value),
    /// Admission, strategy and validation see the stored form, whichever form a client writes; else each form has rules of its own.
    pub worked_on_as_stored: bool,
}

/// Which verbs a resource has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbs {
    /// create, delete, deletecollection, get, list, patch, update, watch.
    All,
    /// All but deletecollection.
    NoDeleteCollection,
    /// Virtual resources that answer a question (`tokenreviews`).
    CreateOnly,
    /// `componentstatuses`.
    GetList,
}

impl Verbs {
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Verbs::All => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            Verbs::NoDeleteCollection => &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ],
            Verbs::CreateOnly => &["create"],
            Verbs::GetList => &["get", "list"],
        }
    }

    pub fn has(self, verb: &str) -> bool {
        self.names().contains(&verb)
    }
}

/// A field that field selectors may name.
#[derive(Debug, Clone, Copy)]
pub struct Selectable {
    pub path: &'static str,
    /// The field's value as selectors compare it; absent is the empty string or Go's zero.
    pub value: fn(&Value) -> String,
}

/// The package of the internal types of a group (`core` of `*core.Pod`), as some messages show it.
pub fn internal_package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("" | "events") => "core",
        Some(package) => package,
    }
}
