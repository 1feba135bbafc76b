//! Objects that kubectl itself judges, by the server's OpenAPI v2 document: lists, and others of kinds that no server checks the fields of.
//! Invariant: all that is wrong is told, and what the document does not know is not judged.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/validation/validation.go` and `k8s.io/kube-openapi/pkg/util/proto/validation`.

use super::files::kind_faults;
use crate::discovery::split_api_version;
use crate::error::quote;
use crate::typed::Read;
use serde_json::Value;

/// Whether an object is a list of objects of any kind.
pub fn is_plain_list(object: &Value) -> bool {
    object.text("apiVersion") == "v1" && object.text("kind") == "List"
}

/// What is wrong with an object that says what it is.
pub fn faults(document: &Value, object: &Value) -> Vec<String> {
    let mut judge = Judge {
        definitions: document.at("definitions"),
        faults: Vec::new(),
    };
    if !is_plain_list(object) {
        judge.object(object);
        return judge.faults;
    }
    let Some(items) = object.at("items").as_array() else {
        return vec!["invalid object to validate".into()];
    };
    for item in items {
        match kind_faults(item) {
            none if none.is_empty() => judge.object(item),
            some => judge.faults.extend(some),
        }
    }
    judge.faults
}

struct Judge<'a> {
    definitions: &'a Value,
    faults: Vec<String>,
}

/// A value, and what it is called in messages.
struct Item<'a> {
    value: &'a Value,
    path: String,
}

impl Judge<'_> {
    fn object(&mut self, object: &Value) {
        let (group, version) = split_api_version(object.text("apiVersion"));
        let kind = object.text("kind");
        let is = |one: &Value| {
            one.text("group") == group && one.text("version") == version && one.text("kind") == kind
        };
        let of_kind = |(_, schema): &(&String, &Value)| {
            let kinds = schema.at("x-kubernetes-group-version-kind").as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(is))
        };
        let definitions = self.definitions;
        let all = definitions.as_object().into_iter().flatten();
        if let Some((name, schema)) = all.filter(of_kind).max_by_key(|(name, _)| *name) {
            let item = Item {
                value: object,
                path: kind.into(),
            };
            self.value(schema, name, &item);
        }
    }

    /// Judges a value by its schema, which is called `of`.
    fn value(&mut self, schema: &Value, of: &str, item: &Item) {
        if let Some(to) = schema.text_ptr("$ref") {
            let name = to.rsplit('/').next().unwrap_or(to);
            let definitions = self.definitions;
            return self.value(definitions.at(name), name, item);
        }
        let has_fields = schema.at("properties").is_object();
        match (schema.text("type"), item.value) {
            ("" | "object", Value::Object(_)) if has_fields => self.fields(schema, of, item),
            ("", _) if !has_fields => {}
            ("object", Value::Object(_)) => self.entries(schema, of, item),
            ("" | "object", _) => self.wrong_type(of, item, "map"),
            ("array", Value::Array(list)) => self.elements(schema, of, item, list),
            ("string", value) if !value.is_object() && !value.is_array() => {}
            ("integer" | "number", Value::Number(_)) | ("boolean", Value::Bool(_)) => {}
            (kind, _) => self.wrong_type(of, item, kind),
        }
    }

    fn fields(&mut self, schema: &Value, of: &str, item: &Item) {
        let properties = schema.at("properties");
        for (name, value) in sorted(item.value).filter(|(_, value)| !value.is_null()) {
            match properties.get(name) {
                Some(property) => {
                    self.value(property, &format!("{of}.{name}"), &item.inner(name, value))
                }
                None => self.fault(item, &format!("unknown field {} in {of}", quote(name))),
            }
        }
        for name in schema.texts("required") {
            if item.value.at(name).is_null() {
                let what = format!("missing required field {} in {of}", quote(name));
                self.fault(item, &what);
            }
        }
    }

    fn entries(&mut self, schema: &Value, of: &str, item: &Item) {
        for (name, value) in sorted(item.value) {
            let inner = item.inner(name, value);
            if value.is_null() {
                self.faults.push(nothing(&inner.path));
            } else {
                self.value(schema.at("additionalProperties"), of, &inner);
            }
        }
    }

    fn elements(&mut self, schema: &Value, of: &str, item: &Item, list: &[Value]) {
        for (at, value) in list.iter().enumerate() {
            let path = format!("{}[{at}]", item.path);
            if value.is_null() {
                self.fault(item, &nothing(&path));
            } else {
                self.value(schema.at("items"), of, &Item { value, path });
            }
        }
    }

    fn wrong_type(&mut self, of: &str, item: &Item, expected: &str) {
        let got = match item.value {
            Value::Null => "nil",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "map",
        };
        let (got, expected) = (quote(got), quote(expected));
        let what = format!("invalid type for {of}: got {got}, expected {expected}");
        self.fault(item, &what);
    }

    fn fault(&mut self, item: &Item, what: &str) {
        let told = format!("ValidationError({}): {what}", item.path);
        self.faults.push(told);
    }
}

