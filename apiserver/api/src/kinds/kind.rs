//! A kind that a server serves: what `kinds.txt`, or a definition that somebody made while the server runs, says of it.

use crate::machinery::problem::Problem;
use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use serde_json::Value;

use super::{
    Definition, Flags, Printer, Scale, Source, Strategy, Subresource, Verbs,
    definition::ConversionWebhook,
};
use crate::machinery::{
    jsonpath::{self, JsonPath},
    read::Read as _,
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

/// One resource in one served version.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Empty for the legacy group.
    pub group: &'static str,
    pub version: &'static str,
    /// That of its group and version.
    pub priority: Priority,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    /// `PodList`.
    pub list_kind: &'static str,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub namespaced: bool,
    pub verbs: Verbs,
    pub subresources: Vec<Subresource>,
    /// Where `/scale` reads and writes, for kinds that have it.
    pub scale: Option<Scale>,
    pub schema: SchemaOf,
    /// Fields that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<SelectableField>,
    pub printer: Printer,
    pub flags: Flags,
    pub strategy: Strategy,
    /// The kind whose objects this one shows in another form (autoscaling/v1, core events). `None` for the kind that is stored.
    pub stored_as: Option<Alias>,
    /// Part of discovery's `storageVersionHash`, `group/version/kind` of the storage version where that is another than this one.
    pub storage_version: Option<&'static str>,
}

/// How far ahead a group stands among groups, and a version in its group; the higher the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Priority {
    pub group: i64,
    pub version: i64,
}

impl Priority {
    /// Of what definitions bring.
    pub const DEFINED: Priority = Priority {
        group: 1000,
        version: 100,
    };

    /// `GROUP/VERSION`.
    pub(super) fn read(written: &str) -> Option<Priority> {
        let (group, version) = written.split_once('/')?;
        Some(Priority {
            group: group.parse().ok()?,
            version: version.parse().ok()?,
        })
    }
}

/// A field that field selectors may name.
#[derive(Debug, Clone)]
pub struct SelectableField {
    pub path: &'static str,
    read: Read,
}

#[derive(Debug, Clone)]
enum Read {
    /// The first of these paths at which a text stands, or what Go has there when there is nothing.
    Fields(Vec<Box<[&'static str]>>, Zero),
    Path(JsonPath),
}

#[derive(Debug, Clone, Copy)]
enum Zero {
    Text,
    Flag,
    Int,
}

impl SelectableField {
    /// `NAME[<PATH|PATH][:bool|int]`, as `kinds.txt` has it.
    pub(super) fn read(written: &'static str) -> Option<SelectableField> {
        let (written, zero) = match written.split_once(':') {
            None => (written, Zero::Text),
            Some((written, "bool")) => (written, Zero::Flag),
            Some((written, "int")) => (written, Zero::Int),
            Some(_) => return None,
        };
        let (path, read) = written.split_once('<').unwrap_or((written, written));
        let paths = read.split('|').map(|path| path.split('.').collect());
        Some(SelectableField {
            path,
            read: Read::Fields(paths.collect(), zero),
        })
    }

    /// What a definition names: a path with a dot before it (`.spec.color`).
    ///
    /// # Errors
    /// What is wrong with the path.
    pub fn at(path: &str) -> Result<SelectableField, Problem> {
        let read = JsonPath::parse(&format!("{{{path}}}"))?.allow_missing(true);
        Ok(SelectableField {
            path: name(path.trim_start_matches('.')),
            read: Read::Path(read),
        })
    }

    /// The field's value as selectors compare it; absent is the empty string or Go's zero.
    pub fn value(&self, object: &Value) -> String {
        match &self.read {
            Read::Fields(paths, Zero::Text) => paths
                .iter()
                .find_map(|path| at(object, path).as_str().filter(|text| !text.is_empty()))
                .unwrap_or("")
                .into(),
            Read::Fields(paths, Zero::Flag) => paths
                .iter()
                .any(|path| *at(object, path) == true)
                .to_string(),
            Read::Fields(paths, Zero::Int) => {
                let numbers = paths.iter().find_map(|path| at(object, path).as_i64());
                numbers.unwrap_or(0).to_string()
            }
            Read::Path(path) => path
                .find(object)
                .ok()
                .and_then(|found| Some(jsonpath::text(found.first()?.first()?)))
                .unwrap_or_default(),
        }
    }
}

/// What stands at a path, whose numbers are places in lists.
fn at<'v>(object: &'v Value, path: &[&str]) -> &'v Value {
    const NULL: &Value = &Value::Null;
    path.iter().fold(object, |value, word| match value {
        Value::Array(items) => word
            .parse()
            .ok()
            .and_then(|at: usize| items.get(at))
            .unwrap_or(NULL),
        value => value.at(word),
    })
}

