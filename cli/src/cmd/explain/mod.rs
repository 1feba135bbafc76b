//! `explain`: what the fields of a kind mean, from the server's own description of it.
//! Invariant: custom resources are explained as built-in kinds are.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/explain/v2/templates/plaintext.tmpl`.

mod classic;

use crate::command::{Command, verb};
use crate::context::{Ctx, With};
use crate::discovery::{Resource, split_api_version};
use crate::error::{Error, Result, bail, message, quote};
use crate::openapi::{document, resolve, schema};
use crate::print;
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::quote::GoNumbered;

pub static COMMAND: Command = Command {
    name: "explain",
    usage: "TYPE [--recursive=FALSE|TRUE] [--api-version=api-version-group] [-o|--output=plaintext]",
    short: "Get documentation for a resource",
    long: "Describe the fields of a kind. A field is named by its path: <type>.<fieldName>[.<fieldName>].\n\n The text comes from the server.\n\nUse \"kubectl api-resources\" for a complete list of supported resources.",
    examples: "
      # A kind and its fields
      kubectl explain pods
      # All fields below it
      kubectl explain pods --recursive
      # Of a certain version
      kubectl explain deployments --api-version=apps/v1
      # One field
      kubectl explain pods.spec.containers",
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// All fields below, with their types
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Of this group and version
    #[arg(long)]
    api_version: String,
    /// plaintext or plaintext-openapiv2
    #[arg(long, short, default_value = "plaintext")]
    output: String,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.client()?;
    let word = match ctx.args() {
        [] => {
            bail!(
                "You must specify the type of resource to explain. Use \"{} api-resources\" for a complete list of supported resources.\n",
                ctx.program()
            );
        }
        [w] => w,
        _ => bail!("We accept only this format: explain RESOURCE\n"),
    };
    let with_group = f.api_version.is_empty();
    let (mut resource, path) = find(&ctx, word, with_group).await?;
    if !with_group {
        resource = at_version(&ctx, f, &resource).await?;
    }
    let doc = document(&ctx, &resource.group, &resource.version).await?;
    let top = schema(&doc, &resource.group, &resource.version, &resource.kind)
        .ok_or_else(|| unexplained(&resource.long_name()))?;
    let e = Explainer { doc: &doc };
    match f.output.as_str() {
        "plaintext" => {
            let group = if resource.group.is_empty() {
                String::new()
            } else {
                format!("GROUP:      {}\n", resource.group)
            };
            print::put(&format!(
                "{group}KIND:       {}\nVERSION:    {}\n\n",
                resource.kind, resource.version
            ))?;
            let body = e
                .output(top, &path, f.recursive, &mut vec![])
                .ok_or_else(|| {
                    message!(
                        "field {} does not exist",
                        quote(path.last().map_or("", String::as_str))
                    )
                })?;
            print::put(&format!("{body}\n"))
        }
        "plaintext-openapiv2" => print::put(&e.classic(&resource, top, &path, f.recursive)?),
        other => Err(message!("unrecognized format: {other}")),
    }
}

fn unexplained(name: &str) -> Error {
    message!("GVR ({name}) not found in OpenAPI schema")
}

/// The same resource in the version that `--api-version` names.
async fn at_version(ctx: &Ctx, f: &Flags, resource: &Resource) -> Result<Resource> {
    let text = f.api_version.as_str();
    if text.matches('/').count() > 1 {
        bail!("unexpected GroupVersion string: {text}");
    }
    let (group, version) = split_api_version(text);
    let served = ctx.discovery()?.served().await?;
    let of_version = |r: &&Resource| r.group == group && r.version == version;
    let mut all = served.resources.iter().filter(of_version).peekable();
    let classic = f.output == "plaintext-openapiv2";
    let name = match classic {
        true => format!("{group}/{version}, Kind={}", resource.kind),
        false => format!("{group}/{version}, Resource={}", resource.plural),
    };
    let is_served = all.peek().is_some();
    match all.find(|r| r.plural == resource.plural) {
        Some(found) => Ok(found.clone()),
        None if is_served && !classic => Err(unexplained(&name)),
        None => Err(message!("couldn't find resource for {}", quote(&name))),
    }
}

