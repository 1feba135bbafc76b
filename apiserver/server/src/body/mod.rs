//! Reads request bodies: size, encoding, syntax, and the strictness that `fieldValidation` asks for.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/create.go` and the codecs' error texts.

mod document;
mod type_meta;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::{Kind, Unread, api_version},
    machinery::{
        meta::Meta,
        schema::{Decoded, Node, Schema, TOO_DEEP, conform_as_written, first_of, is_cut},
        status::Status,
    },
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    context::Context,
    encoding::Encoding,
    limits::{deadline, heavy, remainder, room},
    negotiate::body_type,
    spent,
};

use self::{
    document::shown,
    type_meta::{given_type_meta, readable_type_meta, unhandled, unrecognized},
};
pub use document::{Document, parse, parse_object};
pub use type_meta::{Foreign, UNREADABLE, foreign, is_of_type, type_meta};

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
    spent::read(whole.len());
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

/// Decodes a body that should hold an object of `expected` (group, version, kind), whose type is at `node`.
/// Defaults are the caller's. Warnings and strict errors as the request asks.
pub fn decode(
    ctx: &Context,
    text: &[u8],
    body: Encoding,
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

/// The same of a type that is taken at other versions, too (`also`: `group/version`), where it looks the same.
/// Follows `AcceptsGroupVersion` of `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/rest.go`.
pub async fn read_as_any(
    ctx: &Context,
    body: Body,
    expected: (&str, &str, &str),
    also: &[&str],
) -> Result<Value, Status> {
    let text = read(body).await?;
    let (media, node) = (body_type(&ctx.headers)?, node_of(expected)?);
    let given = parse_object(&text, media, Some(node)).ok();
    let given = given
        .as_ref()
        .and_then(|given| type_meta(&given.value).ok());
    let other = given.and_then(|(version, named)| {
        let known = also.iter().find(|known| **known == version)?;
        (named.is_empty() || named == expected.2).then(|| known.split_once('/'))?
    });
    let taken = other.map_or(expected, |(group, version)| (group, version, expected.2));
    let mut value = decode(ctx, &text, media, taken, As::Type(node))?;
    value["apiVersion"] = api_version(expected.0, expected.1).into();
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
    body: Encoding,
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
    if let As::Kind(kind) = of
        && kind.flags.untyped
    {
        let given = own_type_meta(ctx, &document, text, kind)?;
        return untyped(ctx, document, kind, given);
    }
    if document.value.is_null() {
        document.value = Value::Object(Default::default());
    }
    let given = readable_type_meta(&document.value, text, expected)?;
    let given = (given.0.as_str(), given.1.as_str());
    let told = |fault: Fault| match fault {
        Fault::Type(said) | Fault::Strict(said) => unhandled(given, kind, &said),
    };
    if let Err(why) = foreign(&ctx.kinds, given, expected) {
        read_as_given(ctx, document, given, &why).map_err(told)?;
        return Err(type_meta::refused(why, given, text, expected));
    }
    let mut value = finish(ctx, document, of).map_err(told)?;
    value["apiVersion"] = api_version(group, version).into();
    value["kind"] = kind.into();
    Ok(value)
}

/// A document is read as what it says that it is before anybody sees that it is not what is expected. What is left over in it matters only where it is the
/// same in another version.
fn read_as_given(
    ctx: &Context,
    mut document: Document<'_>,
    (given_version, given_kind): (&str, &str),
    why: &Foreign,
) -> Result<(), Fault> {
    let Some(node) = Schema::builtin().of_kind(given_version, given_kind) else {
        return Ok(());
    };
    let of = As::Type(node);
    match why {
        Foreign::SameObjects => finish(ctx, document, of).map(drop),
        Foreign::Other(_) => {
            let first = |paths: &[&str]| document.json.map_or(0, |text| first_of(text, paths));
            let read = of.conform(&mut document.value, first);
            read.map(drop)
                .map_err(|error| Fault::Type(error.to_string()))
        }
        Foreign::Version(_) | Foreign::Unknown(_) => Ok(()),
    }
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

    fn conform(
        self,
        value: &mut Value,
        first: impl FnOnce(&[&str]) -> usize,
    ) -> Result<Decoded, Unread> {
        match self {
            As::Kind(kind) => kind.conform_as_written(value, first),
            As::Type(node) => conform_as_written(value, node, first).map_err(Unread::from),
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
                    ..Decoded::default()
                })
            }
        }
    }
}

