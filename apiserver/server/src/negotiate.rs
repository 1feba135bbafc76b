//! Which encoding and form a client accepts.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go`.

use http::{HeaderMap, header};
use skiff_api::machinery::status::Status;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
}

impl Encoding {
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        }
    }
}

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
    pub const JSON: Accept = Accept { encoding: Encoding::Json, form: Form::Object, pretty: false };
}

/// The forms that an endpoint can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// Only the object itself: discovery, reviews, scales.
    Plain,
    One,
    List,
}

const ACCEPTED: &str = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// The clauses of the Accept header in the order of their weights; what stands first is wanted most.
pub fn clauses(headers: &HeaderMap) -> Vec<&str> {
    let mut clauses: Vec<(f32, &str)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
        .map(|clause| (parameter(clause, "q").and_then(|q| q.parse().ok()).unwrap_or(1.0), clause))
        .collect();
    clauses.sort_by(|a, b| b.0.total_cmp(&a.0));
    clauses.into_iter().map(|(_, clause)| clause).collect()
}

/// Reads the Accept header; the first clause that can be served wins.
pub fn accept(headers: &HeaderMap, offers: Offers) -> Result<Accept, Status> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(Accept::JSON);
    }
    clauses.into_iter().find_map(|clause| offered(clause, offers)).ok_or_else(|| Status::not_acceptable(ACCEPTED))
}

fn parameter<'c>(clause: &'c str, name: &str) -> Option<&'c str> {
    clause.split(';').skip(1).find_map(|p| p.trim().split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"')))
}

fn offered(clause: &str, offers: Offers) -> Option<Accept> {
    let encoding = match clause.split(';').next()?.trim() {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let version = match parameter(clause, "v") {
        Some("v1beta1") => "v1beta1",
        _ => "v1",
    };
    let form = match parameter(clause, "as") {
        None => Form::Object,
        Some(_) if !matches!(parameter(clause, "g"), Some("meta.k8s.io")) || !matches!(parameter(clause, "v"), Some("v1" | "v1beta1")) => return None,
        Some("Table") if offers != Offers::Plain => Form::Table(version),
        Some("PartialObjectMetadata") if offers == Offers::One => Form::Metadata(version),
        Some("PartialObjectMetadataList") if offers == Offers::List => Form::MetadataList(version),
        Some(_) => return None,
    };
    Some(Accept { encoding, form, pretty: parameter(clause, "pretty") == Some("1") })
}

/// What a body may be encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    Json,
    Yaml,
    Protobuf,
}

/// Reads the Content-Type of a body that is an object.
pub fn body_type(headers: &HeaderMap) -> Result<BodyType, Status> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match given.split(';').next().unwrap_or("").trim() {
        "" | "application/json" => Ok(BodyType::Json),
        "application/yaml" | "application/x-yaml" => Ok(BodyType::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(BodyType::Protobuf),
        _ => Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses() {
        let read = |text: &str, offers| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, text.parse().unwrap());
            accept(&headers, offers).map(|accept| (accept.encoding, accept.form))
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(read(table, Offers::List), Ok((Encoding::Json, Form::Table("v1"))));
        assert_eq!(read(table, Offers::Plain), Ok((Encoding::Json, Form::Object)));
        assert_eq!(read("application/vnd.kubernetes.protobuf,application/json", Offers::One), Ok((Encoding::Json, Form::Object)));
        assert_eq!(read("application/yaml", Offers::One), Ok((Encoding::Yaml, Form::Object)));
        assert!(read("application/json;as=Table", Offers::List).is_err());
        assert!(read("text/html", Offers::List).is_err());
    }
}
