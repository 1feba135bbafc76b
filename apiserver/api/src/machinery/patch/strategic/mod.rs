//! Strategic merge patch: JSON Merge Patch that knows the types, so that lists of named things merge by name.
//!
//! Invariant: what is not told by a directive (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) follows the
//! schema's strategy for the field; a directive never ends up in the object when a patch is applied to it.
//! Follows upstream's `staging/src/k8s.io/apimachinery/pkg/util/strategicpatch`.

mod apply;
mod conflict;
mod create;
mod diff;
mod list;
mod order;

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::go::{GoValue, go_type};
use crate::machinery::quote::GoQuoted;
use crate::machinery::schema::{Field, Node, Shape};
use crate::machinery::status::{Details, Status};

pub use apply::apply;
pub use create::{three_way, two_way};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

type Object = Map<String, Value>;

/// Why a strategic patch cannot be applied or made. The texts are upstream's; [`StrategicError::status`] tells how the server answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StrategicError {
    #[error("invalid JSON document")]
    BadDocument,
    #[error("json: cannot unmarshal {0} into Go value of type {MAP_TYPE}")]
    NoMap(&'static str),
    #[error("lists of lists are not supported")]
    ListOfLists,
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrder,
    /// Custom resources have no strategic merge patch.
    #[error("strategic merge patch format is not supported")]
    Unsupported,
    /// An element of a merging list lacks its key.
    #[error("map: {} does not contain declared merge key: {key}", GoValue(.map))]
    NoMergeKey { map: Value, key: String },
    #[error("expected a {expected}, but received a {received}")]
    ArgType {
        expected: &'static str,
        received: &'static str,
    },
    #[error("unknown patch type: {} in map: {}", as_string(.directive), GoValue(.map))]
    PatchType { directive: Value, map: Value },
    /// The schema has no such field, or something else stands there than the patch takes it for.
    #[error("{0}")]
    Schema(String),
    /// Any other fault of the patch.
    #[error("{0}")]
    Other(String),
    /// The patch would overwrite what others changed since.
    #[error("patch:\n{patch}\nconflicts with changes made from original to current:\n{changed}\n")]
    Conflict { patch: Value, changed: Value },
    /// The patch would change what it must not.
    #[error("precondition failed for: {}", GoValue(.0))]
    Precondition(Value),
}

impl StrategicError {
    /// The server's answer: faults in the patch's form are told with 400, what it finds to be impossible with 422 and a text of its own, the rest with 500.
    pub fn status(&self) -> Status {
        match self {
            Self::BadDocument
            | Self::NoMap(_)
            | Self::PrimitiveList
            | Self::RetainKeys
            | Self::SetElementOrder
            | Self::Unsupported => Status::bad_request(self.to_string()),
            Self::ListOfLists => {
                let said = "the server rejected our request due to an error in our request";
                Status {
                    details: Some(Details::default()),
                    ..Status::new(422, "Invalid", said)
                }
            }
            _ => Status::new(500, "", self.to_string()),
        }
    }
}

/// A value where Go's `%s` wants a text.
fn as_string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => format!("%!s({}={})", go_type(other), GoValue(other)),
    }
}

fn arg_type(expected: &'static str, received: &Value) -> StrategicError {
    StrategicError::ArgType {
        expected,
        received: go_type(received),
    }
}

const MAP_TYPE: &str = "map[string]interface {}";
const LIST_TYPE: &str = "[]interface {}";

fn as_map(value: &Value) -> Result<&Object, StrategicError> {
    value.as_object().ok_or_else(|| arg_type(MAP_TYPE, value))
}

fn as_list(value: &Value) -> Result<&Vec<Value>, StrategicError> {
    value.as_array().ok_or_else(|| arg_type(LIST_TYPE, value))
}

/// What the schema says of one field, and the schema of what is in it.
#[derive(Clone, Copy)]
struct Meta<'a> {
    /// The struct of the value, or of the list's elements.
    schema: Node<'a>,
    strategy: Strategy,
    retain_keys: bool,
    /// Empty when there is none.
    merge_key: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Unset,
    Merge,
    Replace,
}

