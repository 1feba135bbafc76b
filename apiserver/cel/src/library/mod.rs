//! The libraries: one file each, a table of functions and what they do.
//!
//! Invariant: names, overloads and words are upstream's. Two of Kubernetes' libraries are not here, because what they know stands elsewhere:
//! `quantity` and `format` are built by whoever has quantities and names.

mod address;
pub mod authorizer;
pub mod cidr;
pub mod extended_lists;
mod format_string;
pub mod ip;
pub mod jsonpatch;
pub mod lists;
pub mod optional;
pub mod regex;
pub mod semver;
pub mod sets;
pub mod standard;
mod standard_time;
pub mod strings;
pub(crate) mod two_variables;
pub mod url;

pub(crate) use format_string::{Clause, clauses};

use crate::error::EvalError;
use crate::function::Library;
use crate::types::Type;
use crate::value::{List, Value};

/// What upstream's base environment has at 1.36, but for `quantity` and `format`.
pub fn kubernetes() -> Vec<Library> {
    vec![
        url::library(),
        regex::library(),
        lists::library(),
        authorizer::library(),
        optional::library(),
        strings::library(),
        sets::library(),
        ip::library(),
        cidr::library(),
        two_variables::library(),
        semver::library(),
        extended_lists::library(),
    ]
}

/// Types of which lists can be ordered, with their names in overloads.
fn comparable() -> [(&'static str, Type); 8] {
    [
        ("int", Type::Int),
        ("uint", Type::Uint),
        ("double", Type::Double),
        ("bool", Type::Bool),
        ("duration", Type::Duration),
        ("timestamp", Type::Timestamp),
        ("string", Type::String),
        ("bytes", Type::Bytes),
    ]
}

// What the arguments of functions are: guards have seen to it, so anything else is told as upstream tells what it did not expect.

fn text<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v str, EvalError> {
    args.get(at)
        .and_then(Value::as_str)
        .ok_or_else(EvalError::no_such_overload)
}

fn int(args: &[Value<'_>], at: usize) -> Result<i64, EvalError> {
    args.get(at)
        .and_then(Value::as_int)
        .ok_or_else(EvalError::no_such_overload)
}

fn list<'v, 'a>(args: &'v [Value<'a>], at: usize) -> Result<&'v List<'a>, EvalError> {
    match args.get(at) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn value<'v, 'a>(args: &'v [Value<'a>], at: usize) -> Result<&'v Value<'a>, EvalError> {
    args.get(at).ok_or_else(EvalError::no_such_overload)
}
