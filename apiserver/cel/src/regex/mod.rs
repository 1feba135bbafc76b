//! Regular expressions as Go takes them, by the `regex` crate.
//!
//! Both follow RE2 and run in linear time, but read some things differently: an expression is read as Go reads it, and written anew for the crate.
//!
//! Invariant: what Go refuses is refused, in Go's words; `\d`, `\w`, `\s` and `\b` know ASCII alone, as Go's do. Follows Go's package `regexp/syntax` with
//! Perl's extensions.

mod fault;
mod letters;
mod syntax;
mod unicode;

pub use fault::{Code, SyntaxError};

use crate::error::EvalError;
use crate::value::Outcome;
use crate::value::Value;
use regex::{Regex, RegexBuilder};

/// What a pattern may take when it is compiled, in bytes. Go bounds repetitions instead. Expressions can compile what data says, so it is the crate's own
/// bound; who compiles once has [`Pattern::up_to`].
const SIZE_LIMIT: usize = 10 << 20;

/// Whether Go reads the expression. Nothing is compiled.
///
/// # Errors
/// What Go says.
pub fn check(text: &str) -> Result<(), SyntaxError> {
    syntax::translate(text).map(|_| ())
}

/// A pattern that can be looked for.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// What Go says, or that it is too large.
    pub fn new(text: &str) -> Result<Pattern, SyntaxError> {
        Pattern::up_to(text, SIZE_LIMIT)
    }

    /// The same for one that may take so many bytes.
    ///
    /// # Errors
    /// What Go says, or that it is too large.
    pub fn up_to(text: &str, bytes: usize) -> Result<Pattern, SyntaxError> {
        RegexBuilder::new(&syntax::translate(text)?)
            .size_limit(bytes)
            .build()
            .map(Pattern)
            .map_err(|_| SyntaxError::new(Code::Large, text))
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The functions `matches`, `find` and `findAll`, of which the second argument is the pattern.
    pub(crate) fn call<'a>(&self, function: &str, args: &[Value<'a>]) -> Outcome<'a> {
        let Some(Value::String(text)) = args.first() else {
            return Err(EvalError::no_such_overload());
        };
        match function {
            "matches" => Ok(Value::Bool(self.0.is_match(text))),
            "find" => Ok(Value::string(self.0.find(text).map_or("", |m| m.as_str()))),
            _ => {
                let most = match args.get(2) {
                    Some(Value::Int(most)) => usize::try_from(*most).unwrap_or(usize::MAX),
                    Some(_) => return Err(EvalError::no_such_overload()),
                    None => usize::MAX,
                };
                let found = self.0.find_iter(text).take(most);
                Ok(Value::list(
                    found.map(|m| Value::string(m.as_str())).collect(),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests;
