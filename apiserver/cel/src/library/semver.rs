//! Semantic versions. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/semverlib.go` and `vendor/github.com/blang/semver/v4`.

use super::{text, value};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::quote::GoQuoted;
use crate::types::Type;
use crate::value::Outcome;
use crate::value::{Opaque, Value};
use std::any::Any;
use std::cmp::Ordering;

/// The name of its type.
pub const TYPE: &str = "kubernetes.Semver";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    prerelease: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

impl Semver {
    fn order(&self, other: &Semver) -> Ordering {
        let numbers = self.numbers.cmp(&other.numbers);
        // a version before the release is less than the release
        let released = self.prerelease.is_empty().cmp(&other.prerelease.is_empty());
        numbers
            .then(released)
            .then_with(|| self.prerelease.cmp(&other.prerelease))
    }
}

impl Opaque for Semver {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        let other = other.as_any().downcast_ref::<Semver>()?;
        Some(self.order(other).is_eq())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Why a text is no version. The texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SemverError {
    #[error("Version string empty")]
    Empty,
    #[error("No Major.Minor.Patch elements found")]
    Elements,
    #[error("Invalid character(s) found in {0} number {quoted}", quoted = GoQuoted(.1))]
    Characters(&'static str, String),
    #[error("{0} number must not contain leading zeroes {quoted}", quoted = GoQuoted(.1))]
    Zeroes(&'static str, String),
    #[error("strconv.ParseUint: parsing {quoted}: {1}", quoted = GoQuoted(.0))]
    Number(String, &'static str),
    #[error("Prerelease is empty")]
    PrereleaseEmpty,
    #[error("Numeric PreRelease version must not contain leading zeroes {}", GoQuoted(.0))]
    PrereleaseZeroes(String),
    #[error("Invalid character(s) found in prerelease {}", GoQuoted(.0))]
    Prerelease(String),
    #[error("Build meta data is empty")]
    BuildEmpty,
    #[error("Invalid character(s) found in build meta data {}", GoQuoted(.0))]
    Build(String),
    #[error("short version cannot contain PreRelease/Build meta data")]
    Short,
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn letters(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn leading_zeroes(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0')
}

fn number(text: &str) -> Result<u64, SemverError> {
    let why = if text.is_empty() {
        "invalid syntax"
    } else {
        "value out of range"
    };
    text.parse()
        .map_err(|_| SemverError::Number(text.to_owned(), why))
}

fn element(text: &str, small: &'static str, large: &'static str) -> Result<u64, SemverError> {
    if !digits(text) {
        return Err(SemverError::Characters(small, text.to_owned()));
    }
    if leading_zeroes(text) {
        return Err(SemverError::Zeroes(large, text.to_owned()));
    }
    number(text)
}

pub fn parse(text: &str) -> Result<Semver, SemverError> {
    if text.is_empty() {
        return Err(SemverError::Empty);
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, patch] = parts[..] else {
        return Err(SemverError::Elements);
    };
    let major = element(major, "major", "Major")?;
    let minor = element(minor, "minor", "Minor")?;
    let (patch, build) = match patch.split_once('+') {
        Some((patch, build)) => (patch, Some(build)),
        None => (patch, None),
    };
    let (patch, prerelease) = match patch.split_once('-') {
        Some((patch, prerelease)) => (patch, Some(prerelease)),
        None => (patch, None),
    };
    let patch = element(patch, "patch", "Patch")?;
    let prerelease: Result<Vec<Part>, SemverError> = prerelease
        .into_iter()
        .flat_map(|all| all.split('.'))
        .map(prerelease_part)
        .collect();
    let prerelease = prerelease?;
    for part in build.into_iter().flat_map(|all| all.split('.')) {
        if part.is_empty() {
            return Err(SemverError::BuildEmpty);
        }
        if !letters(part) {
            return Err(SemverError::Build(part.to_owned()));
        }
    }
    Ok(Semver {
        numbers: [major, minor, patch],
        prerelease,
    })
}

fn prerelease_part(text: &str) -> Result<Part, SemverError> {
    if text.is_empty() {
        return Err(SemverError::PrereleaseEmpty);
    }
    if digits(text) {
        if leading_zeroes(text) {
            return Err(SemverError::PrereleaseZeroes(text.to_owned()));
        }
        return number(text).map(Part::Number);
    }
    if letters(text) {
        return Ok(Part::Text(text.to_owned()));
    }
    Err(SemverError::Prerelease(text.to_owned()))
}

/// Also takes a `v` before it, noughts before numbers, and fewer than three numbers.
pub fn parse_loosely(text: &str) -> Result<Semver, SemverError> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text
        .splitn(3, '.')
        .map(|part| {
            if part.len() < 2 {
                return part.to_owned();
            }
            let trimmed = part.trim_start_matches('0');
            if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                trimmed.to_owned()
            } else {
                format!("0{trimmed}")
            }
        })
        .collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err(SemverError::Short);
    }
    parts.resize(3, "0".to_owned());
    parse(&parts.join("."))
}

fn read(args: &[Value<'_>]) -> Result<Result<Semver, SemverError>, EvalError> {
    let loosely = args
        .get(1)
        .is_some_and(|loosely| loosely.as_bool() == Some(true));
    let text = text(args, 0)?;
    Ok(if loosely {
        parse_loosely(text)
    } else {
        parse(text)
    })
}

fn made<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match read(args)? {
        Ok(version) => Ok(Value::opaque(version)),
        Err(error) => Err(EvalError::new(error.to_string())),
    }
}

fn is<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Bool(read(args)?.is_ok()))
}

fn version<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v Semver, EvalError> {
    value(args, at)?
        .as_opaque()
        .ok_or_else(EvalError::no_such_overload)
}

fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    Ok(version(args, 0)?.order(version(args, 1)?))
}

fn part<'a>(args: &[Value<'a>], at: usize) -> Outcome<'a> {
    Ok(Value::Int(version(args, 0)?.numbers[at] as i64))
}

pub fn library() -> Library {
    let ty = Type::object(TYPE);
    let (one, two) = ([ty.clone()], [ty.clone(), ty.clone()]);
    let with_flag = [Type::String, Type::Bool];
    let functions = vec![
        Function::new("semver")
            .global("string_to_semver", &[Type::String], ty.clone(), made)
            .global("string_bool_to_semver", &with_flag, ty, made),
        Function::new("isSemver")
            .global("is_semver_string", &[Type::String], Type::Bool, is)
            .global("is_semver_string_bool", &with_flag, Type::Bool, is),
        Function::new("isGreaterThan").member("semver_is_greater_than", &two, Type::Bool, |args| {
            Ok(Value::Bool(order(args)?.is_gt()))
        }),
        Function::new("isLessThan").member("semver_is_less_than", &two, Type::Bool, |args| {
            Ok(Value::Bool(order(args)?.is_lt()))
        }),
        Function::new("compareTo").member("semver_compare_to", &two, Type::Int, |args| {
            Ok(Value::Int(order(args)? as i64))
        }),
        Function::new("major").member("semver_major", &one, Type::Int, |args| part(args, 0)),
        Function::new("minor").member("semver_minor", &one, Type::Int, |args| part(args, 1)),
        Function::new("patch").member("semver_patch", &one, Type::Int, |args| part(args, 2)),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}
