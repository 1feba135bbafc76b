//! The types of the API as data: one table (`types.txt`) drives decoding, field validation, defaults of absent values, patches,
//! managed fields and OpenAPI. Custom resources bring a [`Schema`] of their own, made from their definition; everything that walks
//! a schema walks either.
//!
//! Invariant: the table is read once, never changes, and every name that it refers to is in it.
//! The facts are those of upstream's `staging/src/k8s.io/api/*/*/types.go` and its markers.

mod converter;
mod decode;
pub mod emptied;
mod encode;
mod parse;
pub mod rules;
mod table;

use crate::machinery::problem::Problem;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, OnceLock},
};

pub use decode::{Decoded, TypeError, conform, conform_as_written, conform_converted};
pub use encode::{as_stored, to_draft, to_json, to_ordered_json, to_pretty_json};
pub use parse::{
    MOST_REMARKS, Parsed, Place, SyntaxError, TOO_DEEP, first_of, is_cut, mark, parse_json,
    parse_json_in_part, walk_paths,
};
use serde_json::Value;

static BUILTIN: &str = include_str!("types.txt");

/// A set of types that refer to each other.
#[derive(Debug, Default)]
pub struct Schema {
    pub types: Vec<Type>,
    by_name: HashMap<Box<str>, u32>,
}

/// One struct.
#[derive(Debug)]
pub struct Type {
    /// `core.v1.Pod`.
    pub name: Box<str>,
    /// Owned as a whole by server-side apply.
    pub atomic: bool,
    /// OpenAPI does not speak of it.
    pub unspoken: bool,
    /// Go's name of lists of it, where those have one.
    pub list_name: Option<Box<str>>,
    /// Fields that the type does not name are kept (custom resources).
    pub preserve_unknown: bool,
    /// Of a custom resource: values are kept and written as they came, empty ones and nulls among them, and all names are sorted. Of the object that is
    /// one, `kind`, `apiVersion` and `metadata` are read as Go reads them; what else is to be done to it a structural schema says.
    pub verbatim: bool,
    /// In Go's order.
    pub fields: Vec<Field>,
    /// A rule lies on a field here or below.
    ruled: bool,
    /// The first bytes of each name as a number, and its index in `fields`; sorted. A search looks at names only where these are equal.
    by_name: Vec<(u64, u16)>,
    /// The fields that are written though nobody gave them, by their index in `fields`.
    always: Vec<u16>,
}

#[derive(Debug)]
pub struct Field {
    pub name: Box<str>,
    pub shape: Shape,
    /// `nil` and absent are told from zero.
    pub pointer: bool,
    pub omit: Omit,
    pub required: bool,
    pub list: ListType,
    /// Keys of `ListType::Map`.
    pub keys: Box<[Box<str>]>,
    /// The value or struct is owned as a whole.
    pub atomic: bool,
    /// The fields of the struct are owned one by one, though its type says otherwise.
    pub granular: bool,
    /// `patchStrategy` holds `merge`.
    pub merge: bool,
    /// `patchStrategy` holds `retainKeys`.
    pub retain_keys: bool,
    /// `patchStrategy` holds `replace`.
    pub replace: bool,
    pub merge_key: Option<Box<str>>,
    /// The `+default` marker, as OpenAPI shows it.
    pub default: Option<Value>,
    /// Protobuf field number, 0 when there is none.
    pub number: u16,
    /// What its values have to be.
    pub rules: Box<[rules::Rule]>,
    /// Go's embedded structs between the type and this field, dotted; they show in Go's error messages.
    pub via: Box<str>,
    /// What Go calls its type, where the shape does not tell.
    pub go: Option<Box<str>>,
}