/// How messages name what is not a struct.
fn kind_name(schema: Node<'_>) -> Result<&str, &'static str> {
    if let Some(t) = schema.as_type() {
        return Ok(t.short_name());
    }
    match schema.shape() {
        Some(Shape::Raw) => Ok("RawExtension"),
        Some(Shape::Json) => Ok("JSON"),
        Some(Shape::SchemaOr(or, _)) => Ok(or.name()),
        Some(Shape::Fields) => Ok("FieldsV1"),
        Some(Shape::Quantity) => Ok("Quantity"),
        Some(Shape::Time) => Ok("Time"),
        Some(Shape::MicroTime) => Ok("MicroTime"),
        Some(Shape::Duration) => Ok("Duration"),
        Some(Shape::IntOrString) => Ok("IntOrString"),
        Some(Shape::Map(_)) => Err("map"),
        Some(Shape::List(_) | Shape::Bytes) => Err("slice"),
        Some(Shape::Bool) => Err("bool"),
        Some(Shape::Int32(_)) => Err("int32"),
        Some(Shape::Int64(_)) => Err("int64"),
        Some(Shape::Float64) => Err("float64"),
        _ => Err("string"),
    }
}

/// The field `key` of a struct, whose value is an object.
fn lookup<'a>(schema: Node<'a>, key: &str) -> Result<Meta<'a>, StrategicError> {
    let name = kind_name(schema).map_err(|kind| {
        StrategicError::Schema(format!(
            "merging an object in json but data type is not struct, instead is: {kind}"
        ))
    })?;
    let node = schema.as_type().and_then(|_| schema.child(key));
    let (Some(node), Some(field)) = (node, node.and_then(|n| n.field())) else {
        return Err(StrategicError::Schema(format!(
            "unable to find api field in struct {name} for the json field {key}",
            key = GoQuoted(&key)
        )));
    };
    Ok(meta(node, field))
}

fn meta<'a>(schema: Node<'a>, field: &'a Field) -> Meta<'a> {
    let strategy = match (field.merge, field.replace) {
        (true, _) => Strategy::Merge,
        (_, true) => Strategy::Replace,
        _ => Strategy::Unset,
    };
    Meta {
        schema,
        strategy,
        retain_keys: field.retain_keys,
        merge_key: field.merge_key.as_deref().unwrap_or_default(),
    }
}

/// The field `key` of a struct, whose value is a list; the schema returned is that of its elements.
fn lookup_list<'a>(schema: Node<'a>, key: &str) -> Result<Meta<'a>, StrategicError> {
    let found = lookup(schema, key)?;
    let element = found.schema.element().ok_or_else(|| {
        StrategicError::Schema("expected slice or array type, but got: struct".into())
    })?;
    if element.is_list() {
        return Err(StrategicError::Schema("unexpected slice of slice".into()));
    }
    Ok(Meta {
        schema: element,
        ..found
    })
}

/// What the elements of some lists are: all must be alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ElementKind {
    Map,
    Scalar,
}

fn element_kind(lists: &[&[Value]]) -> Result<ElementKind, StrategicError> {
    let mut found: Option<&'static str> = None;
    for item in lists.iter().copied().flatten() {
        let this = go_type(item);
        match found {
            None if item.is_array() => return Err(StrategicError::ListOfLists),
            None => found = Some(this),
            Some(first) if first != this => {
                let lists: Vec<String> = lists
                    .iter()
                    .map(|l| super::go::GoList(l).to_string())
                    .collect();
                return Err(StrategicError::Other(format!(
                    "list element types are not identical: [{}]",
                    lists.join(" ")
                )));
            }
            Some(_) => {}
        }
    }
    match found {
        None => Err(StrategicError::Other(
            "no elements in any of the given slices".into(),
        )),
        Some(MAP_TYPE) => Ok(ElementKind::Map),
        Some(_) => Ok(ElementKind::Scalar),
    }
}

/// What identifies an element: the value of its merge key, or the scalar itself.
fn identity<'a>(item: &'a Value, merge_key: &str, kind: ElementKind) -> &'a Value {
    match kind {
        ElementKind::Map => item.get(merge_key).unwrap_or(&Value::Null),
        ElementKind::Scalar => item,
    }
}

/// An element's merge key; it must be a map that has it.
fn merge_value<'a>(item: &'a Value, merge_key: &str) -> Result<&'a Value, StrategicError> {
    let map = as_map(item)?;
    map.get(merge_key)
        .ok_or_else(|| StrategicError::NoMergeKey {
            map: item.clone(),
            key: merge_key.into(),
        })
}

/// Where elements stand by what identifies them: the first of several alike.
struct Places<'a>(HashMap<&'a Value, usize>);

impl<'a> Places<'a> {
    fn of(list: &'a [Value], merge_key: &str, kind: ElementKind) -> Places<'a> {
        let mut places = HashMap::with_capacity(list.len());
        for (at, item) in list.iter().enumerate() {
            places.entry(identity(item, merge_key, kind)).or_insert(at);
        }
        Places(places)
    }

    fn get(&self, identity: &Value) -> Option<usize> {
        self.0.get(identity).copied()
    }
}

/// Where the element with this merge key stands.
fn find(list: &[Value], merge_key: &str, value: &Value) -> Result<Option<usize>, StrategicError> {
    for (at, item) in list.iter().enumerate() {
        let map = item
            .as_object()
            .ok_or_else(|| StrategicError::Other(format!("value for key {at} is not a map")))?;
        if map.get(merge_key) == Some(value) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
