//! JSON text of values as Go's `encoding/json` writes its structs: fields in the order of the type, keys of maps sorted, `<`, `>` and `&`
//! escaped. Objects are brought into this order where they are encoded, once; nothing is sorted when they are read.
//!
//! Invariant: what is written reads back as the value that was given, whatever the schema says of it.
//! Follows `encoding/json`, `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/json/json.go` and
//! `sigs.k8s.io/structured-merge-diff/v6/fieldpath/serialize.go` (the order within `fieldsV1`).

use std::io::Write;

use serde_json::{Map, Number, Value};

use super::{At, Node, Schema, Shape, Type};
use crate::machinery::managed_fields::PathElement;

/// A value as compact JSON; `node` is its type, `None` for values that have none (their keys are sorted).
pub fn to_json(value: &Value, node: Option<Node>) -> Vec<u8> {
    let mut to = Encoder::new(false);
    to.root(value, node);
    to.out
}

/// The same with two spaces a level.
pub fn to_pretty_json(value: &Value, node: Option<Node>) -> Vec<u8> {
    let mut to = Encoder::new(true);
    to.root(value, node);
    to.out
}

/// A document without a type, whose keys have an order of their own wherever they stand; the others follow, sorted.
pub fn to_ordered_json(value: &Value, order: &[&str], pretty: bool) -> Vec<u8> {
    let mut to = Encoder::new(pretty);
    to.order = order;
    to.root(value, None);
    to.out
}

/// An object as it is stored: its bytes with an empty `metadata.resourceVersion`, and the place between its quotes.
pub fn to_draft(value: &Value, node: Node) -> (Vec<u8>, usize) {
    let mut to = Encoder::new(false);
    to.draft = true;
    to.root(value, Some(node));
    (to.out, to.revision_at)
}

/// A value as it comes back from the store, without having been there.
pub fn as_stored(value: &mut Value, node: Node) {
    if node.as_type().is_some_and(|t| t.verbatim) {
        // it is kept as it came, and metadata has no list that is always written
        return;
    }
    // a schema, or several in its place
    let in_place = node.shape().and_then(|shape| match shape {
        Shape::SchemaOr(_, of) => Some(of),
        _ => None,
    });
    let node = match in_place {
        Some(of) => Node {
            at: At::Shape(of),
            ..node
        },
        None => node,
    };
    match value {
        Value::Object(map) => {
            map.retain(|name, child| {
                let field = node.child(name).and_then(|at| at.field());
                !field.is_some_and(|field| field.is_late(child))
            });
            for (name, child) in map {
                let Some(at) = node.child(name) else { continue };
                if at.field().is_some_and(|field| field.is_nil(child)) {
                    *child = Value::Null;
                } else {
                    as_stored(child, at);
                }
            }
        }
        Value::Array(items) => {
            let element = node.element().or(in_place.map(|_| node));
            let Some(at) = element else { return };
            items.iter_mut().for_each(|item| as_stored(item, at));
        }
        _ => {}
    }
}

/// Where a type's order puts a field; what it does not name comes last.
const LAST: u16 = u16::MAX;

/// A field on its way out: its place in the order, name, value and type.
type Slot<'v> = (u16, &'v str, &'v Value, Option<&'v Shape>);

/// What the keys of an object are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Any,
    /// Names of fields, but for those that the type does not have.
    Fields,
    /// The same, of the metadata whose revision is left open.
    Draft,
}

struct Encoder<'v> {
    out: Vec<u8>,
    schema: &'v Schema,
    /// The fields of the objects that are open, innermost last; one list for all, so that an object costs no allocation.
    slots: Vec<Slot<'v>>,
    order: &'v [&'v str],
    pretty: bool,
    depth: usize,
    draft: bool,
    /// A custom object: all names are sorted.
    verbatim: bool,
    revision_at: usize,
}

impl<'v> Encoder<'v> {
    fn new(pretty: bool) -> Self {
        Encoder {
            out: Vec::with_capacity(1024),
            schema: Schema::builtin(),
            slots: Vec::new(),
            order: &[],
            pretty,
            depth: 0,
            draft: false,
            verbatim: false,
            revision_at: 0,
        }
    }

