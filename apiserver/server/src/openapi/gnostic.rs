//! The model as gnostic's `openapi.v2.Document` in protobuf, which kubectl and client-go read.
//!
//! Invariant: the field numbers are those of gnostic's `openapiv2/OpenAPIv2.proto`; `x-` extensions travel as YAML text.

use serde_json::{Map, Value};
use skiff_api::machinery::read::Read;

/// A message in the making: fields in any order, as protobuf allows.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, value: &Value) {
        value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|text| self.text(field, text));
    }

    fn flag(&mut self, field: u32, value: &Value) {
        if value == true {
            self.varint(u64::from(field) << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u32, inner: Message) {
        self.bytes(field, &inner.0);
    }

    /// `Any { yaml = 2 }`; JSON is YAML.
    fn any(&mut self, field: u32, value: &Value) {
        let mut any = Message::default();
        any.bytes(2, value.to_string().as_bytes());
        self.message(field, any);
    }

    /// The `x-` entries, each a `NamedAny`.
    fn extensions(&mut self, field: u32, map: &Map<String, Value>) {
        for (name, value) in map.iter().filter(|(name, _)| name.starts_with("x-")) {
            let mut named = Message::default();
            named.bytes(1, name.as_bytes());
            named.any(2, value);
            self.message(field, named);
        }
    }

    /// A `Named…` of a name (1) and a value (2).
    fn named(&mut self, field: u32, name: &str, value: Message) {
        let mut named = Message::default();
        named.bytes(1, name.as_bytes());
        named.message(2, value);
        self.message(field, named);
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// From a document of version 2.
pub fn document(model: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, model.at("swagger"));
    let mut info = Message::default();
    info.text(1, model.at("info").at("title"));
    info.text(2, model.at("info").at("version"));
    out.message(2, info);
    let mut paths = Message::default();
    for (path, item) in entries(model.at("paths")) {
        paths.named(2, path, path_item(item));
    }
    out.message(8, paths);
    let mut definitions = Message::default();
    for (name, definition) in entries(model.at("definitions")) {
        definitions.named(1, name, schema(definition));
    }
    out.message(9, definitions);
    if let Some(shared) = model.map("parameters") {
        let mut message = Message::default();
        for (name, one) in shared {
            message.named(1, name, of_parameter(one));
        }
        out.message(10, message);
    }
    for requirement in model.list("security").iter() {
        let mut message = Message::default();
        for (name, scopes) in entries(requirement) {
            let mut list = Message::default();
            list.texts(1, scopes);
            message.named(1, name, list);
        }
        out.message(12, message);
    }
    let mut security = Message::default();
    for (name, definition) in entries(model.at("securityDefinitions")) {
        let mut key = Message::default();
        key.text(1, definition.at("type"));
        key.text(2, definition.at("name"));
        key.text(3, definition.at("in"));
        key.text(4, definition.at("description"));
        // SecurityDefinitionsItem { api_key_security = 2 }
        let mut item = Message::default();
        item.message(2, key);
        security.named(1, name, item);
    }
    out.message(13, security);
    out.0
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, value.at("$ref"));
    out.text(2, value.at("format"));
    out.text(4, value.at("description"));
    if let Some(default) = value.get("default") {
        out.any(5, default);
    }
    out.texts(19, value.at("required"));
    for value in value.list("enum") {
        out.any(20, value);
    }
    if let Some(of) = value.get("additionalProperties") {
        let mut item = Message::default();
        item.message(1, schema(of));
        out.message(21, item);
    }
    if value.at("type").is_string() {
        let mut kind = Message::default();
        kind.text(1, value.at("type"));
        out.message(22, kind);
    }
    if let Some(of) = value.get("items") {
        let mut items = Message::default();
        items.message(1, schema(of));
        out.message(23, items);
    }
    if let Some(properties) = value.get("properties") {
        let mut message = Message::default();
        for (name, property) in entries(properties) {
            message.named(1, name, schema(property));
        }
        out.message(25, message);
    }
    if let Some(map) = value.as_object() {
        out.extensions(31, map);
    }
    out
}

fn path_item(value: &Value) -> Message {
    let mut out = Message::default();
    for (method, field) in [
        ("get", 2),
        ("put", 3),
        ("post", 4),
        ("delete", 5),
        ("options", 6),
        ("head", 7),
        ("patch", 8),
    ] {
        if let Some(of) = value.get(method) {
            out.message(field, operation(of));
        }
    }
    for one in value.list("parameters").iter() {
        out.message(9, parameter(one));
    }
    out
}

fn operation(value: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, value.at("tags"));
    out.text(3, value.at("description"));
    out.text(5, value.at("operationId"));
    out.texts(6, value.at("produces"));
    out.texts(7, value.at("consumes"));
    for one in value.list("parameters").iter() {
        out.message(8, parameter(one));
    }
    let mut responses = Message::default();
    for (code, response) in entries(value.at("responses")) {
        let mut inner = Message::default();
        inner.text(1, response.at("description"));
        if let Some(of) = response.get("schema") {
            let mut item = Message::default();
            item.message(1, schema(of));
            inner.message(2, item);
        }
        // ResponseValue { response = 1 }
        let mut answer = Message::default();
        answer.message(1, inner);
        responses.named(1, code, answer);
    }
    out.message(9, responses);
    out.texts(10, value.at("schemes"));
    if let Some(map) = value.as_object() {
        out.extensions(13, map);
    }
    out
}

/// `ParametersItem`: a parameter (1), or a `JsonReference` (2) to one that is shared.
fn parameter(value: &Value) -> Message {
    let mut out = Message::default();
    match value.some("$ref") {
        Some(shared) => {
            let mut reference = Message::default();
            reference.text(1, shared);
            out.message(2, reference);
        }
        None => out.message(1, of_parameter(value)),
    }
    out
}

/// `Parameter`: a body (1) or another parameter (2).
fn of_parameter(value: &Value) -> Message {
    let mut parameter = Message::default();
    if value.text("in") == "body" {
        let mut body = Message::default();
        body.text(1, value.at("description"));
        body.text(2, value.at("name"));
        body.text(3, value.at("in"));
        body.flag(4, value.at("required"));
        body.message(5, schema(value.at("schema")));
        parameter.message(1, body);
    } else {
        let mut inner = Message::default();
        inner.flag(1, value.at("required"));
        inner.text(2, value.at("in"));
        inner.text(3, value.at("description"));
        inner.text(4, value.at("name"));
        let in_path = value.text("in") == "path";
        inner.text(if in_path { 5 } else { 6 }, value.at("type"));
        // NonBodyParameter { query = 3, path = 4 }
        let mut other = Message::default();
        other.message(if in_path { 4 } else { 3 }, inner);
        parameter.message(2, other);
    }
    parameter
}
