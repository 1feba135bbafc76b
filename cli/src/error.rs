//! What a verb can fail with, and how each failure is told to the user.
//! Invariant: the text and the exit status are kubectl's for the same failure; nothing that failed is ever reported as success.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/util/helpers.go`.

use crate::typed::Read;
use serde_json::Value;
pub use skiff_api::machinery::problem::Problem;
pub use skiff_api::machinery::quote::go_quote as quote;
use skiff_api::machinery::{aggregate::aggregate, quote::GoQuoted};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure told as `error: …`; its text is written as `format!` writes it.
macro_rules! message {
    ($($text:tt)*) => { $crate::error::Error::msg(format!($($text)*)) };
}
/// Returns such a failure.
macro_rules! bail {
    ($($text:tt)*) => { return Err($crate::error::message!($($text)*)) };
}
pub(crate) use {bail, message};

/// A failure of a verb.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a `Status` that is not a success.
    #[error("{}", status_message(.0))]
    Status(Box<Value>),
    /// Something went wrong here; told as `error: …`.
    #[error("{0}")]
    Message(String),
    /// Told word for word, with this exit status.
    #[error("{0}")]
    Plain(String, i32),
    /// No words, only an exit status: they have been said already.
    #[error("exit")]
    Exit(i32),
    /// No resource of that name is served.
    #[error("{}", no_match(.resource, .group, .version))]
    NoResource {
        resource: String,
        group: String,
        version: String,
    },
    /// The kubeconfig does not hold together.
    #[error("invalid configuration: {}", .0.join(", "))]
    Config(Vec<String>),
    /// Nothing could be sent to the server.
    #[error("{verb} {url}: {cause}", url = GoQuoted(.url))]
    Connection {
        verb: String,
        url: String,
        cause: String,
    },
    /// The server would not change the protocol of a connection.
    #[error("unable to upgrade connection: {0}")]
    Upgrade(String),
    /// Several failures, each told on a line of its own.
    #[error("{}", aggregate(.0).unwrap_or_default())]
    Many(Vec<Error>),
}

fn no_match(resource: &str, group: &str, version: &str) -> String {
    match (group.is_empty(), version.is_empty()) {
        (false, false) => format!("no matches for {group}/{version}, Resource={resource}"),
        (false, true) => format!("no matches for {group}/, Resource={resource}"),
        (true, false) => format!("no matches for /{version}, Resource={resource}"),
        (true, true) => format!("no matches for /, Resource={resource}"),
    }
}

/// A `Status` object's message, or what stands for it.
pub fn status_message(status: &Value) -> String {
    match status["message"].as_str() {
        Some(m) if !m.is_empty() => m.to_string(),
        _ => "unknown".to_string(),
    }
}

impl Error {
    pub fn msg(text: impl Into<String>) -> Self {
        Error::Message(text.into())
    }
    /// A mistake in how the verb was called; names the help to read.
    pub fn usage(path: &str, text: impl std::fmt::Display) -> Self {
        Error::Message(format!("{text}\nSee '{path} -h' for help and examples"))
    }
    /// That the server would not change the protocol of a connection, with what its answer says of that.
    pub fn not_upgraded(body: &[u8]) -> Self {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let plain = String::from_utf8_lossy(body);
        let words = [said.text("message"), said.text("error"), &plain];
        let mut words = words.into_iter().map(str::trim);
        let why = words.find(|text| !text.is_empty());
        Error::Upgrade(why.unwrap_or("empty server response").into())
    }
    /// The `reason` of the server's answer, or nothing.
    pub fn reason(&self) -> &str {
        match self {
            Error::Status(s) => s["reason"].as_str().unwrap_or(""),
            _ => "",
        }
    }
    /// The HTTP status code of the server's answer, or 0.
    pub fn code(&self) -> u64 {
        match self {
            Error::Status(s) => s["code"].as_u64().unwrap_or(0),
            _ => 0,
        }
    }
    pub fn is_not_found(&self) -> bool {
        self.reason() == "NotFound"
    }
    /// The error without what says that an object is not there.
    pub fn unless_absent(self) -> Option<Error> {
        match self {
            Error::Many(list) => {
                let left: Vec<Error> = list.into_iter().filter_map(Error::unless_absent).collect();
                (!left.is_empty()).then_some(Error::Many(left))
            }
            error => (!error.is_not_found()).then_some(error),
        }
    }
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }
    /// That a word means no type, told without the group and version that the word named.
    pub fn of_type(self) -> Error {
        match self {
            Error::NoResource { resource, .. } => Error::msg(format!(
                "the server doesn't have a resource type {}",
                quote(&resource)
            )),
            other => other,
        }
    }

    /// As one of a list of failures that may hold but one: a text of ours then stands without `error: `.
    pub fn listed_if_one(self) -> Error {
        match self {
            Error::Message(_) => self.listed(),
            Error::Many(mut one) if one.len() == 1 => one.remove(0).listed_if_one(),
            several => several,
        }
    }

    /// The error as a line of a list, which stands without `error: `.
    pub fn listed(self) -> Error {
        Error::Plain(line_for(&self), 1)
    }

    /// One error out of several; none is success.
    pub fn collect(mut errors: Vec<Error>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Many(errors)),
        }
    }
    /// Says what was being done to which file when the failure came.
    pub fn with_source(self, verb: &str, source: &str) -> Self {
        match self {
            Error::Status(mut s) => {
                let message = status_message(&s);
                s["message"] = Value::String(if source.is_empty() {
                    message
                } else {
                    format!(
                        "error when {verb} {source}: {message}",
                        source = GoQuoted(&source)
                    )
                });
                Error::Status(s)
            }
            e if source.is_empty() => e,
            e => Error::Message(format!(
                "error when {verb} {source}: {e}",
                source = GoQuoted(&source)
            )),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Error::Message(problem.to_string())
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Error::Message(go_io(&e))
    }
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Self {
        Error::Message(e.to_string())
    }
}

