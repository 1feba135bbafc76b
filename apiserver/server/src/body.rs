//! Reads request bodies: size, encoding, syntax, and the strictness that `fieldValidation` asks for.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/create.go` and the codecs' error texts.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use skiff_api::{
    kinds::{self, Kind},
    machinery::{
        protobuf,
        schema::{Node, conform, parse_json},
        status::Status,
        yaml,
    },
};

use crate::{
    context::Context,
    limits::{deadline, heavy, remainder},
    negotiate::BodyType,
};

/// What a body may hold at the most, as upstream's `MaxRequestBodyBytes`.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// Reads a body whole.
pub async fn read(mut body: Body) -> Result<Bytes, Status> {
    let mut parts: Vec<Bytes> = Vec::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match remainder::is_late(&error) {
            true => deadline::exceeded(),
            false => Status::bad_request(format!("cannot read the request's body: {error}")),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size > MAX_BODY {
            return Err(Status::too_large(format!("Request entity too large: limit is {MAX_BODY}")));
        }
        parts.push(data);
    }
    Ok(match parts.len() {
        0 | 1 => parts.pop().unwrap_or_default(),
        _ => parts.concat().into(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    pub fn of(ctx: &Context) -> FieldValidation {
        match ctx.query.text("fieldValidation") {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            _ => FieldValidation::Warn,
        }
    }
}

/// An object in protobuf, whose type is at `node`.
fn parse_protobuf(data: &[u8], node: Node) -> Result<Value, String> {
    let envelope = protobuf::unwrap(data).map_err(|error| error.to_string())?;
    let name = node.as_type().map_or("", |of| &*of.name);
    let read = protobuf::decode(envelope.raw, node.schema(), name).ok_or_else(|| format!("no protobuf form of {name:?} is known"))?;
    let mut value = read.map_err(|error| error.to_string())?;
    for (field, given) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !given.is_empty() {
            value[field] = given.into();
        }
    }
    Ok(value)
}

/// A body that should hold an object whose type is at `node`: its values and the keys that it holds twice.
pub fn parse_object(data: &[u8], kind: BodyType, node: Node) -> Result<(Value, Vec<String>), String> {
    match kind {
        BodyType::Protobuf => parse_protobuf(data, node).map(|value| (value, Vec::new())),
        _ => parse(data, kind),
    }
}

/// A document as text: its values and the keys that it holds twice.
pub fn parse(text: &[u8], kind: BodyType) -> Result<(Value, Vec<String>), String> {
    match kind {
        BodyType::Json => {
            parse_json(text).map(|parsed| (parsed.value, parsed.duplicates)).map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))
        }
        BodyType::Protobuf => Err("protobuf is no text".into()),
        BodyType::Yaml => parse_yaml(text),
    }
}

/// YAML, most of which is JSON: what clients apply was JSON before they sent it.
fn parse_yaml(text: &[u8]) -> Result<(Value, Vec<String>), String> {
    if text.trim_ascii_start().starts_with(b"{")
        && let Ok(parsed) = parse_json(text)
    {
        return Ok((parsed.value, parsed.duplicates));
    }
    let text = std::str::from_utf8(text).map_err(|_| "yaml: invalid UTF-8".to_owned())?;
    yaml::read(text).map(|document| (document.value, document.duplicates))
}

