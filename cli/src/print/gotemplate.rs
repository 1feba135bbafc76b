//! Go templates, with the two functions that kubectl adds: `exists` and `base64decode`.
//! Invariant: whole numbers are integers, which compare with those of the template and keep all their digits.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/printers/template.go`.

use super::order::Order;
use crate::error::{Error, Result, quote};
use gotmpl::{MissingKey, TemplateError, Value as Go};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A parsed template.
pub struct Template {
    text: String,
    template: gotmpl::Template,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The mistake, with its line.
    pub fn parse(text: &str, allow_missing: bool) -> Result<Template> {
        let made = gotmpl::Template::new("output")
            .missing_key(if allow_missing {
                MissingKey::Invalid
            } else {
                MissingKey::Error
            })
            .func("exists", exists)
            .func("base64decode", base64decode)
            .parse(text)
            .map_err(|e| {
                Error::msg(format!(
                    "error parsing template {text}, {}",
                    parse_error(&e)
                ))
            })?;
        Ok(Template {
            text: text.to_string(),
            template: made,
        })
    }

    /// The template filled in from an object; where that fails, the object is told of with its fields in this order.
    ///
    /// # Errors
    /// What the template asks of the object and cannot have.
    pub fn render(&self, object: &Value, order: Order) -> Result<String> {
        let error = match self.filled(object) {
            Ok(text) => return Ok(text),
            // Go finds it when it reads the template
            Err(TemplateError::UndefinedFunction(name)) => {
                let (line, _) = place(&self.text, self.text.find(&name).unwrap_or(0));
                return Err(Error::msg(format!(
                    "error parsing template {}, template: output:{line}: function {} not defined",
                    self.text,
                    quote(&name)
                )));
            }
            Err(error) => self.go_words(&error, object),
        };
        let style = super::json::Style { indent: 0, order };
        let (raw, given) = (super::json::write(object, style), super::go::plain(object));
        super::put(&format!(
            "Error executing template: {error}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t{}\n\traw data was:\n\t\t{raw}\n\tobject given to template engine was:\n\t\t{given}\n\n",
            self.text
        ))?;
        Err(Error::msg(format!(
            "error executing template {}: {error}",
            quote(&self.text)
        )))
    }

    /// The same with what the template's library says.
    pub(crate) fn filled(&self, object: &Value) -> Result<String, TemplateError> {
        self.template.execute_to_string(&convert(object))
    }

    /// What Go says of a field that is not there, and where the template asks for it.
    fn go_words(&self, error: &TemplateError, object: &Value) -> String {
        let said = error.to_string();
        if let Some(told) = self.of_function(&said, object) {
            return told;
        }
        let Some(key) = said.strip_prefix("map has no entry for key: ") else {
            return said;
        };
        let field = |c: char| c.is_alphanumeric() || c == '_';
        let wanted = format!(".{key}");
        let asked = self
            .text
            .match_indices(&wanted)
            .map(|(at, found)| (at, at + found.len()));
        let whole = asked
            .filter(|(_, end)| !self.text[*end..].starts_with(field))
            .map(|(at, _)| {
                let start = self.text[..at]
                    .rfind(|c| !field(c) && c != '.')
                    .map_or(0, |i| i + 1);
                let end = self.text[at + 1..]
                    .find(|c| !field(c) && c != '.')
                    .map_or(self.text.len(), |i| at + 1 + i);
                (start, end)
            });
        let Some((start, end)) = whole.into_iter().next() else {
            return said;
        };
        let fields = &self.text[start..end];
        // Go takes a chain of fields to stand where its second one does
        let (line, column) = place(
            &self.text,
            fields[1..]
                .find('.')
                .map_or(start, |second| start + 1 + second),
        );
        format!(
            "template: output:{line}:{column}: executing \"output\" at <{fields}>: map has no entry for key {}",
            quote(key)
        )
    }
}

impl Template {
    /// What Go says of a function that fails, and where the template calls it: of several calls the first.
    fn of_function(&self, said: &str, object: &Value) -> Option<String> {
        let said = said.strip_prefix("execution error: ").unwrap_or(said);
        let name = match said.split([' ', ':']).next()? {
            "index" => "index",
            "len" => "len",
            _ => return None,
        };
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
        let mut calls = self.text.match_indices(name);
        let (at, _) = calls.find(|(at, _)| {
            let (before, after) = (&self.text[..*at], &self.text[at + name.len()..]);
            !before.ends_with(is_word) && after.starts_with(char::is_whitespace)
        })?;
        let end = end_of_call(&self.text[at..]) + at;
        let call = self.text[at..end]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let why = match said {
            "len: cannot take length of <nil>" => {
                "reflect: call of reflect.Value.Type on zero Value".to_string()
            }
            _ => match said.strip_prefix("index out of range: ") {
                Some(index) if self.is_within_room(&call, index, object) => {
                    "reflect: slice index out of range".to_string()
                }
                _ => said.to_string(),
            },
        };
        let (line, column) = place(&self.text, at);
        Some(format!(
            "template: output:{line}:{column}: executing \"output\" at <{call}>: error calling {name}: {why}"
        ))
    }

    /// Whether a list that is too short for an index has room for it, as Go's lists grow by doubling.
    fn is_within_room(&self, call: &str, index: &str, object: &Value) -> bool {
        let Ok(index) = index.parse::<usize>() else {
            return false;
        };
        let list = call
            .strip_prefix("index ")
            .and_then(|rest| rest.rsplit_once(' '));
        let length = list.and_then(|(list, _)| {
            let template = Template::parse(&format!("{{{{len ({list})}}}}"), true).ok()?;
            template.filled(object).ok()?.parse::<usize>().ok()
        });
        let room = match length.unwrap_or(0) {
            0 => 0,
            length => length.next_power_of_two(),
        };
        index <= room
    }
}

