//! Creation: what the server sets, a name where one is to be made, validation, and the write of what was absent.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/rest/create.go`.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::{
    kinds::{Generation, Kind, UpdateChecks},
    machinery::{
        field::Path, meta::Meta, names::is_path_segment_name, object_meta, read::Read,
        schema::conform, status::Status, time,
    },
};
use skiff_storage::{Error, Expect, Write};

use super::{
    call::{Call, Part, Written},
    devices, managed, params,
    steps::{
        Owners, check_namespace, creation_error, dedup_owners, escalation, exists, name_problems,
        refused, settle, stamp, standard_finalizers, take_addresses, unconverted, unstored,
    },
};
use crate::{
    admission::{Attributes, Operation},
    auth::{self, authorize::forbidden},
    names, stored,
};

/// Creates `value`, decoded and with its defaults, in `namespace`; the request's manager owns all of it.
pub async fn create(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    namespace: &str,
    mut value: Value,
) -> Result<Written, Status> {
    wipe_system_fields(&mut value);
    check_namespace(kind, namespace, &mut value)?;
    dedup_owners(call, &mut value, Owners::Sent);
    managed::track_update(
        call,
        kind,
        Part::Whole,
        &Value::Object(Default::default()),
        &mut value,
    )?;
    create_tracked(call, kind, namespace, value, true).await
}

/// What nobody who creates may say: `WipeObjectMetaSystemFields` of `staging/src/k8s.io/apiserver/pkg/registry/rest/meta.go`.
pub fn wipe_system_fields(value: &mut Value) {
    for name in [
        "creationTimestamp",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        value.meta_mut().remove(name);
    }
}

