//! What an answer of the server is when it is no success.
//! Invariant: it is always an `Error::Status`, whatever its body. What a body says that is no `Status` is told only where it is text.
//! Behaviour follows `staging/src/k8s.io/client-go/rest/request.go`.

use super::Call;
use crate::error::Error;
use crate::typed::Read;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use serde_json::{Value, json};
use skiff_api::machinery::status::unrecognized;
use std::borrow::Cow;

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    /// It is said to be text, or nothing is said of it.
    pub is_text: bool,
    pub body: Bytes,
}

impl Answer {
    /// What is told of an answer that is no `Status`: its beginning, if it is text.
    pub fn text(&self) -> Cow<'_, str> {
        /// As client libraries have it.
        const TOLD: usize = 2048;
        if !self.is_text {
            return Cow::Borrowed("unknown");
        }
        let told = self.body.get(..TOLD).unwrap_or(&self.body);
        String::from_utf8_lossy(told.trim_ascii())
    }
}

pub fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_none_or(|kind| {
        let kind = kind.as_bytes().trim_ascii_start();
        kind.is_empty()
            || kind
                .get(..5)
                .is_some_and(|k| k.eq_ignore_ascii_case(b"text/"))
    })
}

/// An answer's code with the words that the server has for it: `404 Not Found`.
pub fn status_text<B>(response: &Response<B>) -> String {
    let status = response.status();
    let own = response.extensions().get::<ReasonPhrase>();
    let own = own.map(|own| String::from_utf8_lossy(own.as_bytes()));
    let words = own.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().into());
    format!("{} {words}", status.as_u16())
}

/// The error that an unsuccessful answer is.
pub fn failure(call: &Call, answer: &Answer) -> Error {
    let code = answer.status.as_u16();
    if let Ok(status) = serde_json::from_slice::<Value>(&answer.body)
        && status.text("kind") == "Status"
        && (status.text("status") == "Failure" || code >= 400)
    {
        return Error::Status(Box::new(status));
    }
    let (reason, mut message) = generic(&call.method, code, &answer.text());
    message.extend(asked(call));
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code});
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    if reason == "Invalid" {
        status.as_object_mut().map(|s| s.remove("details"));
    }
    Error::Status(Box::new(status))
}

/// The reason and message that a code stands for, with the answer's text.
pub fn generic(method: &Method, code: u16, text: &str) -> (&'static str, String) {
    match code {
        401 => {
            let message = "the server has asked for the client to provide credentials";
            ("Unauthorized", message.into())
        }
        403 => ("Forbidden", text.into()),
        // of these nothing is known but the code
        410 | 413 => {
            let message = format!(
                "the server responded with the status code {code} but did not return more information"
            );
            ("", message)
        }
        415 => ("UnsupportedMediaType", text.into()),
        406 if text == "unknown" => unrecognized(code, false, ""),
        _ => unrecognized(code, *method == Method::POST, text),
    }
}

/// What a request was for, as client libraries say it: ` (get boats.sea.example.com a)`. `None` of a path that leads to no resource.
fn asked(call: &Call) -> Option<String> {
    if call.is_raw {
        return None;
    }
    let path = call.path.split('?').next().unwrap_or("");
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let [resource, name @ ..] = (match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    }) else {
        return None;
    };
    let dot = if group.is_empty() { "" } else { "." };
    let name = name
        .first()
        .map_or(String::new(), |name| format!(" {name}"));
    let verb = call.method.as_str().to_ascii_lowercase();
    Some(format!(" ({verb} {resource}{dot}{group}{name})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, kind: &str, body: &str) -> Answer {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        Answer {
            status: StatusCode::from_u16(code).unwrap(),
            is_text: is_text(&headers),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn codes_are_told_in_the_words_of_the_server() {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NOT_FOUND;
        assert_eq!(status_text(&response), "404 Not Found");
        let own = ReasonPhrase::from_static(b"File not found");
        response.extensions_mut().insert(own);
        assert_eq!(status_text(&response), "404 File not found");
    }

    #[test]
    fn every_failure_is_a_status() {
        let e = failure(
            &Call::get("/x"),
            &answer(404, "text/plain", "404 page not found"),
        );
        assert_eq!(
            crate::error::told(&e).0,
            "Error from server (NotFound): the server could not find the requested resource"
        );
        for (path, asked) in [
            (
                "/apis/sea.example.com/v1/boats?limit=500",
                "get boats.sea.example.com",
            ),
            (
                "/apis/sea.example.com/v1/namespaces/n/boats/a",
                "get boats.sea.example.com a",
            ),
            ("/api/v1/namespaces/n", "get namespaces n"),
        ] {
            let e = failure(
                &Call::get(path),
                &answer(404, "text/plain", "404 page not found"),
            );
            let (told, _) = crate::error::told(&e);
            assert!(
                told.ends_with(&format!("requested resource ({asked})")),
                "{told}"
            );
        }
        let body = r#"{"kind":"Status","status":"Failure","reason":"Forbidden","message":"no","code":403}"#;
        let e = failure(&Call::get("/x"), &answer(403, "application/json", body));
        assert_eq!(
            crate::error::told(&e).0,
            "Error from server (Forbidden): no"
        );
    }

    /// As kubectl v1.36 tells them.
    #[test]
    fn codes_stand_for_messages() {
        for (code, text, message) in [
            (403, "nope", "nope"),
            (
                406,
                "unknown",
                "the server was unable to respond with a content type that the client supports",
            ),
            (
                413,
                "too big",
                "the server responded with the status code 413 but did not return more information",
            ),
            (
                502,
                "unknown",
                r#"an error on the server ("unknown") has prevented the request from succeeding"#,
            ),
        ] {
            assert_eq!(generic(&Method::GET, code, text).1, message);
        }
    }

    #[test]
    fn of_what_is_no_status_text_alone_is_told() {
        let told = |kind: &str, body: &str| answer(502, kind, body).text().into_owned();
        assert_eq!(
            told("text/html; charset=utf-8", " <p>Bad gateway\n"),
            "<p>Bad gateway"
        );
        assert_eq!(told("", "plain"), "plain");
        assert_eq!(told("application/json", r#"{"error":"x"}"#), "unknown");
        assert_eq!(told("text/plain", &"x".repeat(3000)).len(), 2048);
    }
}
