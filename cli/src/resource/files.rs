//! Manifests: files, folders, standard input and URLs, YAML and JSON, several documents, lists.
//! Invariant: a document is never passed over because it could not be read; the message names the file.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource/visitor.go`.

use crate::error::{Error, Problem, Result, quote};
use crate::flags::Group;
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::aggregate::aggregate;
use skiff_api::machinery::read::go_kind;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use super::documents::documents;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub source: String,
    pub object: Value,
    pub lines: Rc<HashMap<String, usize>>,
}

/// What `--validate` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    Strict,
    Warn,
    Ignore,
}

impl Validation {
    /// Reads the flag.
    ///
    /// # Errors
    /// A word that is none of them.
    pub fn parse(text: &str) -> Result<Validation> {
        match text {
            "strict" | "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(Validation::Strict),
            "warn" => Ok(Validation::Warn),
            "ignore" | "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(Validation::Ignore),
            other => Err(Error::msg(format!(
                "invalid - validate option {}; must be one of: strict (or true), warn, ignore (or false)",
                quote(other)
            ))),
        }
    }
    /// The request's `fieldValidation`.
    pub fn parameter(self) -> &'static str {
        match self {
            Validation::Strict => "Strict",
            Validation::Warn => "Warn",
            Validation::Ignore => "Ignore",
        }
    }
    /// The flag of verbs that send objects.
    pub const FLAG: Group = |declared| {
        declared.arg(
            clap::Arg::new("validate")
                .long("validate")
                .default_value("strict")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("strict")
                .help("What the server does with unknown and duplicate fields: \"strict\" (or true) refuses them, \"warn\" warns of them, \"ignore\" (or false) drops them"),
        )
    };
    /// As the command line has it; nothing for a verb without that flag.
    ///
    /// # Errors
    /// As `parse`.
    pub fn of(ctx: &crate::context::Ctx) -> Result<Option<Validation>> {
        let given = ctx.shared().validate.as_deref();
        given.map(Validation::parse).transpose()
    }
}

/// Checks that the paths that `-f` names are there.
///
/// # Errors
/// All that are not.
pub fn check_names(names: &[String]) -> Result<()> {
    let is_path =
        |n: &&String| *n != "-" && !n.starts_with("http://") && !n.starts_with("https://");
    let missing = |n: &String| {
        Path::new(n)
            .symlink_metadata()
            .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    };
    let absent = |n: &String| {
        if !missing(n) {
            None
        } else if n.contains(['*', '?', '[']) {
            expand(n, false).err()
        } else {
            Some(no_such_path(n))
        }
    };
    Error::collect(names.iter().filter(is_path).filter_map(absent).collect())
}

fn no_such_path(name: &str) -> Error {
    Error::msg(format!("the path {} does not exist", quote(name)))
}

/// Reads all documents that `-f` names, file by file.
///
/// # Errors
/// Paths that are not there, files that cannot be read.
pub async fn read_all(names: &[String], recursive: bool) -> Result<Vec<Vec<Result<Manifest>>>> {
    let mut out = Vec::new();
    let mut stdin_used = false;
    for name in names {
        if name == "-" {
            if std::mem::replace(&mut stdin_used, true) {
                return Err(Error::msg(
                    "standard input cannot be used for multiple arguments",
                ));
            }
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|e| Error::msg(format!("error reading STDIN: {e}")))?;
            out.push(documents("STDIN", &decoded(&bytes)));
        } else if name.starts_with("http://") || name.starts_with("https://") {
            out.push(documents(name, &super::web::fetch(name).await?));
        } else {
            for path in expand(name, recursive)? {
                let shown = path.display().to_string();
                let bytes = std::fs::read(&path).map_err(|e| {
                    Error::msg(format!("open {shown}: {}", crate::error::go_io(&e)))
                })?;
                out.push(documents(&shown, &decoded(&bytes)));
            }
        }
    }
    Ok(out)
}

