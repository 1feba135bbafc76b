//! Which encoding and form a client accepts, and in which its body is.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go`.

mod accept;
mod mime;

pub use accept::clauses;
use http::{HeaderMap, header};
use skiff_api::{
    kinds::Kind,
    machinery::status::{Details, Status},
};

use crate::{encoding::Encoding, request::RequestInfo};

/// What an answer is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Object,
    /// `as=Table`, in meta.k8s.io `v1` or `v1beta1`.
    Table(&'static str),
    /// `as=PartialObjectMetadata`.
    Metadata(&'static str),
    /// `as=PartialObjectMetadataList`.
    MetadataList(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    pub encoding: Encoding,
    pub form: Form,
    pub pretty: bool,
}

impl Accept {
    pub const JSON: Accept = Accept {
        encoding: Encoding::Json,
        form: Form::Object,
        pretty: false,
    };
}

/// What an endpoint can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offers {
    /// Objects' metadata and tables of them, not only objects themselves.
    forms: bool,
    /// A stream of the same.
    stream: bool,
    /// Objects of kinds that definitions brought.
    untyped: bool,
}

impl Offers {
    /// Only the object itself: discovery, reviews, errors.
    pub const PLAIN: Offers = Offers {
        forms: false,
        stream: false,
        untyped: false,
    };

    /// Objects of a kind, their metadata, tables of them.
    pub fn objects(kind: &Kind) -> Offers {
        Offers {
            forms: true,
            untyped: !kind.is_builtin(),
            ..Offers::PLAIN
        }
    }

    /// A stream of the same.
    pub fn stream(kind: &Kind) -> Offers {
        Offers {
            stream: true,
            ..Offers::objects(kind)
        }
    }
}

const ACCEPTED: &str = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// What routes say that they produce.
const PRODUCED: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAMED: &[&str] = &[
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    STRATEGIC,
    "application/apply-patch+yaml",
];

/// A header's first line, which is the only one that counts.
pub fn first(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}

fn refused(code: u16, reason: &'static str, message: String) -> Status {
    Status {
        details: Some(Details::default()),
        ..Status::new(code, reason, message)
    }
}

/// A media type of a list of them, without its parameters.
fn bare(part: &str) -> &str {
    part.split(';').next().unwrap_or("").trim_matches(' ')
}

/// What is asked before a verb begins, by the path and method alone: can the route produce what is accepted?
/// Follows `github.com/emicklei/go-restful` (`detectRoute`).
pub fn route(info: &RequestInfo, headers: &HeaderMap) -> Result<(), Status> {
    if info.verb == "patch" {
        consumed(first(headers, header::CONTENT_TYPE))?;
    }
    if produces(headers, PRODUCED) {
        return Ok(());
    }
    let lists = matches!(info.verb.as_str(), "list" | "watch" | "watchlist") && info.is_resource;
    let streamed = if lists { STREAMED } else { &[] };
    let available = [PRODUCED, streamed].concat().join(", ");
    let empty = matches!(first(headers, header::CONTENT_LENGTH), "" | "0");
    if matches!(info.verb.as_str(), "create" | "update" | "patch") && empty {
        let message =
            format!("415: Unsupported Media Type\n\nAvailable representations: {available}");
        return Err(refused(415, "UnsupportedMediaType", message));
    }
    Err(refused(
        406,
        "NotAcceptable",
        format!("406: Not Acceptable\n\nAvailable representations: {available}"),
    ))
}

/// What a route that is no resource's, or whose answer is no object, is asked: can it make what is accepted?
pub fn route_of(headers: &HeaderMap, produced: &[&str]) -> Result<(), Status> {
    if produces(headers, produced) {
        return Ok(());
    }
    let available = produced.join(", ");
    Err(refused(
        406,
        "NotAcceptable",
        format!("406: Not Acceptable\n\nAvailable representations: {available}"),
    ))
}

/// What a route says that it makes is among what is accepted.
fn produces(headers: &HeaderMap, produced: &[&str]) -> bool {
    let accept = first(headers, header::ACCEPT);
    accept.is_empty()
        || accept
            .split(',')
            .map(bare)
            .any(|media| media == "*/*" || produced.contains(&media))
}

/// A route for patches takes but these types, one of several with commas between.
fn consumed(content_type: &str) -> Result<(), Status> {
    if content_type
        .split(',')
        .map(bare)
        .any(|media| PATCHES.contains(&media))
    {
        return Ok(());
    }
    Err(refused(
        415,
        "UnsupportedMediaType",
        "415: Unsupported Media Type".into(),
    ))
}

/// The type of a patch, of those that there are; `typed`: those that need a Go type, too.
pub fn patch_type(headers: &HeaderMap, typed: bool) -> Result<&'static str, Status> {
    let given = first(headers, header::CONTENT_TYPE);
    // nothing is trimmed here, as in upstream
    let bare = given
        .find(';')
        .filter(|at| *at > 0)
        .map_or(given, |at| &given[..at]);
    let known: Vec<&'static str> = PATCHES
        .iter()
        .copied()
        .filter(|media| typed || *media != STRATEGIC)
        .collect();
    known
        .iter()
        .copied()
        .find(|media| *media == bare)
        .ok_or_else(|| unknown_format(&known))
}