    fn root(&mut self, value: &'v Value, node: Option<Node<'v>>) {
        if let Some(node) = node {
            self.schema = node.schema();
        }
        match (value, node.and_then(|node| node.as_type())) {
            (Value::Object(map), Some(t)) if t.verbatim => self.custom(map, t),
            (Value::Object(map), Some(t)) => self.structure(map, t),
            _ => self.value(value, node.and_then(|node| node.shape())),
        }
    }

    fn value(&mut self, value: &'v Value, shape: Option<&'v Shape>) {
        match (value, shape) {
            (Value::Object(map), Some(Shape::Struct(index))) => {
                self.structure(map, &self.schema.types[*index as usize])
            }
            (Value::Object(_), Some(Shape::SchemaOr(_, of))) => self.value(value, Some(of)),
            (_, Some(Shape::Element(of))) => self.value(value, Some(&of.0.shape)),
            (Value::Object(map), Some(Shape::Map(of))) => self.map(map, Some(of)),
            (Value::Object(map), Some(Shape::Raw)) => self.embedded(map),
            (Value::Object(map), Some(Shape::Fields)) => self.owned_fields(map),
            (Value::Object(map), _) => self.map(map, None),
            (Value::Array(items), Some(Shape::List(of) | Shape::SchemaOr(_, of))) => {
                self.list(items, Some(of))
            }
            (Value::Array(items), _) => self.list(items, None),
            (Value::String(text), _) => string(&mut self.out, text),
            (Value::Number(number), _) => self::number(&mut self.out, number),
            (Value::Bool(true), _) => self.out.extend_from_slice(b"true"),
            (Value::Bool(false), _) => self.out.extend_from_slice(b"false"),
            (Value::Null, _) => self.out.extend_from_slice(b"null"),
        }
    }

    /// A custom object, or a part of one: names are sorted as they are in memory, so only the draft's metadata is anything but a map.
    fn custom(&mut self, map: &'v Map<String, Value>, t: &'v Type) {
        self.verbatim = true;
        let first = self.slots.len();
        let of_draft = |name: &str| self.draft && self.depth == 0 && name == "metadata";
        self.slots.extend(map.iter().map(|(name, value)| {
            let shape = t.field(name).filter(|_| of_draft(name));
            (0, name.as_str(), value, shape.map(|field| &field.shape))
        }));
        self.object(first, Keys::Any);
    }

    fn structure(&mut self, map: &'v Map<String, Value>, t: &'v Type) {
        const NULL: &Value = &Value::Null;
        let first = self.slots.len();
        for (name, value) in map {
            let slot = match t.position(name) {
                Some(at) if t.fields[at as usize].is_late(value) => continue,
                Some(at) if self.draft && t.fields[at as usize].is_nil(value) => {
                    (at, name.as_str(), NULL, None)
                }
                Some(at) => (at, name.as_str(), value, Some(&t.fields[at as usize].shape)),
                None => (LAST, name.as_str(), value, None),
            };
            self.slots.push(slot);
        }
        // the draft's metadata, which is two objects deep, has a revision whether it was given one or not
        let in_draft = self.draft && self.depth == 1 && &*t.name == "meta.v1.ObjectMeta";
        if in_draft && !map.contains_key("resourceVersion") {
            self.slots.push((
                t.position("resourceVersion").unwrap_or(LAST),
                "resourceVersion",
                NULL,
                None,
            ));
        }
        if self.verbatim {
            self.slots[first..].sort_by_key(|slot| slot.1);
            for slot in &mut self.slots[first..] {
                slot.3 = None;
            }
        } else {
            self.slots[first..].sort_by_key(|slot| slot.0);
        }
        self.object(first, if in_draft { Keys::Draft } else { Keys::Fields });
    }

    /// An object that is embedded as it is: in the order of its own type, if that is known.
    fn embedded(&mut self, map: &'v Map<String, Value>) {
        let text = |name: &str| map.get(name).and_then(Value::as_str);
        let known = text("apiVersion")
            .zip(text("kind"))
            .and_then(|(api_version, kind)| self.schema.of_kind(api_version, kind));
        match known.and_then(|node| node.as_type()) {
            Some(t) => self.structure(map, t),
            None => self.map(map, None),
        }
    }

