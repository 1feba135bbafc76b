//! Kinds that a CustomResourceDefinition brings: what it says of names, columns and subresources becomes [`Kind`]s, and its schema becomes what their
//! objects are held to.
//!
//! `bring` makes the kinds, `conversion` reads what converts between them, `checks` holds their objects to what it says, `rules` to its rules in CEL.
//!
//! Invariant: a definition's kinds come by the same door as those that are built in; all that is particular to them stands in [`Definition`].
//! Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go` (what is made of a definition) and
//! `pkg/registry/customresource/{strategy,status_strategy,validator}.go` (what its objects are held to).

mod bring;
mod checks;
mod conditions;
mod conversion;
pub(crate) mod rules;
mod scale;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde_json::{Value, json};

pub use bring::{Brought, kinds_of};
pub(super) use checks::finalizer_warnings;
pub use conditions::{CLEANUP, find, is_condition, set, terminate};
pub use conversion::ConversionWebhook;

use self::{rules::Rules, scale::ScalePaths};
use crate::machinery::{
    field::Error,
    problem::{Problem, problem},
    read::Read,
    schema::{self, Schema},
    structural::{Malformed, Reader, Structural},
};

/// The bytes of a stored definition, shared with the store.
pub type Written = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What a definition says of the values of one version's objects.
pub struct Definition {
    written: Written,
    version: &'static str,
    /// What its schema is made into when it is first asked: most definitions of a cluster have no objects.
    made: OnceLock<Made>,
    /// Objects stored up to this revision may have been written by another schema, or in another version.
    pub since: u64,
    /// It is being deleted: nothing more is made.
    pub terminating: bool,
    /// `group/version` and kind, as each object is to say.
    api_version: &'static str,
    kind: &'static str,
    scale: Option<ScalePaths>,
    /// What converts between its versions; `None`: they differ in their names alone.
    pub webhook: Option<Arc<ConversionWebhook>>,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Definition({} {})", self.api_version, self.kind)
    }
}

/// What is made of a schema.
struct Made {
    structural: Structural,
    /// What it says of the status.
    status: Option<Structural>,
    /// The types of its objects, and which of them is the whole.
    schema: Schema,
    root: u32,
    /// Compiled when the first object is held to them.
    rules: OnceLock<Result<Rules, Problem>>,
    /// Why it could not be read. Nothing is written of such a kind.
    broken: Option<Problem>,
}

impl Made {
    fn of(definition: &Definition) -> Result<Made, Problem> {
        let structural = Structural::read_served(&mut Reader::default(), &definition.schema()?)?;
        let (group, version) = definition
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", definition.api_version));
        let (schema, root) = structural.schema(group, version, definition.kind)?;
        Ok(Made {
            status: structural.part(&["status"]),
            structural,
            schema,
            root,
            rules: OnceLock::new(),
            broken: None,
        })
    }

    /// Of a schema that cannot be read, which upstream's validation does not let through.
    fn broken(why: Problem) -> Made {
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let structural = Structural::read(&any)
            .unwrap_or_else(|why| panic!("a schema that says nothing is read: {why}"));
        let (schema, root) = structural
            .schema("", "", "Unreadable")
            .unwrap_or_else(|why| panic!("a schema that says nothing has types: {why}"));
        Made {
            status: None,
            structural,
            schema,
            root,
            rules: OnceLock::new(),
            broken: Some(why),
        }
    }
}

impl Definition {
    fn made(&self) -> &Made {
        self.made
            .get_or_init(|| Made::of(self).unwrap_or_else(Made::broken))
    }

    fn structural(&self) -> &Structural {
        &self.made().structural
    }

    /// The type of the kind's objects.
    pub fn node(&self) -> schema::Node<'_> {
        let made = self.made();
        made.schema.root(made.root)
    }

    /// The schema as it was written: what OpenAPI shows.
    ///
    /// # Errors
    /// The definition cannot be read.
    pub fn schema(&self) -> Result<Value, Problem> {
        let bytes: &[u8] = (*self.written).as_ref();
        let mut definition: Value =
            serde_json::from_slice(bytes).map_err(|error| Problem(error.to_string()))?;
        let versions = definition.pointer_mut("/spec/versions");
        let versions = versions.and_then(Value::as_array_mut);
        let of = versions
            .into_iter()
            .flatten()
            .find(|version| version.text("name") == self.version);
        of.and_then(|version| version.pointer_mut("/schema/openAPIV3Schema"))
            .map(Value::take)
            .ok_or_else(|| problem!("version {} has no schema", self.version))
    }

    /// Takes out what the schema does not know, nulls where nothing may be null, and brings embedded objects into form; the paths of what was unknown.
    ///
    /// # Errors
    /// The first kind, version or metadata of an embedded object that cannot be read.
    pub fn coerce(&self, value: &mut Value) -> Result<Vec<String>, Error> {
        self.structural().coerce(value, Malformed::Refused)
    }

    /// What the schema has for what is absent.
    pub fn defaults(&self, value: &mut Value) {
        self.structural().default(value);
    }

    /// Makes what was stored by another schema, or in another version that differs in its name alone, what it is by this one.
    ///
    /// # Errors
    /// Those of [`Definition::coerce`], but for metadata: what of that cannot be read is let go.
    pub fn reshape(&self, value: &mut Value) -> Result<(), Problem> {
        value["apiVersion"] = self.api_version.into();
        value["kind"] = self.kind.into();
        self.structural().coerce(value, Malformed::Dropped)?;
        self.structural().default(value);
        Ok(())
    }

    /// The same of a value that may be of another version. Where a webhook converts, whoever takes objects out of the store asks it first, and there is
    /// nothing more to be done.
    ///
    /// # Errors
    /// As [`Definition::reshape`], or the webhook was not asked.
    pub fn show(&self, value: &mut Value) -> Result<(), Problem> {
        if self.webhook.is_none() {
            return self.reshape(value);
        }
        match value.text("apiVersion") {
            given if given == self.api_version => Ok(()),
            given => Err(problem!(
                "conversion webhook for {given}, Kind={} failed: it was not asked",
                self.kind
            )),
        }
    }
}
