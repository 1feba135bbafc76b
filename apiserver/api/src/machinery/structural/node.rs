//! A structural schema as an immutable tree.
//!
//! Invariant: nodes that say the same are one node, shared by all places where they stand; a node never changes.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/structural.go`.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde_json::Value;

use super::{formats::Format, pattern::Pattern};
use crate::machinery::schema::beginning;

/// What a value at some place must be. What stands within `allOf`, `anyOf`, `oneOf` and `not` is made of nodes, too.
#[derive(Debug)]
pub struct Node {
    /// Tells the node from the others that one `Reader` made; small numbers without gaps.
    pub id: u32,
    pub body: Body,
    /// Of the body, so that a tree is hashed once and not once a level.
    hash: u64,
}

/// What a node says.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Body {
    pub kind: Kind,
    pub nullable: bool,
    /// Fields that the schema does not name are kept.
    pub preserve_unknown: bool,
    /// An object of its own, with `apiVersion`, `kind` and `metadata`.
    pub embedded: bool,
    pub int_or_string: bool,
    pub additional: Additional,
    pub list_type: Option<ListType>,
    pub map_type: Option<MapType>,
    /// A rule stands here or below (in `allOf`, too).
    pub ruled: bool,
    /// The same without what stands in `allOf`: upstream looks there only when there are rules elsewhere.
    pub ruled_itself: bool,
    /// An embedded object stands here or below.
    pub embeds: bool,
    /// A default stands below.
    pub defaults: bool,
    /// A list without doubles stands here or below.
    pub keyed: bool,
    /// Of what `null` would be; never null itself.
    pub default: Option<Box<Value>>,
    pub properties: Option<Box<Properties>>,
    pub items: Option<Arc<Node>>,
    pub checks: Option<Box<Checks>>,
    pub more: Option<Box<More>>,
}

/// What few nodes have.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct More {
    pub list_map_keys: Box<[Box<str>]>,
    /// `x-kubernetes-validations`, each as in the definition.
    pub rules: Box<[Value]>,
}

/// `type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing is said of it.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Kind {
    /// The kind that JSON schema calls so, if there is one.
    pub fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "" => Kind::Any,
            "object" => Kind::Object,
            "array" => Kind::Array,
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            _ => return None,
        })
    }

    /// JSON schema's word; empty for `Any`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Any => "",
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
        }
    }
}

/// `additionalProperties`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Additional {
    #[default]
    Unset,
    Bool(bool),
    Node(Arc<Node>),
}

impl Additional {
    /// What values of names without a property are. `None`: nothing is said of additional properties; `Some(None)`: they may be, and are of no type.
    pub fn values(&self) -> Option<Option<&Node>> {
        match self {
            Additional::Unset => None,
            Additional::Bool(_) => Some(None),
            Additional::Node(node) => Some(Some(node)),
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapType {
    Granular,
    Atomic,
}

/// The properties of an object, sorted by name.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Properties {
    entries: Box<[(Arc<str>, Arc<Node>)]>,
    /// The first bytes of each name: a search looks at names only where these are equal.
    beginnings: Box<[u64]>,
    /// One of them has a default.
    pub defaults: bool,
}

impl Properties {
    /// Of entries that are sorted by name.
    pub fn new(entries: Vec<(Arc<str>, Arc<Node>)>) -> Properties {
        Properties {
            beginnings: entries.iter().map(|(name, _)| beginning(name)).collect(),
            defaults: entries.iter().any(|(_, node)| node.body.default.is_some()),
            entries: entries.into(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Node>> {
        let wanted = beginning(name);
        let first = self.beginnings.partition_point(|begins| *begins < wanted);
        self.entries[first..]
            .iter()
            .zip(&self.beginnings[first..])
            .take_while(|(_, begins)| **begins == wanted)
            .find(|((has, _), _)| **has == *name)
            .map(|((_, node), _)| node)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Node>)> {
        self.entries.iter().map(|(name, node)| (&**name, node))
    }
}

/// A bound of a number. Bounds are the same when their bits are.
#[derive(Debug, Clone, Copy)]
pub struct Bound(pub f64);

impl PartialEq for Bound {
    fn eq(&self, other: &Bound) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
impl Eq for Bound {}
impl Hash for Bound {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// What a value is held to besides its type.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Checks {
    pub format: Option<Format>,
    pub maximum: Option<Bound>,
    pub exclusive_maximum: bool,
    pub minimum: Option<Bound>,
    pub exclusive_minimum: bool,
    /// Characters.
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Arc<Pattern>>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub multiple_of: Option<Bound>,
    pub one_of_values: Box<[Value]>,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Box<[Box<str>]>,
    pub all_of: Box<[Arc<Node>]>,
    pub one_of: Box<[Arc<Node>]>,
    pub any_of: Box<[Arc<Node>]>,
    pub not: Option<Arc<Node>>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.hash == other.hash && self.body == other.body
    }
}
impl Eq for Node {}
impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Node {
    pub fn new(id: u32, body: Body) -> Node {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Node {
            id,
            body,
            hash: hasher.finish(),
        }
    }

    pub fn property(&self, name: &str) -> Option<&Node> {
        Some(self.body.properties.as_ref()?.get(name)?)
    }

    /// By name.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Node)> {
        let properties = self.body.properties.iter();
        properties.flat_map(|properties| properties.iter().map(|(name, node)| (name, &**node)))
    }

    pub fn items(&self) -> Option<&Node> {
        self.body.items.as_deref()
    }

    /// What the value of this name is: a property, or an additional one.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.property(name).or_else(|| self.additional())
    }

    /// What additional properties are, where there is a schema of them.
    pub fn additional(&self) -> Option<&Node> {
        self.body.additional.values().flatten()
    }

    pub fn rules(&self) -> &[Value] {
        self.body.more.as_ref().map_or(&[], |more| &more.rules)
    }

    /// Whether a rule stands here or below.
    pub fn is_ruled(&self) -> bool {
        self.body.ruled
    }

    pub fn list_map_keys(&self) -> &[Box<str>] {
        self.body
            .more
            .as_ref()
            .map_or(&[], |more| &more.list_map_keys)
    }

    pub fn all_of(&self) -> &[Arc<Node>] {
        self.body
            .checks
            .as_ref()
            .map_or(&[], |checks| &checks.all_of)
    }
}
