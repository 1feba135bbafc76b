//! What an admission plugin is, and what it is told of a write.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/{attributes,interfaces}.go`.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::{Kind, Registry, Subresource, api_version},
    machinery::{
        meta::Meta,
        schema::{Node, Schema},
        status::Status,
    },
};
use skiff_storage::{Key, Object};

use super::{charged::Charged, rounds::Rounds};
use crate::{audit::Trail, auth::User, core::Core, emptied::Emptied, stored};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// What a write is about.
pub struct Attributes<'a> {
    pub core: &'a Core,
    pub kinds: &'a Registry,
    /// The kind whose form the object has.
    pub kind: &'a Arc<Kind>,
    /// The kind that the client asked for: another version of the same objects, or `kind` itself.
    pub asked: &'a Arc<Kind>,
    /// Empty for the resource itself.
    pub subresource: &'a str,
    pub operation: Operation,
    pub namespace: &'a str,
    /// Empty while a generated name is still to come.
    pub name: &'a str,
    /// The object as it is to be written; `None` for deletions.
    pub object: Option<Value>,
    /// The object as it stands; `None` for creations.
    pub old: Option<&'a Value>,
    pub user: &'a User,
    pub dry_run: bool,
    /// Texts for Warning headers.
    pub warnings: Mutex<Vec<String>>,
    /// What is told of the request, which plugins add annotations to.
    pub trail: &'a Trail,
    /// What of the object was given and holds nothing.
    pub emptied: &'a Emptied,
    /// For plugins that keep account in the status of other objects.
    pub statuses: &'a dyn Statuses,
    /// What these plugins did already for this write.
    pub charged: &'a Charged,
    /// What the client said besides.
    pub given: Given<'a>,
    /// What is remembered from one round of mutating plugins to the next.
    pub rounds: Rounds,
}

/// What a client says of a write besides the object: the fields of `CreateOptions` and their like.
#[derive(Clone, Copy)]
pub enum Given<'a> {
    Nothing,
    Write {
        /// Under which name fields are managed; empty: it does not say.
        manager: &'a str,
        /// `fieldValidation`, which may be empty.
        validation: &'a str,
    },
    /// What makes `DeleteOptions`, when somebody wants to see them.
    Delete(&'a (dyn Fn() -> Value + Sync)),
}

/// What an update makes of the live object, managed fields included. Called again when another write came between.
pub type Compute<'c> = &'c mut (dyn FnMut(Option<&Value>) -> Result<Value, Status> + Send);

/// Writes the status of objects by compare-and-set, in the server's own name.
#[async_trait]
pub trait Statuses: Send + Sync {
    /// `resource` is `plural.group`.
    async fn update(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        compute: Compute<'_>,
    ) -> Result<(), Status>;
}

impl<'a> Attributes<'a> {
    /// The same, its object left out.
    pub fn without_object(&self) -> Attributes<'a> {
        Attributes {
            object: None,
            warnings: Mutex::default(),
            rounds: Rounds::default(),
            ..*self
        }
    }

    /// The name of the request, or that of the object where the request has none.
    pub fn given_name(&self) -> &str {
        match (self.name, &self.object) {
            ("", Some(object)) => object.name(),
            (name, _) => name,
        }
    }

    /// Group, version and kind of what is written, were it a write of this version: a subresource may have a kind of its own.
    pub fn kind_of_object(&self, kind: &Kind) -> (&'static str, &'static str, &'static str) {
        let own = kind
            .subresource(self.subresource)
            .and_then(Subresource::kind);
        own.unwrap_or((kind.group, kind.version, kind.kind))
    }

    /// What is written is of a kind of the subresource's own, which has no other versions.
    pub fn has_own_kind(&self, kind: &Kind) -> bool {
        kind.subresource(self.subresource)
            .and_then(Subresource::kind)
            .is_some()
    }

    /// The type of what is written, were it a write of this version; `None`: nothing is known of it (the parameters of what is connected).
    pub fn node_of_object<'k>(&self, kind: &'k Kind) -> Option<Node<'k>> {
        if !self.has_own_kind(kind) {
            return Some(kind.node());
        }
        let (group, version, name) = self.kind_of_object(kind);
        Schema::builtin().of_kind(&api_version(group, version), name)
    }

    /// The options of the request as an object of their kind; `Null` where there are none.
    pub fn options(&self) -> Value {
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return Value::Null,
        };
        let mut options = match self.given {
            Given::Nothing => json!({}),
            Given::Delete(options) => options(),
            Given::Write {
                manager,
                validation,
            } => {
                let fields = [("fieldManager", manager), ("fieldValidation", validation)];
                let said = fields.into_iter().filter(|(_, text)| !text.is_empty());
                said.map(|(name, text)| (name.to_string(), text.into()))
                    .collect::<Map<_, _>>()
                    .into()
            }
        };
        options["kind"] = kind.into();
        options["apiVersion"] = "meta.k8s.io/v1".into();
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }

    /// Tells the client something, whatever comes of the write.
    pub fn warn(&self, text: String) {
        self.warnings.lock().push(text);
    }

    /// The object, out of here; a plugin that took it away made a mistake, which is not to be stored.
    pub fn taken(&mut self) -> Result<Value, Status> {
        self.object
            .take()
            .ok_or_else(|| Status::internal("admission left no object"))
    }

    /// The write is of this resource (`pods`, group empty) itself.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural && self.subresource.is_empty()
    }

    /// The write is of this resource itself and one of these operations.
    pub fn is_one(&self, operations: &[Operation], group: &str, plural: &str) -> bool {
        operations.contains(&self.operation) && self.is(group, plural)
    }

    /// An object as it is stored; `resource` is `plural.group`.
    pub fn stored(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.core.store.get(&Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The same, decoded.
    pub fn look_up(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Status> {
        let Some(object) = self.stored(resource, namespace, name) else {
            return Ok(None);
        };
        let row = self
            .kinds
            .stored(resource)
            .ok_or_else(|| Status::internal(format!("no row for {resource}")))?;
        stored::decoded(row, &object).map(Some)
    }

    /// All objects of a resource in a namespace (`None`: everywhere), decoded.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Result<Vec<Value>, Status> {
        let row = self
            .kinds
            .stored(resource)
            .ok_or_else(|| Status::internal(format!("no row for {resource}")))?;
        self.core
            .store
            .snapshot(resource)
            .range(namespace, None)
            .map(|object| stored::decoded(row, &object))
            .collect()
    }

    /// `pods "x" is forbidden: WHY`.
    pub fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let name = if self.name.is_empty() {
            self.object.as_ref().map_or("", |object| {
                if object.name().is_empty() {
                    object.meta_str("generateName")
                } else {
                    object.name()
                }
            })
        } else {
            self.name
        };
        Status::forbidden(self.kind.group, self.kind.plural, name, &why.to_string())
    }
}

/// One admission plugin. `admit` may change the object, `validate` may not.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// As kube-apiserver's `--enable-admission-plugins` names it.
    fn name(&self) -> &'static str;
    /// Whether it has anything to say of such a write; asked before the object is looked at, so that others do not pay for it.
    fn handles(&self, attributes: &Attributes<'_>) -> bool;
    async fn admit(&self, _attributes: &mut Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }
    async fn validate(&self, _attributes: &Attributes<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// What is wrong with a write, in upstream's words; [`Attributes::forbidden`] makes the refusal of it.
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("{0}")]
pub struct Problem(pub String);

impl From<String> for Problem {
    fn from(why: String) -> Problem {
        Problem(why)
    }
}

impl From<&str> for Problem {
    fn from(why: &str) -> Problem {
        Problem(why.to_owned())
    }
}
