//! What is done to an object on its way into the store, whoever brought its kind: the strategy of its kind, the rules that stand beside its schema, and
//! what its definition says.
//!
//! Invariant: who writes objects asks the kind, and does not know where its rules stand.

use serde_json::Value;

use super::{Kind, SelectableField, Subresource, Warnings, definition::finalizer_warnings};
use crate::machinery::{
    field::Errors,
    problem::Problem,
    read::Read,
    schema::{self, Decoded, TypeError, rules},
};

/// Why a document is no object of its kind.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error(transparent)]
    Type(#[from] TypeError),
    #[error(transparent)]
    Embedded(#[from] Problem),
}

impl Kind {
    /// Makes of a document an object in canonical form, by its type and its definition. What is unknown goes, and its paths are told.
    ///
    /// # Errors
    /// The mistakes of Go's decoder, or what an embedded object lacks.
    pub fn conform(&self, value: &mut Value) -> Result<Decoded, Unread> {
        let decoded = schema::conform(value, self.node())?;
        self.coerced(value, decoded)
    }

    /// The same of a document whose fields stand in an order of their own (`schema::conform_as_written`).
    ///
    /// # Errors
    /// As [`Kind::conform`].
    pub fn conform_as_written(
        &self,
        value: &mut Value,
        first: impl FnOnce(&[&str]) -> usize,
    ) -> Result<Decoded, Unread> {
        let decoded = schema::conform_as_written(value, self.node(), first)?;
        self.coerced(value, decoded)
    }

    /// The same of a value that Go's converters read.
    ///
    /// # Errors
    /// As [`Kind::conform`].
    pub fn conform_converted(&self, value: &mut Value) -> Result<Decoded, Unread> {
        let decoded = schema::conform_converted(value, self.node())?;
        self.coerced(value, decoded)
    }

    /// The same of what an applied configuration was merged into: custom objects are not held to their schema anew, so that nulls that may not be
    /// are left for validation to refuse.
    pub fn conform_applied(&self, value: &mut Value) -> Result<Decoded, Unread> {
        Ok(schema::conform_converted(value, self.node())?)
    }

    fn coerced(&self, value: &mut Value, mut decoded: Decoded) -> Result<Decoded, Unread> {
        // what says that it is of another kind is not held to the schema of this one
        let is_own = matches!(value.text("kind"), "") || value.text("kind") == self.kind;
        if let Some(definition) = self.definition().filter(|_| is_own) {
            // what is told of metadata follows its fields' names, as it is written anew before it is read
            decoded.unknown.sort_unstable();
            decoded
                .unknown
                .extend(definition.coerce(value).map_err(Problem::from)?);
        }
        Ok(decoded)
    }

    /// What a value has that says nothing of it. Runs after each reading, so it is idempotent.
    pub fn defaults(&self, value: &mut Value) {
        (self.strategy.defaults)(value);
        if let Some(definition) = self.definition() {
            definition.defaults(value);
        }
    }

    /// Everything but metadata, which is validated for all kinds alike.
    pub fn validate(&self, value: &Value) -> Errors {
        let mut errors = (self.strategy.validate)(value);
        match self.definition() {
            Some(definition) => errors.extend(definition.validate(value)),
            None => errors.extend(rules::check(self.node(), value, None)),
        }
        errors
    }

    /// `(new, old)`; `told` hears what is wrong and lets the update pass, as it was so before.
    pub fn validate_update(
        &self,
        new: &Value,
        old: &Value,
        told: &mut dyn FnMut(String),
    ) -> Errors {
        let mut errors = (self.strategy.validate_update)(new, old);
        errors.extend(match self.definition() {
            Some(definition) => definition.validate_update(new, old, told),
            None => rules::check(self.node(), new, Some(old)),
        });
        errors
    }

    /// The same of a subresource that writes a part of the object.
    pub fn validate_part(
        &self,
        part: Subresource,
        new: &Value,
        old: &Value,
        told: &mut dyn FnMut(String),
    ) -> Errors {
        let mut errors = match (part, self.strategy.part(part.name())) {
            (Subresource::Status, _) => (self.strategy.validate_status_update)(new, old),
            (_, Some(of)) => (of.validate)(new, old),
            (_, None) => return self.validate_update(new, old, told),
        };
        errors.extend(match (part, self.definition()) {
            (Subresource::Status, Some(definition)) => {
                definition.validate_status_update(new, old, told)
            }
            _ => rules::check(self.node(), new, Some(old)),
        });
        errors
    }

    /// Of an object that is written whole: `(new, old)`.
    pub fn warnings(&self, new: &Value, old: Option<&Value>) -> Warnings {
        let mut warnings = (self.strategy.warnings)(new, old);
        if self.definition().is_some() {
            warnings.extend(finalizer_warnings(new, old));
        }
        warnings
    }

    /// Fields to select by that are kept beside each object. Which fields a definition names may change, and what is kept is not made anew: its objects
    /// are looked into when somebody selects by one.
    pub fn indexed(&self) -> &[SelectableField] {
        match self.definition() {
            None => &self.selectable,
            Some(_) => &[],
        }
    }

    /// Its definition is on its way out: nothing new is made.
    pub fn is_terminating(&self) -> bool {
        self.definition()
            .is_some_and(|definition| definition.terminating)
    }

    /// What is stored at this revision is what is shown: in this version, and by the schema that there is now.
    pub fn shows_as_stored(&self, revision: u64) -> bool {
        self.stored_as.is_none()
            && self
                .definition()
                .is_none_or(|definition| revision > definition.since)
    }
}