/// The first bytes of a body that was not understood, as upstream shows them.
fn shown(text: &[u8], json: bool) -> String {
    if text.is_empty() {
        return "<empty>".into();
    }
    let start = text.iter().find(|c| !c.is_ascii_whitespace());
    if json && matches!(start, Some(b'{' | b'[')) || std::str::from_utf8(text).is_ok() && matches!(start, Some(b'{')) {
        let text = String::from_utf8_lossy(text);
        if text.len() <= 30 {
            return text.into_owned();
        }
        return format!("{} ...", text.chars().take(30).collect::<String>());
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if text.len() <= 30 { hex(text) } else { format!("{} ...", hex(&text[..30])) }
}

/// Decodes a body that should hold an object of `expected` (group, version, kind), whose type is at `node`.
/// Defaults are the caller's. Warnings and strict errors as the request asks.
pub fn decode(ctx: &Context, text: &[u8], body: BodyType, expected: (&str, &str, &str), node: Node) -> Result<Value, Status> {
    heavy(text.len(), || decode_here(ctx, text, body, expected, node))
}

fn decode_here(ctx: &Context, text: &[u8], body: BodyType, expected: (&str, &str, &str), node: Node) -> Result<Value, Status> {
    let (group, version, kind) = expected;
    let (value, duplicates) = parse_object(text, body, node).map_err(|error| {
        Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {error} ({})", shown(text, body == BodyType::Json)))
    })?;
    let mut value = match value {
        Value::Null => Value::Object(Default::default()),
        other => other,
    };
    check_type_meta(&mut value, text, expected)?;
    finish(ctx, &mut value, duplicates, node).map_err(|error| match error {
        Fault::Type(said) | Fault::Strict(said) => Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {said}")),
    })?;
    value["apiVersion"] = api_version(group, version).into();
    value["kind"] = kind.into();
    Ok(value)
}

pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

pub enum Fault {
    Type(String),
    Strict(String),
}

/// Conforms `value` to its type and answers for what it should not hold.
pub fn finish(ctx: &Context, value: &mut Value, duplicates: Vec<String>, node: Node) -> Result<(), Fault> {
    let decoded = conform(value, node).map_err(|error| Fault::Type(error.to_string()))?;
    let validation = FieldValidation::of(ctx);
    if validation == FieldValidation::Ignore || decoded.unknown.is_empty() && duplicates.is_empty() {
        return Ok(());
    }
    let said: Vec<String> =
        duplicates.iter().map(|path| format!("duplicate field {path:?}")).chain(decoded.unknown.iter().map(|path| format!("unknown field {path:?}"))).collect();
    if validation == FieldValidation::Strict {
        return Err(Fault::Strict(format!("strict decoding error: {}", said.join(", "))));
    }
    said.into_iter().for_each(|text| ctx.warn(text));
    Ok(())
}

/// `apiVersion` and `kind` are those expected, or absent.
fn check_type_meta(value: &mut Value, text: &[u8], (group, version, kind): (&str, &str, &str)) -> Result<(), Status> {
    let unrecognized = |said: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: json: cannot unmarshal {said} ({})",
            shown(text, true)
        ))
    };
    let name_of = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        _ => "object",
    };
    if !value.is_object() {
        let what = name_of(value);
        return Err(unrecognized(format!(
            "{what} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        )));
    }
    for field in ["apiVersion", "kind"] {
        if let Some(odd) = value.get(field).filter(|v| !v.is_string() && !v.is_null()) {
            return Err(unrecognized(format!("{} into Go struct field .{field} of type string", name_of(odd))));
        }
    }
    let given_version = value["apiVersion"].as_str().unwrap_or("").to_string();
    let given_kind = value["kind"].as_str().unwrap_or("").to_string();
    let want = api_version(group, version);
    if (given_version.is_empty() || given_version == want) && (given_kind.is_empty() || given_kind == kind) {
        return Ok(());
    }
    let shown_kind = if given_kind.is_empty() { kind } else { &given_kind };
    let shown_version = if given_version.is_empty() { &want } else { &given_version };
    if given_version.matches('/').count() > 1 {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: unexpected GroupVersion string: {given_version} ({})",
            shown(text, true)
        )));
    }
    let (given_group, bare) = shown_version.rsplit_once('/').unwrap_or(("", shown_version));
    let why = match kinds::find_kind(given_group, bare, shown_kind) {
        Some(found) if found.kind != kind || found.group != group => {
            let package = |group: &str| if group.is_empty() { "core".to_string() } else { group.split('.').next().unwrap_or("").to_string() };
            format!("converting ({}.{}) to ({}.{kind}): unknown conversion", found.version, found.kind, package(group))
        }
        _ => format!("no kind {shown_kind:?} is registered for version {shown_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""),
    };
    Err(Status::bad_request(format!("{shown_kind} in version {bare:?} cannot be handled as a {kind}: {why}")))
}

/// Decodes an object of `kind` and gives it its defaults.
pub fn decode_kind(ctx: &Context, text: &[u8], body: BodyType, kind: &Kind) -> Result<Value, Status> {
    let mut value = decode(ctx, text, body, (kind.group, kind.version, kind.kind), kind.node())?;
    (kind.strategy.defaults)(&mut value);
    Ok(value)
}
