//! What a file of preferences holds, in its two versions.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/config` and `pkg/kuberc/marshal.go`.

use crate::error::{Problem, quote};
use crate::resource::documents::parts;
use crate::typed::Read;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

pub const VERSION: &str = "kubectl.config.k8s.io/v1beta1";
const OLDER_VERSION: &str = "kubectl.config.k8s.io/v1alpha1";
const KIND: &str = "Preference";

/// Preferences as `v1beta1` writes them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preference {
    #[serde(default)]
    pub api_version: String,
    #[serde(default)]
    pub kind: String,
    pub defaults: Option<Vec<Defaults>>,
    pub aliases: Option<Vec<Alias>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential_plugin_policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_plugin_allowlist: Option<Vec<Allowed>>,
}

/// Other defaults of a command's flags.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Defaults {
    #[serde(default)]
    pub command: String,
    pub options: Option<Vec<Flag>>,
}

/// A command under another name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub command: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepend_args: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub append_args: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Flag>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Flag {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub default: String,
}

/// A program that may give credentials.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Allowed {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
}

impl Preference {
    /// With nothing in it.
    pub fn empty() -> Preference {
        Preference {
            api_version: VERSION.into(),
            kind: KIND.into(),
            ..Preference::default()
        }
    }

    /// What is recommended to begin with.
    pub fn recommended() -> Preference {
        let row = |command: &str, name: &str| Defaults {
            command: command.into(),
            options: Some(vec![Flag {
                name: name.into(),
                default: "true".into(),
            }]),
        };
        Preference {
            defaults: Some(vec![
                row("apply", "server-side"),
                row("delete", "interactive"),
            ]),
            ..Preference::empty()
        }
    }
}

/// Names of fields that the older version gave them, and what they are now.
const OLDER: [(&str, &str); 2] = [("overrides", "defaults"), ("flags", "options")];
const NEWER: [(&str, &str); 2] = [(OLDER[0].1, OLDER[0].0), (OLDER[1].1, OLDER[1].0)];

/// Renames fields of one version to those of the other; what already bears a name of the other is no field of this one.
fn renamed(value: Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.into_iter();
            let fields = fields.filter(|(name, _)| !names.iter().any(|(_, other)| other == name));
            let fields = fields.map(|(name, value)| {
                let other = names.iter().find(|(own, _)| *own == name);
                let name = other.map_or(name, |(_, other)| other.to_string());
                (name, renamed(value, names))
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|v| renamed(v, names)).collect()),
        other => other,
    }
}

/// The paths of fields that are in what was read, and not in what was understood.
fn unknown(read: &Value, understood: &Value, path: &str, found: &mut Vec<String>) {
    match (read, understood) {
        (Value::Object(read), Value::Object(understood)) => {
            for (name, value) in read {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                match understood.get(name) {
                    Some(known) => unknown(value, known, &path, found),
                    None if is_nothing(value) => {}
                    None => found.push(format!("unknown field {}", quote(&path))),
                }
            }
        }
        (Value::Array(read), Value::Array(understood)) => {
            for (at, (read, understood)) in read.iter().zip(understood).enumerate() {
                unknown(read, understood, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

/// What is left out when it is written again.
fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null)
        || value.as_str() == Some("")
        || value.as_array().is_some_and(Vec::is_empty)
}

/// What a document says, in whichever version, as the newer one says it; and what it says besides, which is not understood.
///
/// # Errors
/// A field of another kind.
pub fn understand(document: Value) -> serde_json::Result<(Preference, Vec<String>)> {
    let is_older = document.text("apiVersion") == OLDER_VERSION;
    let mut newer = document.clone();
    if is_older {
        newer = renamed(newer, &OLDER);
        newer["apiVersion"] = VERSION.into();
    }
    let preference: Preference = serde_json::from_value(newer)?;
    let mut understood = serde_json::to_value(&preference)?;
    if is_older {
        understood = renamed(understood, &NEWER);
    }
    let mut odd = Vec::new();
    unknown(&document, &understood, "", &mut odd);
    Ok((preference, odd))
}

/// The preferences of a file: those of the first document that holds some, with what is odd about it. `None`: the file is empty. `details` are told of what is passed over.
///
/// # Errors
/// A file that cannot be read, or that holds other things.
pub fn read(
    path: &Path,
    details: impl Fn(&str),
) -> Result<Option<(Preference, Option<String>)>, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|why| {
        let text = crate::error::unread(path, &why);
        match why.kind() {
            std::io::ErrorKind::NotFound => ReadError::NotFound(text),
            _ => ReadError::Other(text.into()),
        }
    })?;
    let mut entries = 0;
    for part in parts(&text) {
        let document = part.map_err(ReadError::Other)?.read();
        if matches!(&document, Ok(document) if document.value.is_null()) {
            continue;
        }
        entries += 1;
        let place = format!("entry {entries} in {}", path.display());
        let document = match document {
            Ok(document) => document.value,
            Err(why) => {
                details(&format!("kuberc: strict decoding error for {place}: {why}"));
                continue;
            }
        };
        let version = document.text("apiVersion").to_string();
        if document.text("kind") != KIND || (version != VERSION && version != OLDER_VERSION) {
            let kind = document.text("kind");
            details(&format!(
                "kuberc: unexpected GroupVersionKind for {place}: {version}, Kind={kind}"
            ));
            continue;
        }
        match understand(document) {
            Ok((preference, odd)) => {
                let told = || format!("strict decoding error: {}", odd.join(", "));
                return Ok(Some((preference, (!odd.is_empty()).then(told))));
            }
            Err(why) => details(&format!("kuberc: strict decoding error for {place}: {why}")),
        }
    }
    if entries == 0 {
        details(&format!(
            "kuberc: no preferences found in {}",
            path.display()
        ));
        return Ok(None);
    }
    Err(ReadError::Other(Problem(format!(
        "no valid preferences found in {}, use --v=5 to see details",
        path.display()
    ))))
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Other(Problem),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<(Preference, Option<String>)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path(), |_| {}).map_err(|why| why.to_string())
    }

    #[test]
    fn both_versions_mean_the_same_and_what_is_unknown_is_told() {
        let newer = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\ndefaults:\n- command: get\n  options:\n  - {name: output, default: json}\n";
        let older = newer
            .replace("v1beta1", "v1alpha1")
            .replace("defaults", "overrides")
            .replace("options", "flags");
        let (a, odd) = of(newer).unwrap().unwrap();
        assert_eq!(odd, None);
        let (b, odd) = of(&older).unwrap().unwrap();
        assert_eq!(odd, None);
        assert_eq!(a, b);
        let (_, odd) = of(&format!("---\n---\n{newer}unknown: invalid\n"))
            .unwrap()
            .unwrap();
        assert_eq!(
            odd.as_deref(),
            Some("strict decoding error: unknown field \"unknown\"")
        );
        let (_, odd) = of(&newer.replace("v1beta1", "v1alpha1")).unwrap().unwrap();
        assert_eq!(
            odd.as_deref(),
            Some("strict decoding error: unknown field \"defaults\"")
        );
        let (c, _) = of(&format!("a: [\n---\n{newer}")).unwrap().unwrap();
        assert_eq!(a, c);
        assert_eq!(of("# nothing\n").unwrap(), None);
        for wrong in ["a: b", "a: [\n"] {
            let told = of(wrong).unwrap_err();
            assert!(told.starts_with("no valid preferences found in "), "{told}");
        }
    }
}
