//! Structural schemas: what a CustomResourceDefinition says of its objects, and all that is done to objects by it.
//!
//! A [`Structural`] is read once from the JSON of a definition's `openAPIV3Schema` and never changes; cloning it costs nothing. The steps of a write,
//! in upstream's order: [`coerce`](Structural::coerce) (metadata, unknown fields, nulls), [`default`](Structural::default), then
//! [`validate`](Structural::validate) or [`validate_update`](Structural::validate_update), [`validate_metadata`](Structural::validate_metadata),
//! [`validate_list_types`](Structural::validate_list_types), and the rules of CEL, for which [`walk`](Structural::walk) visits the nodes.
//!
//! Invariant: functions of values alone; what is right costs no allocation. Texts, order and paths of errors are upstream's; where upstream goes
//! through a map, whose order Go leaves open, names are taken in theirs.
//! Follows `apiextensions-apiserver/pkg/apiserver/{schema,validation}`.

mod check_defaults;
mod correlate;
mod default;
pub mod formats;
mod list_types;
pub mod metadata;
pub mod node;
pub mod pattern;
mod prune;
mod read;
mod types;
mod validate;
mod walk;

use std::sync::Arc;

use serde_json::Value;

use super::{
    field::{Error, Errors, Path},
    problem::Problem,
};
pub use check_defaults::{Default, Rules};
pub use correlate::{Correlated, OldItems};
pub use metadata::Malformed;
pub use node::Node;
use prune::Out;
use validate::Mode;

pub use read::{Reader, supported};
pub use walk::Visit;

/// The schema of a version of a definition.
#[derive(Debug, Clone)]
pub struct Structural {
    root: Arc<Node>,
}

impl Structural {
    /// Reads the JSON of a JSONSchemaProps.
    ///
    /// # Errors
    /// What is not supported in a structural schema, in upstream's words.
    pub fn read(schema: &Value) -> Result<Structural, Problem> {
        Structural::read_by(&mut Reader::default(), schema)
    }

    /// The same by a reader that has read others: what is alike is shared.
    ///
    /// # Errors
    /// The same.
    pub fn read_by(reader: &mut Reader, schema: &Value) -> Result<Structural, Problem> {
        let root = reader.node(schema)?;
        Ok(Structural { root })
    }

    /// What is said of the whole object.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// A part of the schema by itself (that of `status`, of a scale's path).
    pub fn part(&self, properties: &[&str]) -> Option<Structural> {
        let mut root = &self.root;
        for name in properties {
            root = root.body.properties.as_ref()?.get(name)?;
        }
        Some(Structural { root: root.clone() })
    }

    /// Takes out what the schema does not name; the paths of what was taken out, sorted (`spec.sails`). `apiVersion`, `kind` and `metadata` stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::take_out(
            object,
            &self.root,
            true,
            Out {
                unknown: true,
                nulls: false,
            },
        )
    }

    /// Takes out nulls of fields that may not be null and have no default.
    pub fn drop_nulls(&self, object: &mut Value) {
        prune::take_out(
            object,
            &self.root,
            true,
            Out {
                unknown: false,
                nulls: true,
            },
        );
    }

    /// Brings metadata of embedded objects into form; the paths of what it does not know, sorted. That of the whole is left to `conform`.
    ///
    /// # Errors
    /// The first kind, version or metadata that cannot be read.
    pub fn coerce_metadata(
        &self,
        object: &mut Value,
        malformed: Malformed,
    ) -> Result<Vec<String>, Error> {
        let mut unknown = Vec::new();
        metadata::coerce(
            object,
            &self.root,
            false,
            malformed,
            &Path::WHOLE,
            &mut unknown,
        )?;
        unknown.sort_unstable();
        Ok(unknown)
    }

    /// All that is done to an object that comes in, after its own metadata was read: `prune`, `drop_nulls` and `coerce_metadata`. Answers the
    /// paths of unknown fields in the order in which they are told.
    ///
    /// # Errors
    /// Those of `coerce_metadata`.
    pub fn coerce(&self, object: &mut Value, malformed: Malformed) -> Result<Vec<String>, Error> {
        let both = Out {
            unknown: true,
            nulls: true,
        };
        let mut unknown = prune::take_out(object, &self.root, true, both);
        unknown.extend(self.coerce_metadata(object, malformed)?);
        Ok(unknown)
    }

    /// Writes defaults.
    pub fn default(&self, object: &mut Value) {
        default::defaults(object, &self.root);
    }

    /// What is wrong with embedded objects' kinds and metadata.
    pub fn validate_metadata(&self, object: &Value, path: &Path) -> Errors {
        Errors::of(|errors| metadata::validate(object, &self.root, false, path, errors))
    }

    /// What is wrong with a new object. `path` is blank for whole ones, or that of the part which this schema is of.
    pub fn validate(&self, object: &Value, path: &Path) -> Errors {
        Errors::of(|errors| {
            validate::validate(object, None, &self.root, Mode::Objects, path, errors);
        })
    }

    /// What is wrong with an object that was another one; what was wrong before and is as it was is not told.
    pub fn validate_update(&self, new: &Value, old: &Value, path: &Path) -> Errors {
        Errors::of(|errors| {
            validate::validate(new, Some(old), &self.root, Mode::Objects, path, errors);
        })
    }

    /// Elements that stand twice in sets and lists with keys.
    pub fn validate_list_types(&self, object: &Value, path: &Path) -> Errors {
        Errors::of(|errors| list_types::validate(object, &self.root, path, errors))
    }
}

#[cfg(test)]
mod tests;
