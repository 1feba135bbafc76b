//! The older form of `explain` (`-o plaintext-openapiv2`): types without their names, and fields as a tree.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/explain/{model_printer,recursive_fields_printer,typename,formatter}.go`.

use super::{Explainer, is_schema};
use crate::discovery::Resource;
use crate::error::{Result, message, quote};
use crate::typed::Read;
use serde_json::Value;

impl Explainer<'_> {
    /// The older layout.
    pub(super) fn classic(
        &self,
        r: &Resource,
        top: &Value,
        path: &[String],
        recursive: bool,
    ) -> Result<String> {
        let mut at = top;
        for step in path {
            let mut s = self.inner(at);
            if s.some("properties").is_none() {
                s = self.inner(s);
            }
            at = s
                .at("properties")
                .get(step)
                .ok_or_else(|| message!("field {} does not exist", quote(step)))?;
        }
        let mut out = format!("KIND:     {}\nVERSION:  {}\n\n", r.kind, r.api_version());
        if let Some(last) = path.last() {
            let what = match self.inner(at).some("properties") {
                None => "FIELD:   ",
                Some(_) => "RESOURCE:",
            };
            out += &format!("{what} {last} <{}>\n\n", self.classic_type(at));
        }
        let parts = self.description_parts(at);
        let text = match parts.is_empty() {
            true => "<empty>".into(),
            false => parts.join("\n\n"),
        };
        out += &format!("DESCRIPTION:\n{}", wrapped(&text));
        let mut fields = String::new();
        if recursive {
            self.classic_tree(at, 3, &mut Vec::new(), &mut fields);
        } else {
            self.classic_fields(self.inner(at), &mut fields);
        }
        if !fields.is_empty() {
            out += &format!("\nFIELDS:\n{fields}");
        }
        Ok(out)
    }

    /// What is said of a field, and of the types behind it.
    fn description_parts<'b>(&'b self, s: &'b Value) -> Vec<&'b str> {
        let mut parts = vec![s.text("description")];
        let next = match s.list("allOf") {
            [one] => Some(one),
            _ if !s.text("$ref").is_empty() => Some(self.resolve(s)),
            _ => ["items", "additionalProperties"]
                .into_iter()
                .map(|name| s.at(name))
                .find(|inner| is_schema(inner)),
        };
        parts.extend(
            next.into_iter()
                .flat_map(|next| self.description_parts(next)),
        );
        parts.retain(|part| !part.is_empty());
        parts
    }

    fn classic_fields(&self, s: &Value, out: &mut String) {
        for (name, field) in s.entries("properties") {
            let required = match s.texts("required").any(|one| one == name) {
                true => " -required-",
                false => "",
            };
            *out += &format!(
                "   {name}\t<{}>{required}\n{}\n",
                self.classic_type(field),
                wrapped(field.text("description"))
            );
        }
    }

    /// Names and types, those of a field's own fields below it.
    fn classic_tree(&self, s: &Value, pad: usize, within: &mut Vec<String>, out: &mut String) {
        let reference = reference(s);
        if !reference.is_empty() && within.iter().any(|one| one == reference) {
            return;
        }
        within.push(reference.to_string());
        for (name, field) in self.inner(s).entries("properties") {
            *out += &format!(
                "{}{name}\t<{}>\n",
                " ".repeat(pad),
                self.classic_type(field)
            );
            self.classic_tree(field, pad + 3, within, out);
        }
        within.pop();
    }

    /// A type as documents of version 2 have it: nothing by its name, and amounts, times and numbers that may be words are strings.
    fn classic_type(&self, s: &Value) -> String {
        let s = match s.list("allOf") {
            [one] => self.resolve(one),
            _ => self.resolve(s),
        };
        if is_schema(s.at("items")) {
            return format!("[]{}", self.classic_type(s.at("items")));
        }
        if is_schema(s.at("additionalProperties")) {
            return format!(
                "map[string]{}",
                self.classic_type(s.at("additionalProperties"))
            );
        }
        match s.text("type") {
            _ if s.some("properties").is_some() => "Object".into(),
            "object" => "map[string]".into(),
            "" if !s.list("oneOf").is_empty() => "string".into(),
            name => name.into(),
        }
    }
}

/// The name of the type of a field, of its elements or of its values; empty where it has none.
fn reference(s: &Value) -> &str {
    let s = match s.list("allOf") {
        [one] => one,
        _ => s,
    };
    ["items", "additionalProperties"]
        .into_iter()
        .map(|name| s.at(name))
        .find(|inner| is_schema(inner))
        .map_or(s.text("$ref"), reference)
}

/// Text in lines of at most 75 letters, behind five blanks: words run on, but where a list, a piece of code or a paragraph begins.
fn wrapped(text: &str) -> String {
    const LIMIT: usize = 75;
    let mut lines: Vec<String> = Vec::new();
    // the line that words are still added to
    let mut open = false;
    for line in text.split('\n') {
        let is_code = line.starts_with("    ");
        let line = if is_code { line } else { line.trim() };
        if is_code || line.is_empty() {
            if is_code || !lines.is_empty() {
                lines.push(line.into());
            }
            open = false;
            continue;
        }
        open &= !begins_list(line) && lines.last().is_some_and(|last| !last.ends_with(':'));
        for word in line.split_whitespace() {
            match lines.last_mut().filter(|_| open) {
                Some(last) if last.len() + 1 + word.len() <= LIMIT => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ => lines.push(word.into()),
            }
            open = true;
        }
    }
    let padded = lines.iter().map(|line| match line.as_str() {
        "" => "\n".to_string(),
        line => format!("     {line}\n"),
    });
    padded.collect()
}

/// `1. `, `- ` or `* `.
fn begins_list(line: &str) -> bool {
    let Some((mark, _)) = line.split_once(char::is_whitespace) else {
        return false;
    };
    let digits = mark.strip_suffix('.').unwrap_or(mark);
    matches!(mark, "-" | "*")
        || !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_runs_on_but_for_lists_and_code() {
        for (text, lines) in [
            ("a  b\nc", vec!["     a b c"]),
            ("a\n\nb", vec!["     a", "", "     b"]),
            ("\na", vec!["     a"]),
            ("so:\nb", vec!["     so:", "     b"]),
            ("a\n- b\n2. c\nd", vec!["     a", "     - b", "     2. c d"]),
            ("a\n    b  c\nd", vec!["     a", "         b  c", "     d"]),
        ] {
            assert_eq!(wrapped(text).lines().collect::<Vec<_>>(), lines, "{text:?}");
        }
        let long = "word ".repeat(16);
        assert_eq!(wrapped(&long).lines().count(), 2);
    }
}
