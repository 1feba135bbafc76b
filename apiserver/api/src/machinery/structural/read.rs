//! From the JSON of a schema in a definition to nodes.
//!
//! Invariant: what a definition may not say, or what is not of the type that it must be, is an error; nothing is passed over.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/convert.go`.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Map, Value};

use super::{
    formats::Format,
    node::{Additional, Body, Bound, Checks, Kind, ListType, MapType, More, Node, Properties},
    pattern::Pattern,
};
use crate::machinery::problem::{Problem, problem};
use crate::machinery::quote::GoQuoted;

/// Reads schemas. Several that are read by one share what is alike in them, as the versions of a definition mostly are.
#[derive(Debug, Default)]
pub struct Reader {
    nodes: HashSet<Arc<Node>>,
    names: HashSet<Arc<str>>,
}

/// Where what is not supported stands, and what upstream calls it.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("id", "id"),
    ("$schema", "schema"),
    ("$ref", "$ref"),
    ("patternProperties", "patternProperties"),
    ("dependencies", "dependencies"),
    ("additionalItems", "additionalItems"),
    ("definitions", "definitions"),
];

/// Whether a schema has nothing that no structural one may have, whatever stands below it.
///
/// # Errors
/// The first thing that it has, in upstream's words.
pub fn supported(schema: &Map<String, Value>) -> Result<(), Problem> {
    let is_there = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    };
    for (name, said) in UNSUPPORTED {
        let found = schema.get(name);
        // a schema that says nothing is still one
        let is_schema = name == "additionalItems" && found.is_some_and(Value::is_object);
        if is_schema || found.is_some_and(is_there) {
            return Err(problem!("OpenAPIV3Schema '{said}' is not supported"));
        }
    }
    Ok(())
}

impl Reader {
    /// Reads the JSON of a JSONSchemaProps.
    ///
    /// # Errors
    /// What is not supported in a structural schema, in upstream's words.
    pub fn node(&mut self, schema: &Value) -> Result<Arc<Node>, Problem> {
        let of = Fields::new(schema)?;
        supported(of.0)?;
        let mut body = Body {
            kind: of.kind()?,
            nullable: of.flag("nullable")?,
            preserve_unknown: of.preserve_unknown()?,
            embedded: of.flag("x-kubernetes-embedded-resource")?,
            int_or_string: of.flag("x-kubernetes-int-or-string")?,
            list_type: of.list_type()?,
            map_type: of.map_type()?,
            default: of.some("default").cloned().map(Box::new),
            items: self.items(&of)?,
            properties: self.properties(&of)?.map(Box::new),
            additional: self.additional(&of)?,
            checks: self.checks(&of)?.map(Box::new),
            more: of.more()?.map(Box::new),
            ..Body::default()
        };
        body.note_what_is_below();
        Ok(self.shared(body))
    }

    /// How many nodes were made; their ids are below this.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn shared(&mut self, body: Body) -> Arc<Node> {
        let id = self.nodes.len() as u32;
        let node = Arc::new(Node::new(id, body));
        match self.nodes.get(&node) {
            Some(same) => same.clone(),
            None => {
                self.nodes.insert(node.clone());
                node
            }
        }
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(same) = self.names.get(name) {
            return same.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    fn items(&mut self, of: &Fields) -> Result<Option<Arc<Node>>, Problem> {
        match of.some("items") {
            Some(Value::Array(_)) => {
                Err("OpenAPIV3Schema 'items' must be a schema, but is an array".into())
            }
            Some(schema) => self.node(schema).map(Some),
            None => Ok(None),
        }
    }

    fn properties(&mut self, of: &Fields) -> Result<Option<Properties>, Problem> {
        let Some(properties) = of.object("properties")?.filter(|map| !map.is_empty()) else {
            return Ok(None);
        };
        let mut entries = Vec::with_capacity(properties.len());
        for (name, schema) in properties {
            let node = self.node(schema)?;
            entries.push((self.name(name), node));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Some(Properties::new(entries)))
    }

    fn additional(&mut self, of: &Fields) -> Result<Additional, Problem> {
        Ok(match of.some("additionalProperties") {
            None => Additional::Unset,
            Some(Value::Bool(allowed)) => Additional::Bool(*allowed),
            Some(schema) => Additional::Node(self.node(schema)?),
        })
    }

    fn nodes(&mut self, of: &Fields, name: &str) -> Result<Box<[Arc<Node>]>, Problem> {
        of.list(name)?
            .iter()
            .map(|schema| self.node(schema))
            .collect()
    }

    fn checks(&mut self, of: &Fields) -> Result<Option<Checks>, Problem> {
        let kind = of.kind()?;
        let int_or_string = of.flag("x-kubernetes-int-or-string")?;
        let checks = Checks {
            format: of
                .text("format")?
                .filter(|format| !format.is_empty())
                .map(|format| Format::new(format, kind, int_or_string)),
            maximum: of.bound("maximum")?,
            exclusive_maximum: of.flag("exclusiveMaximum")?,
            minimum: of.bound("minimum")?,
            exclusive_minimum: of.flag("exclusiveMinimum")?,
            max_length: of.int("maxLength")?,
            min_length: of.int("minLength")?,
            pattern: of
                .text("pattern")?
                .filter(|pattern| !pattern.is_empty())
                .map(Pattern::shared),
            max_items: of.int("maxItems")?,
            min_items: of.int("minItems")?,
            unique_items: of.flag("uniqueItems")?,
            multiple_of: of.bound("multipleOf")?,
            one_of_values: of.list("enum")?.into(),
            max_properties: of.int("maxProperties")?,
            min_properties: of.int("minProperties")?,
            required: of.texts("required")?,
            all_of: self.nodes(of, "allOf")?,
            one_of: self.nodes(of, "oneOf")?,
            any_of: self.nodes(of, "anyOf")?,
            not: of.some("not").map(|schema| self.node(schema)).transpose()?,
        };
        Ok((checks != Checks::default()).then_some(checks))
    }
}

impl Body {
    /// What is asked of whole branches, so that those are passed over which have none of it.
    fn note_what_is_below(&mut self) {
        let mut below: Vec<&Body> = Vec::new();
        below.extend(self.items.iter().map(|node| &node.body));
        below.extend(
            self.properties
                .iter()
                .flat_map(|all| all.iter().map(|(_, node)| &node.body)),
        );
        if let Additional::Node(node) = &self.additional {
            below.push(&node.body);
        }
        let embeds = self.embedded || below.iter().any(|body| body.embeds);
        let defaults = below
            .iter()
            .any(|body| body.defaults || body.default.is_some());
        let keyed = matches!(self.list_type, Some(ListType::Set | ListType::Map))
            || below.iter().any(|body| body.keyed);
        let ruled_here = self
            .more
            .as_ref()
            .is_some_and(|more| !more.rules.is_empty());
        let ruled_itself = ruled_here || below.iter().any(|body| body.ruled_itself);
        below.extend(
            self.checks
                .iter()
                .flat_map(|checks| checks.all_of.iter().map(|node| &node.body)),
        );
        self.ruled = ruled_here || below.iter().any(|body| body.ruled);
        (self.embeds, self.keyed) = (embeds, keyed);
        (self.defaults, self.ruled_itself) = (defaults, ruled_itself);
    }
}

/// The fields of a schema, each of the type that it must be.
struct Fields<'v>(&'v Map<String, Value>);

