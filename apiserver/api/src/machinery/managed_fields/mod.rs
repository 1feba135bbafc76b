//! Managed fields: who owns which field of an object, after updates and after server-side apply.
//!
//! Invariant: a field that changed belongs to who changed it; a field belongs to several only when they applied the same value.
//! Nothing here reads a clock: the caller says what time it is.
//! Follows upstream's `staging/src/k8s.io/apimachinery/pkg/util/managedfields` and `sigs.k8s.io/structured-merge-diff/v6`.

mod apply;
mod compare;
mod conflict;
mod element;
mod fieldset;
mod last_applied;
mod managers;
mod merge;
mod put_over;
mod remove;
mod scale;
mod set;
mod types;
mod update;
mod validate;

use crate::machinery::problem::Problem;
use serde_json::Value;

pub use apply::apply;
pub use conflict::Conflicts;
pub use element::{ElementError, PathElement};
pub use managers::DecodeError;
pub use put_over::{PutOverError, put_over};
pub use scale::ScaleHandler;
pub use set::Set;
pub use update::track_update;

use super::schema::Node;
use super::status::Status;

/// Fields that a write leaves alone whoever sends them, so that nobody comes to own them by it: `status` on the main resource,
/// all but the status on `/status`.
#[derive(Debug, Clone, Default)]
pub struct ResetFields {
    set: Set<'static>,
}

impl ResetFields {
    /// Of paths with dots: `status`, `metadata.deletionTimestamp`.
    pub fn paths(paths: &[&'static str]) -> ResetFields {
        let mut set = Set::default();
        for path in paths {
            let steps: Vec<PathElement<'static>> =
                path.split('.').map(PathElement::field).collect();
            set.insert(&steps);
        }
        ResetFields { set }
    }

    fn of<'a>(&self, set: Set<'a>) -> Set<'a> {
        if self.set.is_empty() {
            set
        } else {
            set.recursively_without(&self.set)
        }
    }
}

/// The other versions of a kind, for objects whose managers wrote at different ones.
pub trait Versions {
    /// Whether there is such a version; what was written at one that is no more is nobody's.
    ///
    /// # Errors
    /// What is wrong with it, where not to be known is a fault.
    fn knows(&self, api_version: &str) -> Result<bool, String>;

    /// The object at another version with that version's schema; nothing when the version is not served any more.
    fn at<'v>(&'v self, object: &Value, api_version: &str) -> Option<(Value, Node<'v>)>;
}

/// Whether fields of the version `wanted` can be looked at from `api_version`.
fn is_known(
    versions: Option<&dyn Versions>,
    wanted: &str,
    api_version: &str,
) -> Result<bool, ManagedFieldsError> {
    match versions.filter(|_| wanted != api_version) {
        Some(versions) => versions.knows(wanted).map_err(ManagedFieldsError::Merge),
        None => Ok(true),
    }
}

/// An update to note.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// Who updates; empty is `unknown`.
    pub manager: &'a str,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: &'a str,
    /// The request's version.
    pub api_version: &'a str,
    /// RFC 3339, seconds.
    pub now: &'a str,
    pub schema: Node<'a>,
    pub reset: &'a ResetFields,
    /// Nothing: the paths of all versions are the same.
    pub versions: Option<&'a dyn Versions>,
}

/// A configuration to apply.
#[derive(Clone, Copy)]
pub struct Apply<'a> {
    /// Who applies; empty is `unknown`.
    pub manager: &'a str,
    /// Take over what others own.
    pub force: bool,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: &'a str,
    /// The request's version.
    pub api_version: &'a str,
    /// RFC 3339, seconds.
    pub now: &'a str,
    pub schema: Node<'a>,
    pub reset: &'a ResetFields,
    /// Nothing: the paths of all versions are the same.
    pub versions: Option<&'a dyn Versions>,
}

/// Why a configuration cannot be applied, or an update not be noted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ManagedFieldsError {
    /// The configuration is at another version than the request.
    #[error(
        "Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}"
    )]
    Version { given: String, expected: String },
    /// A configuration must not say who owns what.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsGiven,
    /// Others own fields that the configuration sets to other values.
    #[error("{0}")]
    Conflicts(Conflicts),
    /// The object is not what its type says.
    #[error("{0}")]
    Untyped(Problem),
    /// The live object's managed fields cannot be read.
    #[error("failed to decode managed fields: {0}")]
    Decode(#[from] DecodeError),
    /// The configuration does not fit its type.
    #[error("failed to create typed patch object ({object}): {said}")]
    Typed { object: String, said: Problem },
    /// The two objects cannot be compared or merged.
    #[error("{0}")]
    Merge(String),
}

impl ManagedFieldsError {
    /// The server's answer.
    pub fn status(&self) -> Status {
        match self {
            Self::Version { .. } | Self::ManagedFieldsGiven => {
                Status::bad_request(self.to_string())
            }
            Self::Conflicts(conflicts) => conflicts.status(),
            _ => Status::new(500, "", self.to_string()),
        }
    }
}

/// Whether `metadata.managedFields` can be read.
///
/// # Errors
/// The first entry that cannot.
pub fn check(list: Option<&Value>) -> Result<(), DecodeError> {
    managers::decode(list).map(drop)
}

/// The managed fields of an object's metadata.
fn of(object: &Value) -> Option<&Value> {
    object.get("metadata").and_then(|m| m.get("managedFields"))
}

/// Puts managed fields into an object's metadata, or takes them out.
fn put(object: &mut Value, fields: Option<Value>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    match fields {
        Some(fields) => metadata.insert("managedFields".into(), fields),
        None => metadata.remove("managedFields"),
    };
}

#[cfg(test)]
mod tests;