const NO_FIELD: &str = "invalid jsonpath syntax, first node must be field node";

/// The parts of a path as JSONPath has it, those that are no fields without a name. Dots at the end mean nothing.
///
/// # Errors
/// What is no JSONPath.
fn fields(text: &str) -> Result<Vec<Option<String>>> {
    if text.contains('}') && !text.starts_with('{') {
        bail!("must pass in 1 jsonpath string");
    }
    let ends = |c: char| " \t.,[]$@{}".contains(c);
    let whole = format!(".{}", text.trim_end_matches('.'));
    let (mut rest, mut parts) = (whole.as_str(), Vec::new());
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            ' ' | '@' | '$' => rest = after,
            '.' if after.starts_with('.') => {
                parts.push(None);
                rest = after;
            }
            '.' => {
                let (name, after) = after.split_at(after.find(ends).unwrap_or(after.len()));
                parts.push(Some(name.to_string()).filter(|name| name != "*"));
                rest = after;
            }
            '[' => {
                let Some((index, after)) = after.split_once(']') else {
                    bail!("unterminated array");
                };
                let is_index = |c: char| c.is_ascii_digit() || "-:,*\' ".contains(c);
                if !index.starts_with('\'') && !index.chars().all(is_index) {
                    bail!("invalid array index {index}");
                }
                parts.push(None);
                rest = after;
            }
            c => bail!("unrecognized character in action: {}", GoNumbered(c)),
        }
    }
    Ok(parts)
}

/// The kind, and the path of the field in it.
async fn find(ctx: &Ctx, word: &str, with_group: bool) -> Result<(Resource, Vec<String>)> {
    let discovery = ctx.discovery()?;
    let parsed = fields(word)?;
    let begins = match parsed.first() {
        None => "",
        Some(Some(first)) => first.as_str(),
        Some(None) => bail!("{NO_FIELD}"),
    };
    if begins.is_empty() {
        bail!("a resource must be present, got: /, Resource=");
    }
    let all: Option<Vec<String>> = parsed.iter().cloned().collect();
    let nodes = all.ok_or_else(|| match with_group {
        true => Error::msg(NO_FIELD),
        // told in other words where no group is looked for
        false => Error::msg("invalid jsonpath syntax, all nodes must be field nodes"),
    });
    // The longest beginning that names a kind with its group wins over fields of the same name.
    let served = discovery.served_once().await?;
    let parts: Vec<&str> = word.split('.').collect();
    for n in (2..=parts.len()).rev().filter(|_| with_group) {
        let begin = parts[..n].join(".");
        if let Some(r) = served.lookup(&begin)
            && begin == r.group_resource()
        {
            return Ok((r.clone(), nodes?.split_off(n)));
        }
    }
    // told without `error: `, as what the mapper does not find
    let unknown = |error: Error| match error.of_type() {
        Error::Message(text) => Error::Plain(text, 1),
        other => other,
    };
    let r = discovery.lookup(begins).await.map_err(unknown)?;
    Ok((r, nodes?.split_off(1)))
}

struct Explainer<'a> {
    doc: &'a Value,
}

fn is_schema(v: &Value) -> bool {
    v.is_object()
}

