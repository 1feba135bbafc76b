//! The one way in which objects are written: admission, what the server sets, validation, managed fields, compare-and-set with retry.
//!
//! Invariant: every object that reaches the store was in canonical form, admitted and valid in the moment of its write.
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go` and `.../registry/rest/{create,update}.go`.

mod create;
mod devices;
mod difference;
mod params;
mod prepare;
mod update;

use std::sync::Arc;

use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Subresource},
    machinery::{field::Errors, meta::Meta, object_meta, schema::as_stored, status::Status, time},
};
use skiff_storage::{Error, Object};

pub use self::{
    create::{create, generated_name},
    update::{Update, update},
};
use crate::{auth::authorize::escalation, context::Context};

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
}

/// `dryRun=All`, the only value there is.
pub fn dry_run(ctx: &Context) -> Result<bool, Status> {
    let mut dry = false;
    for value in ctx.query.all("dryRun") {
        if value != "All" {
            let mut errors = Errors::default();
            let all: Vec<&str> = ctx.query.all("dryRun").collect();
            errors.not_supported(
                &skiff_api::machinery::field::Path::new("dryRun"),
                all,
                &["All"],
            );
            return Err(Status::invalid(
                "meta.k8s.io",
                options_kind(&ctx.info.verb),
                "",
                &errors,
            ));
        }
        dry = true;
    }
    Ok(dry)
}

fn options_kind(verb: &str) -> &'static str {
    match verb {
        "create" => "CreateOptions",
        "patch" => "PatchOptions",
        "delete" | "deletecollection" => "DeleteOptions",
        _ => "UpdateOptions",
    }
}

/// Maps what the store refused.
pub fn store_error(kind: &Kind, name: &str, error: Error) -> Status {
    match error {
        Error::Exists(_) => Status::already_exists(kind.group, kind.plural, name),
        Error::NotFound => Status::not_found(kind.group, kind.plural, name),
        Error::Conflict(_) => Status::modified(kind.group, kind.plural, name),
        Error::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        other => Status::internal(other),
    }
}

/// Drops owner references that stand twice, with a warning.
fn dedup_owners(ctx: &Context, value: &mut Value) {
    let Some(owners) = value
        .meta_mut()
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    let before = owners.len();
    let mut seen: Vec<Value> = Vec::with_capacity(before);
    owners.retain(|owner| {
        let fresh = !seen.contains(owner);
        if fresh {
            seen.push(owner.clone());
        }
        fresh
    });
    if owners.len() != before {
        ctx.warn(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests");
    }
}

/// Nobody is to rely on what is only stored.
fn warn_of_no_effect(ctx: &Context, kind: &Kind, value: &Value) {
    if let Some(told) = (kind.strategy.without_effect)(value).filter(|_| ctx.app.warns_of_no_effect)
    {
        ctx.warn(told);
    }
}

/// What a dry run would have stored, in the form that its client knows.
fn unstored(shown: &Arc<Kind>, kind: &Arc<Kind>, mut value: Value) -> Written {
    as_stored(&mut value, kind.node());
    kind.convert(&mut value, shown);
    Written::Unstored(value)
}

/// What was worked on in another form than the client's has not seen the defaults of that form, which reading it gives.
fn settle(shown: &Kind, kind: &Kind, value: &mut Value) {
    if !std::ptr::eq(shown, kind) {
        (kind.strategy.defaults)(value);
    }
}

/// The namespace of the body is that of the path, or absent.
pub fn check_namespace(kind: &Kind, namespace: &str, value: &mut Value) -> Result<(), Status> {
    if !kind.namespaced {
        // what stands in no namespace is not asked where it stands
        value.set_meta("namespace", "");
        return Ok(());
    }
    let given = value.namespace();
    if given.is_empty() {
        value.set_meta("namespace", namespace);
        return Ok(());
    }
    if given != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Nobody grants by a role or binding what they may not do themselves.
fn escalation(ctx: &Context, kind: &Kind, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let Some(of) =
        escalation::Kind::of(kind.plural).filter(|_| kind.group == "rbac.authorization.k8s.io")
    else {
        return Ok(());
    };
    let request_name = if old.is_some() { new.name() } else { "" };
    let write = escalation::Write {
        kind: of,
        user: &ctx.user,
        namespace: new.namespace(),
        request_name,
        new,
        old,
    };
    escalation::check(&ctx.app.authorizers, &write)
}

fn stamp(ctx: &Context, kind: &Kind, new: &mut Value, old: Option<&Value>) {
    if let Some(stamp) = kind.strategy.stamp {
        let user = serde_json::to_value(&ctx.user).unwrap_or_default();
        stamp(
            new,
            old,
            &skiff_api::kinds::Stamp {
                now: &time::seconds(ctx.app.clock.now()),
                user: &user,
            },
        );
    }
}

fn standard_finalizers(kind: &Kind, value: &Value) -> Errors {
    if kind.flags.any_finalizers {
        Errors::default()
    } else {
        object_meta::standard_finalizers(value)
    }
}
