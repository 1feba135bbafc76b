//! Reads request bodies: size, encoding, syntax, and the strictness that `fieldValidation` asks for.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/create.go` and the codecs' error texts.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use skiff_api::{
    kinds::{Flags, Kind, Registry, Unread, api_version, internal_package},
    machinery::{
        meta::Meta,
        protobuf,
        schema::{Decoded, Node, Schema, conform_as_written, parse_json, paths_of_json},
        status::Status,
        yaml,
    },
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    context::Context,
    limits::{deadline, heavy, remainder, room},
    negotiate::{BodyType, body_type},
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
        let Ok(data) = frame.into_data() else {
            continue;
        };
        size += data.len();
        if size > MAX_BODY {
            return Err(Status::too_large(format!(
                "Request entity too large: limit is {MAX_BODY}"
            )));
        }
        parts.push(data);
    }
    let whole: Bytes = match parts.len() {
        0 | 1 => parts.pop().unwrap_or_default(),
        _ => parts.concat().into(),
    };
    Ok(match room(whole.len()).await {
        None => whole,
        Some(room) => Bytes::from_owner(Large {
            bytes: whole,
            _room: room,
        }),
    })
}

/// A large body, with the room that working on it takes: its request has it for as long as it has the body.
struct Large {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
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

const NO_JSON: &str = "couldn't get version/kind; json parse error: ";

/// A body whose encoding could not be read, in the words of upstream's decoders.
#[derive(thiserror::Error, Debug)]
#[error("{0}")]
pub struct Misread(String);

impl Misread {
    fn of(error: impl ToString) -> Misread {
        Misread(error.to_string())
    }

    /// What is wrong with it as JSON, whatever was looked for in it.
    pub fn as_json(&self) -> &str {
        self.0.strip_prefix(NO_JSON).unwrap_or(&self.0)
    }

    pub fn status(&self) -> Status {
        Status::bad_request(self.to_string())
    }
}

/// An object in protobuf, whose type is at `node`.
fn parse_protobuf(data: &[u8], node: Node) -> Result<Value, Misread> {
    let envelope = protobuf::unwrap(data).map_err(Misread::of)?;
    let name = node.as_type().map_or("", |of| &*of.name);
    let read = protobuf::decode(envelope.raw, node.schema(), name)
        .ok_or_else(|| Misread(format!("no protobuf form of {name:?} is known")))?;
    let mut value = read.map_err(Misread::of)?;
    for (field, given) in [
        ("apiVersion", envelope.api_version),
        ("kind", envelope.kind),
    ] {
        if !given.is_empty() {
            value[field] = given.into();
        }
    }
    Ok(value)
}

/// A document as it was sent, and what strict reading has against it before its type is looked at.
#[derive(Default)]
pub struct Document<'t> {
    pub value: Value,
    /// Paths of keys that stand twice.
    duplicates: Vec<String>,
    /// Whole sentences.
    said: Vec<String>,
    /// The JSON in whose order mistakes are told; other encodings are sorted before they are read.
    json: Option<&'t [u8]>,
}

impl Document<'_> {
    /// A value that no text stands behind.
    pub fn of(value: Value) -> Self {
        Document {
            value,
            ..Document::default()
        }
    }

    /// What strict reading says, type or no type: keys that stand twice.
    pub fn remarks(&self) -> Vec<String> {
        self.said
            .iter()
            .cloned()
            .chain(
                self.duplicates
                    .iter()
                    .map(|path| format!("duplicate field {path:?}")),
            )
            .collect()
    }

    /// The same with fields that the type does not have, in the order of the document.
    fn all_remarks(&self, unknown: &[String]) -> Vec<String> {
        let name = |path: &str| format!("unknown field {path:?}");
        let Some(text) = self
            .json
            .filter(|_| unknown.len() + self.duplicates.len() > 1)
        else {
            return self
                .remarks()
                .into_iter()
                .chain(unknown.iter().map(|path| name(path)))
                .collect();
        };
        let unknown: HashSet<&str> = unknown.iter().map(String::as_str).collect();
        let mut told: HashSet<String> = HashSet::new();
        let mut remarks = Vec::new();
        for (path, again) in paths_of_json(text) {
            // what is within an unknown field is not looked at
            if again
                && !path
                    .match_indices(['.', '['])
                    .any(|(end, _)| unknown.contains(&path[..end]))
            {
                remarks.push(format!("duplicate field {path:?}"));
            }
            if unknown.contains(path.as_str()) && told.insert(path.clone()) {
                remarks.push(name(&path));
            }
        }
        remarks
    }
}