/// The files under a path, or those that a pattern matches.
fn expand(name: &str, recursive: bool) -> Result<Vec<PathBuf>> {
    let path = Path::new(name);
    match std::fs::metadata(path) {
        Ok(m) if m.is_dir() => {
            let mut files = Vec::new();
            walk(path, recursive, &mut files)?;
            if files.is_empty() {
                return Err(Error::msg(format!(
                    "error reading [{name}]: recognized file extensions are [.json .yaml .yml]"
                )));
            }
            Ok(files)
        }
        Ok(_) => Ok(vec![path.to_path_buf()]),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && name.contains(['*', '?', '[']) => {
            let matched = glob(name)?;
            if matched.is_empty() {
                Err(no_such_path(name))
            } else {
                Ok(matched)
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(no_such_path(name)),
        Err(e) => Err(Error::msg(format!(
            "the path {} cannot be accessed: {}",
            quote(name),
            crate::error::go_io(&e)
        ))),
    }
}

fn walk(dir: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> Result<()> {
    let fail = |e: std::io::Error| {
        Error::msg(format!(
            "error reading {}: {}",
            quote(&dir.display().to_string()),
            crate::error::go_io(&e)
        ))
    };
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(fail)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?
        .into_iter()
        .map(|e| e.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if recursive {
                walk(&path, recursive, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|e| e == "json" || e == "yaml" || e == "yml")
        {
            // ./a/b is shown as a/b
            files.push(
                path.components()
                    .filter(|part| !matches!(part, std::path::Component::CurDir))
                    .collect(),
            );
        }
    }
    Ok(())
}

/// Files of one folder whose names match a shell pattern.
fn glob(pattern: &str) -> Result<Vec<PathBuf>> {
    let (dir, last) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    let mut expression = String::from("^");
    for c in last.chars() {
        match c {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' | ']' | '-' | '^' => expression.push(c),
            c => expression.push_str(&regex::escape(&c.to_string())),
        }
    }
    expression.push('$');
    let matcher = regex::Regex::new(&expression).map_err(|_| {
        Error::msg(format!(
            "pattern {} is not valid: syntax error in pattern",
            quote(pattern)
        ))
    })?;
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|n| matcher.is_match(n))
        {
            out.push(if pattern.contains('/') {
                entry.path()
            } else {
                PathBuf::from(entry.file_name())
            });
        }
    }
    out.sort();
    Ok(out)
}

/// Bytes as text, in the encoding that they begin with; what is none stands as U+FFFD.
fn decoded(bytes: &[u8]) -> String {
    let wide = |big: bool| {
        let units = bytes[2..].chunks(2).map(|pair| match (pair, big) {
            ([a, b], true) => u16::from_be_bytes([*a, *b]),
            ([a, b], false) => u16::from_le_bytes([*a, *b]),
            _ => 0xfffd,
        });
        char::decode_utf16(units)
            .map(|c| c.unwrap_or('\u{fffd}'))
            .collect()
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(false),
        [0xfe, 0xff, ..] => wide(true),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// That a document is an object, and where it has items, a list.
///
/// # Errors
/// It is something else, as Go's decoder words it.
pub fn decodes(m: &Manifest) -> Result<()> {
    let items = m.object.at("items");
    let (what, into) = if !m.object.is_object() {
        (&m.object, "value of type unstructured.detector")
    } else if items.is_null() || items.is_array() {
        return Ok(());
    } else {
        (
            items,
            "struct field decodeList.items of type []jsontext.Value",
        )
    };
    Err(Error::msg(format!(
        "unable to decode {}: json: cannot unmarshal {} into Go {into}",
        quote(&m.source),
        go_kind(what)
    )))
}

/// Checks what no server is needed for: that a document says what it is.
///
/// # Errors
/// The missing fields, as kubectl's validation words them.
pub fn validate(m: &Manifest) -> Result<()> {
    let checked = if m.object.is_object() {
        check_kind(&m.object)
    } else {
        Err(Problem("invalid object to validate".into()))
    };
    checked.map_err(|what| invalid(&m.source, what))
}

/// That what a file holds is not valid.
pub fn invalid(source: &str, what: impl std::fmt::Display) -> Error {
    Error::msg(format!(
        "error validating {}: error validating data: {what}; if you choose to ignore these errors, turn validation off with --validate=false",
        quote(source)
    ))
}

/// The same for a text that is to hold one document.
///
/// # Errors
/// A text that cannot be read, an object that does not say what it is.
pub fn check_text(text: &str) -> Result<(), Problem> {
    let first = crate::yaml::read_lax(text)?
        .into_iter()
        .next()
        .map_or(Value::Null, |d| d.value);
    check_kind(&first)
}

fn check_kind(object: &Value) -> Result<(), Problem> {
    aggregate(kind_faults(object)).map_or(Ok(()), |why| Err(Problem(why)))
}

/// Why an object does not say what it is.
pub fn kind_faults(object: &Value) -> Vec<String> {
    if !object.is_object() {
        return vec!["invalid object to validate".into()];
    }
    let fault = |field: &&str| match object.at(field) {
        Value::Null => Some(format!("{field} not set")),
        Value::String(text) if *field == "apiVersion" && text.matches('/').count() > 1 => {
            Some(format!("unexpected GroupVersion string: {text}"))
        }
        Value::String(_) => None,
        _ => Some(format!("{field} isn't string type")),
    };
    ["apiVersion", "kind"].iter().filter_map(fault).collect()
}

/// The objects that a document holds: itself, or the items of the list that it is.
pub fn flatten(m: Manifest) -> Vec<Manifest> {
    if !super::is_list(&m.object) {
        return vec![m];
    }
    let mut items = m.object.at("items").as_array().cloned().unwrap_or_default();
    // An item that does not say what it is is what the list is a list of.
    let kind = m.object.text("kind").trim_end_matches("List");
    for item in items.iter_mut().filter(|item| item.is_object()) {
        if item.text("kind").is_empty() && item.text("apiVersion").is_empty() && !kind.is_empty() {
            item["kind"] = Value::from(kind);
            item["apiVersion"] = m.object.at("apiVersion").clone();
        }
    }
    let lines_of = |i: usize| {
        let prefix = format!("items[{i}].");
        Rc::new(
            m.lines
                .iter()
                .filter_map(|(k, v)| k.strip_prefix(&prefix).map(|k| (k.to_string(), *v)))
                .collect(),
        )
    };
    items
        .into_iter()
        .enumerate()
        .flat_map(|(i, object)| {
            flatten(Manifest {
                source: m.source.clone(),
                object,
                lines: lines_of(i),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_found() {
        let list = documents("x", "a: 1\n---\n# nothing\n---\nb: 2\n");
        assert_eq!(
            list.iter()
                .map(|d| d.as_ref().unwrap().object.clone())
                .collect::<Vec<_>>(),
            [json!({"a": 1}), json!({"b": 2})]
        );
        assert_eq!(documents("x", "{\"a\":1}\n{\"b\":2}").len(), 2);
        assert_eq!(documents("x", "").len(), 0);
        assert!(documents("x", "a: [").remove(0).is_err());
        assert_eq!(
            documents("x", "a: {b: 1, b: 2}").remove(0).unwrap().object,
            json!({"a": {"b": 2}})
        );
        for (text, kind) in [("a b", "string"), ("[]", "array"), ("7", "number")] {
            let m = documents("STDIN", text).remove(0).unwrap();
            let wrong = "error validating \"STDIN\": error validating data: invalid object to validate; if you choose to ignore these errors, turn validation off with --validate=false";
            assert_eq!(validate(&m).unwrap_err().to_string(), wrong);
            let wrong = format!(
                "unable to decode \"STDIN\": json: cannot unmarshal {kind} into Go value of type unstructured.detector"
            );
            assert_eq!(decodes(&m).unwrap_err().to_string(), wrong);
        }
        let m = documents("STDIN", "items: {}").remove(0).unwrap();
        let wrong = "unable to decode \"STDIN\": json: cannot unmarshal object into Go struct field decodeList.items of type []jsontext.Value";
        assert_eq!(decodes(&m).unwrap_err().to_string(), wrong);
    }

    #[test]
    fn lists_are_taken_apart() {
        let m = documents(
            "x",
            "kind: List\napiVersion: v1\nitems:\n- kind: A\n  metadata:\n    name: n\n- kind: B\n",
        )
        .remove(0)
        .unwrap();
        let flat = flatten(m);
        assert_eq!(flat.len(), 2);
        assert_eq!(flat[0].lines["metadata.name"], 6);
    }

    #[test]
    fn what_is_missing_is_named() {
        let m = Manifest {
            source: "f".into(),
            object: json!({"kind": "A"}),
            lines: Rc::default(),
        };
        assert!(
            validate(&m)
                .unwrap_err()
                .to_string()
                .starts_with("error validating \"f\": error validating data: apiVersion not set;")
        );
        for (text, want) in [
            ("apiVersion: v1\nkind: A\n", Ok(())),
            ("# nothing\n", Err("invalid object to validate")),
            ("a: b\n", Err("[apiVersion not set, kind not set]")),
            (
                "apiVersion: 1\nkind: A\n",
                Err("apiVersion isn't string type"),
            ),
            (
                "apiVersion: a/b/c\nkind: A\n",
                Err("unexpected GroupVersion string: a/b/c"),
            ),
        ] {
            assert_eq!(
                check_text(text),
                want.map_err(|why: &str| why.to_string().into()),
                "{text}"
            );
        }
    }
}