fn unknown_format(known: &[&str]) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        known.join(", ")
    );
    Status::unsupported_media_type(message)
}

/// Reads the Accept header; the first clause that can be served wins.
pub fn accept(headers: &HeaderMap, offers: Offers) -> Result<Accept, Status> {
    let header = first(headers, header::ACCEPT);
    if header.is_empty() {
        return Ok(Accept::JSON);
    }
    let found = accept::clauses(header).iter().find_map(|clause| {
        taken(clause)
            .find_map(|encoding| Some((encoding, offered(clause, encoding, offers)?)))
            .map(|(encoding, form)| accepted(clause, encoding, form))
    });
    let found = found.ok_or_else(|| Status::not_acceptable(ACCEPTED))?;
    if offers.stream && found.encoding.stream_type().is_none() {
        return Err(Status::not_acceptable(format!(
            "only the following media types are accepted: {}",
            STREAMED.join(", ")
        )));
    }
    Ok(found)
}

/// The aggregated discovery document, where it is what is asked for.
/// Follows `staging/src/k8s.io/apiserver/pkg/endpoints/discovery/aggregated/negotiation.go`.
pub fn aggregated(headers: &HeaderMap) -> Option<Accept> {
    let wanted = [
        ("g", "apidiscovery.k8s.io"),
        ("v", "v2"),
        ("as", "APIGroupDiscoveryList"),
    ];
    let header = first(headers, header::ACCEPT);
    accept::clauses(header).iter().find_map(|clause| {
        let is_wanted = wanted
            .iter()
            .all(|(name, value)| clause.parameter(name) == Some(value));
        let mut encodings =
            taken(clause).filter(|encoding| is_wanted && allows(clause, *encoding, Offers::PLAIN));
        encodings
            .next()
            .map(|encoding| accepted(clause, encoding, Form::Object))
    })
}

/// The encodings that a clause takes.
fn taken(clause: &accept::Clause) -> impl Iterator<Item = Encoding> {
    Encoding::ALL.into_iter().filter(|encoding| {
        let (kind, subtype) = encoding.media_type().split_once('/').unwrap_or_default();
        clause.takes(kind, subtype)
    })
}

fn accepted(clause: &accept::Clause, encoding: Encoding, form: Form) -> Accept {
    Accept {
        encoding,
        form,
        pretty: clause.parameter("pretty") == Some("1"),
    }
}

/// What a clause says of streams and of the server's version can be had; there is but the one version.
fn allows(clause: &accept::Clause, encoding: Encoding, offers: Offers) -> bool {
    let given = |name: &str| clause.parameter(name).filter(|value| !value.is_empty());
    given("stream").is_none_or(|schema| schema == "watch" && encoding.stream_type().is_some())
        && given("sv").is_none_or(|version| version == "v1" && offers.forms)
}

/// The form in which an answer can be had; `None`: the clause is passed over.
fn offered(clause: &accept::Clause, encoding: Encoding, offers: Offers) -> Option<Form> {
    if !allows(clause, encoding, offers) {
        return None;
    }
    let converted = ["as", "g", "v"]
        .iter()
        .any(|name| clause.parameter(name).is_some());
    let form = if converted {
        converted_form(clause, offers)?
    } else {
        Form::Object
    };
    let typed = match form {
        Form::Object => !offers.untyped,
        Form::Table(_) => false,
        // metadata is of the same type for all kinds
        Form::Metadata(_) | Form::MetadataList(_) => true,
    };
    (typed || encoding.is_of_any_type()).then_some(form)
}

