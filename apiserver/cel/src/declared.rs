//! Declared types of data: what an expression may ask of a value, how large it can become, and how JSON becomes a value.
//!
//! Invariant: a part of which an expression may know nothing has no [`Declared::ty`], but its place: such data is compared all the same.
//! The counterpart of upstream's `staging/src/k8s.io/apiserver/pkg/cel/types.go` (`DeclType`) and of the schema in `common/values.go`.

use crate::escape;
use crate::types::{Fields, ObjectType, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest request that the API takes, in bytes: no data is larger.
pub const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;

#[derive(Debug)]
pub struct Declared {
    /// How the checker knows it; `None` hides it.
    pub ty: Option<Type>,
    /// The most elements of a list or map, or characters of a string.
    pub max_elements: u64,
    /// The fewest bytes that it takes as JSON.
    pub min_size: u64,
    /// Whether `null` is a value of it.
    pub nullable: bool,
    pub shape: Shape,
}

/// How JSON is read as a value.
#[derive(Debug)]
pub enum Shape {
    Bool,
    Int,
    Double,
    String,
    /// `format: byte`
    Bytes,
    Duration,
    /// `format: date`
    Date,
    /// `format: date-time`
    DateTime,
    IntOrString,
    List {
        items: Arc<Declared>,
        kind: ListKind,
    },
    Map(Arc<Declared>),
    Object(BTreeMap<String, Property>),
    /// An object that has no properties and says nothing of others.
    Unknown,
    /// What is kept though no schema names it.
    Preserved,
    /// Whatever JSON holds.
    Dyn,
    /// The same as Go reads it without a type: numbers are doubles. What is in it may be asked for by escaped names, too.
    Untyped,
}

/// How lists of a type are equal, and what their sum is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    Set,
    /// Elements are known by these properties.
    Map(Vec<String>),
}

#[derive(Debug)]
pub struct Property {
    pub declared: Arc<Declared>,
    pub required: bool,
    /// Whether it has a default, so that it is there though it was not sent.
    pub defaulted: bool,
}

impl Declared {
    fn new(ty: Type, shape: Shape, max_elements: u64, min_size: u64) -> Declared {
        Declared {
            ty: Some(ty),
            max_elements,
            min_size,
            nullable: false,
            shape,
        }
    }

    /// Data of which nothing is known.
    pub fn dynamic() -> Declared {
        Declared::new(Type::Dyn, Shape::Dyn, 0, 1)
    }

    /// Data of a type, of whose size nothing is known; it is read as what it is.
    pub fn of_type(ty: Type) -> Declared {
        Declared::new(ty, Shape::Dyn, 0, 1)
    }

    /// Data of a type, read as Go reads JSON without one; of its size nothing is known.
    pub fn untyped(ty: Type) -> Declared {
        Declared::new(ty, Shape::Untyped, 0, 1)
    }

    /// What is hidden from expressions, but compared.
    pub fn preserved() -> Declared {
        Declared {
            ty: None,
            ..Declared::new(Type::Dyn, Shape::Preserved, 0, 1)
        }
    }

    pub fn bool() -> Declared {
        Declared::new(Type::Bool, Shape::Bool, 0, 4)
    }

    pub fn int() -> Declared {
        Declared::new(Type::Int, Shape::Int, 0, 1)
    }

    pub fn double() -> Declared {
        Declared::new(Type::Double, Shape::Double, 0, 1)
    }

    /// `max_bytes`: the most bytes of the text.
    pub fn string(max_bytes: u64) -> Declared {
        Declared::new(Type::String, Shape::String, max_bytes, 2)
    }

    pub fn bytes(max: u64) -> Declared {
        Declared::new(Type::Bytes, Shape::Bytes, max, 2)
    }

    pub fn duration() -> Declared {
        Declared::new(Type::Duration, Shape::Duration, 32, 3)
    }

    pub fn date() -> Declared {
        Declared::new(Type::Timestamp, Shape::Date, 12, 12)
    }

    pub fn date_time() -> Declared {
        Declared::new(Type::Timestamp, Shape::DateTime, 32, 21)
    }

    pub fn int_or_string(max: u64) -> Declared {
        Declared::new(Type::Dyn, Shape::IntOrString, max, 1)
    }

    /// `max`: the most elements, or what fits into a request.
    pub fn list(items: Arc<Declared>, kind: ListKind, max: Option<u64>) -> Declared {
        let fits = (MAX_REQUEST_BYTES - 2) / (items.min_size + 1);
        Declared {
            ty: items.ty.clone().map(Type::list),
            max_elements: max.unwrap_or(fits),
            min_size: 2,
            nullable: false,
            shape: Shape::List { items, kind },
        }
    }

    /// `max`: the most entries, or what fits into a request.
    pub fn map(values: Arc<Declared>, max: Option<u64>) -> Declared {
        let fits = (MAX_REQUEST_BYTES - 2) / (values.min_size + 6);
        Declared {
            ty: values.ty.clone().map(|of| Type::map(Type::String, of)),
            max_elements: max.unwrap_or(fits),
            min_size: 2,
            nullable: false,
            shape: Shape::Map(values),
        }
    }

    /// An object with properties. Those whose names cannot be written even when escaped are hidden.
    pub fn object(name: &str, properties: BTreeMap<String, Property>) -> Declared {
        let mut fields = BTreeMap::new();
        let mut min_size = 2;
        for (property, of) in &properties {
            let Some(ty) = &of.declared.ty else {
                continue;
            };
            if let Some(escaped) = escape::escape(property) {
                fields.insert(escaped.into_owned(), ty.clone());
            }
            if of.required && !of.defaulted {
                min_size += property.len() as u64 + of.declared.min_size + 4;
            }
        }
        let ty = Type::Object(Arc::new(ObjectType {
            name: name.to_owned(),
            fields: Fields::Named(fields),
        }));
        Declared::new(ty, Shape::Object(properties), 0, min_size)
    }

    /// An object of which no property is known.
    pub fn unknown_object(name: &str) -> Declared {
        Declared {
            shape: Shape::Unknown,
            ..Declared::object(name, BTreeMap::new())
        }
    }

    #[must_use]
    pub fn nullable(self, nullable: bool) -> Declared {
        Declared { nullable, ..self }
    }

    /// What an element of the list or a value of the map is.
    pub(crate) fn element(&self) -> Option<&Declared> {
        match &self.shape {
            Shape::List { items, .. } => Some(items),
            Shape::Map(values) => Some(values),
            Shape::Untyped => Some(self),
            _ => None,
        }
    }

    /// The field that an expression knows by `name`, in the form in which it is declared.
    pub(crate) fn field(&self, name: &str) -> Option<&Declared> {
        let Shape::Object(properties) = &self.shape else {
            return None;
        };
        let property = escape::unescape(name)?;
        let of = properties.get(&*property)?;
        let same = escape::escape(&property).is_some_and(|escaped| escaped == name);
        (same && of.declared.ty.is_some()).then_some(&*of.declared)
    }
}