    fn map(&mut self, map: &'v Map<String, Value>, of: Option<&'v Shape>) {
        let first = self.slots.len();
        self.slots.extend(
            map.iter()
                .map(|(name, value)| (0, name.as_str(), value, of)),
        );
        if !self.order.is_empty() {
            let order = self.order;
            self.slots[first..].sort_by_key(|slot| {
                order
                    .iter()
                    .position(|name| *name == slot.1)
                    .unwrap_or(order.len())
            });
        }
        self.object(first, Keys::Any);
    }

    /// `fieldsV1`: the object's own mark, then fields, elements by their keys, by their values, by their places, each in their order.
    fn owned_fields(&mut self, map: &'v Map<String, Value>) {
        let first = self.slots.len();
        self.slots.extend(
            map.iter()
                .map(|(name, value)| (0, name.as_str(), value, Some(&Shape::Fields))),
        );
        let plain = |name: &str| name == "." || name.starts_with("f:");
        if map.keys().filter(|name| !plain(name)).count() > 1
            || map.keys().any(|name| name.starts_with("i:"))
        {
            let step = |name: &'v str| PathElement::parse(name).ok().flatten();
            self.slots[first..].sort_by(|a, b| match (step(a.1), step(b.1)) {
                (Some(x), Some(y)) => x.cmp(&y),
                (x, y) => x.is_some().cmp(&y.is_some()),
            });
        }
        self.object(first, Keys::Any);
    }

    /// Writes the slots from `first` on as an object, and takes them away.
    fn object(&mut self, first: usize, keys: Keys) {
        if self.slots.len() == first {
            return self.out.extend_from_slice(b"{}");
        }
        self.out.push(b'{');
        self.depth += 1;
        for at in first..self.slots.len() {
            let (place, name, value, shape) = self.slots[at];
            if at > first {
                self.out.push(b',');
            }
            self.new_line();
            if keys != Keys::Any && place != LAST {
                // names of fields have nothing to escape
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.push(b'"');
            } else {
                string(&mut self.out, name);
            }
            self.out
                .extend_from_slice(if self.pretty { b": " } else { b":" });
            if keys == Keys::Draft && name == "resourceVersion" {
                self.revision_at = self.out.len() + 1;
                self.out.extend_from_slice(b"\"\"");
            } else {
                self.value(value, shape);
            }
        }
        self.slots.truncate(first);
        self.depth -= 1;
        self.new_line();
        self.out.push(b'}');
    }

    fn list(&mut self, items: &'v [Value], of: Option<&'v Shape>) {
        if items.is_empty() {
            return self.out.extend_from_slice(b"[]");
        }
        self.out.push(b'[');
        self.depth += 1;
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.new_line();
            self.value(item, of);
        }
        self.depth -= 1;
        self.new_line();
        self.out.push(b']');
    }

    fn new_line(&mut self) {
        if self.pretty {
            self.out.push(b'\n');
            self.out.extend(std::iter::repeat_n(b' ', 2 * self.depth));
        }
    }
}

/// A number as Go writes it: floats in their shortest form, with exponents only when very large or small.
fn number(out: &mut Vec<u8>, number: &Number) {
    // writing to memory cannot fail
    let _ = match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) if float != 0.0 && !(1e-6..1e21).contains(&float.abs()) => {
            let text = format!("{float:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            match exponent.strip_prefix('-') {
                Some(exponent) => write!(out, "{mantissa}e-{exponent}"),
                None => write!(out, "{mantissa}e+{exponent}"),
            }
        }
        Some(float) => write!(out, "{float}"),
        None => return serde_json::to_writer(out, number).unwrap_or_default(),
    };
}

/// Whether all of eight bytes are ASCII and [`PLAIN`], found without looking at them one by one.
fn all_plain(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_ne_bytes(bytes);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let is = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    // `<` and `>`, `"` and `&` differ in one bit
    let odd = word
        | below(word, 0x20)
        | is(word, b'\\')
        | is(word | (ONES * 2), b'>')
        | is(word | (ONES * 4), b'&');
    odd & HIGH == 0
}

