//! Values as upstream's messages show them: JSON of the hub ("internal") types, whose fields bear Go's names and are all written.
//!
//! Invariant: runs only when an error is written; the table is read once. Follows `pkg/apis/{core,apps,batch}/types.go`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::kinds::prelude::*;
use crate::machinery::read::Read;
use crate::machinery::schema::{self, Schema};

#[derive(Debug, PartialEq)]
enum Shape {
    Text,
    TextOrNothing,
    Bool,
    Int,
    Quantity,
    IntOrString,
    Any,
    /// A schema of custom resources, or something simpler in its place.
    SchemaOr(schema::Or),
    Pointer(Box<Shape>),
    List(Box<Shape>),
    Map(Box<Shape>),
    Struct(String),
}

#[derive(Debug, PartialEq)]
struct Field {
    name: String,
    json: String,
    shape: Shape,
}

type Table = HashMap<String, Vec<Field>>;

fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        let lines = || {
            include_str!("types.txt")
                .lines()
                .filter(|l| !l.starts_with('#'))
        };
        let named = lines().filter_map(|line| line.strip_prefix("name ")?.split_once(' '));
        let mut table = derived(&named.collect());
        let mut current = "";
        for line in lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["alter", name] => current = name,
                ["type", name] => {
                    current = name;
                    table.insert(name.into(), Vec::new());
                }
                ["drop", json] if line.starts_with(' ') => {
                    let fields = table.entry(current.into()).or_default();
                    fields.retain(|field| field.json != json);
                }
                [name, json, shape] if line.starts_with(' ') => {
                    let field = Field {
                        name: name.into(),
                        json: json.into(),
                        shape: Shape::read(shape),
                    };
                    let fields = table.entry(current.into()).or_default();
                    match fields.iter_mut().find(|other| other.json == json) {
                        Some(other) => *other = field,
                        None => fields.push(field),
                    }
                }
                _ => {}
            }
        }
        table
    });
    &TABLE
}

/// The types of the schema table as hub types, by Go's names of their fields where those are no JSON names with a capital.
fn derived(named: &HashMap<&str, &str>) -> Table {
    let schema = Schema::builtin();
    // of two versions the newer one comes later
    let types = schema.types.iter().filter_map(|of| {
        let (package, rest) = of
            .name
            .split_once('.')
            .filter(|(package, _)| *package != "meta")?;
        let (_, name) = rest.split_once('.')?;
        Some((format!("{package}.{name}"), of))
    });
    let field = |of: &schema::Field| Field {
        name: match (&*of.name, named.get(&*of.name)) {
            ("metadata", _) => "+".into(),
            (_, Some(name)) => (*name).into(),
            (json, None) => format!("{}{}", json[..1].to_ascii_uppercase(), &json[1..]),
        },
        json: of.name.to_string(),
        shape: match Shape::of(&of.shape) {
            shape if of.pointer => Shape::Pointer(Box::new(shape)),
            shape => shape,
        },
    };
    types
        .map(|(name, of)| {
            let is_object = ["kind", "apiVersion"]
                .iter()
                .zip(&of.fields)
                .all(|(name, field)| *field.name == **name);
            let fields = of.fields.iter().skip(if is_object { 2 } else { 0 });
            (name, fields.map(field).collect())
        })
        .collect()
}

impl Shape {
    fn read(text: &str) -> Shape {
        if let Some(of) = text.strip_prefix('*') {
            return Shape::Pointer(Box::new(Shape::read(of)));
        }
        if let Some(of) = text.strip_prefix("[]") {
            return Shape::List(Box::new(Shape::read(of)));
        }
        if let Some(of) = text.strip_prefix("map:") {
            return Shape::Map(Box::new(Shape::read(of)));
        }
        match text {
            "string" => Shape::Text,
            "string?" => Shape::TextOrNothing,
            "bool" => Shape::Bool,
            "int" => Shape::Int,
            "quantity" => Shape::Quantity,
            "intorstring" => Shape::IntOrString,
            "time" | "bytes" | "raw" => Shape::Any,
            "schemaorarray" => Shape::SchemaOr(schema::Or::Array),
            "schemaorbool" => Shape::SchemaOr(schema::Or::Bool),
            "schemaorstrings" => Shape::SchemaOr(schema::Or::Strings),
            name => Shape::Struct(name.into()),
        }
    }

