//! Descriptions as data: what is shown of a kind is a list of lines with places of the object in them, and Rust where something is decided.
//! Invariant: a place at which the object has nothing shows as what the line says for that, else as nothing; it never is an error.
//!
//! A place is `PATH[|FORM][?WITHOUT]`: the value at the path, in that form, and what stands there when there is none. In [`Line::Text`] places
//! stand in braces: `Replicas:\t{spec.replicas?0} desired`.

use super::text::{annotations, controller, labels_selector, multiline, pairs, scalar, selector};
use super::{Out, date, quantity};
use crate::error::quote;
use crate::print::age::since;
use crate::print::go;
use crate::typed::Read;
use serde_json::Value;

/// What is shown of an object, or of a part of it.
pub enum Line {
    /// A label and the value at a place.
    Field(&'static str, &'static str),
    /// The same, where there is a value.
    Opt(&'static str, &'static str),
    /// Lines at a level, each as [`line`] has it, indented as they are beside the first.
    Form(usize, &'static str),
    /// Text with places in braces, as it is.
    Text(&'static str),
    /// Lines that are shown where there is a value at the path.
    If(&'static str, &'static [Line]),
    /// Lines that are shown where a text stands at the path.
    When(&'static str, &'static str, &'static [Line]),
    /// Lines that are shown where there is none.
    Unless(&'static str, &'static [Line]),
    /// Lines about what lies at the path, if it is there.
    In(&'static str, &'static [Line]),
    /// Lines about each item of a list.
    Each(&'static str, &'static [Line]),
    /// Headings, dashes below them, and a text for each item of a list.
    Table(&'static str, &'static str, &'static str),
    /// A table of conditions with a title, if there are any.
    Conditions(&'static str, &'static str),
    /// Labels and the like, one a line.
    Labels(&'static str, &'static str),
    /// Annotations, long ones on lines of their own.
    Annotations(&'static str, &'static str),
    /// The place in each item of a list, one a line.
    Many(&'static str, &'static str, &'static str),
    /// Resources and their amounts, one a line below the label, if there are any.
    Amounts(&'static str, &'static str),
    /// Lines that several kinds show.
    All(&'static [Line]),
    /// What takes Rust.
    Do(fn(&mut Out, &Value)),
}

use Line::{All, Annotations, Field, Labels, Opt};

pub const NAME: Line = Field("Name", "metadata.name");
pub const NAMESPACE: Line = Field("Namespace", "metadata.namespace");
pub const CREATED: Line = Field("CreationTimestamp", "metadata.creationTimestamp|date");
pub const LABELS: Line = Labels("Labels", "metadata.labels");
pub const ANNOTATIONS: Line = Annotations("Annotations", "metadata.annotations");
pub const CONTROLLED: Line = Line::Do(|out, object| {
    if let Some(owner) = controller(object) {
        out.field(
            "Controlled By",
            shown(owner, "kind") + "/" + &shown(owner, "name"),
        );
    }
});
/// As most kinds begin.
pub const HEAD: Line = All(&[
    NAME,
    Opt("Namespace", "metadata.namespace"),
    LABELS,
    ANNOTATIONS,
]);

/// The forms of a value, by the names that places call them by.
const FORMS: &[(&str, fn(&Value) -> String)] = &[
    ("Set", scalar),
    ("date", date),
    ("flag", |v| (v == &Value::Bool(true)).to_string()),
    ("Flag", |v| {
        if v == &Value::Bool(true) {
            "True"
        } else {
            "False"
        }
        .into()
    }),
    ("go", go::plain),
    ("labels", labels_selector),
    ("list", |v| joined(v, ", ")),
    ("quantity", |v| quantity::canonical(&scalar(v))),
    ("quoted", |v| quote(&scalar(v))),
    ("secret", |v| reference("SecretReference", v)),
    ("secret name", |v| reference("LocalObjectReference", v)),
    ("selector", selector),
    ("since", since),
    ("spaced", |v| joined(v, " ")),
];

/// A reference to a secret as Go's generated code shows it.
fn reference(kind: &str, secret: &Value) -> String {
    match secret.text("name") {
        _ if secret.is_null() => "nil".into(),
        name if kind == "SecretReference" => {
            format!(
                "&{kind}{{Name:{name},Namespace:{},}}",
                secret.text("namespace")
            )
        }
        name => format!("&{kind}{{Name:{name},}}"),
    }
}

fn joined(list: &Value, separator: &str) -> String {
    let texts = list.as_array().into_iter().flatten().map(scalar);
    texts.collect::<Vec<_>>().join(separator)
}

/// The value at a path; null where there is none. The empty path is the value itself.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .filter(|step| !step.is_empty())
        .fold(value, |value, step| value.at(step))
}

/// There is a value: neither null nor an empty text or list.
fn given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// The value at a place as it is shown.
pub fn shown(value: &Value, place: &str) -> String {
    let (place, without) = place.split_once('?').unwrap_or((place, ""));
    let (path, form) = place.split_once('|').unwrap_or((place, ""));
    let value = at(value, path);
    if value.is_null() && !without.is_empty() {
        return without.into();
    }
    let text = match FORMS.iter().find(|(name, _)| *name == form) {
        Some((_, form)) => form(value),
        None if value.is_array() => joined(value, ","),
        None => scalar(value),
    };
    // An empty text shows as such, unless it is said that it sets nothing.
    if text.is_empty() && (!value.is_string() || form == "Set") {
        without.into()
    } else {
        text
    }
}

/// A text with what stands at its places.
fn filled(text: &str, value: &Value) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').unwrap_or((after, ""));
        out += before;
        out += &shown(value, place);
        rest = after;
    }
    out + rest + "\n"
}

/// Shows a line of a form: places are filled in; after the label, and where two spaces or more stand, is a tab. A line that begins with `?` is
/// shown only where there is a value at its first place.
pub fn line(out: &mut Out, level: usize, value: &Value, line: &str) {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let wanted = text.strip_prefix('?').unwrap_or(text);
    let first = wanted.split(['{', '|', '?', '}']).nth(1).unwrap_or("");
    if wanted != text && !given(at(value, first)) {
        return;
    }
    let tabbed = if wanted.contains("  ") {
        let columns = wanted.split("  ").map(str::trim_start);
        columns
            .filter(|c| !c.is_empty())
            .collect::<Vec<_>>()
            .join("\t")
    } else {
        wanted.replacen(": ", ":\t", 1)
    };
    out.put(level, format!("{indent}{}", filled(&tabbed, value)));
}

/// Dashes below headings.
fn dashes(headings: &str) -> String {
    let text = headings.trim_start();
    let under = text.split('\t').map(|heading| "-".repeat(heading.len()));
    let indent = &headings[..headings.len() - text.len()];
    format!("{indent}{}\n", under.collect::<Vec<_>>().join("\t"))
}

/// Shows the lines of an object, or of a part of it.
pub fn put(out: &mut Out, value: &Value, lines: &[Line]) {
    for line in lines {
        match line {
            Line::Field(label, place) => out.field(label, shown(value, place)),
            Line::Opt(label, place) => {
                if given(at(value, place.split(['|', '?']).next().unwrap_or(place))) {
                    out.field(label, shown(value, place));
                }
            }
            Line::Form(level, text) => {
                let mut lines = text.lines().filter(|l| !l.trim().is_empty()).peekable();
                let margin = lines.peek().map_or(0, |l| l.len() - l.trim_start().len());
                lines.for_each(|l| self::line(out, *level, value, &l[margin..]));
            }
            Line::Text(text) => out.put(0, filled(text, value)),
            Line::If(path, lines) if given(at(value, path)) => put(out, value, lines),
            Line::Unless(path, lines) if !given(at(value, path)) => put(out, value, lines),
            Line::In(path, lines) if given(at(value, path)) => put(out, at(value, path), lines),
            Line::When(path, text, lines) if at(value, path) == *text => put(out, value, lines),
            Line::If(..) | Line::When(..) | Line::Unless(..) | Line::In(..) => {}
            Line::Each(path, lines) => {
                let items = at(value, path).as_array().into_iter().flatten();
                items.for_each(|item| put(out, item, lines));
            }
            Line::Table(headings, path, row) => {
                out.put(0, format!("{headings}\n{}", dashes(headings)));
                let items = at(value, path).as_array().into_iter().flatten();
                items.for_each(|item| out.put(0, filled(row, item)));
            }
            Line::Conditions(headings, row) => {
                if given(at(value, "status.conditions")) {
                    out.put(0, "Conditions:\n");
                    put(
                        out,
                        value,
                        &[Line::Table(headings, "status.conditions", row)],
                    );
                }
            }
            Line::Labels(title, path) => multiline(out, title, &pairs(at(value, path))),
            Line::Annotations(title, path) => annotations(out, title, at(value, path)),
            Line::Many(title, path, place) => {
                let items = at(value, path).as_array().into_iter().flatten();
                multiline(
                    out,
                    title,
                    &items.map(|i| shown(i, place)).collect::<Vec<_>>(),
                );
            }
            Line::Amounts(label, path) => amounts(out, label, at(value, path)),
            Line::All(lines) => put(out, value, lines),
            Line::Do(show) => show(out, value),
        }
    }
}

fn amounts(out: &mut Out, label: &str, map: &Value) {
    let Some(map) = map.as_object().filter(|map| !map.is_empty()) else {
        return;
    };
    out.put(0, format!("{label}:\n"));
    let indent = " ".repeat(label.len() - label.trim_start().len() + 2);
    for (name, amount) in map {
        let amount = quantity::canonical(&scalar(amount));
        out.put(0, format!("{indent}{name}:\t{amount}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_and_lines() {
        let object = json!({"empty": "", "a": {"b": 2, "none": [], "list": ["x", "y"]}, "flag": true, "of": [{"n": "p", "v": "1"}, {"n": "q"}], "amounts": {"cpu": "1000m"}});
        for (place, want) in [
            ("a.b", "2"),
            ("a.list", "x,y"),
            ("a.list|list", "x, y"),
            ("a.none?<none>", "<none>"),
            ("a.c?0", "0"),
            ("empty?<unset>", ""),
            ("empty|Set?<unset>", "<unset>"),
            ("a.c", ""),
            ("flag|Flag?<unset>", "True"),
            ("a.c|Flag?<unset>", "<unset>"),
            ("a.c|flag", "false"),
        ] {
            assert_eq!(shown(&object, place), want, "{place}");
        }
        let mut out = Out::default();
        let lines = [
            Line::Form(
                0,
                "
                ?B: {a.b}
                ?C: {a.c?none}
                  D  {flag}: {a.b}",
            ),
            Line::Unless("a.none", &[Line::Text("None: <{a.b}>")]),
            Line::Table("  Name\tV", "of", "  {n}\t{v?-}"),
            Line::In("a", &[Line::Field("  List", "list|spaced")]),
            Line::Amounts("  Limits", "amounts"),
        ];
        put(&mut out, &object, &lines);
        assert_eq!(
            out.raw(),
            "B:\t2\n  D\ttrue: 2\nNone: <2>\n  Name\tV\n  ----\t-\n  p\t1\n  q\t-\n  List:\tx y\n  Limits:\n    cpu:\t1\n"
        );
    }
}
