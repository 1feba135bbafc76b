//! Steps that creations and updates share.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go` and `pkg/registry/rbac/*/policybased`.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::{
    kinds::{Beyond, Kind, Stamp},
    machinery::{
        field::Errors, meta::Meta, object_meta, problem::Problem, read::Read, schema::as_stored,
        status::Status, time,
    },
};
use skiff_storage::{Error, Object};

use super::call::{Call, Written};
use crate::{
    allocate::{Allocation, allocate},
    auth::authorize::escalation,
    conversion,
};

/// Maps what the store refused of an object that is to be.
pub(super) fn creation_error(kind: &Kind, value: &Value, error: Error) -> Status {
    match error {
        Error::Exists(there) => exists(kind, value, &there),
        other => store_error(kind, value.name(), other),
    }
}

/// Maps what the store refused.
pub(super) fn store_error(kind: &Kind, name: &str, error: Error) -> Status {
    match error {
        Error::NotFound => Status::not_found(kind.group, kind.plural, name),
        Error::Conflict(_) => Status::modified(kind.group, kind.plural, name),
        Error::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        other => Status::internal(other),
    }
}

/// What is to be made is there, or is still on its way out.
pub(super) fn exists(kind: &Kind, value: &Value, there: &Object) -> Status {
    let mut status = Status::already_exists(kind.group, kind.plural, value.name());
    if !value.meta_str("generateName").is_empty() {
        // whether or not the name was made of it
        (status.message)
            .push_str(", the server was not able to generate a unique name for the object");
        if let Some(details) = &mut status.details {
            details.retry_after_seconds = 1;
        }
    }
    if there.attributes().deleting {
        status.message.insert_str(0, "object is being deleted: ");
    }
    status
}

/// When owners are looked at: what a client sent, or what became of that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    Sent,
    Admitted,
}

/// Drops owner references that stand twice, with a warning. What a patch makes is looked at once it was admitted.
pub(super) fn dedup_owners(call: &Call<'_>, value: &mut Value, of: Owners) {
    if of == Owners::Sent && call.asked.verb == "patch" {
        return;
    }
    let Some(owners) = value
        .meta_mut()
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    let mut seen: Vec<Value> = Vec::with_capacity(owners.len());
    let mut again: Vec<String> = Vec::new();
    owners.retain(|owner| {
        let fresh = !seen.contains(owner);
        if fresh {
            seen.push(owner.clone());
        } else {
            again.push(owner.text("uid").into());
        }
        fresh
    });
    if !again.is_empty() {
        let again = again.join(", ");
        let when = match of {
            Owners::Sent => "",
            Owners::Admitted => " after mutating admission happens",
        };
        call.warnings.add(format!(".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {again}"));
    }
}

/// The same of what a client sent, before anybody asks what it is about.
pub fn dedup_sent_owners(call: &Call<'_>, value: &mut Value) {
    dedup_owners(call, value, Owners::Sent);
}

/// What a dry run would have stored, in the form that its client knows.
pub(super) async fn unstored(
    call: &Call<'_>,
    shown: &Arc<Kind>,
    kind: &Arc<Kind>,
    mut value: Value,
) -> Result<Written, Status> {
    settle(shown, kind, &mut value);
    as_stored(&mut value, kind.node());
    // what is stored in another form loses what that form does not have
    let stored = call.kinds.stored_row(kind);
    let core = &call.writer.core;
    let value = conversion::convert(core, kind, stored, value).await?;
    let value = conversion::convert(core, stored, shown, value).await?;
    Ok(Written::Unstored(value))
}

/// An object cannot be shown as another version has it.
pub(super) fn unconverted(why: Problem) -> Status {
    Status::internal_plain(why.0)
}

/// What was worked on in another form than the client's has not seen the defaults of that form, which reading it gives.
pub(super) fn settle(shown: &Kind, kind: &Kind, value: &mut Value) {
    if !std::ptr::eq(shown, kind) {
        kind.defaults(value);
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
pub(super) async fn escalation(
    call: &Call<'_>,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let of = match kind.flags.beyond {
        Beyond::RulesOfRole if kind.namespaced => escalation::Kind::Role,
        Beyond::RulesOfRole => escalation::Kind::ClusterRole,
        Beyond::RulesOfBinding if kind.namespaced => escalation::Kind::RoleBinding,
        Beyond::RulesOfBinding => escalation::Kind::ClusterRoleBinding,
        _ => return Ok(()),
    };
    let write = escalation::Write {
        kind: of,
        user: &call.asked.user,
        namespace: new.namespace(),
        request_name: if old.is_some() { new.name() } else { "" },
        new,
        old,
    };
    escalation::check(&call.writer.core.authorizers, &write).await
}

pub(super) fn stamp(
    call: &Call<'_>,
    kind: &Kind,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if let Some(stamp) = kind.strategy.stamp {
        let user = serde_json::to_value(&call.asked.user).map_err(Status::internal)?;
        let now = time::seconds(call.now());
        stamp(
            new,
            old,
            &Stamp {
                now: &now,
                user: &user,
            },
        );
    }
    Ok(())
}

/// What speaks against a name, or a prefix of one: its form, and what the object itself says of it.
pub(super) fn name_problems(kind: &Kind, value: &Value, name: &str, prefix: bool) -> Vec<String> {
    let mut problems = kind.flags.name_problems(name, prefix);
    problems.extend((kind.strategy.name_problems)(value, name));
    problems
}

pub(super) fn standard_finalizers(kind: &Kind, value: &Value) -> Errors {
    if kind.flags.any_finalizers {
        Errors::default()
    } else {
        object_meta::standard_finalizers(value)
    }
}

/// Addresses and ports for a kind that takes them. They are given back unless the write comes about.
pub(super) fn take_addresses(
    call: &Call<'_>,
    kind: &Kind,
    new: &mut Value,
    live: Option<&Value>,
) -> Result<Option<Allocation>, Status> {
    if !kind.flags.takes_addresses {
        return Ok(None);
    }
    let (allocator, dry) = (&call.writer.allocator, call.options.dry_run);
    allocate(allocator, kind, new, live, dry).map(Some)
}

/// The answer to an object with these faults; fine without any.
pub(super) fn refused(kind: &Kind, value: &Value, errors: &Errors) -> Result<(), Status> {
    let (name, said) = (value.name(), value.text("kind"));
    if errors.is_empty() {
        return Ok(());
    }
    let group = kind.flags.told_of_group.unwrap_or(kind.group);
    Err(Status::invalid(group, said, name, errors))
}
