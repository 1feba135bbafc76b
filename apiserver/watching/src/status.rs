//! What a server answers when it refuses.
//!
//! Follows `Status` of k8s.io/apimachinery/pkg/apis/meta/v1/types.go.

use serde::Deserialize;

/// A refusal.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// For people.
    pub message: String,
    /// For programs: `NotFound`, `Conflict`, …
    pub reason: String,
    /// The HTTP status code.
    pub code: u16,
    pub details: Option<Details>,
}

/// More about it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Details {
    pub causes: Vec<Cause>,
    /// Seconds.
    pub retry_after_seconds: Option<u32>,
}

/// One of several causes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}