impl Item<'_> {
    fn inner<'a>(&self, name: &str, value: &'a Value) -> Item<'a> {
        let path = format!("{}.{name}", self.path);
        Item { value, path }
    }
}

/// That null stands where something is to be.
fn nothing(path: &str) -> String {
    format!("unknown object type \"nil\" in {path}")
}

/// An object's fields by their names.
fn sorted(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let mut fields: Vec<_> = object.as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| *name);
    fields.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        let thing = json!({
            "type": "object",
            "x-kubernetes-group-version-kind": [{"group": "", "kind": "Thing", "version": "v1"}],
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "any": {}, "free": {"type": "object"},
                "spec": {"$ref": "#/definitions/v1.Spec"}}});
        let spec = json!({
            "required": ["name"],
            "properties": {
                "name": {"type": "string"}, "count": {"type": "integer"}, "on": {"type": "boolean"},
                "list": {"type": "array", "items": {"$ref": "#/definitions/v1.Spec"}}}});
        json!({"definitions": {"v1.Thing": thing, "v1.Spec": spec}})
    }

    /// As kubectl v1.36 tells it.
    #[test]
    fn all_that_is_wrong_is_told() {
        let of = |more: Value| {
            let mut object = json!({"apiVersion": "v1", "kind": "Thing"});
            object
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            faults(&document(), &object)
        };
        let none: [&str; 0] = [];
        assert_eq!(
            of(
                json!({"spec": {"name": 1, "count": 1.5, "on": null}, "any": [null], "free": {"a": []}})
            ),
            none
        );
        assert_eq!(
            of(json!({})),
            ["ValidationError(Thing): missing required field \"spec\" in v1.Thing"]
        );
        assert_eq!(
            of(
                json!({"spec": {"list": [{"name": "a", "x": 1}, null, 7], "count": "1", "on": []},
                "labels": {"a": null, "b": {}}, "free": true})
            ),
            [
                "ValidationError(Thing.free): invalid type for v1.Thing.free: got \"boolean\", expected \"map\"",
                "unknown object type \"nil\" in Thing.labels.a",
                "ValidationError(Thing.labels.b): invalid type for v1.Thing.labels: got \"map\", expected \"string\"",
                "ValidationError(Thing.spec.count): invalid type for v1.Spec.count: got \"string\", expected \"integer\"",
                "ValidationError(Thing.spec.list[0]): unknown field \"x\" in v1.Spec",
                "ValidationError(Thing.spec.list): unknown object type \"nil\" in Thing.spec.list[1]",
                "ValidationError(Thing.spec.list[2]): invalid type for v1.Spec: got \"integer\", expected \"map\"",
                "ValidationError(Thing.spec.on): invalid type for v1.Spec.on: got \"array\", expected \"boolean\"",
                "ValidationError(Thing.spec): missing required field \"name\" in v1.Spec",
            ]
        );
    }

    #[test]
    fn the_items_of_a_list_are_judged() {
        let of = |items: Value| {
            faults(
                &document(),
                &json!({"apiVersion": "v1", "kind": "List", "items": items}),
            )
        };
        assert_eq!(of(json!({})), ["invalid object to validate"]);
        assert_eq!(
            of(
                json!([{"kind": "X"}, {"apiVersion": "v1", "kind": "Thing"}, {"apiVersion": "v1", "kind": "X", "y": 1}])
            ),
            [
                "apiVersion not set",
                "ValidationError(Thing): missing required field \"spec\" in v1.Thing"
            ]
        );
    }
}
