//! kubectl's dialect of JSONPath: templates with text, actions in braces, ranges, filters, unions and slices.
//! Invariant: parsing finds every mistake of form before anything is evaluated.
//! Behaviour follows `staging/src/k8s.io/client-go/util/jsonpath`.

mod eval;
mod parse;

use crate::machinery::problem::Problem;
use std::borrow::Cow;

use serde_json::Value;

use super::schema::to_json;

/// One step of an expression.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Field(String),
    /// Start, end and step; an end that nobody wrote is one after the start.
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        derived: bool,
        step: Option<i64>,
    },
    Filter {
        left: Vec<Node>,
        right: Vec<Node>,
        operator: String,
    },
    Int(i64),
    Float(f64),
    Bool(bool),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Node>>),
    Identifier(String),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Action(Vec<Node>),
    /// For each result of the expression, the parts up to `{end}`.
    Range(Vec<Node>, Vec<Part>),
}

/// A parsed template.
#[derive(Clone, Debug)]
pub struct JsonPath {
    template: String,
    parts: Vec<Part>,
    allow_missing: bool,
}

/// What one part found.
pub type Results<'a> = Vec<Cow<'a, Value>>;

impl JsonPath {
    /// Reads a template.
    ///
    /// # Errors
    /// The mistake, in kubectl's words.
    pub fn parse(text: &str) -> Result<JsonPath, Problem> {
        Ok(JsonPath {
            template: text.to_string(),
            parts: parse::template(text)?,
            allow_missing: false,
        })
    }

    /// The template that was read.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether a field that is not there gives nothing, instead of an error.
    pub fn allow_missing(mut self, allow: bool) -> Self {
        self.allow_missing = allow;
        self
    }

    /// What each part finds in the value, in order.
    ///
    /// # Errors
    /// Fields that are not there, indexes out of bounds, comparisons of what cannot be compared.
    pub fn find<'a>(&self, data: &'a Value) -> Result<Vec<Results<'a>>, Problem> {
        eval::Evaluator {
            allow_missing: self.allow_missing,
        }
        .parts(&self.parts, data)
    }

    /// The template filled in from the value.
    ///
    /// # Errors
    /// As `find`.
    pub fn render(&self, data: &Value) -> Result<String, Problem> {
        let results = self.find(data)?;
        let shown = |value: &Cow<'_, Value>| match value.is_null() {
            true => "null".to_owned(),
            false => text(value),
        };
        Ok(results
            .iter()
            .map(|r| r.iter().map(shown).collect::<Vec<_>>().join(" "))
            .collect())
    }
}

/// A value as templates print it.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => String::from_utf8_lossy(&to_json(other, None)).into_owned(),
    }
}

/// Turns `.metadata.name`, `metadata.name` and `{.metadata.name}` into `{.metadata.name}`.
///
/// # Errors
/// What is none of them.
pub fn relaxed(expression: &str) -> Result<String, Problem> {
    if expression.is_empty() {
        return Ok(String::new());
    }
    let inner = match expression.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}'),
        None if expression.ends_with('}') => None,
        None => Some(expression),
    };
    let inner = inner
        .filter(|i| !i.is_empty() && !i.contains(['{', '}']))
        .ok_or_else(|| "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'".to_string())?;
    let inner = inner.strip_prefix('.').unwrap_or(inner);
    Ok(if inner.starts_with('[') {
        format!("{{{inner}}}")
    } else {
        format!("{{.{inner}}}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(template: &str) -> Result<String, Problem> {
        let data = json!({
            "items": [
                {"name": "a", "n": 1, "ok": true, "tags": {"x.y/z": "q"}, "c": [{"image": "i1"}, {"image": "i2"}]},
                {"name": "b", "n": 2.5, "ok": false, "c": [{"image": "i3"}]}
            ],
            "kind": "List", "nothing": null
        });
        JsonPath::parse(template)?.allow_missing(true).render(&data)
    }

    #[test]
    fn templates_are_filled_in() {
        for (template, want) in [
            ("{.kind}", "List"),
            ("kind is {.kind}!", "kind is List!"),
            ("{.items[*].name}", "a b"),
            ("{.items[0].name}{\"\\n\"}", "a\n"),
            ("{.items[-1].name}", "b"),
            ("{.items[-1:].name}", "b"),
            ("{.items[0:2].name}", "a b"),
            ("{.items[0,1]['name']}", "a b"),
            ("{.items[*]['name','n']}", "a b 1 2.5"),
            ("{.items[?(@.n>1)].name}", "b"),
            ("{.items[?(@.name==\"a\")].n}", "1"),
            ("{.items[?(@.ok==true)].name}", "a"),
            ("{.items[?(@.tags)].name}", "a"),
            ("{.items[0].tags.x\\.y/z}", "q"),
            ("{..image}", "i1 i2 i3"),
            (
                "{range .items[*]}{.name}={range .c[*]}{.image},{end};{end}",
                "a=i1,i2,;b=i3,;",
            ),
            ("{range .none[*]}x{end}y", "y"),
            ("{.items[0].c}", "[{\"image\":\"i1\"},{\"image\":\"i2\"}]"),
            ("{.nosuch.thing}", ""),
            ("{$.kind}", "List"),
            ("{.items[:].name}", "a b"),
            (
                "{.items[0].c..}",
                "[{\"image\":\"i1\"},{\"image\":\"i2\"}] {\"image\":\"i1\"} i1 {\"image\":\"i2\"} i2",
            ),
            ("{.items[?(@.n=)].name}", ""),
            ("{.nothing}-{.nosuch}", "null-"),
            ("{.items[1].name.*}", "98"),
        ] {
            assert_eq!(run(template).as_deref(), Ok(want), "{template}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (template, want) in [
            ("{.spec[}", "unterminated array"),
            ("{.a", "unclosed action"),
            (
                "{.items[9].name}",
                "array index out of bounds: index 9, length 2",
            ),
            ("{.items[x]}", "invalid array index x"),
            ("{end}", "not in range, nothing to end"),
            ("{nosuch}", "unrecognized identifier nosuch"),
            ("{.items[?(@.n]}", "unterminated filter"),
            ("{.kind[0]}", "string is not array or slice"),
            (
                "{.items[?(@.n==)].name}",
                "unrecognized character in action: U+003D '='",
            ),
        ] {
            assert_eq!(run(template), Err(want.into()), "{template}");
        }
        assert_eq!(
            JsonPath::parse("{.nosuch}").unwrap().render(&json!({})),
            Err("nosuch is not found".into())
        );
        // found out when it is filled in
        assert!(JsonPath::parse("{end}").is_ok());
    }

    #[test]
    fn expressions_may_be_relaxed() {
        for (text, want) in [
            (".a.b", Some("{.a.b}")),
            ("a", Some("{.a}")),
            ("{.a}", Some("{.a}")),
            ("{a}", Some("{.a}")),
            ("{a", None),
            ("a}", None),
        ] {
            assert_eq!(relaxed(text).ok().as_deref(), want, "{text}");
        }
    }
}