/// Where a call ends that a text begins with: at its pipe, its parenthesis, or with its action.
fn end_of_call(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return at,
            ')' => depth -= 1,
            '|' | '}' if depth == 0 => return text[..at].trim_end().len(),
            _ => {}
        }
    }
    text.len()
}

/// The line and the column of a byte as Go counts them: lines from 1, columns from 0 in the first line and from 0 after each line's end.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    (
        before.matches('\n').count() + 1,
        before.rfind('\n').map_or(at, |newline| at - newline - 1),
    )
}

fn parse_error(e: &TemplateError) -> String {
    match e {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: output:{line}: {message}")
        }
        other => other.to_string(),
    }
}

fn convert(value: &Value) -> Go {
    match value {
        Value::Null => Go::Nil,
        Value::Bool(b) => Go::Bool(*b),
        Value::Number(n) => match n.as_i64() {
            Some(whole) => Go::Int(whole),
            None => Go::Float(n.as_f64().unwrap_or(0.0)),
        },
        Value::String(s) => Go::String(s.as_str().into()),
        Value::Array(l) => Go::List(l.iter().map(convert).collect()),
        Value::Object(m) => Go::Map(Arc::new(
            m.iter()
                .map(|(k, v)| (Arc::from(k.as_str()), convert(v)))
                .collect::<BTreeMap<_, _>>(),
        )),
    }
}

/// Whether the object has all of the fields, each inside the last.
fn exists(args: &[Go]) -> gotmpl::Result<Go> {
    let Some((first, path)) = args.split_first() else {
        return Ok(Go::Bool(false));
    };
    let mut at = first.clone();
    for step in path {
        let next = match (&at, step) {
            (Go::Map(m), Go::String(k)) => m.get(k.as_ref()).cloned(),
            (Go::List(l), i) => i
                .as_int()
                .and_then(|i| usize::try_from(i).ok())
                .and_then(|i| l.get(i).cloned()),
            _ => None,
        };
        match next {
            Some(v) => at = v,
            None => return Ok(Go::Bool(false)),
        }
    }
    Ok(Go::Bool(!matches!(at, Go::Nil)))
}

fn base64decode(args: &[Go]) -> gotmpl::Result<Go> {
    let text = args.first().and_then(Go::as_str).unwrap_or("");
    let bytes = crate::typed::base64(text).map_err(|why| {
        TemplateError::Exec(format!(
            "template: output:1:2: executing \"output\" at <base64decode>: error calling base64decode: base64 decode failed: {why}"
        ))
    })?;
    Ok(Go::String(String::from_utf8_lossy(&bytes).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_filled_in() {
        let data = json!({"name": "a", "n": 3, "big": 9223372036854775807i64, "l": [{"x": "y"}], "secret": "czNjcmV0"});
        for (template, want) in [
            ("{{.name}}{{\"\\n\"}}", "a\n"),
            ("{{range .l}}{{.x}},{{end}}", "y,"),
            ("{{.n}}", "3"),
            ("{{.big}} {{if eq .n 3}}x{{end}}", "9223372036854775807 x"),
            ("{{.nosuch}}", "<no value>"),
            ("{{.nosuch.x}}", "<no value>"),
            (
                "{{exists . \"l\" 0 \"x\"}} {{exists . \"z\"}}",
                "true false",
            ),
            ("{{.secret | base64decode}}", "s3cret"),
            ("{{.name | printf \"%-4s\"}}|{{len .l}}", "a   |1"),
        ] {
            assert_eq!(
                Template::parse(template, true)
                    .unwrap()
                    .render(&data, Order::Sorted)
                    .unwrap(),
                want,
                "{template}"
            );
        }
        for (template, want) in [
            (
                "{{.nosuch}}",
                "template: output:1:2: executing \"output\" at <.nosuch>: map has no entry for key \"nosuch\"",
            ),
            (
                "a\n{{ .l2.x }}",
                "template: output:2:6: executing \"output\" at <.l2.x>: map has no entry for key \"l2\"",
            ),
        ] {
            let said = Template::parse(template, false)
                .unwrap()
                .render(&data, Order::Sorted)
                .unwrap_err()
                .to_string();
            assert_eq!(
                said,
                format!("error executing template {}: {want}", quote(template))
            );
        }
        for (template, want) in [
            (
                "{{(index .l 1).x}}",
                "3: executing \"output\" at <index .l 1>: error calling index: reflect: slice index out of range",
            ),
            (
                "{{index .l  9 | len}}",
                "2: executing \"output\" at <index .l 9>: error calling index: index out of range: 9",
            ),
            (
                "{{index .nosuch 9}}",
                "2: executing \"output\" at <index .nosuch 9>: error calling index: index of untyped nil",
            ),
            (
                "{{len .nosuch}}",
                "2: executing \"output\" at <len .nosuch>: error calling len: reflect: call of reflect.Value.Type on zero Value",
            ),
        ] {
            let parsed = Template::parse(template, true).unwrap();
            let said = parsed.render(&data, Order::Sorted).unwrap_err().to_string();
            let want = format!(
                "error executing template {}: template: output:1:{want}",
                quote(template)
            );
            assert_eq!(said, want);
        }
        let said = Template::parse("{{nosuch}}", true)
            .and_then(|t| t.render(&data, Order::Sorted))
            .unwrap_err()
            .to_string();
        assert_eq!(
            said,
            "error parsing template {{nosuch}}, template: output:1: function \"nosuch\" not defined"
        );
        assert_eq!(
            Template::parse("{{.bad", true).err().unwrap().to_string(),
            "error parsing template {{.bad, template: output:1: unclosed action"
        );
    }
}
