//! The kinds: ONE folder a kind, each with its row: names, verbs, subresources, columns, selectable fields, strategy. Routes, discovery,
//! OpenAPI, printing and the CLI's aliases come from the rows.
//!
//! Invariant: whatever is particular to a kind stands in its row; nothing else asks for a kind's name.

mod cells;
pub use cells::human_duration;
pub mod rows;
pub mod strategy;
mod subresource;
pub mod table;
pub mod validation;
pub mod without_effect;

pub mod fill;
mod list;

use std::{collections::HashMap, sync::OnceLock};

use serde_json::Value;
pub use strategy::{Generation, PartStrategy, Stamp, Strategy, UpdateChecks, Warnings};
pub use subresource::{Scale, Subresource};
pub use table::{Cell, Column, Columns};

use crate::machinery::schema::{Node, Schema};

/// One resource in one served version.
#[derive(Debug)]
pub struct Kind {
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
#[derive(Debug)]
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
            Verbs::All => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            Verbs::NoDeleteCollection => &["create", "delete", "get", "list", "patch", "update", "watch"],
            Verbs::CreateOnly => &["create"],
            Verbs::GetList => &["get", "list"],
        }
    }

    pub fn has(self, verb: &str) -> bool {
        self.names().contains(&verb)
    }
}

/// A field that field selectors may name.
#[derive(Debug)]
pub struct Selectable {
    pub path: &'static str,
    /// The field's value as selectors compare it; absent is the empty string or Go's zero.
    pub value: fn(&Value) -> String,
}

impl Kind {
    /// `plural.group`, or `plural` in the legacy group: the name of a resource in messages and in the store.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.into() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `apps/v1` or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.into() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Both rows show the same objects, in different versions.
    pub fn same_objects(&self, other: &Kind) -> bool {
        let resource = |kind: &Kind| kind.stored_as.map_or_else(|| kind.resource(), |alias| alias.resource.into());
        resource(self) == resource(other)
    }

    /// The row whose rules a write of this one obeys.
    pub fn worked_on_as(&'static self) -> &'static Kind {
        let alias = self.stored_as.filter(|alias| alias.worked_on_as_stored);
        alias.and_then(|alias| stored(alias.resource)).unwrap_or(self)
    }

    /// The row that shows the same objects at another version, or this row itself.
    pub fn at_version(&'static self, api_version: &str) -> Option<&'static Kind> {
        all().iter().copied().find(|row| row.api_version() == api_version && row.same_objects(self))
    }

    /// Some other row shows the same objects.
    pub fn has_other_versions(&self) -> bool {
        let is_ours = |alias: &Alias| alias.resource.split_once('.').unwrap_or((alias.resource, "")) == (self.plural, self.group);
        self.stored_as.is_some() || all().iter().filter_map(|row| row.stored_as).any(is_ours)
    }

    /// Turns a value of this row into one of another row of the same objects.
    pub fn convert(&self, value: &mut Value, to: &Kind) {
        if std::ptr::eq(self, to) {
            return;
        }
        if let Some(alias) = self.stored_as {
            (alias.to_stored)(value);
        }
        if let Some(alias) = to.stored_as {
            (alias.from_stored)(value);
        }
        value["apiVersion"] = to.api_version().into();
        value["kind"] = to.kind.into();
    }

    /// The package of upstream's internal type, as some messages show it (`core` of `*core.Pod`).
    pub fn internal_package(&self) -> &'static str {
        let stored = self.stored_as.and_then(|alias| stored(alias.resource)).unwrap_or(self);
        internal_package(stored.group)
    }

    pub fn node(&self) -> Node<'static> {
        Schema::builtin().get(self.schema).unwrap_or_else(|| panic!("{} is not in the schema table", self.schema))
    }

    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name() == name)
    }

    /// Objects of it are kept in the store.
    pub fn is_stored(&self) -> bool {
        self.verbs != Verbs::CreateOnly && self.verbs != Verbs::GetList
    }
}

/// The package of the internal types of a group.
pub fn internal_package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("" | "events") => "core",
        Some(package) => package,
    }
}

/// All rows, in the order in which discovery shows groups, then versions, then names.
pub fn all() -> &'static [&'static Kind] {
    list::ALL
}

/// The row of a group, version and plural name.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    type Index = HashMap<(&'static str, &'static str, &'static str), &'static Kind>;
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| all().iter().map(|&kind| ((kind.group, kind.version, kind.plural), kind)).collect()).get(&(group, version, plural)).copied()
}

/// The row of a group, version and kind.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    all().iter().copied().find(|row| row.kind == kind && row.group == group && row.version == version)
}

/// The row under which objects of `resource` (`plural.group`) are stored.
pub fn stored(resource: &str) -> Option<&'static Kind> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    all().iter().copied().find(|row| row.plural == plural && row.group == group && row.stored_as.is_none())
}
