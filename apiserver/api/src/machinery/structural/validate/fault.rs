//! What an object is refused for, in the words of the schema's validator, and the same as errors of fields.
//!
//! Follows `kube-openapi/pkg/validation/errors/schema.go` and `kubeOpenAPIResultToFieldErrors` of
//! `apiextensions-apiserver/pkg/apiserver/validation/validation.go`.

use std::{borrow::Cow, collections::HashSet};

use serde_json::Value;

use crate::machinery::quote::go_quote;
use crate::machinery::{
    field::{Error, Errors, Kind, Path},
    patch::go::GoList,
    schema::to_json,
};

/// Where a value stands, as the validator writes it; costs nothing until it is told.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Whole,
    Property(&'a Place<'a>, &'a str),
    /// An additional property, or one that is not there: a dot stands before it even at the beginning.
    Other(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    pub fn is_whole(&self) -> bool {
        matches!(self, Place::Whole)
    }

    fn write(&self, out: &mut String) {
        match self {
            Place::Whole => {}
            Place::Property(parent, name) => {
                parent.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Place::Other(parent, name) => {
                parent.write(out);
                out.push('.');
                out.push_str(name);
            }
            Place::Index(parent, at) => {
                parent.write(out);
                out.push_str(&format!("[{at}]"));
            }
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// One mistake.
#[derive(Debug)]
pub(super) struct Fault<'s> {
    /// Where; nothing for what is told of the object as a whole.
    place: Option<String>,
    said: Said<'s>,
}

#[derive(Debug)]
enum Said<'s> {
    /// The value is what is shown: of a value of the wrong type its type's name.
    Type {
        found: String,
        message: String,
    },
    Required,
    Enum {
        found: Value,
        allowed: &'s [Value],
    },
    TooLong(i64),
    TooMany {
        found: i64,
        most: i64,
        of: &'static str,
    },
    Invalid {
        found: Value,
        message: String,
    },
}

impl<'s> Fault<'s> {
    fn new(place: &Place, said: impl FnOnce(&str) -> Said<'s>) -> Fault<'s> {
        let place = place.text();
        Fault {
            said: said(&place),
            place: Some(place),
        }
    }

    pub fn wrong_type(place: &Place, expected: &str, found: &str) -> Fault<'s> {
        Fault::new(place, |name| Said::Type {
            message: format!(
                "{name} in body must be of type {expected}: {}",
                go_quote(found)
            ),
            found: found.into(),
        })
    }

    pub fn required(place: &Place) -> Fault<'s> {
        Fault::new(place, |_| Said::Required)
    }

    pub fn not_one_of(place: &Place, found: &Value, allowed: &'s [Value]) -> Fault<'s> {
        Fault::new(place, |_| Said::Enum {
            found: found.clone(),
            allowed,
        })
    }

    pub fn too_long(place: &Place, most: i64) -> Fault<'s> {
        Fault::new(place, |_| Said::TooLong(most))
    }

    /// Of items or properties.
    pub fn too_many(place: &Place, found: i64, most: i64, of: &'static str) -> Fault<'s> {
        Fault::new(place, |_| Said::TooMany { found, most, of })
    }

    /// `NAME in body WORDS`.
    pub fn in_body(place: &Place, found: impl Into<Value>, words: &str) -> Fault<'s> {
        Fault::new(place, |name| Said::Invalid {
            found: found.into(),
            message: format!("{name} in body {words}"),
        })
    }

    /// Words that name the place themselves.
    pub fn invalid(place: &Place, found: Value, words: impl FnOnce(&str) -> String) -> Fault<'s> {
        Fault::new(place, |name| Said::Invalid {
            found,
            message: words(name),
        })
    }

    /// What upstream tells without saying where.
    pub fn of_whole(place: &Place, words: impl FnOnce(&str) -> String) -> Fault<'s> {
        Fault {
            place: None,
            said: Said::Invalid {
                found: "".into(),
                message: words(&place.text()),
            },
        }
    }

    /// The validator's own words, by which it tells one mistake from another.
    fn message(&self) -> Cow<'_, str> {
        let name = self.place.as_deref().unwrap_or_default();
        match &self.said {
            Said::Type { message, .. } | Said::Invalid { message, .. } => message.into(),
            Said::Required => format!("{name} in body is required").into(),
            Said::Enum { allowed, .. } => {
                format!("{name} in body should be one of {}", GoList(allowed)).into()
            }
            Said::TooLong(most) => {
                format!("{name} in body should be at most {most} chars long").into()
            }
            Said::TooMany { most, of, .. } => {
                format!("{name} in body should have at most {most} {of}").into()
            }
        }
    }

    fn tell(self, path: &Path, errors: &mut Errors) {
        let name = self.place.as_deref().unwrap_or_default();
        let name = name.strip_prefix('.').unwrap_or(name);
        let field = match (path.is_blank(), name.is_empty()) {
            (true, true) => "<nil>".to_string(),
            (true, false) => name.to_string(),
            (false, true) => path.to_string(),
            (false, false) => format!("{path}.{name}"),
        };
        let at = Path::new(&field);
        match self.said {
            Said::Type { found, message } => errors.0.push(Error {
                kind: Kind::TypeInvalid,
                value: Some(found.into()),
                detail: message,
                field: field.clone(),
            }),
            Said::Required => errors.required(&at, ""),
            Said::Enum { found, allowed } => {
                let shown: Vec<String> = allowed
                    .iter()
                    .map(|value| match value {
                        Value::String(text) => text.clone(),
                        other => String::from_utf8_lossy(&to_json(other, None)).into_owned(),
                    })
                    .collect();
                let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
                errors.not_supported_in_order(&at, found, &shown);
            }
            Said::TooLong(most) => errors.too_long(&at, most),
            Said::TooMany { found, most, .. } => errors.too_many(&at, found, most),
            Said::Invalid { found, message } => errors.invalid(&at, found, message),
        }
    }
}

/// The same as errors of fields below `path`; what is said twice is told once.
pub(super) fn tell(faults: Vec<Fault>, path: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    let several = faults.len() > 1;
    for fault in faults {
        if !several || seen.insert(fault.message().into_owned()) {
            fault.tell(path, errors);
        }
    }
}
