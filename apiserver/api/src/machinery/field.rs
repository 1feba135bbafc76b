//! Validation errors that name a field: the list that every validation fills, and the words it is reported in.
//!
//! Invariant: the text of an error is upstream's to the letter.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/validation/field/{errors,path}.go`.

use std::fmt;

use serde_json::{Value, json};

use super::{
    patch::go::GoValue,
    problem::Problem,
    schema::{Schema, to_json},
};
use crate::machinery::quote::go_quote;

/// Where a value stands. Lives on the stack; costs nothing until an error is written.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    at: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// `Path::new("spec")`; dots may join several names.
    pub const fn new(name: &'a str) -> Path<'a> {
        Path {
            parent: None,
            at: Step::Name(name),
        }
    }
    pub fn child<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path {
            parent: Some(self),
            at: Step::Name(name),
        }
    }
    pub fn index(&self, index: usize) -> Path<'_> {
        Path {
            parent: Some(self),
            at: Step::Index(index),
        }
    }
    /// A map's key: `metadata.labels[app]`.
    pub fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        Path {
            parent: Some(self),
            at: Step::Key(key),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.at {
            Step::Name(name) => {
                // an empty root stands for "no prefix"
                let inner = self.parent.is_some_and(|parent| !parent.is_blank());
                if inner {
                    write!(f, ".{name}")
                } else {
                    f.write_str(name)
                }
            }
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// How Go prints a path that is none.
pub const NIL: &str = "<nil>";

impl Path<'_> {
    /// The way to the whole object: a path that names nothing.
    pub const WHOLE: Path<'static> = Path::new("");

    /// The same, as upstream tells of it in errors.
    pub const NAMELESS: Path<'static> = Path::new("[]");

    /// Whether it names nothing.
    pub fn is_blank(&self) -> bool {
        matches!(self.at, Step::Name("")) && self.parent.is_none_or(Path::is_blank)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    /// Of another type than the schema of a custom resource says.
    TypeInvalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TooFew,
    Internal,
}

impl Kind {
    /// The cause's `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Kind::NotFound => "FieldValueNotFound",
            Kind::Required => "FieldValueRequired",
            Kind::Duplicate => "FieldValueDuplicate",
            Kind::Invalid => "FieldValueInvalid",
            Kind::TypeInvalid => "FieldValueTypeInvalid",
            Kind::NotSupported => "FieldValueNotSupported",
            Kind::Forbidden => "FieldValueForbidden",
            Kind::TooLong => "FieldValueTooLong",
            Kind::TooMany => "FieldValueTooMany",
            Kind::TooFew => "FieldValueTooFew",
            Kind::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::NotFound => "Not found",
            Kind::Required => "Required value",
            Kind::Duplicate => "Duplicate value",
            Kind::Invalid | Kind::TypeInvalid => "Invalid value",
            Kind::NotSupported => "Unsupported value",
            Kind::Forbidden => "Forbidden",
            Kind::TooLong => "Too long",
            Kind::TooMany => "Too many",
            Kind::TooFew => "Too few",
            Kind::Internal => "Internal error",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub kind: Kind,
    pub field: String,
    /// The value found, for the kinds that show it.
    pub value: Option<Value>,
    pub detail: String,
}

impl Error {
    /// The message without the field's name.
    pub fn body(&self) -> String {
        let mut out = self.kind.words().to_string();
        if !matches!(
            self.kind,
            Kind::Required | Kind::Forbidden | Kind::TooLong | Kind::Internal
        ) && let Some(value) = &self.value
        {
            out.push_str(": ");
            match value {
                Value::String(text) => out.push_str(&go_quote(text)),
                Value::Number(_) => out.push_str(&GoValue(value).to_string()),
                other => out.push_str(&String::from_utf8_lossy(&to_json(other, None))),
            }
        }
        if !self.detail.is_empty() {
            out.extend([": ", &self.detail]);
        }
        out
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// What a validation found. Empty means valid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Those that a check finds.
    pub fn of(check: impl FnOnce(&mut Errors)) -> Errors {
        let mut errors = Errors::default();
        check(&mut errors);
        errors
    }
    /// Tells each in the words that `other` has for it, where that found it, too.
    pub fn reworded(&mut self, other: Errors) {
        let mut words = other.0;
        for error in &mut self.0 {
            let same = |of: &Error| of.kind == error.kind && of.field == error.field;
            if let Some(at) = words.iter().position(same) {
                *error = words.remove(at);
            }
        }
    }
    /// Each as it is told.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    fn push(&mut self, kind: Kind, path: &Path, value: Option<Value>, detail: impl Into<String>) {
        self.0.push(Error {
            kind,
            field: path.to_string(),
            value,
            detail: detail.into(),
        });
    }
    pub fn required(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(Kind::Required, path, None, detail);
    }
    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Kind::Invalid, path, Some(value.into()), detail);
    }
    /// One `invalid` for each of `details` (what the checks of `names` answer).
    pub fn invalid_all<D: Into<String>>(
        &mut self,
        path: &Path,
        value: &str,
        details: impl IntoIterator<Item = D>,
    ) {
        for detail in details {
            self.invalid(path, value, detail);
        }
    }
    /// Shows an object in the order of its type.
    pub fn invalid_object(
        &mut self,
        path: &Path,
        value: &Value,
        type_name: &str,
        detail: impl std::fmt::Display,
    ) {
        let shown = to_json(value, Schema::builtin().get(type_name));
        self.invalid_shown(path, &String::from_utf8_lossy(&shown), detail);
    }
    /// Shows a value as the caller does.
    pub fn invalid_shown(&mut self, path: &Path, shown: &str, detail: impl std::fmt::Display) {
        self.push(Kind::Invalid, path, None, format!("{shown}: {detail}"));
    }
    /// The same of a list.
    pub fn invalid_list(
        &mut self,
        path: &Path,
        list: &[Value],
        type_name: &str,
        detail: impl std::fmt::Display,
    ) {
        let shown = |value: &Value| {
            String::from_utf8_lossy(&to_json(value, Schema::builtin().get(type_name))).into_owned()
        };
        let shown: Vec<String> = list.iter().map(shown).collect();
        self.push(
            Kind::Invalid,
            path,
            None,
            format!("[{}]: {detail}", shown.join(",")),
        );
    }
    pub fn forbidden(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(Kind::Forbidden, path, None, detail);
    }
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Kind::Duplicate, path, Some(value.into()), "");
    }
    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Kind::NotFound, path, Some(value.into()), "");
    }
    /// `Unsupported value: "x": supported values: "a", "b"`; the values are shown sorted, as upstream does.
    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let mut sorted = supported.to_vec();
        sorted.sort_unstable();
        let quoted: Vec<String> = sorted.iter().map(|s| go_quote(s)).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        self.push(Kind::NotSupported, path, Some(value.into()), detail);
    }
    /// The same, the supported values in the order given.
    pub fn not_supported_in_order(
        &mut self,
        path: &Path,
        value: impl Into<Value>,
        supported: &[&str],
    ) {
        let quoted: Vec<String> = supported.iter().map(|s| go_quote(s)).collect();
        self.push(
            Kind::NotSupported,
            path,
            Some(value.into()),
            format!("supported values: {}", quoted.join(", ")),
        );
    }
    /// `Too long: may not be more than N bytes`.
    pub fn too_long(&mut self, path: &Path, max: i64) {
        let detail = match max {
            i64::MIN..=-1 => "value is too long".into(),
            1 => "may not be more than 1 byte".into(),
            _ => format!("may not be more than {max} bytes"),
        };
        self.push(Kind::TooLong, path, None, detail);
    }
    /// The same in characters.
    pub fn too_many_characters(&mut self, path: &Path, max: usize) {
        let unit = if max == 1 { "character" } else { "characters" };
        self.push(
            Kind::TooLong,
            path,
            None,
            format!("may not be more than {max} {unit}"),
        );
    }
    /// `Too few: N: must have at least M items`.
    pub fn too_few(&mut self, path: &Path, actual: usize, min: usize) {
        let unit = if min == 1 { "item" } else { "items" };
        self.push(
            Kind::TooFew,
            path,
            Some(json!(actual)),
            format!("must have at least {min} {unit}"),
        );
    }
    /// `Too many: N: must have at most M items`.
    pub fn too_many(&mut self, path: &Path, actual: i64, max: i64) {
        let detail = match max {
            i64::MIN..=-1 => "has too many items".into(),
            1 => "must have at most 1 item".into(),
            _ => format!("must have at most {max} items"),
        };
        self.push(
            Kind::TooMany,
            path,
            (actual >= 0).then(|| json!(actual)),
            detail,
        );
    }
    pub fn internal(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(Kind::Internal, path, None, detail);
    }
    /// How many of them these are, when they are the first; else none.
    pub fn begins_with(&self, first: &Errors) -> usize {
        match self.0.starts_with(&first.0) {
            true => first.0.len(),
            false => 0,
        }
    }

    /// Those at these places.
    pub fn part(&self, of: impl std::slice::SliceIndex<[Error], Output = [Error]>) -> Errors {
        Errors(self.0.get(of).map_or_else(Vec::new, <[Error]>::to_vec))
    }

    pub fn extend(&mut self, more: Errors) {
        self.0.extend(more.0);
    }

    /// As upstream joins several: one stands alone, more stand in brackets; the same text once.
    pub fn message(&self) -> String {
        let mut seen: Vec<String> = Vec::new();
        for error in &self.0 {
            let text = error.to_string();
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        match seen.len() {
            1 => seen.remove(0),
            _ => format!("[{}]", seen.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_them() {
        let of = |names: &[&str]| {
            Errors::of(|errors| {
                names
                    .iter()
                    .for_each(|name| errors.required(&Path::new(name), ""))
            })
        };
        let all = of(&["a", "b", "c"]);
        assert_eq!(all.begins_with(&of(&["a", "b"])), 2);
        assert_eq!(all.begins_with(&of(&["b"])), 0);
        assert_eq!(all.part(..2), of(&["a", "b"]));
        assert_eq!(all.part(2..), of(&["c"]));
    }

    #[test]
    fn words() {
        let spec = Path::new("spec");
        let ports = spec.child("ports");
        let mut errors = Errors::default();
        errors.required(&ports.index(0).child("name"), "");
        errors.invalid(
            &spec.child("replicas"),
            -1,
            "must be greater than or equal to 0",
        );
        errors.not_supported(&spec.child("type"), "x", &["b", "a"]);
        assert_eq!(
            errors.message(),
            r#"[spec.ports[0].name: Required value, spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.type: Unsupported value: "x": supported values: "a", "b"]"#
        );
        let mut errors = Errors::default();
        errors.invalid(
            &Path::new("metadata").child("labels").key("a b"),
            "a b",
            "no",
        );
        assert_eq!(
            errors.message(),
            r#"metadata.labels[a b]: Invalid value: "a b": no"#
        );
    }
}
