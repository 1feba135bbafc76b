//! Tells where in the file a field stands that the server does not know, and which known field is nearest.
//! Invariant: the server's words stay as they are; this only adds lines below them.
//! Behaviour follows nothing upstream: kubectl does not do this.

use super::Info;
use crate::command::distance;
use crate::error::{Error, NOTES};
use crate::typed::Read;

/// The error, with what the file can tell of it.
pub fn explain(error: Error, info: &Info) -> Error {
    let called_kubectl = std::env::args()
        .next()
        .is_some_and(|a| a.ends_with("kubectl"));
    match error {
        Error::Status(status) => note(*status, info, called_kubectl),
        other => other,
    }
}

/// kubectl itself adds nothing: when called by its name, neither does this.
fn note(mut status: serde_json::Value, info: &Info, called_kubectl: bool) -> Error {
    if info.lines.is_empty() || called_kubectl {
        return Error::Status(Box::new(status));
    }
    let message = crate::error::status_message(&status);
    let mut notes = unknown_fields(&message, info);
    notes.extend(mistyped(&message, info));
    if status.text("reason") == "Invalid" {
        let causes = status.at("details").list("causes").iter();
        let mut places: Vec<String> = causes
            .filter_map(|cause| place(cause.text("field"), info))
            .collect();
        places.dedup();
        notes.extend(places);
    }
    if !notes.is_empty() {
        status[NOTES] = serde_json::json!(notes);
    }
    Error::Status(Box::new(status))
}

/// Where a field stands in the file.
fn place(path: &str, info: &Info) -> Option<String> {
    let line = crate::yaml::nearest_line(&info.lines, path)?;
    Some(format!("{}:{line}: {path}", info.source))
}

/// The fields that the server does not know.
fn unknown_fields(message: &str, info: &Info) -> Vec<String> {
    let Some(start) = message.find("strict decoding error: ") else {
        return Vec::new();
    };
    let paths = message[start..].split("unknown field \"").skip(1);
    let paths = paths.filter_map(|part| part.split('"').next());
    let (api_version, kind) = (info.resource.api_version(), &info.resource.kind);
    paths
        .filter_map(|path| Some(place(path, info)? + &nearest(path, &api_version, kind)))
        .collect()
}

/// The field whose value has another type: Go tells its path without places in lists.
fn mistyped(message: &str, info: &Info) -> Option<String> {
    let (_, rest) = message.split_once("into Go struct field ")?;
    let (field, _) = rest.split_once(" of type ")?;
    let (_, path) = field.split_once('.')?;
    let plain = |path: &str| -> String {
        let mut inside = false;
        let kept = path.chars().filter(|c| {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ => return !inside,
            }
            false
        });
        kept.collect()
    };
    let mut known: Vec<(&String, &usize)> = info.lines.iter().collect();
    known.sort_by_key(|(_, line)| **line);
    let found = known.iter().find(|(known, _)| plain(known) == path);
    // a map's values have no path of their own in Go's words
    let found = found.or_else(|| {
        let below = format!("{path}.");
        known
            .iter()
            .find(|(known, _)| plain(known).starts_with(&below))
    });
    let (known, line) = found?;
    Some(format!("{}:{line}: {known}", info.source))
}

/// `; did you mean …?`, if a field that the kind has there is near enough.
fn nearest(path: &str, api_version: &str, kind: &str) -> String {
    let Some(mut at) = crate::typed::of(api_version, kind) else {
        return String::new();
    };
    let mut steps: Vec<&str> = path.split(['.', '[']).filter(|s| !s.is_empty()).collect();
    let Some(last) = steps.pop() else {
        return String::new();
    };
    for step in steps {
        let next = if step.ends_with(']') {
            at.element()
        } else {
            at.child(step)
        };
        match next {
            Some(n) => at = n,
            None => return String::new(),
        }
    }
    let fields = at
        .as_type()
        .map(|t| t.fields.as_slice())
        .unwrap_or_default();
    let best = fields
        .iter()
        .map(|f| (distance(last, &f.name), &f.name))
        .min_by_key(|(d, _)| *d);
    match best {
        Some((d, name)) if d <= 2.max(last.len() / 3) => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Resource;
    use crate::error::told;
    use serde_json::json;

    #[test]
    fn the_line_and_the_nearest_field_are_told() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bad\ndatas:\n  a: b\n";
        let m = crate::resource::files::documents("typo.yaml", text)
            .remove(0)
            .unwrap();
        let resource = Resource {
            version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
            ..Resource::default()
        };
        let info = Info {
            resource,
            namespace: "d".into(),
            name: "bad".into(),
            object: m.object,
            source: m.source,
            lines: m.lines,
        };
        let status = || json!({"reason": "BadRequest", "message": "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"datas\""});
        let told_to = |kubectl| told(&note(status(), &info, kubectl)).0;
        assert!(
            told_to(false)
                .ends_with("unknown field \"datas\"\n  typo.yaml:5: datas; did you mean data?"),
            "{}",
            told_to(false)
        );
        assert!(told_to(true).ends_with("unknown field \"datas\""));
        assert_eq!(
            nearest("spec.containers[0].imag", "v1", "Pod"),
            "; did you mean image?"
        );
        assert_eq!(nearest("spec.nothingLikeIt", "v1", "Pod"), "");
    }
}