/// A body that should hold an object whose type is at `node`.
pub fn parse_object<'t>(
    data: &'t [u8],
    kind: BodyType,
    node: Option<Node>,
) -> Result<Document<'t>, Misread> {
    match (kind, node) {
        (BodyType::Protobuf, Some(node)) => parse_protobuf(data, node).map(Document::of),
        _ => parse(data, kind),
    }
}

/// A document as text.
pub fn parse(text: &[u8], kind: BodyType) -> Result<Document<'_>, Misread> {
    match kind {
        BodyType::Json => {
            let parsed = parse_json(text).map_err(|error| Misread(format!("{NO_JSON}{error}")))?;
            Ok(Document {
                value: parsed.value,
                duplicates: parsed.duplicates,
                said: Vec::new(),
                json: Some(text),
            })
        }
        BodyType::Protobuf => Err(Misread("protobuf is no text".into())),
        BodyType::Yaml => parse_yaml(text),
    }
}

/// YAML, most of which is JSON: what clients apply was JSON before they sent it.
fn parse_yaml(text: &[u8]) -> Result<Document<'_>, Misread> {
    if text.trim_ascii_start().starts_with(b"{")
        && let Ok(parsed) = parse_json(text)
        && parsed.duplicates.is_empty()
    {
        return Ok(Document {
            value: parsed.value,
            duplicates: Vec::new(),
            said: Vec::new(),
            json: None,
        });
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| Misread("yaml: invalid leading UTF-8 octet".into()))?;
    let (value, repeated) = yaml::read_first(text).map_err(Misread::of)?;
    let said = if repeated.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "yaml: unmarshal errors:\n  {}",
            repeated.join("\n  ")
        )]
    };
    Ok(Document {
        value,
        duplicates: Vec::new(),
        said,
        json: None,
    })
}

/// The first bytes of a body that was not understood, as upstream shows them.
fn shown(text: &[u8]) -> String {
    const MOST: usize = 30;
    let start = &text[..text.len().min(MOST)];
    let more = if text.len() > MOST { " ..." } else { "" };
    match text.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(start)),
        Some(_) => format!("{}{more}", hex::encode(start)),
    }
}

/// Decodes a body that should hold an object of `expected` (group, version, kind), whose type is at `node`.
/// Defaults are the caller's. Warnings and strict errors as the request asks.
pub fn decode(
    ctx: &Context,
    text: &[u8],
    body: BodyType,
    expected: (&str, &str, &str),
    of: As<'_>,
) -> Result<Value, Status> {
    heavy(text.len(), || decode_here(ctx, text, body, expected, of))
}

/// Reads a body that should hold an object that is no row's: what a subresource takes.
pub async fn read_as(
    ctx: &Context,
    body: Body,
    expected: (&str, &str, &str),
) -> Result<Value, Status> {
    let text = read(body).await?;
    let (media, node) = (body_type(&ctx.headers)?, node_of(expected)?);
    let value = decode(ctx, &text, media, expected, As::Type(node))?;
    ctx.trail.sent(&value, Some(node));
    Ok(value)
}

/// The type of a kind by its group, version and name.
pub fn node_of((group, version, kind): (&str, &str, &str)) -> Result<Node<'static>, Status> {
    Schema::builtin()
        .of_kind(&api_version(group, version), kind)
        .ok_or_else(|| Status::internal(format!("{kind} is not in the schema table")))
}

fn decode_here(
    ctx: &Context,
    text: &[u8],
    body: BodyType,
    expected: (&str, &str, &str),
    of: As<'_>,
) -> Result<Value, Status> {
    let (group, version, kind) = expected;
    let mut document = parse_object(text, body, of.node()).map_err(|error| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {error} ({})",
            shown(text)
        ))
    })?;
    if document.value.is_null() {
        document.value = Value::Object(Default::default());
    }
    let given = readable_type_meta(&document.value, text, expected)?;
    if let As::Kind(kind) = of
        && kind.flags.untyped
    {
        return untyped(ctx, document, kind, given);
    }
    check_type_meta(&ctx.kinds, given, text, expected)?;
    let mut value = finish(ctx, document, of).map_err(|error| match error {
        Fault::Type(said) | Fault::Strict(said) => Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {said}"
        )),
    })?;
    value["apiVersion"] = api_version(group, version).into();
    value["kind"] = kind.into();
    Ok(value)
}

