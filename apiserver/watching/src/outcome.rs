//! Results that do not matter, each by the reason why it does not.
//!
//! Invariant: what is dropped here can have failed only in the way that the function's name says.

/// The other side may break a connection at any time: that is its end, no error of ours.
pub fn may_be_broken_off<T, E>(_: Result<T, E>) {}

/// It is as good without.
pub fn is_a_favour<T, E: std::fmt::Display>(what: &str, done: Result<T, E>) {
    if let Err(error) = done {
        tracing::debug!(%error, "not done: {what}");
    }
}
