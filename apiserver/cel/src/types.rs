//! Types as the checker knows them.
//!
//! Invariant: types print as upstream's checker prints them (`vendor/github.com/google/cel-go/checker/format.go`); object types are equal when their names are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Anything: checked when it is evaluated.
    Dyn,
    Any,
    /// Of what is faulty already; fits everything, so that a fault is told once.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Type>),
    Map(Arc<(Type, Type)>),
    /// The type of types, of one or of any.
    Type(Option<Arc<Type>>),
    Object(Arc<ObjectType>),
    /// A type that is known by its name and parameters alone; `optional_type(T)` is one.
    Opaque(Arc<OpaqueType>),
    /// A parameter in the declaration of a function.
    Param(&'static str),
    /// A type that is not known yet.
    Var(u32),
}

#[derive(Debug)]
pub struct ObjectType {
    pub name: String,
    pub fields: Fields,
}

/// What may be asked of an object.
#[derive(Debug)]
pub enum Fields {
    /// Nothing.
    None,
    /// These, by the name under which an expression finds them.
    Named(BTreeMap<String, Type>),
    /// Whatever it is, of any type.
    Any,
}

impl ObjectType {
    /// The type of a field; `None` if it has none of that name.
    pub(crate) fn field(&self, name: &str) -> Option<Type> {
        match &self.fields {
            Fields::None => None,
            Fields::Named(fields) => fields.get(name).cloned(),
            Fields::Any => Some(Type::Dyn),
        }
    }
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[derive(Debug, PartialEq)]
pub struct OpaqueType {
    pub name: &'static str,
    pub params: Vec<Type>,
}

pub const OPTIONAL: &str = "optional_type";

impl Type {
    pub fn list(element: Type) -> Type {
        Type::List(Arc::new(element))
    }

    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new((key, value)))
    }

    pub fn optional(of: Type) -> Type {
        Type::opaque(OPTIONAL, vec![of])
    }

    pub fn opaque(name: &'static str, params: Vec<Type>) -> Type {
        Type::Opaque(Arc::new(OpaqueType { name, params }))
    }

    /// An object type of which nothing but the name is known.
    pub fn object(name: &str) -> Type {
        Type::Object(Arc::new(ObjectType {
            name: name.to_owned(),
            fields: Fields::None,
        }))
    }

    /// An object type that has whatever fields a literal gives it.
    pub fn open_object(name: &str) -> Type {
        Type::Object(Arc::new(ObjectType {
            name: name.to_owned(),
            fields: Fields::Any,
        }))
    }

    /// An object type of fields of which no more than the types are known, by the names under which an expression finds them.
    pub fn object_of<'n>(name: &str, fields: impl IntoIterator<Item = (&'n str, Type)>) -> Type {
        let fields = fields.into_iter().map(|(field, ty)| (field.to_owned(), ty));
        Type::Object(Arc::new(ObjectType {
            name: name.to_owned(),
            fields: Fields::Named(fields.collect()),
        }))
    }

    /// Its name and parameters, as upstream tells of the result of an expression (`list(string)`, `google.protobuf.Duration`).
    pub fn full_name(&self) -> String {
        let parameters: Vec<String> = match self {
            Type::List(of) => vec![of.full_name()],
            Type::Map(of) => vec![of.0.full_name(), of.1.full_name()],
            Type::Type(Some(of)) => vec![of.full_name()],
            Type::Opaque(opaque) => opaque.params.iter().map(Type::full_name).collect(),
            _ => Vec::new(),
        };
        match parameters.as_slice() {
            [] => self.name().to_owned(),
            parameters => format!("{}({})", self.name(), parameters.join(", ")),
        }
    }

    pub fn type_of(of: Type) -> Type {
        Type::Type(Some(Arc::new(of)))
    }

    /// What is in an optional.
    pub fn optional_of(&self) -> Option<&Type> {
        match self {
            Type::Opaque(opaque) if opaque.name == OPTIONAL => opaque.params.first(),
            _ => None,
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn | Type::Any)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        self.is_dyn() || *self == Type::Error
    }

    /// The name of the type of values, parameters left out.
    pub fn name(&self) -> &str {
        match self {
            Type::Dyn => "dyn",
            Type::Any => "any",
            Type::Error => "error",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Duration => "google.protobuf.Duration",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::List(_) => "list",
            Type::Map(_) => "map",
            Type::Type(_) => "type",
            Type::Object(object) => &object.name,
            Type::Opaque(opaque) => opaque.name,
            Type::Param(name) => name,
            Type::Var(_) => "dyn",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Error => f.write_str("!error!"),
            Type::Null => f.write_str("null"),
            Type::Duration => f.write_str("duration"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::List(of) => write!(f, "list({of})"),
            Type::Map(of) => write!(f, "map({}, {})", of.0, of.1),
            Type::Type(Some(of)) => write!(f, "type({of})"),
            Type::Var(number) => write!(f, "_var{number}"),
            Type::Opaque(opaque) if !opaque.params.is_empty() => {
                write!(f, "{}(", opaque.name)?;
                for (i, param) in opaque.params.iter().enumerate() {
                    write!(f, "{}{param}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            other => f.write_str(other.name()),
        }
    }
}
