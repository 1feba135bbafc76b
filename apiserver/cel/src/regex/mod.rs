//! Regular expressions as Go takes them, by the `regex` crate.
//!
//! Invariant: what Go refuses is refused, in Go's words; `\d`, `\w`, `\s` and `\b` know ASCII alone, as Go's do. Follows the syntax of RE2.

mod syntax;

pub use syntax::PatternError;

use crate::error::EvalError;
use crate::value::Outcome;
use crate::value::Value;
use regex::Regex;

/// A pattern that can be looked for.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let translated = syntax::translate(text)?;
        Regex::new(&translated)
            .map(Pattern)
            .map_err(|_| PatternError::too_large(text))
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
