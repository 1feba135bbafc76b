//! Object metadata, read from and written to a JSON object without decoding it.

use serde_json::{Map, Value};

/// Reads that never fail: what is absent is empty.
pub trait Meta {
    fn meta(&self) -> Option<&Map<String, Value>>;
    /// `metadata`, made when absent.
    fn meta_mut(&mut self) -> &mut Map<String, Value>;

    fn meta_str(&self, field: &str) -> &str {
        self.meta()
            .and_then(|meta| meta.get(field))
            .and_then(Value::as_str)
            .unwrap_or("")
    }
    fn name(&self) -> &str {
        self.meta_str("name")
    }
    fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }
    fn uid(&self) -> &str {
        self.meta_str("uid")
    }
    fn resource_version(&self) -> &str {
        self.meta_str("resourceVersion")
    }
    fn generation(&self) -> i64 {
        self.meta()
            .and_then(|meta| meta.get("generation"))
            .and_then(Value::as_i64)
            .unwrap_or(0)
    }
    fn is_deleting(&self) -> bool {
        self.meta()
            .is_some_and(|meta| meta.contains_key("deletionTimestamp"))
    }
    fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.meta()
            .and_then(|meta| meta.get("finalizers"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }
    fn label(&self, key: &str) -> Option<&str> {
        self.meta()?.get("labels")?.get(key)?.as_str()
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.meta()?.get("annotations")?.get(key)?.as_str()
    }
    /// Sets a field; an empty string removes it.
    fn set_meta(&mut self, field: &str, value: impl Into<Value>) {
        let value = value.into();
        let meta = self.meta_mut();
        if value.as_str() == Some("") || value.is_null() {
            meta.remove(field);
        } else {
            meta.insert(field.into(), value);
        }
    }
}

impl Meta for Value {
    fn meta(&self) -> Option<&Map<String, Value>> {
        self.get("metadata")?.as_object()
    }

    fn meta_mut(&mut self) -> &mut Map<String, Value> {
        child_mut(self, "metadata")
    }
}

/// The object under `name`, made when it is absent or no object.
pub fn child_mut<'v>(value: &'v mut Value, name: &str) -> &'v mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else {
        unreachable!("made an object above")
    };
    let child = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    match child {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// The value at a path of object keys.
pub fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}
