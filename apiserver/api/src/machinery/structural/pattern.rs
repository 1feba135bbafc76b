//! Regular expressions of schemas.
//!
//! Invariant: a pattern is compiled when a value is first held to it, once, and equal patterns of all schemas are one.
//! What it means is in [`crate::machinery::cel::regex`].

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak},
};

use crate::machinery::cel::regex::{self, SyntaxError};

/// A pattern, as it is written.
#[derive(Debug)]
pub struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Result<regex::Pattern, SyntaxError>>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}
impl Eq for Pattern {}
impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// What a compiled pattern may take, in bytes. This is beyond what Go's bound of repetitions allows in any pattern met so far.
const SIZE_LIMIT: usize = 32 << 20;

impl Pattern {
    pub fn new(text: &str) -> Pattern {
        Pattern {
            text: text.into(),
            compiled: OnceLock::new(),
        }
    }

    /// The one pattern of this text.
    pub fn shared(text: &str) -> Arc<Pattern> {
        static ALL: LazyLock<Mutex<HashMap<Box<str>, Weak<Pattern>>>> =
            LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = all.get(text).and_then(Weak::upgrade) {
            return pattern;
        }
        all.retain(|_, pattern| pattern.strong_count() > 0);
        let pattern = Arc::new(Pattern::new(text));
        all.insert(text.into(), Arc::downgrade(&pattern));
        pattern
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found in `value`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn is_match(&self, value: &str) -> Result<bool, &SyntaxError> {
        let compiled = self
            .compiled
            .get_or_init(|| regex::Pattern::up_to(&self.text, SIZE_LIMIT));
        compiled.as_ref().map(|pattern| pattern.is_match(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_and_what_is_no_pattern() {
        let pattern = Pattern::new(r"^\d+$");
        assert_eq!(pattern.is_match("12"), Ok(true));
        assert_eq!(pattern.is_match("a"), Ok(false));
        for (bad, why) in [
            ("(", "missing closing ): `(`"),
            (r"(a)\1", r"invalid escape sequence: `\1`"),
        ] {
            let why = format!("error parsing regexp: {why}");
            let said = Pattern::new(bad).is_match("x").map_err(ToString::to_string);
            assert_eq!(said, Err(why));
        }
    }

    #[test]
    fn equal_ones_are_one() {
        let one = Pattern::shared("^a$");
        assert!(Arc::ptr_eq(&one, &Pattern::shared("^a$")));
        assert!(!Arc::ptr_eq(&one, &Pattern::shared("^b$")));
    }
}