/// How a kind that is not stored reads and writes the one that is.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// `plural.group` of the stored kind.
    pub resource: &'static str,
    pub version: &'static str,
    /// This form to the stored one.
    pub to_stored: fn(&mut Value),
    /// The stored form to this one.
    pub from_stored: fn(&mut Value),
    /// Admission, strategy and validation see the stored form, whichever form a client writes; else each form has rules of its own.
    pub worked_on_as_stored: bool,
}

/// A type in a schema.
#[derive(Debug, Clone)]
pub enum SchemaOf {
    /// By its name in the table of what is built in.
    Builtin(&'static str),
    /// The type of this index, in a schema of its own.
    Own(Arc<Schema>, u32),
    /// What its definition says.
    Defined(Arc<Definition>),
}

impl Kind {
    /// A kind of which nothing but the names is known: of the whole cluster, with all verbs and the usual flags.
    pub fn named(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Kind {
        Kind {
            group,
            version,
            priority: Priority::DEFINED,
            kind,
            plural,
            singular: name(&kind.to_ascii_lowercase()),
            list_kind: name(&format!("{kind}List")),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: false,
            verbs: Verbs::All,
            subresources: Vec::new(),
            scale: None,
            schema: SchemaOf::Builtin(""),
            selectable: Vec::new(),
            printer: Printer::Paths(Vec::new()),
            flags: Flags::default(),
            strategy: Strategy::DEFAULT,
            stored_as: None,
            storage_version: None,
        }
    }

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
        api_version(self.group, self.version)
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

    /// What a definition says of the values of its objects; `None` for what is built in.
    pub fn definition(&self) -> Option<&Definition> {
        match &self.schema {
            SchemaOf::Defined(definition) => Some(definition),
            SchemaOf::Builtin(_) | SchemaOf::Own(..) => None,
        }
    }

    /// The webhook that brings objects of other versions into this one; `None` where that takes no question.
    pub fn converter(&self) -> Option<&ConversionWebhook> {
        self.definition()?.webhook.as_deref()
    }

    /// Turns a value as it is stored, whatever version it says it is, into one of this kind.
    ///
    /// # Errors
    /// What of it the kind's definition cannot read.
    pub fn show(&self, value: &mut Value) -> Result<(), Problem> {
        if let Some(definition) = self.definition() {
            return definition.show(value);
        }
        if let Some(alias) = self.stored_as {
            (alias.from_stored)(value);
            value["apiVersion"] = self.api_version().into();
            value["kind"] = self.kind.into();
        }
        Ok(())
    }

    /// Turns a value of this kind into one of another of the same objects.
    ///
    /// # Errors
    /// What of it the other's definition cannot read.
    pub fn convert(&self, value: &mut Value, to: &Kind) -> Result<(), Problem> {
        if (self.group, self.version, self.kind) == (to.group, to.version, to.kind) {
            return Ok(());
        }
        if let Some(alias) = self.stored_as {
            (alias.to_stored)(value);
        }
        if to.definition().is_none() {
            value["apiVersion"] = to.api_version().into();
            value["kind"] = to.kind.into();
        }
        to.show(value)
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

    /// Its type is one of the server's own, of which alone there is a form in protobuf.
    pub fn is_builtin(&self) -> bool {
        matches!(self.schema, SchemaOf::Builtin(_))
    }

    /// The type of its objects.
    pub fn node(&self) -> Node<'_> {
        match &self.schema {
            SchemaOf::Builtin(name) => Schema::builtin()
                .get(name)
                .unwrap_or_else(|| panic!("{name} is not in the schema table")),
            SchemaOf::Own(schema, root) => schema.root(*root),
            SchemaOf::Defined(definition) => definition.node(),
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

    /// The main resource leaves `status` alone and `/status` leaves all else alone.
    pub fn has_status(&self) -> bool {
        self.subresources.contains(&Subresource::Status)
    }

    /// Objects of it are kept in the store.
    pub fn is_stored(&self) -> bool {
        self.flags.source == Source::Stored
    }
}

/// `apps/v1`, or `v1` in the legacy group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.into()
    } else {
        format!("{group}/{version}")
    }
}

/// The package of the internal types of a group (`core` of `*core.Pod`), as some messages show it.
pub fn internal_package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("" | "events") => "core",
        Some(package) => package,
    }
}
