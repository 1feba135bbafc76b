//! What a webhook answered: a document of a kind that is expected, or a code that refuses; what is wrong with it is told as Go's client does.
//!
//! Follows `staging/src/k8s.io/client-go/rest/request.go` (transformResponse), `staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go`
//! (NewGenericServerResponse) and `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/json/json.go`.

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    read::{Read, go_kind},
    schema::{self, Node, Schema},
    yaml,
};

use super::Version;

/// How much of an answer that is no document is told, in bytes.
const MOST_TOLD: usize = 2048;
/// Where upstream registers what webhooks may answer.
const SCHEME: &str = "k8s.io/apiserver/pkg/util/webhook/client.go:71";

/// An answer that is not what was asked for.
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("{0}")]
pub struct AnswerError(String);

/// What is said of an answer with a code that is no success.
pub fn refusal(code: StatusCode, headers: &HeaderMap, document: &[u8]) -> String {
    // a Status says it better than the code
    if let Ok(status) = serde_json::from_slice::<Value>(document)
        && status.text("kind") == "Status"
        && status.text("apiVersion") == "v1"
        && status.text("status") != "Success"
    {
        return status.text("message").into();
    }
    let is_text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_none_or(|kind| kind.starts_with("text/"));
    let told = &document[..document.len().min(MOST_TOLD)];
    let told = match is_text {
        true => String::from_utf8_lossy(told).trim().to_string(),
        false => "unknown".into(),
    };
    match code.as_u16() {
        409 => "the server reported a conflict".into(),
        404 => "the server could not find the requested resource".into(),
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 | 415 => told,
        406 if matches!(told.as_str(), "" | "unknown") => {
            "the server was unable to respond with a content type that the client supports".into()
        }
        406 => told,
        405 => "the server does not allow this method on the requested resource".into(),
        422 => "the server rejected our request due to an error in our request".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        500.. => format!("an error on the server ({told}) has prevented the request from succeeding", told = GoQuoted(&told)),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

/// Reads the answer to a review of `version`; its type is named `of` in the table of types.
///
/// # Errors
/// It is no review of this version.
pub fn review(
    version: Version,
    (group, kind, of): (&str, &str, &str),
    document: &[u8],
) -> Result<Value, AnswerError> {
    let (asked, other) = (version.of_group(group), version.other().of_group(group));
    let node = Schema::builtin()
        .get(of)
        .unwrap_or_else(|| panic!("{of} is not in the schema table"));
    decoded(document, kind, &[&asked, &other], node)
}

/// Reads an answer that should be of `kind` in one of `versions` (`admission.k8s.io/v1`), the first of which was asked for; its type is at `node`.
///
/// # Errors
/// It is no such document.
pub fn decoded(
    document: &[u8],
    kind: &str,
    versions: &[&str],
    node: Node<'_>,
) -> Result<Value, AnswerError> {
    let error = |why: String| Err(AnswerError(why));
    let mut value = parsed(document)?;
    if let Some(found) = go_name(&value) {
        return error(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        ));
    }
    let asked = versions.first().copied().unwrap_or("");
    let or = |given: &str, instead: &str| match given {
        "" => instead.to_string(),
        given => given.to_string(),
    };
    let (said_version, said_kind) = (
        or(value.text("apiVersion"), asked),
        or(value.text("kind"), kind),
    );
    if said_kind != kind || !versions.contains(&said_version.as_str()) {
        return error(format!(
            "no kind {said_kind} is registered for version {said_version} in scheme {SCHEME:?}",
            said_kind = GoQuoted(&said_kind),
            said_version = GoQuoted(&said_version)
        ));
    }
    if said_version != asked {
        let bare = |version: &str| version.rsplit('/').next().unwrap_or("").to_string();
        return error(format!(
            "converting ({}.{kind}) to ({}.{kind}): unknown conversion",
            bare(&said_version),
            bare(asked)
        ));
    }
    schema::conform(&mut value, node).map_err(|why| AnswerError(why.to_string()))?;
    Ok(value)
}

/// JSON, and what else is YAML.
fn parsed(document: &[u8]) -> Result<Value, AnswerError> {
    if document.trim_ascii_start().starts_with(b"{") {
        let read = schema::parse_json(document).map(|parsed| parsed.value);
        return read.map_err(|why| {
            AnswerError(format!(
                "couldn't get version/kind; json parse error: {why}"
            ))
        });
    }
    let text = std::str::from_utf8(document)
        .map_err(|_| AnswerError("yaml: invalid leading UTF-8 octet".into()))?;
    yaml::read_first(text)
        .map(|(value, _)| value)
        .map_err(|why| AnswerError(why.to_string()))
}

/// What Go calls a value that is no object.
fn go_name(value: &Value) -> Option<&'static str> {
    (!value.is_null() && !value.is_object()).then(|| go_kind(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let mut text = HeaderMap::new();
        text.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        let status = br#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no"}"#;
        for (code, headers, document, said) in [
            (
                404,
                &text,
                &b"x"[..],
                "the server could not find the requested resource",
            ),
            (
                500,
                &text,
                b" boom\n",
                "an error on the server (\"boom\") has prevented the request from succeeding",
            ),
            (403, &text, b"not you", "not you"),
            (
                302,
                &text,
                b"",
                "the server responded with the status code 302 but did not return more information",
            ),
            (500, &HeaderMap::new(), status, "no"),
        ] {
            let code = StatusCode::from_u16(code).unwrap();
            assert_eq!(refusal(code, headers, document), said);
        }
    }
}
