//! A kind that a server serves: what a row, or a definition that somebody made while the server runs, says of it.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use serde_json::Value;

use super::{Alias, Printer, Row, Scale, Source, Strategy, Subresource, Verbs, internal_package};
use crate::machinery::{
    jsonpath::{self, JsonPath},
    schema::{Node, Schema},
};

/// A name that came with a definition, as one of the program's own. Each is kept once and for good: those of a definition are some dozen bytes, and
/// whoever defines it again finds them.
pub fn name(text: &str) -> &'static str {
    static NAMES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Default::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(text) {
        Some(known) => known,
        None => {
            let kept: &'static str = Box::leak(text.into());
            names.insert(kept);
            kept
        }
    }
}

/// One resource in one served version. Its fields are those of [`Row`].
#[derive(Debug, Clone)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub namespaced: bool,
    pub verbs: Verbs,
    pub subresources: Vec<Subresource>,
    /// Where `/scale` reads and writes, for kinds that have it.
    pub scale: Option<Scale>,
    pub schema: SchemaOf,
    pub selectable: Vec<SelectableField>,
    pub printer: Printer,
    pub strategy: Strategy,
    pub stored_as: Option<Alias>,
    pub storage_version: Option<&'static str>,
}

/// A field that field selectors may name.
#[derive(Debug, Clone)]
pub struct SelectableField {
    pub path: &'static str,
    read: Read,
}

#[derive(Debug, Clone)]
enum Read {
    Builtin(fn(&Value) -> String),
    Path(JsonPath),
}

impl SelectableField {
    /// What a definition names: a path with a dot before it (`.spec.color`).
    ///
    /// # Errors
    /// What is wrong with the path.
    pub fn at(path: &str) -> Result<SelectableField, String> {
        let read = JsonPath::parse(&format!("{{{path}}}"))?.allow_missing(true);
        Ok(SelectableField {
            path: name(path.trim_start_matches('.')),
            read: Read::Path(read),
        })
    }

    /// The field's value as selectors compare it; absent is the empty string or Go's zero.
    pub fn value(&self, object: &Value) -> String {
        match &self.read {
            Read::Builtin(read) => read(object),
            Read::Path(path) => path
                .find(object)
                .ok()
                .and_then(|found| Some(jsonpath::text(found.first()?.first()?)))
                .unwrap_or_default(),
        }
    }
}

/// A type in a schema.
#[derive(Debug, Clone)]
pub enum SchemaOf {
    /// By its name in the table of what is built in.
    Builtin(&'static str),
    /// The type of this index, in a schema of its own.
    Own(Arc<Schema>, u32),
}

impl From<&'static Row> for Kind {
    fn from(row: &'static Row) -> Kind {
        Kind {
            group: row.group,
            version: row.version,
            kind: row.kind,
            plural: row.plural,
            singular: row.singular,
            short_names: row.short_names.to_vec(),
            categories: row.categories.to_vec(),
            namespaced: row.namespaced,
            verbs: row.verbs,
            subresources: row.subresources.to_vec(),
            scale: row
                .subresources
                .contains(&Subresource::Scale)
                .then_some(Scale::USUAL),
            schema: SchemaOf::Builtin(row.schema),
            selectable: row
                .selectable
                .iter()
                .map(|field| SelectableField {
                    path: field.path,
                    read: Read::Builtin(field.value),
                })
                .collect(),
            printer: Printer::Builtin(row.columns),
            strategy: row.strategy,
            stored_as: row.stored_as.copied(),
            storage_version: row.storage_version,
        }
    }
}

impl Kind {
    /// `plural.group`, or `plural` in the legacy group: the name of a resource in messages and in the store.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.into()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `apps/v1` or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.into()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The name of the resource under which its objects are stored.
    pub fn stored_resource(&self) -> String {
        self.stored_as
            .map_or_else(|| self.resource(), |alias| alias.resource.into())
    }

    /// Both show the same objects, in different versions.
    pub fn same_objects(&self, other: &Kind) -> bool {
        self.stored_resource() == other.stored_resource()
    }

    /// Turns a value as it is stored into one of this kind.
    pub fn show(&self, value: &mut Value) {
        let Some(alias) = self.stored_as else { return };
        (alias.from_stored)(value);
        value["apiVersion"] = self.api_version().into();
        value["kind"] = self.kind.into();
    }

    /// Turns a value of this kind into one of another of the same objects.
    pub fn convert(&self, value: &mut Value, to: &Kind) {
        if (self.group, self.version, self.kind) == (to.group, to.version, to.kind) {
            return;
        }
        if let Some(alias) = self.stored_as {
            (alias.to_stored)(value);
        }
        value["apiVersion"] = to.api_version().into();
        value["kind"] = to.kind.into();
        to.show(value);
    }

    /// The package of upstream's internal type, as some messages show it (`core` of `*core.Pod`).
    pub fn internal_package(&self) -> &'static str {
        let stored_in = self.stored_as.map(|alias| {
            alias
                .resource
                .split_once('.')
                .map_or("", |(_, group)| group)
        });
        internal_package(stored_in.unwrap_or(self.group))
    }

    /// The type of its objects.
    pub fn node(&self) -> Node<'_> {
        match &self.schema {
            SchemaOf::Builtin(name) => Schema::builtin()
                .get(name)
                .unwrap_or_else(|| panic!("{name} is not in the schema table")),
            SchemaOf::Own(schema, root) => schema.root(*root),
        }
    }

    /// The name of the type of its objects in its schema (`core.v1.Pod`).
    pub fn type_name(&self) -> &str {
        self.node().as_type().map_or("", |of| &of.name)
    }

    pub fn subresource(&self, name: &str) -> Option<Subresource> {
        self.subresources
            .iter()
            .copied()
            .find(|sub| sub.name() == name)
    }

    /// Objects of it are kept in the store.
    pub fn is_stored(&self) -> bool {
        self.strategy.source == Source::Stored
    }
}