pub enum Fault {
    Type(String),
    Strict(String),
}

/// What a document is to be read as.
#[derive(Clone, Copy)]
pub enum As<'a> {
    Kind(&'a Kind),
    /// No row's object: what a subresource takes.
    Type(Node<'a>),
    /// An object of which nothing is known.
    Nothing,
}

impl<'a> As<'a> {
    fn node(self) -> Option<Node<'a>> {
        match self {
            As::Kind(kind) => Some(kind.node()),
            As::Type(node) => Some(node),
            As::Nothing => None,
        }
    }

    fn conform(self, value: &mut Value, place: impl Fn(&str) -> usize) -> Result<Decoded, Unread> {
        match self {
            As::Kind(kind) => kind.conform_as_written(value, place),
            As::Type(node) => conform_as_written(value, node, place).map_err(Unread::from),
            As::Nothing => {
                let fields = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name);
                let known = ["apiVersion", "kind", "metadata"];
                let unknown = fields.filter(|name| !known.contains(&name.as_str()));
                Ok(Decoded {
                    unknown: unknown.cloned().collect(),
                })
            }
        }
    }
}

/// Conforms a document to its type and answers for what it should not hold.
pub fn finish(ctx: &Context, mut document: Document, of: As<'_>) -> Result<Value, Fault> {
    let mut value = std::mem::take(&mut document.value);
    let places: OnceCell<HashMap<String, usize>> = OnceCell::new();
    let place = |path: &str| match document.json {
        Some(text) => {
            let places = places.get_or_init(|| {
                paths_of_json(text)
                    .into_iter()
                    .enumerate()
                    .map(|(at, (path, _))| (path, at))
                    .collect()
            });
            places.get(path).copied().unwrap_or(usize::MAX)
        }
        None => 0,
    };
    let decoded = of
        .conform(&mut value, place)
        .map_err(|error| Fault::Type(error.to_string()))?;
    let validation = FieldValidation::of(ctx);
    if validation == FieldValidation::Ignore {
        return Ok(value);
    }
    let said = document.all_remarks(&decoded.unknown);
    if validation == FieldValidation::Strict && !said.is_empty() {
        return Err(Fault::Strict(format!(
            "strict decoding error: {}",
            said.join(", ")
        )));
    }
    said.into_iter().for_each(|text| ctx.warn(text));
    Ok(value)
}

/// An object of a kind that has no Go type: of whatever kind it says it is, and in whichever version of the group.
/// Follows `unstructuredNegotiatedSerializer` of `apiextensions-apiserver/pkg/apiserver/customresource_handler.go` and `pkg/apiserver/conversion`.
fn untyped(
    ctx: &Context,
    document: Document<'_>,
    kind: &Kind,
    (given_version, given_kind): (String, String),
) -> Result<Value, Status> {
    let want = kind.api_version();
    let (group, bare) = given_version
        .rsplit_once('/')
        .unwrap_or(("", &given_version));
    let handled = |why: String| {
        Status::bad_request(format!(
            "{given_kind} in version {bare:?} cannot be handled as a {}: {why}",
            kind.kind
        ))
    };
    let said = |fault: Fault| match fault {
        Fault::Type(said) | Fault::Strict(said) => handled(said),
    };
    if group != kind.group {
        return Err(handled(format!(
            "{given_version}, Kind={given_kind} is unstructured and is not suitable for converting to {want:?}"
        )));
    }
    if given_version != want {
        // it is read by the version that it names, of which nothing may be known
        let of = ctx.kinds.find(group, bare, kind.plural);
        finish(ctx, document, of.map_or(As::Nothing, |kind| As::Kind(kind))).map_err(said)?;
        return Err(Status::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({want})"
        )));
    }
    let mut value = finish(ctx, document, As::Kind(kind)).map_err(said)?;
    value["apiVersion"] = given_version.into();
    value["kind"] = given_kind.into();
    Ok(value)
}