/// Whether a byte can stand in a JSON string as it is. `0xe2` begins the two separators of lines that Go escapes, and others that it does not.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        plain[at] = byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        at += 1;
    }
    plain
};

/// A JSON string with Go's escapes.
fn string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let (mut from, mut at) = (0, 0);
    while at < bytes.len() {
        if let Some(eight) = bytes[at..].first_chunk()
            && all_plain(*eight)
        {
            at += 8;
            continue;
        }
        let byte = &bytes[at];
        at += 1;
        if PLAIN[*byte as usize] {
            continue;
        }
        let at = at - 1;
        let (escape, length): (&[u8], usize) = match byte {
            b'"' => (b"\\\"", 1),
            b'\\' => (b"\\\\", 1),
            b'\n' => (b"\\n", 1),
            b'\r' => (b"\\r", 1),
            b'\t' => (b"\\t", 1),
            0x08 => (b"\\b", 1),
            0x0c => (b"\\f", 1),
            b'<' => (b"\\u003c", 1),
            b'>' => (b"\\u003e", 1),
            b'&' => (b"\\u0026", 1),
            0xe2 => match &bytes[at..] {
                [_, 0x80, 0xa8, ..] => (b"\\u2028", 3),
                [_, 0x80, 0xa9, ..] => (b"\\u2029", 3),
                _ => continue,
            },
            control => {
                out.extend_from_slice(&bytes[from..at]);
                out.extend_from_slice(format!("\\u{control:04x}").as_bytes());
                from = at + 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(escape);
        from = at + length;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: Value) -> String {
        let node = Schema::builtin().of_kind(
            value["apiVersion"].as_str().unwrap_or(""),
            value["kind"].as_str().unwrap_or(""),
        );
        String::from_utf8(to_json(&value, node)).unwrap()
    }

    /// Each byte in each place of a text that is looked at in pieces of eight.
    #[test]
    fn texts_of_any_length() {
        for odd in (0..0x80)
            .map(char::from)
            .chain("é\u{2028}\u{20ac}𝕏".chars())
        {
            for at in 0..17 {
                let text = format!("{}{odd}{}", "a".repeat(at), "~".repeat(17 - at));
                let mut out = Vec::new();
                string(&mut out, &text);
                let escaped = match odd {
                    '<' => "\\u003c".into(),
                    '>' => "\\u003e".into(),
                    '&' => "\\u0026".into(),
                    '\u{2028}' => "\\u2028".into(),
                    plain => serde_json::to_string(&plain).unwrap().replace('"', ""),
                };
                let wanted = match odd {
                    '"' => serde_json::to_string(&text).unwrap(),
                    _ => format!("\"{}\"", text.replace(odd, &escaped)),
                };
                assert_eq!(String::from_utf8(out).unwrap(), wanted);
            }
        }
    }

    #[test]
    fn fields_stand_in_the_order_of_their_types() {
        for wanted in [
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"1","creationTimestamp":null,"labels":{"a":"1","b":"2"}},"spec":{"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"c","image":"i","ports":[{"name":"p","containerPort":80}],"resources":{"limits":{"cpu":"1","memory":"1"}}}]},"status":{}}"#,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"m","reason":"NotFound","details":{"name":"a","kind":"pods"},"code":404}"#,
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"},"columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"d","priority":0}],"rows":[{"cells":["a",1],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","uid":"u"}}}]}"#,
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"apps/v1","resources":[{"name":"a","singularName":"b","namespaced":true,"group":"g","version":"v","kind":"K","verbs":["get"],"shortNames":["s"],"categories":["all"],"storageVersionHash":"h"}]}"#,
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"c","remainingItemCount":1},"items":[{"metadata":{"name":"a"},"spec":{},"status":{}}]}"#,
            r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":"g"},"versions":[{"version":"v1","resources":[{"resource":"a","responseKind":{"group":"","version":"","kind":"A"},"scope":"Cluster","singularResource":"a","verbs":["get"]}],"freshness":"Current"}]}]}"#,
            r#"{"kind":"ClusterRole","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}"#,
            // what has no type is sorted
            r#"{"apiVersion":"example.com/v1","kind":"Pod","metadata":{"labels":{},"name":"a"}}"#,
        ] {
            assert_eq!(text(serde_json::from_str(wanted).unwrap()), wanted);
        }
    }

    #[test]
    fn owned_fields_have_an_order_of_their_own() {
        let fields = r#"{".":{},"f:z":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{},"k:{\"containerPort\":443,\"protocol\":\"TCP\"}":{},"v:\"a\"":{},"i:9":{},"i:10":{}}"#;
        let wanted = format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"managedFields":[{{"manager":"m","time":null,"fieldsV1":{fields}}}]}}}}"#
        );
        assert_eq!(text(serde_json::from_str(&wanted).unwrap()), wanted);
    }

    #[test]
    fn scalars_are_written_as_go_writes_them() {
        for (value, wanted) in [
            (
                json!("<a>&\"\\\n\u{1}\u{2028}€\u{7f}"),
                r#""\u003ca\u003e\u0026\"\\\n\u0001\u2028€"#.to_string() + "\u{7f}\"",
            ),
            (json!(1.0), "1".into()),
            (json!(1.5), "1.5".into()),
            (json!(1e21), "1e+21".into()),
            (json!(1e-7), "1e-7".into()),
            (json!(-12), "-12".into()),
            (json!(u64::MAX), "18446744073709551615".into()),
            (json!([]), "[]".into()),
            (json!({"<": {}}), r#"{"\u003c":{}}"#.into()),
        ] {
            assert_eq!(String::from_utf8(to_json(&value, None)).unwrap(), wanted);
            assert_eq!(
                serde_json::from_str::<Value>(&wanted).unwrap().as_f64(),
                value.as_f64()
            );
        }
    }

    #[test]
    fn lists_without_elements_are_nil_once_they_are_stored() {
        let node = Schema::builtin().get("rbac.v1.Role").unwrap();
        let mut role = json!({"metadata": {"name": "a"}, "rules": []});
        assert!(
            String::from_utf8(to_draft(&role, node).0)
                .unwrap()
                .ends_with(r#""rules":null}"#)
        );
        let rule = json!({"metadata": {"name": "a"}, "rules": [{"verbs": [], "resources": ["a"]}]});
        assert!(
            String::from_utf8(to_draft(&rule, node).0)
                .unwrap()
                .ends_with(r#""rules":[{"verbs":null,"resources":["a"]}]}"#)
        );
        assert!(
            String::from_utf8(to_json(&role, Some(node)))
                .unwrap()
                .ends_with(r#""rules":[]}"#)
        );
        as_stored(&mut role, node);
        assert_eq!(role, json!({"metadata": {"name": "a"}, "rules": null}));
    }

    #[test]
    fn a_draft_leaves_its_revision_open() {
        for meta in [
            json!({"name": "a", "labels": {}}),
            json!({"name": "a", "labels": {}, "resourceVersion": "7"}),
        ] {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"resourceVersion": "x"}});
            let (bytes, at) =
                to_draft(&object, Schema::builtin().get("core.v1.ConfigMap").unwrap());
            let wanted = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"","labels":{}},"data":{"resourceVersion":"x"}}"#;
            assert_eq!(
                (std::str::from_utf8(&bytes).unwrap(), &bytes[at - 1..=at]),
                (wanted, &b"\"\""[..])
            );
        }
    }

    #[test]
    fn golden_objects() {
        let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
            skiff_testing::skipped("UPSTREAM_DATA does not name upstream's golden objects");
            return;
        };
        let mut compared = 0;
        for file in std::fs::read_dir(std::path::Path::new(&data).join("api-golden")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let text = std::fs::read(&path).unwrap();
            let value: Value = serde_json::from_slice(&text).unwrap();
            let Some(node) = Schema::builtin().of_kind(
                value["apiVersion"].as_str().unwrap_or(""),
                value["kind"].as_str().unwrap_or(""),
            ) else {
                continue;
            };
            compared += 1;
            assert_eq!(
                String::from_utf8(to_pretty_json(&value, Some(node))).unwrap(),
                String::from_utf8(text).unwrap(),
                "{path:?}"
            );
        }
        assert!(compared > 60, "only {compared} golden objects were found");
    }
}
