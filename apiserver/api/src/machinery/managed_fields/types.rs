//! What the schema says of a value for merging: scalar, list or map, and whether it is owned as a whole.
//!
//! Invariant: values that the schema does not describe are maps of fields owned one by one, or lists and scalars owned as a whole.
//! Follows upstream's `kube-openapi/pkg/schemaconv` and `sigs.k8s.io/structured-merge-diff/v6/{schema,typed/helpers.go}`.

use crate::machinery::problem::{Problem, problem};
use std::borrow::Cow;

use serde_json::Value;

use super::element::PathElement;
use crate::machinery::schema::{Field, ListType, Node, Omit, Shape, Type};

/// A type, as far as merging goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ty<'a> {
    /// A place in a schema.
    Node(Node<'a>),
    /// Nothing is known; the value itself decides.
    Deduced,
}

/// What a value of some type is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Atom<'a> {
    Scalar(Scalar),
    List(List<'a>),
    Map(MapType<'a>),
}

/// What a scalar must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    String,
    Numeric,
    Boolean,
    Untyped,
}

/// A list.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    pub atomic: bool,
    /// Of a list of maps; none in a set of scalars.
    pub keys: &'a [Box<str>],
    pub element: Ty<'a>,
}

/// A struct or map.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapType<'a> {
    pub atomic: bool,
    /// The struct, whose fields are known.
    pub fields: Option<Node<'a>>,
    /// The type of values without a field of their own; nothing when there must be none.
    pub element: Option<Ty<'a>>,
}

impl<'a> MapType<'a> {
    const DEDUCED: MapType<'static> = MapType {
        atomic: false,
        fields: None,
        element: Some(Ty::Deduced),
    };

    /// The type of a field, when the struct has it.
    pub fn field(&self, name: &str) -> Option<Ty<'a>> {
        self.fields.and_then(|node| node.child(name)).map(Ty::Node)
    }

    /// The type of what stands under `name`.
    pub fn child(&self, name: &str) -> Option<Ty<'a>> {
        self.field(name).or(self.element)
    }
}

impl<'a> Ty<'a> {
    /// What `value` is, as this type sees it.
    pub fn atom(self, value: Option<&Value>) -> Atom<'a> {
        match self {
            Ty::Node(node) => of_node(node, value),
            Ty::Deduced => deduced(value),
        }
    }

    /// Whether the type leaves it to the value what it is.
    pub fn is_deduced(self) -> bool {
        match self {
            Ty::Deduced => true,
            Ty::Node(node) => {
                matches!(
                    node.shape(),
                    Some(Shape::Json | Shape::SchemaOr(..) | Shape::Fields)
                ) && !node.field().is_some_and(|f| f.atomic)
            }
        }
    }
}

fn deduced<'a>(value: Option<&Value>) -> Atom<'a> {
    match value {
        Some(Value::String(_) | Value::Number(_) | Value::Bool(_)) => Atom::Scalar(Scalar::Untyped),
        Some(Value::Array(_)) => Atom::List(List {
            atomic: true,
            keys: &[],
            element: Ty::Deduced,
        }),
        _ => Atom::Map(MapType::DEDUCED),
    }
}

fn of_node<'a>(node: Node<'a>, value: Option<&Value>) -> Atom<'a> {
    let atomic = node.field().is_some_and(|f| f.atomic);
    if let Some(t) = node.as_type() {
        // of a struct without fields nothing is known
        let open = t.preserve_unknown || t.fields.is_empty();
        let element = open.then_some(Ty::Deduced);
        let granular = node.field().is_some_and(|f| f.granular);
        return Atom::Map(MapType {
            atomic: atomic || (t.atomic && !granular),
            fields: Some(node),
            element,
        });
    }
    match node.shape() {
        Some(Shape::Map(_)) => Atom::Map(MapType {
            atomic,
            fields: None,
            element: node.child("").map(Ty::Node),
        }),
        Some(Shape::Raw) => match value {
            Some(Value::Array(_)) => deduced(value),
            _ => Atom::Map(MapType {
                atomic: true,
                ..MapType::DEDUCED
            }),
        },
        Some(Shape::Json | Shape::SchemaOr(..) | Shape::Fields) => match deduced(value) {
            Atom::Map(map) => Atom::Map(MapType { atomic, ..map }),
            other => other,
        },
        Some(Shape::List(_)) => {
            let element = node.element().map_or(Ty::Deduced, Ty::Node);
            let atomic = matches!(node.list_type(), ListType::Unset | ListType::Atomic);
            Atom::List(List {
                atomic,
                keys: if node.list_type() == ListType::Map {
                    node.keys()
                } else {
                    &[]
                },
                element,
            })
        }
        Some(Shape::Bool) => Atom::Scalar(Scalar::Boolean),
        Some(Shape::Int32(_) | Shape::Int64(_) | Shape::Float64) => Atom::Scalar(Scalar::Numeric),
        // to be one thing or another is left to the value altogether; what is given none is a scalar
        Some(Shape::IntOrString) => match value {
            Some(Value::Array(_) | Value::Object(_)) => deduced(value),
            _ => Atom::Scalar(Scalar::Untyped),
        },
        Some(Shape::Quantity | Shape::Time | Shape::MicroTime) => Atom::Scalar(Scalar::Untyped),
        _ => Atom::Scalar(Scalar::String),
    }
}

impl<'a> List<'a> {
    /// The step that leads to an element of this list, which must be a set or have keys.
    pub fn step(&self, item: &'a Value) -> Result<PathElement<'a>, Problem> {
        if self.keys.is_empty() {
            return match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Array(_) => {
                    Err("not supported: associative list with lists as elements".into())
                }
                Value::Null => Err(
                    "associative list without keys has an element that's an explicit null".into(),
                ),
                scalar => Ok(PathElement::Value(Cow::Borrowed(scalar))),
            };
        }
        let map = match item {
            Value::Null => {
                return Err("associative list with keys may not have a null element".into());
            }
            Value::Object(map) => map,
            _ => return Err("associative list with keys may not have non-map elements".into()),
        };
        let mut found = Vec::with_capacity(self.keys.len());
        for key in self.keys {
            let value = map
                .get(&**key)
                .map(Cow::Borrowed)
                .or_else(|| self.key_default(key));
            found.extend(value.map(|v| (Cow::Borrowed(&**key), v)));
        }
        if found.is_empty() {
            let keys: Vec<String> = self.keys.iter().map(|k| format!("{k:?}")).collect();
            let keys = keys.join(" ");
            return Err(problem!(
                "associative list with keys has an element that omits all key fields [{keys}] (and doesn't have default values for any key fields)"
            ));
        }
        if found.len() > 1 {
            found.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Ok(PathElement::Key(found))
    }

    /// What a key that is not given stands for: the field's default, or Go's zero where the field is always written.
    fn key_default(&self, key: &str) -> Option<Cow<'a, Value>> {
        let Ty::Node(element) = self.element else {
            return None;
        };
        let field = element.as_type().and_then(|t: &'a Type| t.field(key))?;
        field
            .default
            .as_ref()
            .map(Cow::Borrowed)
            .or_else(|| zero(field).map(Cow::Owned))
    }
}

fn zero(field: &Field) -> Option<Value> {
    if field.pointer || field.omit != Omit::Never {
        return None;
    }
    match field.shape {
        Shape::String(_) => Some("".into()),
        Shape::Int32(_) | Shape::Int64(_) | Shape::Float64 => Some(0.into()),
        Shape::Bool => Some(false.into()),
        _ => None,
    }
}
