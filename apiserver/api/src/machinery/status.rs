//! `metav1.Status`: what the API answers when it does not answer with an object.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go`: reasons, codes and messages.

use serde_json::{Map, Value, json};

use super::field::Errors;
use crate::machinery::quote::GoQuoted;

/// A failure as a client sees it. `message` is what people read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    pub code: u16,
    pub reason: &'static str,
    /// A reason that is none of the API's own words: somebody else's, told in the place of `reason`.
    pub reason_given: Option<Box<str>>,
    pub message: String,
    pub details: Option<Details>,
    /// Of a list that cannot go on as it was begun: the token by which it can.
    pub list_continue: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    pub name: String,
    pub group: String,
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: i32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

/// `plural.group` as messages name a resource.
fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.into()
    } else {
        format!("{resource}.{group}")
    }
}

/// What an answer that is no Status means, for programs and for people: a path where nobody answers, a server that has too much to do. `creates`: it
/// answers a POST; `said` is its text. Follows `NewGenericServerResponse` of `k8s.io/apimachinery/pkg/api/errors`.
pub fn unrecognized(code: u16, creates: bool, said: &str) -> (&'static str, String) {
    let said_or = |text: &str| match said {
        "" => text.to_string(),
        said => said.to_string(),
    };
    let (reason, message) = match code {
        400 => (
            "BadRequest",
            "the server rejected our request for an unknown reason",
        ),
        401 => ("Unauthorized", "Unauthorized"),
        403 => return ("Forbidden", said_or("forbidden")),
        404 => (
            "NotFound",
            "the server could not find the requested resource",
        ),
        405 => (
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        406 => {
            let none =
                "the server was unable to respond with a content type that the client supports";
            return ("NotAcceptable", said_or(none));
        }
        409 if creates => ("AlreadyExists", "the server reported a conflict"),
        409 => ("Conflict", "the server reported a conflict"),
        410 => ("Expired", "the provided resource version has expired"),
        413 => return ("RequestEntityTooLarge", said_or("limit exceeded")),
        415 => {
            let none = "the body of the request was in an unknown format - accepted media types include: application/json";
            return ("UnsupportedMediaType", said_or(none));
        }
        422 => (
            "Invalid",
            "the server rejected our request due to an error in our request",
        ),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request",
        ),
        500.. => {
            let said = Value::from(said_or("unknown"));
            let message = format!(
                "an error on the server ({said}) has prevented the request from succeeding"
            );
            return ("InternalError", message);
        }
        _ => {
            let message = format!(
                "the server responded with the status code {code} but did not return more information"
            );
            return ("", message);
        }
    };
    (reason, message.into())
}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status {
            code,
            reason,
            reason_given: None,
            message: message.into(),
            details: None,
            list_continue: String::new(),
        }
    }

    fn of(self, group: &str, kind: &str, name: &str) -> Status {
        Status {
            details: Some(Details {
                name: name.into(),
                group: group.into(),
                kind: kind.into(),
                ..Details::default()
            }),
            ..self
        }
    }

    pub fn not_found(group: &str, resource: &str, name: &str) -> Status {
        Status::new(
            404,
            "NotFound",
            format!(
                "{} {name} not found",
                qualified(group, resource),
                name = GoQuoted(&name)
            ),
        )
        .of(group, resource, name)
    }
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Status {
        Status::new(
            409,
            "AlreadyExists",
            format!(
                "{} {name} already exists",
                qualified(group, resource),
                name = GoQuoted(&name)
            ),
        )
        .of(group, resource, name)
    }
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Status {
        Status::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name}: {why}",
                qualified(group, resource),
                name = GoQuoted(&name)
            ),
        )
        .of(group, resource, name)
    }
    /// The stored object changed since it was read.
    pub fn modified(group: &str, resource: &str, name: &str) -> Status {
        Status::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let what = qualified(group, resource);
        let message = match (what.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (_, true) => format!("{what} is forbidden: {why}"),
            _ => format!("{what} {name} is forbidden: {why}", name = GoQuoted(&name)),
        };
        Status::new(403, "Forbidden", message).of(group, resource, name)
    }
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &Errors) -> Status {
        let qualified_kind = if group.is_empty() {
            kind.to_string()
        } else {
            format!("{kind}.{group}")
        };
        let mut status = Status::new(
            422,
            "Invalid",
            format!(
                "{qualified_kind} {name} is invalid: {}",
                errors.message(),
                name = GoQuoted(&name)
            ),
        )
        .of(group, kind, name);
        if let Some(details) = &mut status.details {
            details.causes = errors
                .0
                .iter()
                .map(|e| Cause {
                    reason: e.kind.reason().into(),
                    message: e.body(),
                    field: e.field.clone(),
                })
                .collect();
        }
        status
    }
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }
    pub fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }
    pub fn internal(message: impl std::fmt::Display) -> Status {
        let message = message.to_string();
        let mut status = Status::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        );
        status.details = Some(Details {
            causes: vec![Cause {
                message,
                ..Cause::default()
            }],
            ..Details::default()
        });
        status
    }
    /// An error of no kind that upstream knows: 500 without a reason.
    pub fn internal_plain(message: impl Into<String>) -> Status {
        Status::new(500, "", message)
    }
    pub fn method_not_allowed() -> Status {
        Status {
            details: Some(Details::default()),
            ..Status::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )
        }
    }
    /// The same, told by a kind that was brought along.
    pub fn method_not_supported(group: &str, resource: &str, verb: &str) -> Status {
        let of = qualified(group, resource);
        let message = format!(
            "{verb} is not supported on resources of kind {of}",
            of = GoQuoted(&of)
        );
        Status {
            details: Some(Details {
                group: group.into(),
                kind: resource.into(),
                ..Details::default()
            }),
            ..Status::new(405, "MethodNotAllowed", message)
        }
    }
    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }
    pub fn gone(message: impl Into<String>) -> Status {
        Status::new(410, "Gone", message)
    }
    pub fn too_large(message: impl Into<String>) -> Status {
        Status::new(413, "RequestEntityTooLarge", message)
    }
    pub fn unsupported_media_type(message: impl Into<String>) -> Status {
        Status::new(415, "UnsupportedMediaType", message)
    }
    pub fn not_acceptable(message: impl Into<String>) -> Status {
        Status::new(406, "NotAcceptable", message)
    }
    pub fn timeout(message: impl Into<String>, retry_after_seconds: i32) -> Status {
        let mut status = Status::new(504, "Timeout", format!("Timeout: {}", message.into()));
        status.details = Some(Details {
            retry_after_seconds,
            ..Details::default()
        });
        status
    }
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i32) -> Status {
        let mut status = Status::new(429, "TooManyRequests", message);
        status.details = Some(Details {
            retry_after_seconds,
            ..Details::default()
        });
        status
    }
    pub fn unavailable(message: impl Into<String>) -> Status {
        Status::new(503, "ServiceUnavailable", message)
    }
    /// The answer for a path that nothing serves.
    pub fn no_such_path() -> Status {
        Status {
            details: Some(Details::default()),
            ..Status::new(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )
        }
    }

    /// The object on the wire.
    pub fn to_value(&self) -> Value {
        let mut out = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message, "code": self.code});
        if !self.list_continue.is_empty() {
            out["metadata"]["continue"] = self.list_continue.as_str().into();
        }
        let reason = self.reason_given.as_deref().unwrap_or(self.reason);
        if !reason.is_empty() {
            out["reason"] = reason.into();
        }
        if let Some(details) = &self.details {
            out["details"] = details.to_value();
        }
        out
    }
}

impl Details {
    pub fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ] {
            if !value.is_empty() {
                out.insert(key.into(), value.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|cause| {
                let entries = [
                    ("reason", &cause.reason),
                    ("message", &cause.message),
                    ("field", &cause.field),
                ];
                Value::Object(
                    entries
                        .into_iter()
                        .filter(|(_, v)| !v.is_empty())
                        .map(|(k, v)| (k.into(), v.as_str().into()))
                        .collect(),
                )
            });
            out.insert("causes".into(), causes.collect());
        }
        if self.retry_after_seconds != 0 {
            out.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(out)
    }
}