/// `apiVersion` and `kind` as they are given, or as they are expected where they are not.
fn readable_type_meta(
    value: &Value,
    text: &[u8],
    (group, version, kind): (&str, &str, &str),
) -> Result<(String, String), Status> {
    let unrecognized = unrecognized(kind, text);
    let name_of = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        _ => "object",
    };
    if !value.is_object() {
        let of = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
        return Err(unrecognized(&format!(
            "json: cannot unmarshal {} into Go value of type {of}",
            name_of(value)
        )));
    }
    for field in ["apiVersion", "kind"] {
        if let Some(odd) = value.get(field).filter(|v| !v.is_string() && !v.is_null()) {
            return Err(unrecognized(&format!(
                "json: cannot unmarshal {} into Go struct field .{field} of type string",
                name_of(odd)
            )));
        }
    }
    let given = |field: &str, instead: &str| {
        value[field]
            .as_str()
            .filter(|given| !given.is_empty())
            .unwrap_or(instead)
            .to_string()
    };
    let want = api_version(group, version);
    Ok((given("apiVersion", &want), given("kind", kind)))
}

fn unrecognized<'a>(kind: &'a str, text: &'a [u8]) -> impl Fn(&str) -> Status + 'a {
    move |said| {
        let must = format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error:"
        );
        Status::bad_request(format!("{must} {said} ({})", shown(text)))
    }
}

/// `apiVersion` and `kind` are those expected.
fn check_type_meta(
    kinds: &Registry,
    (given_version, given_kind): (String, String),
    text: &[u8],
    (group, version, kind): (&str, &str, &str),
) -> Result<(), Status> {
    let (unrecognized, want) = (unrecognized(kind, text), api_version(group, version));
    if given_version == want && given_kind == kind {
        return Ok(());
    }
    if given_version.matches('/').count() > 1 {
        return Err(unrecognized(&format!(
            "unexpected GroupVersion string: {given_version}"
        )));
    }
    let (given_group, bare) = given_version
        .rsplit_once('/')
        .unwrap_or(("", &given_version));
    let handled = |why: String| {
        Err(Status::bad_request(format!(
            "{given_kind} in version {bare:?} cannot be handled as a {kind}: {why}"
        )))
    };
    let own = kinds.find_kind(group, version, kind);
    let scheme = own.map_or(Flags::SCHEME, |own| own.flags.scheme);
    let foreign = given_group != group && own.is_some_and(|own| own.flags.has_own_scheme());
    match kinds.find_kind(given_group, bare, &given_kind) {
        // another version of the same kind is understood, but not taken here
        Some(found) if own.is_some_and(|own| found.same_objects(own)) => {
            Err(Status::bad_request(format!(
                "the API version in the data ({given_version}) does not match the expected API version ({want})"
            )))
        }
        found
            if foreign || found.is_none() && !is_registered(kinds, &given_version, &given_kind) =>
        {
            handled(format!(
                "no kind {given_kind:?} is registered for version {given_version:?} in scheme {scheme:?}"
            ))
        }
        _ => handled(format!(
            "converting ({bare}.{given_kind}) to ({}.{kind}): unknown conversion",
            own.map_or_else(|| internal_package(group), |own| own.internal_package())
        )),
    }
}

/// The kind is known, be it no resource: lists, options, what discovery answers.
fn is_registered(kinds: &Registry, api_version: &str, kind: &str) -> bool {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let served = kinds
        .all()
        .iter()
        .any(|row| row.group == group && row.version == version);
    let of_all = [
        "WatchEvent",
        "ListOptions",
        "GetOptions",
        "DeleteOptions",
        "CreateOptions",
        "UpdateOptions",
        "PatchOptions",
    ];
    api_version == "v1" && kind == "List"
        || served && of_all.contains(&kind)
        || Schema::builtin().of_kind(api_version, kind).is_some()
}

/// Decodes an object of `kind` and gives it its defaults.
pub fn decode_kind(
    ctx: &Context,
    text: &[u8],
    body: BodyType,
    kind: &Kind,
) -> Result<Value, Status> {
    let mut value = decode(
        ctx,
        text,
        body,
        (kind.group, kind.version, kind.kind),
        As::Kind(kind),
    )?;
    kind.defaults(&mut value);
    ctx.trail.sent(&value, Some(kind.node()));
    Ok(value)
}

/// The name of the body is that of the path.
pub fn check_name(ctx: &Context, value: &Value) -> Result<(), Status> {
    let url = ctx.info.name_in_path();
    match value.name() {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({url} based on URL) was undeterminable: name must be provided"
        ))),
        name if name != url => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({url})"
        ))),
        _ => Ok(()),
    }
}
