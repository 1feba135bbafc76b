//! A write as all that is below the verbs sees it: who asked for what, with which options, and what the server writes with.
//!
//! Invariant: nothing here knows of HTTP. A verb makes a [`Call`] of its request (`Context::call`), the server's own writes make theirs
//! (`own::Own`), and from there on both go the same way.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry, Subresource},
    machinery::status::Status,
};
use skiff_storage::{Draft, Object, Store};

use super::warnings::Warnings;
use crate::{
    admission::{Attributes, Chain, Charged, Compute, Given, Operation, Rounds, Statuses},
    allocate::Allocator,
    audit::Trail,
    auth,
    conversion::{self, Memo},
    core::Core,
    emptied::Emptied,
};

/// What objects of other kinds do when one that takes addresses was written: `(writer, new, old)`, either `Null` where there is none.
pub type Follow = for<'a> fn(&'a Arc<Writer>, &'a Value, &'a Value) -> BoxFuture<'a, ()>;

/// What the server writes with.
pub struct Writer {
    pub core: Arc<Core>,
    pub admission: Chain,
    pub allocator: Arc<Allocator>,
    pub follow: Follow,
}

/// What a client says of a write besides the object.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub dry_run: bool,
    /// Under which name the fields are managed.
    pub field_manager: String,
    /// An apply takes fields from others that manage them.
    pub force: bool,
    /// The name of the manager and the `fieldValidation` as the client gave them, each may be empty.
    pub given: (String, String),
    /// Admission was asked about what this is a part of.
    pub admitted: bool,
}

/// One write on its way.
pub struct Call<'a> {
    pub writer: &'a Arc<Writer>,
    /// The kinds as they were when the request came.
    pub kinds: &'a Arc<Registry>,
    /// Who asks, and what the authorizers allowed.
    pub asked: &'a auth::Attributes,
    pub options: Options,
    pub warnings: &'a Warnings,
    pub emptied: &'a Emptied,
    pub trail: &'a Trail,
    /// What was converted for those who say who owns which fields.
    pub conversions: Memo,
    /// What was charged to quotas.
    pub charged: Charged,
}

impl<'a> Call<'a> {
    /// The same for what is a part of a write that admission was asked about.
    pub fn admitted(&self) -> Call<'a> {
        Call {
            options: Options {
                admitted: true,
                ..self.options.clone()
            },
            conversions: Memo::default(),
            charged: Charged::default(),
            ..*self
        }
    }

    pub fn store(&self) -> &'a dyn Store {
        &*self.writer.core.store
    }

    pub fn now(&self) -> Timestamp {
        self.writer.core.now()
    }

    /// A stored object in the version of `kind`.
    pub async fn read(&self, kind: &Kind, object: &Arc<Object>) -> Result<Value, Status> {
        conversion::read(&self.writer.core, kind, object).await
    }

    /// A value of `kind` as it is to be stored.
    pub async fn draft(&self, kind: &Arc<Kind>, value: &Value) -> Result<Draft, Status> {
        conversion::draft(&self.writer.core, self.kinds, kind, value).await
    }

    /// What `compute` makes of a live object. It is asked again when it wanted to see objects in versions that a webhook was to be asked for.
    pub async fn computed(
        &self,
        live: Option<&Value>,
        compute: Compute<'_>,
    ) -> Result<Value, Status> {
        loop {
            let new = compute(live);
            if !self.conversions.learn(&self.writer.core).await {
                return new;
            }
        }
    }

    /// The write as admission plugins see it, its object still to be put in.
    pub fn attributes<'b>(
        &'b self,
        kind: &'b Arc<Kind>,
        subresource: &'b str,
        operation: Operation,
        (namespace, name): (&'b str, &'b str),
    ) -> Attributes<'b> {
        let statuses: &'b dyn Statuses = self.writer;
        Attributes {
            core: &self.writer.core,
            kinds: self.kinds,
            kind,
            asked: kind,
            subresource,
            operation,
            namespace,
            name,
            object: None,
            old: None,
            user: &self.asked.user,
            dry_run: self.options.dry_run,
            warnings: Default::default(),
            trail: self.trail,
            emptied: self.emptied,
            statuses,
            charged: &self.charged,
            given: Given::Write {
                manager: &self.options.given.0,
                validation: &self.options.given.1,
            },
            rounds: Rounds::default(),
        }
    }

    /// Lets the plugins change what is to be written; their client hears their warnings, whatever comes of it.
    pub async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        if self.options.admitted {
            return Ok(());
        }
        let admitted = self.writer.admission.admit(attributes).await;
        self.pass_on(attributes);
        admitted
    }

    /// Asks the plugins about what is to be written, which they may not change any more.
    pub async fn check(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        if self.options.admitted {
            return Ok(());
        }
        let checked = self.writer.admission.validate(attributes).await;
        self.pass_on(attributes);
        checked
    }

    fn pass_on(&self, attributes: &Attributes<'_>) {
        let warnings = std::mem::take(&mut *attributes.warnings.lock());
        warnings
            .into_iter()
            .for_each(|text| self.warnings.add(text));
    }

    /// Asks about a write of a subresource that is no part of its object (`pods/eviction`, `serviceaccounts/token`); the object as admitted.
    pub async fn admit_subresource(
        &self,
        kind: &Arc<Kind>,
        subresource: &str,
        at: (&str, &str),
        object: Value,
    ) -> Result<Value, Status> {
        let mut attributes = self.attributes(kind, subresource, Operation::Create, at);
        attributes.object = Some(object);
        self.admit(&mut attributes).await?;
        self.check(&attributes).await?;
        attributes.taken()
    }
}

/// What came of a write: what is stored, or what would have been with `dryRun`.
pub enum Written {
    Stored(Arc<Object>),
    /// Not stored: a dry run, or an object that its last update took away.
    Unstored(Value),
}

/// Which part of an object a write is about.
#[derive(Clone, Copy)]
pub enum Part {
    Whole,
    Sub(Subresource),
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Whole => "",
            Part::Sub(sub) => sub.name(),
        }
    }

    /// The part of a row that is under this name; that there is none is the server's own mistake.
    pub fn of(kind: &Kind, name: &str) -> Result<Part, Status> {
        kind.subresource(name)
            .map(Part::Sub)
            .ok_or_else(|| Status::internal(format!("{} have no {name}", kind.plural)))
    }
}
