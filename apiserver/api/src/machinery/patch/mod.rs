//! Patches: the three that change an object (JSON Patch, JSON Merge Patch, strategic merge patch), and the making of them for `kubectl apply`.
//! Server-side apply, the fourth, is `managed_fields`.
//!
//! Invariant: a patch works on a value of its own; when it fails, what it changed so far is thrown away by the caller.
//! Follows upstream's `apiserver/pkg/endpoints/handlers/patch.go` and the packages that it calls.

pub mod go;
pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::Value;

/// What a patch must not contain: a change of one of these fields is refused by the client that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// A field at the top, `kind`.
    Key(&'static str),
    /// A field in `metadata`.
    MetadataKey(&'static str),
}

impl Precondition {
    /// What `kubectl apply` and `kubectl edit` demand.
    pub const APPLY: [Precondition; 3] = [
        Precondition::Key("apiVersion"),
        Precondition::Key("kind"),
        Precondition::MetadataKey("name"),
    ];

    fn holds(self, patch: &Value) -> bool {
        match self {
            Precondition::Key(key) => patch.get(key).is_none(),
            Precondition::MetadataKey(key) => {
                patch.get("metadata").and_then(|m| m.get(key)).is_none()
            }
        }
    }
}
