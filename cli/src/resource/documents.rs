//! The documents of one text: YAML divided by separators, or JSON texts one after the other.
//! Invariant: nothing is read past a document that cannot be read, and what stood before it is kept.
//! Behaviour follows `staging/src/k8s.io/apimachinery/pkg/util/yaml/decoder.go`.

use super::files::Manifest;
use crate::error::{Error, Problem, Result};
use serde_json::Value;
use skiff_api::machinery::gojson;
use std::rc::Rc;

/// The documents of one text up to the first that cannot be read; those that hold nothing are passed over.
pub fn documents(source: &str, text: &str) -> Vec<Result<Manifest>> {
    let fail = |e: String| Error::msg(format!("error parsing {source}: {e}"));
    let manifest = |object, lines| Manifest {
        source: source.into(),
        object,
        lines,
    };
    let is_json = text.trim_start().starts_with('{');
    if is_json && let Some(list) = json_documents(text) {
        let list = list.into_iter();
        return list
            .map(|object| Ok(manifest(object, Rc::default())))
            .collect();
    }
    let mut out = Vec::new();
    for part in parts(text) {
        let told = |why| Problem(format!("error converting YAML to JSON: {why}"));
        match part.and_then(|part| part.read().map_err(told)) {
            Ok(document) if document.value.is_null() => {}
            Ok(document) => out.push(Ok(manifest(document.value, Rc::new(document.lines)))),
            // What begins as JSON is told of as JSON.
            Err(_) if is_json => {
                out.push(Err(fail(json_fault(text))));
                break;
            }
            Err(why) => {
                out.push(Err(fail(why.to_string())));
                break;
            }
        }
    }
    out
}

/// What stands between two separators, and how many lines before it.
pub struct Part<'a> {
    text: &'a str,
    before: usize,
}

impl Part<'_> {
    /// The document; its lines are the file's, those of a mistake its own.
    ///
    /// # Errors
    /// Text that is no YAML.
    pub fn read(self) -> Result<crate::yaml::Document, Problem> {
        let documents = crate::yaml::read_lax(self.text)?;
        let mut first = documents.into_iter().next().unwrap_or_default();
        first
            .lines
            .values_mut()
            .for_each(|line| *line += self.before);
        Ok(first)
    }
}

/// A text divided where a line begins with `---`; the separator before a first part belongs to it.
pub fn parts(text: &str) -> Vec<Result<Part<'_>, Problem>> {
    let mut out = Vec::new();
    let (mut start, mut before, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                out.push(Err(Problem(format!(
                    "invalid Yaml document separator: {rest}"
                ))));
                return out;
            }
            if at > start {
                out.push(Ok(Part {
                    text: &text[start..at],
                    before,
                }));
                (start, before) = (end, number + 1);
            }
        }
        at = end;
    }
    if at > start {
        out.push(Ok(Part {
            text: &text[start..],
            before,
        }));
    }
    out
}

/// What Go's decoder says of text that is no JSON.
fn json_fault(text: &str) -> String {
    match gojson::syntax_error_at(text.as_bytes()) {
        Some((offset, why)) => format!("json: offset {offset}: {why}"),
        None => "unexpected EOF".into(),
    }
}

/// Several JSON texts one after the other; nothing if it is no JSON but may be YAML.
fn json_documents(text: &str) -> Option<Vec<Value>> {
    let mut out = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        out.push(value.ok()?);
    }
    // The reader that knows lines is wanted for manifests that people write; JSON of one line has none to tell.
    if text.trim_end().lines().count() > 1 && out.len() == 1 {
        return None;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The objects of a text, and what is wrong with the first that cannot be read.
    fn read(text: &str) -> (Vec<Value>, Option<String>) {
        let (mut objects, mut wrong) = (Vec::new(), None);
        for document in documents("x", text) {
            match document {
                Ok(manifest) => objects.push(manifest.object),
                Err(why) => wrong = Some(why.to_string()),
            }
        }
        (objects, wrong)
    }

    #[test]
    fn each_document_is_read_by_itself() {
        let (a, b) = (json!({"a": 1}), json!({"b": 2}));
        for (text, objects, wrong) in [
            (
                "---\na: 1\n--- # next\nb: 2",
                vec![a.clone(), b.clone()],
                None,
            ),
            ("a: 1\n...\nb: 2\n", vec![a.clone()], None),
            (
                "a: 1\n---\nb: [\n---\nc: 3\n",
                vec![a.clone()],
                Some(
                    "error converting YAML to JSON: yaml: line 1: did not find expected node content",
                ),
            ),
            (
                "a: 1\n--- b: 2\n",
                vec![],
                Some("invalid Yaml document separator: b: 2"),
            ),
            (
                "%YAML 1.1\n---\na: 1\n",
                vec![],
                Some(
                    "error converting YAML to JSON: yaml: line 1: did not find expected <document start>",
                ),
            ),
            (
                "\ta: 1\n",
                vec![],
                Some(
                    "error converting YAML to JSON: yaml: found character that cannot start any token",
                ),
            ),
        ] {
            let wrong = wrong.map(|why| format!("error parsing x: {why}"));
            assert_eq!(read(text), (objects, wrong), "{text}");
        }
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let list = documents("x", "a: 1\n---\n\nb: 2\n");
        assert_eq!(list[1].as_ref().unwrap().lines["b"], 4);
    }
}
