//! Why an evaluation has no value.

use std::borrow::Cow;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression cannot be evaluated for these values.
    #[error("{0}")]
    Failed(Cow<'static, str>),
    /// It cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
}

impl EvalError {
    pub fn new(message: impl Into<Cow<'static, str>>) -> EvalError {
        EvalError::Failed(message.into())
    }

    pub fn no_such_overload() -> EvalError {
        EvalError::new("no such overload")
    }

    pub(crate) fn no_such_key(key: impl std::fmt::Display) -> EvalError {
        EvalError::new(format!("no such key: {key}"))
    }
}