/// Why a file could not be read, in Go's words.
pub fn unread(path: &std::path::Path, e: &std::io::Error) -> String {
    // a folder can be opened
    let doing = match e.kind() {
        std::io::ErrorKind::IsADirectory => "read",
        _ => "open",
    };
    format!("{doing} {}: {}", path.display(), go_io(e))
}

/// An I/O error in the words that Go has for it, without the path.
pub fn go_io(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "is a directory".into(),
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        _ => e.to_string(),
    }
}

/// One error inside a list of several.
fn line_for(error: &Error) -> String {
    standard(error).unwrap_or_else(|| error.to_string())
}

/// The errors that have words of their own.
fn standard(error: &Error) -> Option<String> {
    match error {
        Error::Status(s) => {
            let text = match s["reason"].as_str().unwrap_or("") {
                "Unauthorized" => format!(
                    "error: You must be logged in to the server ({})",
                    status_message(s)
                ),
                "" => format!("Error from server: {error}"),
                reason => format!("Error from server ({reason}): {error}"),
            };
            Some(noted(text, s))
        }
        Error::Connection { url, cause, .. } if cause.contains("connection refused") => {
            let host = url
                .split("://")
                .nth(1)
                .unwrap_or(url)
                .split('/')
                .next()
                .unwrap_or(url);
            Some(format!(
                "The connection to the server {host} was refused - did you specify the right host or port?"
            ))
        }
        Error::Connection { cause, .. } => {
            Some(format!("Unable to connect to the server: {cause}"))
        }
        _ => None,
    }
}

/// The field of a `Status` with what is told below it; no server sends it.
pub const NOTES: &str = "skiff.dev/notes";

/// A text with what is told below it.
fn noted(text: String, status: &Value) -> String {
    let notes: Vec<&str> = status.texts(NOTES).collect();
    match notes.as_slice() {
        [] => text,
        notes => format!("{}\n  {}", text.trim_end(), notes.join("\n  ")),
    }
}

fn invalid(status: &Value) -> String {
    let (details, message) = (&status["details"], status["message"].as_str().unwrap_or(""));
    if details.is_null() {
        return if message.is_empty() {
            "The request is invalid".into()
        } else {
            format!("The request is invalid: {message}")
        };
    }
    let (kind, name) = (
        details["kind"].as_str().unwrap_or(""),
        details["name"].as_str().unwrap_or(""),
    );
    let mut causes: Vec<String> = Vec::new();
    for c in details["causes"].as_array().into_iter().flatten() {
        let text = format!(
            "{}: {}",
            c["field"].as_str().unwrap_or(""),
            c["message"].as_str().unwrap_or("")
        );
        if !causes.contains(&text) {
            causes.push(text);
        }
    }
    let head = if !kind.is_empty() || !name.is_empty() {
        format!("The {kind} {} is invalid", quote(name))
    } else if !message.is_empty() && causes.is_empty() {
        format!("The request is invalid: {message}")
    } else {
        "The request is invalid".into()
    };
    match causes.as_slice() {
        [] => head,
        [one] => format!("{head}: {one}\n"),
        many => format!(
            "{head}: \n{}",
            many.iter().map(|c| format!("* {c}\n")).collect::<String>()
        ),
    }
}