impl Explainer<'_> {
    fn resolve<'b>(&'b self, s: &'b Value) -> &'b Value {
        let r = resolve(self.doc, s);
        if r.is_null() { s } else { r }
    }

    /// The text for the field at `path`; nothing if there is none.
    fn output(
        &self,
        s: &Value,
        path: &[String],
        recursive: bool,
        seen: &mut Vec<String>,
    ) -> Option<String> {
        let reference = s.text("$ref");
        let resolved = self.resolve(s);
        let Some((first, rest)) = path.split_first() else {
            let mut out = String::from("DESCRIPTION:\n");
            let text = self.description(resolved);
            out += &format!(
                "{}\n",
                indent(
                    4,
                    &wrap(if text.is_empty() { "<empty>" } else { &text }, 76)
                )
            );
            let mut fields = String::new();
            self.fields(resolved, 1, recursive, &mut Vec::new(), &mut fields);
            if !fields.is_empty() {
                out += &format!("FIELDS:\n{fields}");
            }
            return Some(out);
        };
        if !reference.is_empty() && seen.iter().any(|x| x == reference) {
            return None;
        }
        seen.push(reference.to_string());
        if let Some(sub) = resolved.at("properties").get(first) {
            let mut out = String::new();
            if rest.is_empty() {
                out = format!(
                    "FIELD: {first} <{}>\n{}\n\n",
                    self.type_of(sub),
                    enumeration(sub, None)
                );
            }
            return Some(out + &self.output(sub, rest, recursive, &mut vec![])?);
        }
        if is_schema(resolved.at("items")) {
            return self.output(resolved.at("items"), path, recursive, seen);
        }
        if is_schema(resolved.at("additionalProperties")) {
            return self.output(resolved.at("additionalProperties"), path, recursive, seen);
        }
        resolved
            .at("allOf")
            .as_array()?
            .iter()
            .find_map(|a| self.output(a, path, recursive, seen))
    }

    fn description(&self, s: &Value) -> String {
        let s = self.resolve(s);
        let mut out = s
            .text_ptr("description")
            .filter(|d| !d.is_empty())
            .map_or_else(String::new, |d| format!("{d}\n"));
        s.list("allOf")
            .iter()
            .for_each(|a| out += &self.description(a));
        for field in ["items", "additionalProperties"] {
            if is_schema(&s[field]) {
                out += &self.description(&s[field]);
            }
        }
        out
    }

    fn type_of(&self, s: &Value) -> String {
        if is_schema(s.at("items")) {
            return format!("[]{}", self.type_of(s.at("items")));
        }
        if is_schema(s.at("additionalProperties")) {
            return format!("map[string]{}", self.type_of(s.at("additionalProperties")));
        }
        if let (Some([one]), true) = (
            s.at("allOf").as_array().map(Vec::as_slice),
            s.some("properties").is_none(),
        ) {
            return self.type_of(one);
        }
        if let Some(r) = s.text_ptr("$ref") {
            let target = resolve(self.doc, s);
            return match target.text_ptr("type") {
                Some(t) if t != "object" => t.into(),
                _ => r
                    .rsplit(['/', '.'])
                    .next()
                    .filter(|n| !n.is_empty())
                    .unwrap_or("Object")
                    .into(),
            };
        }
        match s.text_ptr("type") {
            None | Some("object") => "Object".into(),
            Some(t) => t.into(),
        }
    }

    /// The fields of a schema; only names and types when `recursive`.
    fn fields(
        &self,
        s: &Value,
        level: usize,
        recursive: bool,
        seen: &mut Vec<String>,
        out: &mut String,
    ) {
        let reference = s.text("$ref").to_string();
        if !reference.is_empty() && seen.contains(&reference) {
            return;
        }
        seen.push(reference);
        let resolved = self.resolve(s);
        let required: Vec<&str> = resolved
            .list("required")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for (name, field) in resolved.entries("properties") {
            let pad = level * 2;
            let mark = if required.contains(&name) {
                " -required-"
            } else {
                ""
            };
            *out += &format!(
                "{}{name}\t<{}>{mark}{}\n",
                " ".repeat(pad),
                self.type_of(field),
                enumeration(field, Some(pad))
            );
            if recursive {
                self.fields(field, level + 1, recursive, seen, out);
            } else {
                let text = field
                    .text_ptr("description")
                    .filter(|d| !d.is_empty())
                    .unwrap_or("<no description>");
                *out += &format!("{}\n\n", indent(pad + 2, &wrap(text, 78 - pad)));
            }
        }
        resolved
            .list("allOf")
            .iter()
            .for_each(|a| self.fields(a, level, recursive, seen, out));
        for field in ["items", "additionalProperties"] {
            if is_schema(&resolved[field]) {
                self.fields(&resolved[field], level, recursive, seen, out);
            }
        }
        seen.pop();
    }

    /// Through references, single alternatives, lists and maps, to the schema with the fields.
    fn inner<'b>(&'b self, s: &'b Value) -> &'b Value {
        let s = self.resolve(s);
        if let Some([one]) = s.at("allOf").as_array().map(Vec::as_slice) {
            return self.inner(one);
        }
        for field in ["items", "additionalProperties"] {
            if is_schema(&s[field]) {
                return self.inner(&s[field]);
            }
        }
        s
    }
}

