//! Why something cannot be measured or computed.
//!
//! Invariant: the words are upstream's, which events and conditions bear; nobody decides anything by them.

/// The words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Why(pub String);

impl From<String> for Why {
    fn from(words: String) -> Self {
        Self(words)
    }
}

impl From<&str> for Why {
    fn from(words: &str) -> Self {
        Self(words.into())
    }
}