/// What the user reads on standard error, and the exit status.
pub fn told(error: &Error) -> (String, i32) {
    match error {
        Error::Exit(code) => (String::new(), *code),
        Error::Plain(text, code) => (text.clone(), *code),
        // A list of one is that one; a list in it stays a list.
        Error::Many(list) if list.len() == 1 => match &list[0] {
            Error::Many(inner) => (inner.iter().map(|e| line_for(e) + "\n").collect(), 1),
            one => told(one),
        },
        Error::Many(list) => (list.iter().map(|e| line_for(e) + "\n").collect(), 1),
        Error::Status(s) if s["reason"] == "Invalid" => (noted(invalid(s), s), 1),
        Error::Config(list) => match list.as_slice() {
            [one] => (format!("error: {one}"), 1),
            many => (
                format!(
                    "Error in configuration: \n{}",
                    many.iter().map(|m| format!("* {m}\n")).collect::<String>()
                ),
                1,
            ),
        },
        Error::NoResource {
            resource,
            group,
            version,
        } => {
            let mut text = format!(
                "the server doesn't have a resource type {}",
                quote(resource)
            );
            match (group.is_empty(), version.is_empty()) {
                (false, false) => {
                    text += &format!(" in group {} and version {}", quote(group), quote(version))
                }
                (false, true) => text += &format!(" in group {}", quote(group)),
                (true, false) => text += &format!(" in version {}", quote(version)),
                (true, true) => {}
            }
            (text, 1)
        }
        e => {
            let text = standard(e).unwrap_or_else(|| {
                let text = e.to_string();
                if text.starts_with("error: ") {
                    text
                } else {
                    format!("error: {text}")
                }
            });
            (text, 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_are_told_as_kubectl_tells_them() {
        let status = |v: Value| Error::Status(Box::new(v));
        for (error, want) in [
            (
                status(json!({"reason": "NotFound", "message": "pods \"x\" not found"})),
                "Error from server (NotFound): pods \"x\" not found",
            ),
            (
                status(json!({"message": "boom"})),
                "Error from server: boom",
            ),
            (
                status(json!({"reason": "Unauthorized", "message": "Unauthorized"})),
                "error: You must be logged in to the server (Unauthorized)",
            ),
            (
                status(
                    json!({"reason": "Invalid", "message": "m", "details": {"kind": "Pod", "name": "web", "causes": [{"field": "a.b", "message": "Required value"}]}}),
                ),
                "The Pod \"web\" is invalid: a.b: Required value\n",
            ),
            (
                status(
                    json!({"reason": "Invalid", "details": {"kind": "Pod", "name": "w", "causes": [{"field": "a", "message": "x"}, {"field": "b", "message": "y"}, {"field": "a", "message": "x"}]}}),
                ),
                "The Pod \"w\" is invalid: \n* a: x\n* b: y\n",
            ),
            (Error::msg("bad"), "error: bad"),
            (Error::msg("error: bad"), "error: bad"),
            (
                Error::NoResource {
                    resource: "x".into(),
                    group: "g".into(),
                    version: String::new(),
                },
                "the server doesn't have a resource type \"x\" in group \"g\"",
            ),
            (
                Error::Connection {
                    verb: "Get".into(),
                    url: "https://h:1/api".into(),
                    cause: "dial tcp h:1: connect: connection refused".into(),
                },
                "The connection to the server h:1 was refused - did you specify the right host or port?",
            ),
            (
                Error::Many(vec![
                    Error::msg("a"),
                    status(json!({"reason": "NotFound", "message": "b"})),
                ]),
                "a\nError from server (NotFound): b\n",
            ),
        ] {
            assert_eq!(told(&error).0, want);
        }
    }

    #[test]
    fn the_file_is_named() {
        let e = Error::Status(Box::new(json!({"reason": "AlreadyExists", "message": "m"})))
            .with_source("creating", "a.yaml");
        assert_eq!(
            told(&e).0,
            "Error from server (AlreadyExists): error when creating \"a.yaml\": m"
        );
    }
}