    /// That of a field of the schema table.
    fn of(shape: &schema::Shape) -> Shape {
        match shape {
            schema::Shape::String(_) => Shape::Text,
            schema::Shape::Bool => Shape::Bool,
            schema::Shape::Int32(_) | schema::Shape::Int64(_) => Shape::Int,
            schema::Shape::Quantity => Shape::Quantity,
            schema::Shape::IntOrString => Shape::IntOrString,
            schema::Shape::List(of) => Shape::List(Box::new(Shape::of(of))),
            schema::Shape::Map(of) => Shape::Map(Box::new(Shape::of(of))),
            schema::Shape::Struct(index) => {
                let name = &*Schema::builtin().types[*index as usize].name;
                match name.split('.').collect::<Vec<_>>()[..] {
                    ["meta", ..] => Shape::Struct(name.into()),
                    [package, _, kind] => Shape::Struct(format!("{package}.{kind}")),
                    _ => Shape::Any,
                }
            }
            _ => Shape::Any,
        }
    }
}

/// The JSON of `value` as the hub type `kind`, on one line.
pub fn json(value: &Value, kind: &str) -> String {
    let mut printer = Printer {
        out: String::new(),
        indent: None,
    };
    printer.structure(Some(value), None, kind);
    printer.out
}

/// The JSON of a list of `kind`s, on one line; `null` when there is none.
pub fn json_list(items: &[Value], kind: &str) -> String {
    if items.is_empty() {
        return "null".into();
    }
    format!(
        "[{}]",
        items
            .iter()
            .map(|item| json(item, kind))
            .collect::<Vec<_>>()
            .join(",")
    )
}

/// The JSON of a list of `kind`s as it was given, on one line: an empty list is none that is absent.
pub fn json_given(list: Option<&Value>, kind: &str) -> String {
    match list.and_then(Value::as_array) {
        Some(items) if items.is_empty() => "[]".into(),
        Some(items) => json_list(items, kind),
        None => json_list(&[], kind),
    }
}

/// The JSON of `value`, indented by one blank a level.
pub fn pretty(value: &Value, kind: &str) -> String {
    let mut printer = Printer {
        out: String::new(),
        indent: Some(0),
    };
    printer.structure(Some(value), None, kind);
    printer.out
}

struct Printer {
    out: String,
    /// The depth, when lines are indented.
    indent: Option<usize>,
}