/// The values that a field may have: on one line below the field, four of them, or all, one a line.
fn enumeration(s: &Value, short: Option<usize>) -> String {
    let Some(all) = s.at("enum").as_array() else {
        return String::new();
    };
    let text = |v: &Value| match v {
        Value::String(t) if t.is_empty() => "\"\"".to_string(),
        Value::String(t) => t.clone(),
        v => v.to_string(),
    };
    match short {
        Some(pad) => {
            let shown: Vec<String> = all.iter().take(4).map(text).collect();
            format!(
                "\n{}enum: {}{}",
                " ".repeat(pad),
                shown.join(", "),
                if all.len() > 4 { ", ...." } else { "" }
            )
        }
        None => format!(
            "ENUM:{}",
            all.iter()
                .map(|v| format!("\n    {}", text(v)))
                .collect::<String>()
        ),
    }
}

fn indent(amount: usize, text: &str) -> String {
    let pad = " ".repeat(amount);
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

/// Breaks lines at blanks so that they are not longer than the limit; line breaks and leading blanks stay.
fn wrap(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut current, mut word, mut space) = (0, String::new(), String::new());
    for c in text.chars() {
        let (words, spaces) = (word.chars().count(), space.chars().count());
        if c == '\n' {
            if word.is_empty() {
                if current + spaces <= limit {
                    out.push_str(&space);
                }
            } else {
                out.push_str(&space);
                out.push_str(&word);
            }
            space.clear();
            word.clear();
            out.push('\n');
            current = 0;
        } else if c.is_whitespace() && c != '\u{a0}' {
            if space.is_empty() || !word.is_empty() {
                current += spaces + words;
                out.push_str(&space);
                out.push_str(&word);
                space.clear();
                word.clear();
            }
            space.push(c);
        } else {
            word.push(c);
            if current + words + 1 + spaces > limit && words + 1 < limit {
                out.push('\n');
                current = 0;
                space.clear();
            }
        }
    }
    if word.is_empty() {
        if current + space.chars().count() <= limit {
            out.push_str(&space);
        }
    } else {
        out.push_str(&space);
        out.push_str(&word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_wrapped() {
        assert_eq!(wrap("aa bb cc", 5), "aa bb\ncc");
        assert_eq!(wrap("aa\n  bb cc", 7), "aa\n  bb cc");
        assert_eq!(wrap("averylongword x", 4), "averylongword\nx");
    }

    #[test]
    fn fields_are_explained() {
        let doc = json!({"components": {"schemas": {
            "a.Top": {"description": "A top.", "properties": {"sub": {"description": "A sub.", "allOf": [{"$ref": "#/components/schemas/a.Sub"}]}, "list": {"type": "array", "items": {"type": "string"}}}, "required": ["sub"]},
            "a.Sub": {"type": "object", "description": "Sub it is.", "properties": {"mode": {"type": "string", "enum": ["", "B"]}}}}}});
        let e = Explainer { doc: &doc };
        let top = &doc["components"]["schemas"]["a.Top"];
        let text = e.output(top, &[], false, &mut vec![]).unwrap();
        assert!(
            text.contains(
                "  list\t<[]string>\n    <no description>\n\n  sub\t<Sub> -required-\n    A sub.\n"
            ),
            "{text}"
        );
        let text = e.output(top, &["sub".into()], true, &mut vec![]).unwrap();
        assert_eq!(
            text,
            "FIELD: sub <Sub>\n\n\nDESCRIPTION:\n    A sub.\n    Sub it is.\n    \nFIELDS:\n  mode\t<string>\n  enum: \"\", B\n"
        );
        assert!(
            e.output(top, &["nosuch".into()], false, &mut vec![])
                .is_none()
        );
    }
}
