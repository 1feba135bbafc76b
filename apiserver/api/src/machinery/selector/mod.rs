//! Selectors: which objects a request or an object means, by labels or by fields.
//!
//! Invariant: a selector that was parsed prints itself in canonical form, and parsing that gives the same selector.
//! Follows upstream's `staging/src/k8s.io/apimachinery/pkg/{labels,fields}/selector.go` and `apis/meta/v1/helpers.go`.

mod field;
mod label;
mod lexer;
mod parse;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::machinery::quote::go_quote as quoted;

pub use field::{FieldSelector, FieldTerm};
pub use label::{Operator, Requirement, Selector, go_text};

/// Why a selector cannot be understood. The texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text does not follow the grammar.
    #[error("{0}")]
    Syntax(String),
    /// One requirement of the text is bad.
    #[error("unable to parse requirement: {0}")]
    Requirement(String),
    /// A requirement has a key, operator or values that it must not have.
    #[error("{0}")]
    Invalid(String),
    /// A term of a field selector has no operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term { selector: String, term: String },
    /// A backslash before a character that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A `,` or `=` without a backslash in the value of a field selector. Upstream prints the number of the character.
    #[error("invalid field selector: unescaped character in value: {}", *.0 as u32)]
    Unescaped(char),
}

/// Labels to match against.
pub trait Labels {
    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Labels for Value {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl<L: Labels + ?Sized> Labels for Option<&L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.and_then(|l| l.label(key))
    }
}
