//! Creation: what the server sets, a name where one is to be made, validation, and the write of what was absent.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/registry/rest/create.go`.

use std::sync::Arc;

use rand::RngExt;
use serde_json::Value;
use skiff_api::{
    kinds::{Generation, Kind},
    machinery::{
        meta::Meta,
        object_meta,
        schema::{conform, rules},
        status::Status,
        time,
    },
};
use skiff_storage::{Error, Expect, Write};

use super::{
    Part, Written, check_namespace, dedup_owners, devices, dry_run, escalation, params, settle,
    stamp, standard_finalizers, store_error, unstored, warn_of_no_effect,
};
use crate::{
    admission::{self, Attributes, Operation},
    allocate,
    auth::{self, Authorizer, Decision, authorize::forbidden},
    context::Context,
    stored,
};

/// Creates `value`, decoded and with its defaults, in `namespace`; the request's manager owns all of it.
pub async fn create(
    ctx: &Context,
    kind: &Arc<Kind>,
    namespace: &str,
    mut value: Value,
) -> Result<Written, Status> {
    for name in [
        "creationTimestamp",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        value.meta_mut().remove(name);
    }
    check_namespace(kind, namespace, &mut value)?;
    dedup_owners(ctx, &mut value);
    crate::managed::track_update(
        ctx,
        kind,
        Part::Whole,
        &Value::Object(Default::default()),
        &mut value,
    )?;
    create_tracked(ctx, kind, namespace, value, true).await
}

/// Creates an object whose managed fields are noted already. Unless the request was `authorized` as a creation, the right to create is asked
/// for before admission validates.
pub(super) async fn create_tracked(
    ctx: &Context,
    shown: &Arc<Kind>,
    namespace: &str,
    mut value: Value,
    authorized: bool,
) -> Result<Written, Status> {
    let dry = dry_run(ctx)?;
    let kind = ctx.kinds.worked_on_as(shown);
    shown.convert(&mut value, kind);
    let name = value.name().to_string();
    let mut attributes = Attributes {
        app: &ctx.app,
        kinds: &ctx.kinds,
        kind,
        subresource: "",
        operation: Operation::Create,
        namespace,
        name: &name,
        object: Some(value),
        old: None,
        user: &ctx.user,
        dry_run: dry,
        warnings: Vec::new(),
    };
    admission::admit(ctx, &mut attributes).await?;
    let mut value = attributes.object.take().unwrap_or_default();

    let generate = !value.meta_str("generateName").is_empty() && value.name().is_empty();
    let mut attempts = if generate { 8 } else { 1 };
    prepare(ctx, kind, &mut value)?;
    loop {
        attempts -= 1;
        if generate {
            let name = generated_name(value.meta_str("generateName"));
            value.set_meta("name", name);
        }
        (kind.strategy.after_system_fields)(&mut value);
        let allocation = allocate::on_create(ctx, kind, &mut value, dry)?;
        validate(ctx, kind, &value)?;
        let name = value.name().to_string();
        escalation(ctx, kind, &value, None)?;
        if !authorized {
            may_create(ctx)?;
        }
        let checked = Attributes {
            name: &name,
            object: Some(value),
            warnings: Vec::new(),
            ..attributes.without_object()
        };
        let admitted = ctx.app.admission.validate(&checked).await;
        value = checked.object.unwrap_or_default();
        admitted?;
        for warning in (kind.strategy.warnings)(&value, None) {
            ctx.warn(warning);
        }
        warn_of_no_effect(ctx, kind, &value);
        let key = stored::key_of(kind, namespace, &name);
        if dry {
            return match ctx.app.store.get(&key) {
                Some(_) => Err(Status::already_exists(kind.group, kind.plural, &name)),
                None => Ok(unstored(shown, kind, value)),
            };
        }
        // a question of the store, which a dry run does not come to
        if !value.resource_version().is_empty() {
            return Err(Status::internal_plain(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        settle(shown, kind, &mut value);
        let draft = stored::draft(&ctx.kinds, kind, &value)?;
        match ctx
            .app
            .store
            .commit(Write {
                key,
                expect: Expect::Absent,
                draft: Some(draft),
                last: None,
            })
            .await
        {
            Ok(object) => {
                allocation.keep();
                if allocate::is_service(kind) {
                    crate::addresses::follow(&ctx.app, &value, &Value::Null).await;
                }
                return Ok(Written::Stored(object));
            }
            Err(Error::Exists(_)) if attempts > 0 => {}
            Err(error) => return Err(store_error(kind, &name, error)),
        }
    }
}

/// What the server sets, and what is not the client's to set.
fn prepare(ctx: &Context, kind: &Arc<Kind>, value: &mut Value) -> Result<(), Status> {
    for warning in (kind.strategy.early_warnings)(value) {
        ctx.warn(warning);
    }
    (kind.strategy.prepare_for_create)(value);
    if kind.has_status() && !kind.flags.keeps_status_on_create {
        clear_status(kind, value)?;
    }
    stamp(ctx, kind, value, None);
    set_system_fields(ctx, kind, value);
    Ok(())
}

/// PUT and apply of what is absent need the right to create, too.
fn may_create(ctx: &Context) -> Result<(), Status> {
    let asked = auth::Attributes {
        verb: "create".into(),
        ..crate::app::attributes(ctx)
    };
    match ctx.app.authorizers.authorize(&asked) {
        Decision::Allow(_) => Ok(()),
        decision => Err(forbidden(&asked, decision.reason())),
    }
}

/// A name from `generateName`: five random characters, the prefix cut so that the whole is a label.
pub fn generated_name(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let cut: String = prefix.chars().take(63 - 5).collect();
    let mut rng = rand::rng();
    cut + &(0..5)
        .map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())] as char)
        .collect::<String>()
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

fn set_system_fields(ctx: &Context, kind: &Kind, value: &mut Value) {
    let now = time::seconds(ctx.app.clock.now());
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

fn validate(ctx: &Context, kind: &Kind, value: &Value) -> Result<(), Status> {
    let mut errors = devices::check(ctx, kind, Part::Whole, value, None)?;
    errors.extend(object_meta::validate(
        value,
        kind.namespaced,
        kind.flags.validate_name,
    ));
    errors.extend(standard_finalizers(kind, value));
    errors.extend((kind.strategy.validate)(value));
    errors.extend(rules::check(kind.node(), value, None));
    if errors.is_empty() {
        errors = params::check(ctx, kind, Part::Whole, value, None)?;
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(
            kind.flags.told_of_group.unwrap_or(kind.group),
            kind.kind,
            value.name(),
            &errors,
        ))
    }
}