impl Printer {
    fn newline(&mut self) {
        if let Some(depth) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', depth));
        }
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.indent = self.indent.map(|depth| depth + 1);
    }

    fn close(&mut self, bracket: char, empty: bool) {
        self.indent = self.indent.map(|depth| depth - 1);
        if !empty {
            self.newline();
        }
        self.out.push(bracket);
    }

    fn key(&mut self, first: &mut bool, name: &str) {
        if !*first {
            self.out.push(',');
        }
        *first = false;
        self.newline();
        self.string(name);
        self.out
            .push_str(if self.indent.is_some() { ": " } else { ":" });
    }

    /// Go's encoder escapes what HTML would read as markup.
    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                    self.out.push_str(&format!("\\u{:04x}", c as u32));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn structure(&mut self, value: Option<&Value>, around: Option<&Value>, kind: &str) {
        let Some(fields) = table().get(kind) else {
            return self.tagged(value, kind);
        };
        let null = Value::Null;
        let value = value.unwrap_or(&null);
        self.open('{');
        let mut first = true;
        for field in fields {
            if field.name == "+" {
                if let Shape::Struct(kind) = &field.shape {
                    self.tagged_fields(value.some(&field.json), kind, &mut first);
                }
                continue;
            }
            let found = match field.json.strip_prefix("../") {
                Some(name) => around.and_then(|around| around.some(name)),
                None => value.some(&field.json),
            };
            if matches!(field.shape, Shape::TextOrNothing)
                && found.and_then(Value::as_str).unwrap_or("").is_empty()
            {
                continue;
            }
            self.key(&mut first, &field.name);
            self.shape(found, Some(value), &field.shape);
        }
        self.close('}', first);
    }

    /// A type that keeps its JSON names (metav1): what is there, in Go's order.
    fn tagged(&mut self, value: Option<&Value>, kind: &str) {
        self.open('{');
        let mut first = true;
        self.tagged_fields(value, kind, &mut first);
        self.close('}', first);
    }

    fn tagged_fields(&mut self, value: Option<&Value>, kind: &str, first: &mut bool) {
        let Some(map) = value.and_then(Value::as_object) else {
            return;
        };
        let order = Schema::builtin().get(kind).and_then(|node| node.as_type());
        let names: Vec<&str> = match order {
            Some(t) => t.fields.iter().map(|field| &*field.name).collect(),
            None => map.keys().map(String::as_str).collect(),
        };
        for name in names {
            let nothing = |found: &Value| match found {
                Value::Null => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if let Some(found) = map.get(name).filter(|found| !nothing(found)) {
                self.key(first, name);
                let inner = match kind {
                    "meta.v1.LabelSelector" if name == "matchExpressions" => {
                        Some("meta.v1.LabelSelectorRequirement")
                    }
                    "meta.v1.ObjectMeta" if name == "ownerReferences" => {
                        Some("meta.v1.OwnerReference")
                    }
                    "meta.v1.ObjectMeta" if name == "managedFields" => {
                        Some("meta.v1.ManagedFieldsEntry")
                    }
                    _ => None,
                };
                self.any(found, inner);
            }
        }
    }

    fn any(&mut self, value: &Value, element: Option<&str>) {
        match value {
            Value::Object(map) => {
                self.open('{');
                let mut first = true;
                for (name, found) in map {
                    self.key(&mut first, name);
                    self.any(found, None);
                }
                self.close('}', first);
            }
            Value::Array(items) => self.items(items, |printer, item| match element {
                Some(kind) => printer.tagged(Some(item), kind),
                None => printer.any(item, None),
            }),
            Value::String(text) => self.string(text),
            Value::Number(_) => self
                .out
                .push_str(&String::from_utf8_lossy(&schema::to_json(value, None))),
            other => self.out.push_str(&other.to_string()),
        }
    }

    /// Hub types tell what stands in a schema's place beside it.
    fn schema_or(&mut self, value: &Value, or: schema::Or) {
        let schema = Shape::Struct("apiextensions.JSONSchemaProps".into());
        let (other, of, absent) = match or {
            schema::Or::Array => ("JSONSchemas", schema, "null"),
            schema::Or::Strings => ("Property", Shape::Text, "null"),
            schema::Or::Bool => ("Allows", Shape::Bool, "true"),
        };
        let list = Shape::List(Box::new(of));
        let mut first = true;
        self.open('{');
        let tell_schema = |printer: &mut Printer, first: &mut bool| {
            printer.key(first, "Schema");
            match value {
                Value::Object(_) => {
                    printer.structure(Some(value), None, "apiextensions.JSONSchemaProps")
                }
                _ => printer.out.push_str("null"),
            }
        };
        if or != schema::Or::Bool {
            tell_schema(self, &mut first);
        }
        self.key(&mut first, other);
        match value {
            Value::Object(_) => self.out.push_str(absent),
            Value::Array(_) => self.shape(Some(value), None, &list),
            other => self.any(other, None),
        }
        if or == schema::Or::Bool {
            tell_schema(self, &mut first);
        }
        self.close('}', first);
    }

    fn items(&mut self, items: &[Value], mut each: impl FnMut(&mut Printer, &Value)) {
        self.open('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.newline();
            each(self, item);
        }
        self.close(']', items.is_empty());
    }

    fn shape(&mut self, value: Option<&Value>, around: Option<&Value>, shape: &Shape) {
        match (shape, value) {
            (Shape::Pointer(of), Some(_)) => self.shape(value, around, of),
            (
                Shape::Pointer(_)
                | Shape::List(_)
                | Shape::Map(_)
                | Shape::Any
                | Shape::SchemaOr(_),
                None,
            ) => self.out.push_str("null"),
            (Shape::SchemaOr(or), Some(value)) => self.schema_or(value, *or),
            (Shape::Struct(kind), value) => self.structure(value, around, kind),
            (Shape::List(of), Some(value)) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                self.items(items, |printer, item| printer.shape(Some(item), around, of));
            }
            (Shape::Map(of), Some(value)) => {
                self.open('{');
                let mut first = true;
                for (name, found) in value.as_object().into_iter().flatten() {
                    self.key(&mut first, name);
                    self.shape(Some(found), around, of);
                }
                self.close('}', first);
            }
            (Shape::Text | Shape::TextOrNothing, None) => self.out.push_str("\"\""),
            (Shape::Bool, None) => self.out.push_str("false"),
            (Shape::Int | Shape::IntOrString, None) => self.out.push('0'),
            (Shape::Quantity, None) => self.out.push_str("\"0\""),
            (_, Some(value)) => self.any(value, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_table_is_there() {
        fn named(shape: &Shape) -> Option<&str> {
            match shape {
                Shape::Pointer(of) | Shape::List(of) | Shape::Map(of) => named(of),
                Shape::Struct(name) => Some(name),
                _ => None,
            }
        }
        for (kind, fields) in table() {
            for name in fields.iter().filter_map(|field| named(&field.shape)) {
                assert!(
                    table().contains_key(name) || Schema::builtin().get(name).is_some(),
                    "{kind} refers to {name}"
                );
            }
        }
    }

    #[test]
    fn go_names_in_go_order() {
        assert_eq!(
            json(
                &json!({"name": "a", "resourceClaimName": "b"}),
                "core.PodResourceClaim"
            ),
            r#"{"Name":"a","ResourceClaimName":"b","ResourceClaimTemplateName":null}"#
        );
        // as the schema table has it, but for one field
        assert_eq!(
            json(&json!({}), "apps.RollingUpdateStatefulSetStrategy"),
            r#"{"Partition":0,"MaxUnavailable":null}"#
        );
        assert_eq!(
            pretty(&json!({"name": "<"}), "core.PodSchedulingGate"),
            "{\n \"Name\": \"\\u003c\"\n}"
        );
    }

    #[test]
    fn schemas_and_what_stands_in_their_place() {
        let schema = json!({"id": "x", "maximum": 2.0, "items": [{"type": "a"}], "additionalProperties": false,
            "dependencies": {"a": ["b"], "c": {}}, "additionalItems": {}, "default": {"b": [1]}});
        let text = json(&schema, "apiextensions.JSONSchemaProps");
        assert!(
            text.starts_with(
                r#"{"ID":"x","Schema":"","Ref":null,"Description":"","Type":"","Nullable":false,"#
            ),
            "{text}"
        );
        for part in [
            r#""Default":{"b":[1]},"Maximum":2,"#,
            r#""Items":{"Schema":null,"JSONSchemas":[{"ID":"#,
            r#""AdditionalProperties":{"Allows":false,"Schema":null},"#,
            r#""Dependencies":{"a":{"Schema":null,"Property":["b"]},"c":{"Schema":{"ID":"#,
            r#""AdditionalItems":{"Allows":true,"Schema":{"ID":"#,
            r#""XListMapKeys":null,"XListType":null,"XMapType":null,"XValidations":null}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn fields_of_the_object_around() {
        let spec = json!({"hostNetwork": true, "securityContext": {"runAsUser": 1}});
        let text = json(&spec, "core.PodSpec");
        assert!(
            text.contains(
                r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"HostIPC":false,"#
            ),
            "{text}"
        );
        assert!(text.contains(r#""RunAsUser":1"#));
    }
}
