//! What is wrong with a text or a value, in the words of Go's or kubectl's readers.
//!
//! Invariant: the words are part of an answer; nobody reads them to find out what happened. Where a caller acts on the cause, there is an enum.

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

impl From<String> for Problem {
    fn from(words: String) -> Problem {
        Problem(words)
    }
}

impl From<&str> for Problem {
    fn from(words: &str) -> Problem {
        Problem(words.into())
    }
}

impl From<Problem> for String {
    fn from(problem: Problem) -> String {
        problem.0
    }
}

impl std::ops::Deref for Problem {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Problem {
    fn eq(&self, words: &&str) -> bool {
        self.0 == *words
    }
}

/// A [`Problem`] in these words.
macro_rules! problem {
    ($($words:tt)*) => { $crate::machinery::problem::Problem(format!($($words)*)) };
}
pub(crate) use problem;
