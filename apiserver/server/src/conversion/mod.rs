//! Objects of definitions whose versions a webhook converts.
//!
//! What is stored is brought into the version of who asks before anything else looks at it: [`shown`] and [`all_shown`] take objects out of the store and
//! give them back as if they had been stored in that version; [`draft`] goes the other way. What stands above (verbs, writes, admission) knows of one
//! version at a time, as it does of built-in kinds.
//!
//! Invariant: a kind without a webhook pays one look at itself. An object that is of the wanted version is never sent; many go in one question.
//! Follows `crdConversionRESTOptionsGetter` of `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go` and
//! `pkg/apiserver/conversion/{converter,webhook_converter}.go`: what is stored has the defaults of the version in which it is stored, what comes of it is
//! pruned by the schema of the other version and has no defaults of that.

mod failure;
mod memo;
mod metadata;
mod review;
mod webhooks;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{read::Read, status::Status},
};
use skiff_storage::{Draft, Object};

pub use self::{memo::Memo, webhooks::Webhooks};
use crate::{core::Core, stored};

/// An object out of the store, in the version of `kind`.
///
/// # Errors
/// What the webhook, or who asked it, says.
pub async fn shown(core: &Core, kind: &Kind, object: Arc<Object>) -> Result<Arc<Object>, Status> {
    if kind.converter().is_none() {
        return Ok(object);
    }
    let mut one = converted(core, kind, vec![object]).await?;
    one.pop().ok_or_else(lost)
}

/// The same of many, in their order.
///
/// # Errors
/// As [`shown`]; one that cannot be converted fails them all.
pub async fn all_shown(
    core: &Core,
    kind: &Kind,
    objects: Vec<Arc<Object>>,
) -> Result<Vec<Arc<Object>>, Status> {
    match kind.converter() {
        None => Ok(objects),
        Some(_) => converted(core, kind, objects).await,
    }
}

/// The same as a value.
///
/// # Errors
/// As [`shown`], or the object cannot be read.
pub async fn read(core: &Core, kind: &Kind, object: &Arc<Object>) -> Result<Value, Status> {
    let shown = shown(core, kind, object.clone()).await?;
    stored::decoded(kind, &shown)
}

async fn converted(
    core: &Core,
    kind: &Kind,
    mut objects: Vec<Arc<Object>>,
) -> Result<Vec<Arc<Object>>, Status> {
    let kinds = core.kinds.load_full();
    let (mut places, mut values) = (Vec::new(), Vec::new());
    for (place, object) in objects.iter_mut().enumerate() {
        if kind.shows_as_stored(object.revision) && stored::is_of(kind, object)? {
            continue;
        }
        let mut value = stored::value(object)?;
        let api_version = value.text("apiVersion").to_string();
        if let Some(of) = version(&kinds, kind, &api_version).and_then(|of| of.definition())
            && object.revision <= of.since
        {
            of.reshape(&mut value).map_err(plain)?;
        }
        if api_version == kind.api_version() {
            *object = remade(kind, object, &value)?;
        } else {
            places.push(place);
            values.push(value);
        }
    }
    if values.is_empty() {
        return Ok(objects);
    }
    let values = core.converter.convert(core, kind, values).await?;
    for (place, mut value) in places.into_iter().zip(values) {
        kind.conform(&mut value).map_err(plain)?;
        objects[place] = remade(kind, &objects[place], &value)?;
    }
    Ok(objects)
}

/// The kind of the same objects in a version, be it served or only stored.
fn version<'k>(kinds: &'k Registry, kind: &Kind, api_version: &str) -> Option<&'k Arc<Kind>> {
    let stored = kinds.stored(&kind.stored_resource());
    kinds
        .at_version(kind, api_version)
        .or_else(|| stored.filter(|of| of.api_version() == api_version))
}

/// The object with another text.
fn remade(kind: &Kind, object: &Object, value: &Value) -> Result<Arc<Object>, Status> {
    let bytes = serde_json::to_vec(value).map_err(Status::internal)?;
    Ok(Arc::new(Object::new(
        object.key.clone(),
        object.revision,
        Bytes::from(bytes),
        stored::attributes(kind, value),
    )))
}

/// A value of `from` as `to` has it.
///
/// # Errors
/// As [`shown`], or what of it `to` cannot read.
pub async fn convert(
    core: &Core,
    from: &Kind,
    to: &Kind,
    mut value: Value,
) -> Result<Value, Status> {
    if to.converter().is_none() || from.version == to.version {
        from.convert(&mut value, to).map_err(plain)?;
        return Ok(value);
    }
    named(&mut value, from);
    through_webhook(core, to, value).await
}

/// A value of another version, which it says, as `to` has it.
async fn through_webhook(core: &Core, to: &Kind, value: Value) -> Result<Value, Status> {
    let mut one = core.converter.convert(core, to, vec![value]).await?;
    let mut value = one.pop().ok_or_else(lost)?;
    to.conform(&mut value).map_err(plain)?;
    Ok(value)
}

/// Says of a value of which version and kind it is.
fn named(value: &mut Value, kind: &Kind) {
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.kind.into();
}

/// A value of `kind` as it is to be stored.
///
/// # Errors
/// As [`convert`].
pub async fn draft(
    core: &Core,
    kinds: &Registry,
    kind: &Arc<Kind>,
    value: &Value,
) -> Result<Draft, Status> {
    let row = kinds.stored_row(kind);
    if kind.converter().is_none() || row.version == kind.version {
        return stored::draft(kinds, kind, value);
    }
    let mut value = convert(core, kind, row, value.clone()).await?;
    row.defaults(&mut value);
    stored::draft(kinds, row, &value)
}

fn plain(why: impl std::fmt::Display) -> Status {
    Status::internal_plain(why.to_string())
}

/// Whoever converts gives back as many as there were.
fn lost() -> Status {
    Status::internal("an object was lost when it was converted")
}