impl<'v> Fields<'v> {
    fn new(schema: &'v Value) -> Result<Self, Problem> {
        match schema {
            Value::Object(map) => Ok(Fields(map)),
            _ => Err("a schema must be an object".into()),
        }
    }

    fn some(&self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// What stands under the name, read by `read`.
    fn read<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.some(name) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| problem!("OpenAPIV3Schema '{name}' must be {what}")),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'v str>, Problem> {
        self.read(name, "a string", Value::as_str)
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        Ok(self
            .read(name, "a boolean", Value::as_bool)?
            .unwrap_or(false))
    }

    fn int(&self, name: &str) -> Result<Option<i64>, Problem> {
        self.read(name, "an integer", Value::as_i64)
    }

    fn bound(&self, name: &str) -> Result<Option<Bound>, Problem> {
        self.read(name, "a number", |value| value.as_f64().map(Bound))
    }

    fn list(&self, name: &str) -> Result<&'v [Value], Problem> {
        let list = self.read(name, "a list", |value| value.as_array())?;
        Ok(list.map_or(&[], Vec::as_slice))
    }

    fn object(&self, name: &str) -> Result<Option<&'v Map<String, Value>>, Problem> {
        self.read(name, "an object", Value::as_object)
    }

    fn texts(&self, name: &str) -> Result<Box<[Box<str>]>, Problem> {
        let wrong = || problem!("OpenAPIV3Schema '{name}' must be a list of strings");
        self.list(name)?
            .iter()
            .map(|value| value.as_str().map(Box::from).ok_or_else(wrong))
            .collect()
    }

    fn kind(&self) -> Result<Kind, Problem> {
        let name = self.text("type")?.unwrap_or("");
        Kind::named(name).ok_or_else(|| {
            problem!(
                "OpenAPIV3Schema 'type' {name} is not supported",
                name = GoQuoted(&name)
            )
        })
    }

    fn preserve_unknown(&self) -> Result<bool, Problem> {
        const NAME: &str = "x-kubernetes-preserve-unknown-fields";
        match self.read(NAME, "a boolean", Value::as_bool)? {
            Some(false) => Err(problem!(
                "internal error: '{NAME}' must be true or undefined"
            )),
            found => Ok(found.is_some()),
        }
    }

    fn list_type(&self) -> Result<Option<ListType>, Problem> {
        Ok(match self.text("x-kubernetes-list-type")? {
            None => None,
            Some("atomic") => Some(ListType::Atomic),
            Some("set") => Some(ListType::Set),
            Some("map") => Some(ListType::Map),
            Some(other) => {
                return Err(problem!(
                    "unknown x-kubernetes-list-type {other}",
                    other = GoQuoted(&other)
                ));
            }
        })
    }

    fn map_type(&self) -> Result<Option<MapType>, Problem> {
        Ok(match self.text("x-kubernetes-map-type")? {
            None => None,
            Some("granular") => Some(MapType::Granular),
            Some("atomic") => Some(MapType::Atomic),
            Some(other) => {
                return Err(problem!(
                    "unknown x-kubernetes-map-type {other}",
                    other = GoQuoted(&other)
                ));
            }
        })
    }

    fn more(&self) -> Result<Option<More>, Problem> {
        let more = More {
            list_map_keys: self.texts("x-kubernetes-list-map-keys")?,
            rules: self.list("x-kubernetes-validations")?.into(),
        };
        Ok((more != More::default()).then_some(more))
    }
}
