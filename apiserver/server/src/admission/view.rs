//! A write as one version of its objects shows it to those who are asked about it, and what they make of the object, read back.
//!
//! Invariant: a version is shown once, however many ask for it; what somebody made of an object is read like what a client sends, with defaults,
//! before anybody else sees it.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/generic/conversion.go` (VersionedAttributes) and `callAttrMutatingHook` of
//! `.../plugin/webhook/mutating/dispatcher.go`.

use std::{
    ops::{Index, IndexMut},
    sync::{Arc, OnceLock},
};

use serde_json::Value;
use skiff_api::{
    kinds::{Kind, api_version},
    machinery::{
        managed_fields,
        meta::Meta,
        read::Read,
        schema::{self, as_stored},
        status::Status,
    },
};

use super::{expressions, plugin::Attributes};
use crate::conversion;

/// A write as one version of its objects shows it.
pub struct View {
    pub kind: Arc<Kind>,
    pub object: Option<Value>,
    pub old: Option<Value>,
    request: OnceLock<Value>,
}

impl View {
    async fn new(attributes: &Attributes<'_>, kind: &Arc<Kind>) -> Result<View, Status> {
        Ok(View {
            kind: kind.clone(),
            object: show(attributes, kind, attributes.object.as_ref()).await?,
            old: show(attributes, kind, attributes.old).await?,
            request: OnceLock::new(),
        })
    }

    /// The variable `request` of expressions, made when the first asks for it.
    pub fn request(&self, attributes: &Attributes<'_>) -> &Value {
        self.request
            .get_or_init(|| expressions::request(attributes, &self.kind))
    }
}

/// The versions of a write that were asked for.
#[derive(Default)]
pub struct Views(Vec<View>);

impl Views {
    /// The place of the write at a version, which is shown if nobody asked for it before.
    ///
    /// # Errors
    /// It cannot be shown so.
    pub async fn of(
        &mut self,
        attributes: &Attributes<'_>,
        kind: &Arc<Kind>,
    ) -> Result<usize, Status> {
        let known = self.0.iter().position(|view| Arc::ptr_eq(&view.kind, kind));
        if let Some(place) = known {
            return Ok(place);
        }
        self.0.push(View::new(attributes, kind).await?);
        Ok(self.0.len() - 1)
    }

    /// The object changed as this version shows it: what others show is to be made anew.
    pub fn keep_only(&mut self, kind: &Arc<Kind>) {
        self.0.retain(|view| Arc::ptr_eq(&view.kind, kind));
    }
}

impl Index<usize> for Views {
    type Output = View;
    fn index(&self, place: usize) -> &View {
        &self.0[place]
    }
}

impl IndexMut<usize> for Views {
    fn index_mut(&mut self, place: usize) -> &mut View {
        &mut self.0[place]
    }
}

/// An object of the write's own form, as `kind` shows it to clients.
async fn show(
    attributes: &Attributes<'_>,
    kind: &Arc<Kind>,
    value: Option<&Value>,
) -> Result<Option<Value>, Status> {
    let Some(mut value) = value.cloned() else {
        return Ok(None);
    };
    if !attributes.has_own_kind(kind) {
        value = conversion::convert(attributes.core, attributes.kind, kind, value)
            .await
            .map_err(|status| Status::internal(status.message))?;
    }
    if let Some(node) = attributes.node_of_object(kind) {
        as_stored(&mut value, node);
    }
    let (group, version, name) = attributes.kind_of_object(kind);
    value["apiVersion"] = api_version(group, version).into();
    value["kind"] = name.into();
    Ok(Some(value))
}

/// An object as it was patched.
pub struct Patched {
    /// Without defaults.
    pub as_read: Value,
    pub shown: Value,
    /// In the form that the write is worked on in.
    pub own: Value,
}

/// Reads what somebody made of an object.
///
/// # Errors
/// It is none of its kind any more.
pub async fn read(
    attributes: &Attributes<'_>,
    view: &View,
    mut value: Value,
) -> Result<Patched, Status> {
    let kind = &view.kind;
    let (group, version, name) = attributes.kind_of_object(kind);
    let same =
        value.text("kind") == name && value.text("apiVersion") == api_version(group, version);
    if !same {
        let said = value.text("apiVersion");
        let said_version = said.rsplit('/').next().unwrap_or("");
        return Err(Status::internal_plain(format!(
            "converting ({said_version}.{}) to ({version}.{name}): unknown conversion",
            value.text("kind")
        )));
    }
    let own = attributes.has_own_kind(kind);
    let node = attributes.node_of_object(kind);
    match node {
        Some(node) if own => schema::conform(&mut value, node)
            .map(drop)
            .map_err(Status::internal)?,
        Some(_) => kind
            .conform(&mut value)
            .map(drop)
            .map_err(Status::internal)?,
        None => {}
    }
    keep_managers(attributes, view, &mut value);
    let stored = |value: &Value| {
        let mut stored = value.clone();
        if let Some(node) = node {
            as_stored(&mut stored, node);
        }
        stored
    };
    let as_read = stored(&value);
    if own {
        return Ok(Patched {
            shown: as_read.clone(),
            as_read,
            own: value,
        });
    }
    kind.defaults(&mut value);
    let shown = stored(&value);
    let own = conversion::convert(attributes.core, kind, attributes.kind, value).await?;
    Ok(Patched {
        as_read,
        shown,
        own,
    })
}

/// Managers that cannot be read any more are those that there were.
fn keep_managers(attributes: &Attributes<'_>, view: &View, value: &mut Value) {
    let before = view.object.as_ref().unwrap_or(&Value::Null);
    let managers = |object: &Value| object.at("metadata").some("managedFields").cloned();
    let (had, has) = (managers(before), managers(value));
    if had == has {
        return;
    }
    if let Err(why) = managed_fields::check(has.as_ref()) {
        match had {
            Some(had) => drop(value.meta_mut().insert("managedFields".into(), had)),
            None => drop(value.meta_mut().remove("managedFields")),
        }
        attributes.warn(format!(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {why}"
        ));
    }
}