impl Field {
    /// One of which no more is said than its shape.
    pub fn of(name: &str, shape: Shape) -> Field {
        Field {
            name: name.into(),
            shape,
            pointer: false,
            omit: Omit::Never,
            required: false,
            list: ListType::Unset,
            keys: Box::default(),
            atomic: false,
            granular: false,
            merge: false,
            retain_keys: false,
            replace: false,
            merge_key: None,
            default: None,
            number: 0,
            rules: Box::default(),
            via: Box::default(),
            go: None,
        }
    }

    /// Go writes something of it when it was not given.
    fn has_zero(&self) -> bool {
        let always = self.omit == Omit::Never;
        match self.shape {
            _ if self.omit == Omit::Zero => false,
            _ if self.pointer => always,
            Shape::Struct(_)
            | Shape::Quantity
            | Shape::IntOrString
            | Shape::Time
            | Shape::MicroTime
            | Shape::Raw
            | Shape::Json
            | Shape::SchemaOr(..)
            | Shape::Fields
            | Shape::Duration => true,
            _ => always,
        }
    }

    /// Kept till it is written, and then left out.
    fn is_late(&self, value: &Value) -> bool {
        self.omit == Omit::Late
            && match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            }
    }

    /// Go's nil once it was stored: a list without elements that is written nonetheless.
    fn is_nil(&self, value: &Value) -> bool {
        self.omit == Omit::Never
            && !self.pointer
            && matches!(self.shape, Shape::List(_))
            && value.as_array().is_some_and(Vec::is_empty)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omit {
    /// Written even when empty.
    Never,
    /// `omitempty`: left out when empty; structs that are no pointers are never empty.
    Empty,
    /// The same, but an empty one is kept till it is written: whoever validates can tell it from none, as Go can.
    Late,
    /// `omitzero`.
    Zero,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Nothing said: atomic for server-side apply.
    Unset,
    Atomic,
    Set,
    Map,
}

/// What a value may be. Scalars bear Go's name for error messages where it is not the plain one.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    String(Option<Box<str>>),
    Bool,
    Int32(Option<Box<str>>),
    Int64(Option<Box<str>>),
    Float64,
    /// base64.
    Bytes,
    Quantity,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    Duration,
    IntOrString,
    /// An embedded object of any kind.
    Raw,
    /// Any JSON.
    Json,
    /// A schema of custom resources (the shape within), or something simpler in its place.
    SchemaOr(Or, Box<Shape>),
    /// `FieldsV1`: who owns what.
    Fields,
    Struct(u32),
    List(Box<Shape>),
    Map(Box<Shape>),
    /// An element of a list or map of which more is said than its shape, as of a field.
    Element(Element),
}

/// What is said of the elements of a list or map. Two are the same when they are one.
#[derive(Debug, Clone)]
pub struct Element(pub Arc<Field>);

impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What may stand in a schema's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Or {
    /// Several schemas.
    Array,
    Bool,
    /// Names of properties.
    Strings,
}

impl Or {
    /// Go's name for either.
    pub fn name(self) -> &'static str {
        match self {
            Or::Array => "JSONSchemaPropsOrArray",
            Or::Bool => "JSONSchemaPropsOrBool",
            Or::Strings => "JSONSchemaPropsOrStringArray",
        }
    }
}