/// Creates an object whose managed fields are noted already. Unless the request was `authorized` as a creation, the right to create is asked
/// for before admission validates.
pub(super) async fn create_tracked(
    call: &Call<'_>,
    shown: &Arc<Kind>,
    namespace: &str,
    mut value: Value,
    authorized: bool,
) -> Result<Written, Status> {
    let dry = call.options.dry_run;
    let kind = call.kinds.worked_on_as(shown);
    shown.convert(&mut value, kind).map_err(unconverted)?;
    let name = value.name().to_string();
    let mut attributes = call.attributes(kind, "", Operation::Create, (namespace, &name));
    attributes.asked = shown;
    if kind.is_terminating() {
        return Err(Status::forbidden(
            kind.group,
            kind.plural,
            &name,
            "create not allowed while custom resource definition is terminating",
        ));
    }
    attributes.object = Some(value);
    call.admit(&mut attributes).await?;
    let mut value = attributes.taken()?;
    dedup_owners(call, &mut value, Owners::Admitted);
    // whoever was asked may have changed it
    check_namespace(kind, namespace, &mut value)?;
    escalation(call, kind, &value, None).await?;

    let generate = !value.meta_str("generateName").is_empty() && value.name().is_empty();
    let mut attempts = if generate { 8 } else { 1 };
    prepare(call, kind, &mut value)?;
    loop {
        attempts -= 1;
        if generate {
            let prefix = value.meta_str("generateName");
            let name = match kind.flags.generates_prefix {
                true => prefix.to_string(),
                false => names::generated(prefix),
            };
            value.set_meta("name", name);
        }
        (kind.strategy.after_system_fields)(&mut value);
        let allocation = take_addresses(call, kind, &mut value, None)?;
        validate(call, kind, &value).await?;
        for warning in kind.warnings(&value, None) {
            call.warnings.add(warning);
        }
        let name = value.name().to_string();
        if !authorized {
            may_create(call).await?;
        }
        let mut checked = Attributes {
            name: &name,
            object: Some(value),
            ..attributes.without_object()
        };
        call.check(&checked).await?;
        value = checked.taken()?;
        if kind.flags.defaults_when_read {
            kind.defaults(&mut value);
        }
        let key = stored::named(kind, namespace, &name)?;
        if dry {
            return match call.store().get(&key) {
                Some(there) => Err(exists(kind, &value, &there)),
                None => unstored(call, shown, kind, value).await,
            };
        }
        // a question of the store, which a dry run does not come to, and an update that makes what is absent neither
        let version = value.resource_version().parse::<u64>();
        if authorized && version.is_ok_and(|version| version != 0) {
            return Err(Status::internal_plain(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        value.set_meta("resourceVersion", "");
        settle(shown, kind, &mut value);
        let draft = call.draft(kind, &value).await?;
        let write = Write {
            key,
            expect: Expect::Absent,
            draft: Some(draft),
            last: None,
        };
        match call.writer.core.commit(write).await {
            Ok(object) => {
                if let Some(allocation) = allocation {
                    allocation.keep();
                    (call.writer.follow)(call.writer, &value, &Value::Null).await;
                }
                return Ok(Written::Stored(object));
            }
            Err(Error::Exists(_)) if attempts > 0 => {}
            Err(error) => return Err(creation_error(kind, &value, error)),
        }
    }
}

/// What the server sets, and what is not the client's to set.
fn prepare(call: &Call<'_>, kind: &Arc<Kind>, value: &mut Value) -> Result<(), Status> {
    for warning in (kind.strategy.early_warnings)(value) {
        call.warnings.add(warning);
    }
    call.emptied
        .prepared(kind, value, kind.strategy.prepare_for_create)?;
    if kind.has_status() && !kind.flags.keeps_status_on_create {
        clear_status(kind, value)?;
    }
    stamp(call, kind, value, None)?;
    set_system_fields(call, kind, value);
    Ok(())
}

/// PUT and apply of what is absent need the right to create, too.
async fn may_create(call: &Call<'_>) -> Result<(), Status> {
    let asked = auth::Attributes {
        verb: "create".into(),
        ..call.asked.clone()
    };
    let verdict = call.writer.core.authorizers.decide(&asked).await;
    match verdict.allowed() {
        true => Ok(()),
        false => Err(forbidden(&asked, verdict.reason())),
    }
}

fn clear_status(kind: &Kind, value: &mut Value) -> Result<(), Status> {
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    // the zero status that Go would write
    conform(value, kind.node())
        .map(drop)
        .map_err(|error| Status::internal(error.to_string()))
}

fn set_system_fields(call: &Call<'_>, kind: &Kind, value: &mut Value) {
    let now = time::seconds(call.now());
    let meta = value.meta_mut();
    meta.insert("creationTimestamp".into(), now.into());
    meta.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    if matches!(
        kind.flags.generation,
        Generation::Once | Generation::Counted
    ) {
        meta.insert("generation".into(), 1.into());
    }
}

async fn validate(call: &Call<'_>, kind: &Kind, value: &Value) -> Result<(), Status> {
    if kind.flags.untyped && value.text("kind") != kind.kind {
        // of an object of another kind nothing else is looked at
        return refused(kind, value, &kind.validate(value));
    }
    let mut errors = devices::check(call, kind, Part::Whole, value, None).await?;
    let validate_name = |name: &str, prefix| name_problems(kind, value, name, prefix);
    let mut metadata = object_meta::validate(value, kind.namespaced, validate_name);
    metadata.extend(standard_finalizers(kind, value));
    let rest = call.emptied.told(kind, value, |value| kind.validate(value));
    match (kind.flags.update_checks, rest.is_empty()) {
        // where the kind's own rules do not ask, metadata is looked at after them
        (UpdateChecks::None, false) => errors.extend(rest),
        _ => {
            errors.extend(metadata);
            errors.extend(rest);
        }
    }
    if errors.is_empty() {
        // whatever a kind's names are, each is a part of a path
        let at = Path::new("metadata");
        for why in is_path_segment_name(value.name()) {
            errors.invalid(&at.child("name"), value.name(), why);
        }
    }
    if errors.is_empty() {
        errors = params::check(call, kind, Part::Whole, value, None).await?;
    }
    refused(kind, value, &errors)
}