fn converted_form(clause: &accept::Clause, offers: Offers) -> Option<Form> {
    let version = match (clause.parameter("g"), clause.parameter("v")) {
        (Some("meta.k8s.io"), Some("v1")) => "v1",
        (Some("meta.k8s.io"), Some("v1beta1")) => "v1beta1",
        _ => return None,
    };
    match clause.parameter("as") {
        _ if !offers.forms => None,
        Some("Table") => Some(Form::Table(version)),
        Some("PartialObjectMetadata") => Some(Form::Metadata(version)),
        Some("PartialObjectMetadataList") => Some(Form::MetadataList(version)),
        _ => None,
    }
}

/// Reads the Content-Type of a body that is an object.
pub fn body_type(headers: &HeaderMap) -> Result<Encoding, Status> {
    let given = first(headers, header::CONTENT_TYPE);
    if given.is_empty() {
        return Ok(Encoding::Json);
    }
    mime::media_type(given)
        .and_then(|media| Encoding::of(&media))
        .ok_or_else(|| unknown_format(PRODUCED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: Offers = Offers {
        forms: true,
        ..Offers::PLAIN
    };
    const STREAM: Offers = Offers {
        stream: true,
        ..FORMS
    };
    /// Of a kind that a definition brought.
    const UNTYPED: Offers = Offers {
        untyped: true,
        ..FORMS
    };

    #[test]
    fn clauses() {
        let read = |text: &str, offers| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, text.parse().unwrap());
            accept(&headers, offers).map(|accept| (accept.encoding, accept.form))
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(read(table, FORMS), Ok((Encoding::Json, Form::Table("v1"))));
        assert_eq!(
            read(table, Offers::PLAIN),
            Ok((Encoding::Json, Form::Object))
        );
        let both = "application/vnd.kubernetes.protobuf,application/json";
        for offers in [FORMS, STREAM, Offers::PLAIN] {
            assert_eq!(read(both, offers), Ok((Encoding::Protobuf, Form::Object)));
        }
        assert_eq!(read(both, UNTYPED), Ok((Encoding::Json, Form::Object)));
        let metadata =
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        assert_eq!(
            read(metadata, UNTYPED),
            Ok((Encoding::Protobuf, Form::Metadata("v1")))
        );
        let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
        assert!(read(table, FORMS).is_err());
        // upstream tries its encodings one after another for a clause with a star
        assert_eq!(
            read("*/*;stream=watch;q=0.5", FORMS),
            Ok((Encoding::Json, Form::Object))
        );
        assert_eq!(
            read("application/yaml", FORMS),
            Ok((Encoding::Yaml, Form::Object))
        );
        assert_eq!(
            read("application/*;q=0.5,text/html", FORMS),
            Ok((Encoding::Json, Form::Object))
        );
        assert!(read("application/json;as=Table", FORMS).is_err());
        assert!(read("application/json;g=meta.k8s.io;v=v1", FORMS).is_err());
        assert!(read("application/yaml", STREAM).is_err());
        assert!(read("application/json;stream=watch", STREAM).is_ok());
        assert!(read("application/json;stream=other", STREAM).is_err());
        assert!(read("text/html", FORMS).is_err());
    }

    #[test]
    fn types_of_bodies() {
        let headers =
            |text: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())]);
        assert_eq!(body_type(&HeaderMap::new()), Ok(Encoding::Json));
        assert_eq!(
            body_type(&headers("application/JSON;charset=utf-8")),
            Ok(Encoding::Json)
        );
        assert!(body_type(&headers("application/x-yaml")).is_err());
        assert!(body_type(&headers("application/json; charset")).is_err());
        assert_eq!(
            patch_type(&headers("application/merge-patch+json;charset=utf-8"), true),
            Ok("application/merge-patch+json")
        );
        assert!(
            patch_type(
                &headers("application/merge-patch+json ;charset=utf-8"),
                true
            )
            .is_err()
                && consumed("application/merge-patch+json ;x").is_ok()
        );
        assert!(
            consumed("application/json").is_err()
                && consumed("a/b, application/merge-patch+json").is_ok()
        );
    }
}
