//! The same schema as types of the project's own, for all that walks those: managed fields, server-side apply, paths.
//!
//! Invariant: what a value is for merging is what upstream makes of the definition's OpenAPI. Values themselves are left alone (`Type::verbatim`).
//! Follows `kube-openapi/pkg/schemaconv/openapi.go` and `buildKubeNative` of `apiextensions-apiserver/pkg/controller/openapi/builder/builder.go`.

use std::{collections::HashMap, sync::Arc};

use super::{
    Structural,
    node::{Additional, Kind, ListType, MapType, Node},
    prune::is_meta,
};
use crate::machinery::{
    problem::{Problem, problem},
    schema::{self, Element, Field, Omit, Schema, Shape, Type},
};

impl Structural {
    /// The types of the kind's objects, and the index of the whole object's.
    ///
    /// # Errors
    /// When there is no type of metadata.
    pub fn schema(&self, group: &str, version: &str, kind: &str) -> Result<(Schema, u32), Problem> {
        let mut types = Schema::of_metadata()?.types;
        let metadata = types
            .iter()
            .position(|t| &*t.name == "meta.v1.ObjectMeta")
            .ok_or_else(|| problem!("there is no type of metadata"))?;
        let package = group.split('.').next().unwrap_or(group);
        let mut maker = Maker {
            name: format!("{package}.{version}.{kind}"),
            metadata: metadata as u32,
            made: HashMap::new(),
            types: &mut types,
        };
        let root = maker.structure(self.root(), true, false);
        Ok((Schema::new(types), root))
    }
}

struct Maker<'t> {
    /// Of the whole object's type; those within are numbered after it.
    name: String,
    metadata: u32,
    /// Types that were made, by their node, and by whether unknown fields are kept above it.
    made: HashMap<(u32, bool), u32>,
    types: &'t mut Vec<Type>,
}

impl Maker<'_> {
    /// The type of an object whose fields are known.
    fn structure(&mut self, node: &Node, whole: bool, kept: bool) -> u32 {
        let kept = kept || node.body.preserve_unknown;
        if let Some(made) = self.made.get(&(node.id, kept)).filter(|_| !whole) {
            return *made;
        }
        let mut fields = Vec::new();
        if whole || node.body.embedded {
            fields.push(plain("kind", Shape::String(None)));
            fields.push(plain("apiVersion", Shape::String(None)));
            fields.push(plain("metadata", Shape::Struct(self.metadata)));
        }
        for (name, property) in node.properties() {
            if !((whole || node.body.embedded) && is_meta(name)) {
                fields.push(self.field(name, property, kept));
            }
        }
        let others = match node.body.additional {
            Additional::Unset => kept || fields.is_empty(),
            Additional::Bool(allowed) => allowed,
            Additional::Node(_) => true,
        };
        let name = match whole {
            true => self.name.clone(),
            false => format!("{}-{}", self.name, self.types.len()),
        };
        let atomic = node.body.map_type == Some(MapType::Atomic);
        let made = self.types.len() as u32;
        let mut of_node = Type::new(&name, atomic, others, fields);
        of_node.verbatim = true;
        self.types.push(of_node);
        if !whole {
            self.made.insert((node.id, kept), made);
        }
        made
    }

    fn field(&mut self, name: &str, node: &Node, kept: bool) -> Field {
        let shape = self.shape(node, kept);
        Field {
            list: match node.body.list_type {
                None => schema::ListType::Unset,
                Some(ListType::Atomic) => schema::ListType::Atomic,
                Some(ListType::Set) => schema::ListType::Set,
                Some(ListType::Map) => schema::ListType::Map,
            },
            keys: node.list_map_keys().into(),
            atomic: node.body.map_type == Some(MapType::Atomic),
            default: node.body.default.as_deref().cloned(),
            ..plain(name, shape)
        }
    }

    fn shape(&mut self, node: &Node, kept: bool) -> Shape {
        let kept = kept || node.body.preserve_unknown;
        match node.body.kind {
            Kind::Any if node.body.properties.is_none() => Shape::Json,
            Kind::Object | Kind::Any => self.object(node, kept),
            Kind::Array => Shape::List(Box::new(match node.items() {
                Some(items) => self.element(items, kept),
                None => Shape::Json,
            })),
            Kind::Integer => Shape::Int64(None),
            Kind::Number => Shape::Float64,
            Kind::Boolean => Shape::Bool,
            Kind::String => {
                let format = node.body.checks.as_ref().and_then(|c| c.format.as_ref());
                match format.map_or("", |format| &format.text) {
                    "" | "byte" => Shape::String(None),
                    // any scalar, as far as managed fields go
                    _ => Shape::Time,
                }
            }
        }
    }

    fn object(&mut self, node: &Node, kept: bool) -> Shape {
        if node.body.embedded || node.body.properties.is_some() {
            return Shape::Struct(self.structure(node, false, kept));
        }
        match &node.body.additional {
            Additional::Node(of) => Shape::Map(Box::new(self.element(of, kept))),
            Additional::Bool(false) => Shape::Struct(self.structure(node, false, kept)),
            Additional::Unset | Additional::Bool(true) => Shape::Map(Box::new(Shape::Json)),
        }
    }

    /// The shape of elements, with what else is said of them.
    fn element(&mut self, node: &Node, kept: bool) -> Shape {
        let keyed = matches!(node.body.list_type, Some(ListType::Set | ListType::Map));
        let whole = node.body.map_type == Some(MapType::Atomic);
        let shape = self.shape(node, kept);
        let says_more = (keyed && matches!(shape, Shape::List(_)))
            || (whole && !matches!(shape, Shape::Struct(_)));
        if !says_more {
            return shape;
        }
        Shape::Element(Element(Arc::new(self.field("", node, kept))))
    }
}

/// A field of which nothing is said but its shape, and that need not be there.
fn plain(name: &str, shape: Shape) -> Field {
    Field {
        omit: Omit::Empty,
        ..Field::of(name, shape)
    }
}
