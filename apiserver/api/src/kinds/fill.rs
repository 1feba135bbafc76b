//! Small words for defaults: set what is absent.

use serde_json::{Map, Value};

use crate::machinery::meta::child_mut;

/// Sets `name` when it is absent or Go's empty string.
pub fn text(map: &mut Map<String, Value>, name: &str, value: &str) {
    if map
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or("")
        .is_empty()
    {
        map.insert(name.into(), value.into());
    }
}

/// Sets `name` when it is absent (Go's nil).
pub fn absent(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if map.get(name).is_none_or(Value::is_null) {
        map.insert(name.into(), value.into());
    }
}

/// Sets a number when it is absent or zero.
pub fn number(map: &mut Map<String, Value>, name: &str, value: i64) {
    if map.get(name).and_then(Value::as_i64).unwrap_or(0) == 0 {
        map.insert(name.into(), value.into());
    }
}

/// `object.spec`, made when absent.
pub fn spec(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(object, "spec")
}

/// The objects of the list `name`.
pub fn each<'v>(
    map: &'v mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'v mut Map<String, Value>> {
    map.get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// The object `name`, when it is there.
pub fn inner<'v>(
    map: &'v mut Map<String, Value>,
    name: &str,
) -> Option<&'v mut Map<String, Value>> {
    map.get_mut(name).and_then(Value::as_object_mut)
}