/// Conforms a document to its type and answers for what it should not hold.
pub fn finish(ctx: &Context, mut document: Document, of: As<'_>) -> Result<Value, Fault> {
    let mut value = std::mem::take(&mut document.value);
    let first = |paths: &[&str]| document.json.map_or(0, |text| first_of(text, paths));
    let decoded = of
        .conform(&mut value, first)
        .map_err(|error| Fault::Type(error.to_string()))?;
    if document.cut && is_cut(&value) {
        return Err(Fault::Type(TOO_DEEP.into()));
    }
    ctx.emptied.note(&decoded);
    let validation = FieldValidation::of(ctx);
    if validation == FieldValidation::Ignore {
        return Ok(value);
    }
    let said = match of {
        // what it says twice is told before what its schema does not know
        As::Kind(kind) if kind.flags.untyped => {
            let mut said = document.remarks();
            said.extend(decoded.remarks());
            said
        }
        _ => document.all_remarks(&decoded.unknown),
    };
    if validation == FieldValidation::Strict && !said.is_empty() {
        return Err(Fault::Strict(format!(
            "strict decoding error: {}",
            said.join(", ")
        )));
    }
    warn_of(ctx, said);
    Ok(value)
}

/// What an object of a kind that has no Go type says that it is. Nothing stands in for what it does not say.
/// Follows `UnstructuredJSONScheme` of `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/unstructured/helpers.go`.
fn own_type_meta(
    ctx: &Context,
    document: &Document<'_>,
    text: &[u8],
    kind: &Kind,
) -> Result<(String, String), Status> {
    let value = &document.value;
    let nothing = Value::Object(Default::default());
    let of = if value.is_null() { &nothing } else { value };
    let expected = (kind.group, kind.version, kind.kind);
    let (api_version, named) = given_type_meta(of, text, expected)?;
    if named.is_empty() {
        // YAML that is JSON stays as it is
        let is_json = document.json.is_some() || text.trim_ascii_start().starts_with(b"{");
        let json = match is_json {
            true => String::from_utf8_lossy(text).into_owned(),
            false => value.to_string(),
        };
        let why = format!("Object 'Kind' is missing in '{json}'");
        return Err(match FieldValidation::of(ctx) {
            FieldValidation::Ignore => unhandled((kind.version, kind.kind), kind.kind, &why),
            _ => unrecognized(kind.kind, text, &why),
        });
    }
    if value.get("apiVersion").is_some_and(Value::is_null) {
        let why = ".apiVersion accessor error: <nil> is of the type <nil>, expected string";
        return Err(unhandled(("", &named), kind.kind, why));
    }
    if api_version.matches('/').count() > 1 {
        let why = format!("unexpected GroupVersion string: {api_version}");
        return Err(unrecognized(kind.kind, text, &why));
    }
    Ok((api_version, named))
}

/// Warns of what strict reading has against a document; each key that stands twice in YAML has a warning of its own.
/// Follows `parseYAMLWarnings` of `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/rest.go`.
pub fn warn_of(ctx: &Context, remarks: Vec<String>) {
    for text in remarks {
        let bare = text
            .strip_prefix("error converting YAML to JSON: ")
            .unwrap_or(&text);
        match bare.strip_prefix("yaml: unmarshal errors:\n") {
            Some(lines) => lines.lines().for_each(|line| ctx.warn(line.trim())),
            None => ctx.warn(text),
        }
    }
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
    let handled = |why: String| unhandled((bare, &given_kind), kind.kind, &why);
    let said = |fault: Fault| match fault {
        Fault::Type(said) | Fault::Strict(said) => handled(said),
    };
    if group != kind.group && !group.is_empty() {
        return Err(handled(format!(
            "{given_version}, Kind={given_kind} is unstructured and is not suitable for converting to {want}",
            want = GoQuoted(&want)
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

/// Decodes an object of `kind` and gives it its defaults.
pub fn decode_kind(
    ctx: &Context,
    text: &[u8],
    body: Encoding,
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
    same_name(value.name(), ctx.info.name_in_path())
}

/// The name in an object is that by which it was asked for.
///
/// # Errors
/// 400 with what is wrong with it.
pub fn same_name(name: &str, url: &str) -> Result<(), Status> {
    match name {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({url} based on URL) was undeterminable: name must be provided"
        ))),
        name if name != url => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({url})"
        ))),
        _ => Ok(()),
    }
}