impl Schema {
    /// The types that are built in.
    pub fn builtin() -> &'static Schema {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| {
            table::read(BUILTIN).unwrap_or_else(|error| panic!("types.txt: {error}"))
        })
    }

    /// Types in the format of `types.txt`, and those of metadata beside them. The first is the root.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn beside_metadata(text: &str) -> Result<Schema, Problem> {
        table::read(&format!(
            "{}{}",
            text.trim_end(),
            builtin_types(|name| name.starts_with("meta.v1."))
        ))
    }

    /// The types of an object's metadata alone, `meta.v1.ObjectMeta` among them.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn of_metadata() -> Result<Schema, Problem> {
        const NAMES: [&str; 3] = ["ObjectMeta", "OwnerReference", "ManagedFieldsEntry"];
        // every version of a definition asks for them
        static TEXT: LazyLock<String> = LazyLock::new(|| {
            builtin_types(|name| {
                name.strip_prefix("meta.v1.")
                    .is_some_and(|name| NAMES.contains(&name))
            })
        });
        table::read(&TEXT)
    }

    /// Builds a schema from its types; `Shape::Struct` indexes into `types`.
    pub fn new(mut types: Vec<Type>) -> Schema {
        rules::spread(&mut types);
        let by_name = types
            .iter()
            .enumerate()
            .map(|(index, t)| (t.name.clone(), index as u32))
            .collect();
        Schema { types, by_name }
    }

    /// Where a type stands in `types`.
    pub fn index(&self, of: &Type) -> Option<u32> {
        self.by_name.get(&of.name).copied()
    }

    /// The root of the type `core.v1.Pod`.
    pub fn get(&self, name: &str) -> Option<Node<'_>> {
        self.by_name.get(name).map(|&index| self.root(index))
    }

    /// The type of objects that say they are of this kind.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<Node<'_>> {
        let (group, version) = api_version
            .rsplit_once('/')
            .unwrap_or(("core", api_version));
        let package = group.split('.').next().unwrap_or(group);
        // what all groups share is of the legacy group, too
        let shared = || {
            self.get(&format!("meta.{version}.{kind}"))
                .filter(|_| package == "core")
        };
        let known = self
            .get(&format!("{package}.{version}.{kind}"))
            .or_else(shared);
        known.filter(|node| {
            node.as_type()
                .is_some_and(|t| t.position("kind") == Some(0))
        })
    }

    pub fn root(&self, index: u32) -> Node<'_> {
        Node {
            schema: self,
            at: At::Type(&self.types[index as usize]),
            field: None,
        }
    }
}

/// The lines of `types.txt` that say what the types of these names are.
fn builtin_types(chosen: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let mut within = false;
    for line in BUILTIN.lines() {
        within = line.strip_prefix("type ").map_or(within, |rest| {
            chosen(rest.split(' ').next().unwrap_or(rest))
        });
        if within {
            text.push('\n');
            text.push_str(line);
        }
    }
    text
}

/// The first eight bytes of a name; names in order have these in order.
pub(super) fn beginning(name: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(8);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

impl Type {
    pub fn new(name: &str, atomic: bool, preserve_unknown: bool, fields: Vec<Field>) -> Type {
        let mut by_name: Vec<(u64, u16)> = (0..)
            .zip(&fields)
            .map(|(at, field)| (beginning(&field.name), at))
            .collect();
        by_name.sort_unstable();
        let always = (0..)
            .zip(&fields)
            .filter(|(_, field)| field.has_zero())
            .map(|(at, _)| at)
            .collect();
        Type {
            name: name.into(),
            atomic,
            unspoken: false,
            list_name: None,
            preserve_unknown,
            verbatim: false,
            fields,
            ruled: false,
            by_name,
            always,
        }
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|at| &self.fields[at as usize])
    }

    /// The index of a field in `fields`.
    pub fn position(&self, name: &str) -> Option<u16> {
        let wanted = beginning(name);
        let first = self.by_name.partition_point(|entry| entry.0 < wanted);
        let alike = self.by_name[first..]
            .iter()
            .take_while(|entry| entry.0 == wanted);
        alike
            .map(|entry| entry.1)
            .find(|at| &*self.fields[*at as usize].name == name)
    }

    /// Go's name of the type: `Pod`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    /// As Go prints it: `v1.Pod`.
    pub fn go_name(&self) -> &str {
        self.name
            .split_once('.')
            .map_or(&*self.name, |(_, rest)| rest)
    }
}

impl Shape {
    /// As Go prints the type in messages.
    pub fn go_name(&self, schema: &Schema) -> String {
        match self {
            Shape::String(name) => name.as_deref().unwrap_or("string").into(),
            Shape::Int32(name) => name.as_deref().unwrap_or("int32").into(),
            Shape::Int64(name) => name.as_deref().unwrap_or("int64").into(),
            Shape::Bool => "bool".into(),
            Shape::Float64 => "float64".into(),
            Shape::Bytes => "[]uint8".into(),
            Shape::Quantity => "resource.Quantity".into(),
            Shape::Time => "v1.Time".into(),
            Shape::MicroTime => "v1.MicroTime".into(),
            Shape::Duration => "v1.Duration".into(),
            Shape::IntOrString => "intstr.IntOrString".into(),
            Shape::Raw => "runtime.RawExtension".into(),
            Shape::Json => "v1.JSON".into(),
            Shape::SchemaOr(or, _) => format!("v1.{}", or.name()),
            Shape::Fields => "v1.FieldsV1".into(),
            Shape::Struct(index) => schema.types[*index as usize].go_name().into(),
            Shape::List(of) => match of
                .inner()
                .and_then(|of| schema.types[of as usize].list_name.as_deref())
            {
                Some(name) if matches!(**of, Shape::Struct(_)) => name.into(),
                _ => format!("[]{}", of.go_name(schema)),
            },
            Shape::Element(of) => of.0.shape.go_name(schema),
            Shape::Map(of) if **of == Shape::Quantity => "v1.ResourceList".into(),
            Shape::Map(of) => format!("map[string]{}", of.go_name(schema)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum At<'a> {
    Type(&'a Type),
    Shape(&'a Shape),
}

/// A place in a schema, reached from a root by names and elements. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    schema: &'a Schema,
    at: At<'a>,
    field: Option<&'a Field>,
}

impl<'a> Node<'a> {
    /// The struct here, when it is one.
    pub fn as_type(&self) -> Option<&'a Type> {
        match self.at {
            At::Type(t) => Some(t),
            At::Shape(Shape::Struct(index)) => Some(&self.schema.types[*index as usize]),
            At::Shape(_) => None,
        }
    }

    /// The shape here; `None` at the root, which is a struct.
    pub fn shape(&self) -> Option<&'a Shape> {
        match self.at {
            At::Type(_) => None,
            At::Shape(shape) => Some(shape),
        }
    }

    /// The field whose value this is. `None` for roots, and for elements and map values of which nothing more is said than their shape.
    pub fn field(&self) -> Option<&'a Field> {
        self.field
    }

    pub fn schema(&self) -> &'a Schema {
        self.schema
    }

    pub fn is_list(&self) -> bool {
        matches!(self.at, At::Shape(Shape::List(_)))
    }

    /// The value of the field or map key `name`.
    pub fn child(&self, name: &str) -> Option<Node<'a>> {
        if let Some(t) = self.as_type() {
            return t.field(name).map(|field| Node {
                schema: self.schema,
                at: At::Shape(&field.shape),
                field: Some(field),
            });
        }
        match self.at {
            At::Shape(Shape::Map(of)) => Some(self.within(of)),
            _ => None,
        }
    }

    /// Of this shape of elements.
    fn within(&self, of: &'a Shape) -> Node<'a> {
        let (shape, field) = match of {
            Shape::Element(of) => (&of.0.shape, Some(&*of.0)),
            shape => (shape, None),
        };
        Node {
            schema: self.schema,
            at: At::Shape(shape),
            field,
        }
    }

    /// An element of the list here.
    pub fn element(&self) -> Option<Node<'a>> {
        match self.at {
            At::Shape(Shape::List(of)) => Some(self.within(of)),
            _ => None,
        }
    }

    /// How server-side apply merges the list here.
    pub fn list_type(&self) -> ListType {
        self.field.map_or(ListType::Unset, |field| field.list)
    }

    pub fn keys(&self) -> &'a [Box<str>] {
        self.field.map_or(&[], |field| &field.keys)
    }
}

#[cfg(test)]
mod tests;
