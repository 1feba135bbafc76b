//! Turns objects into answers: as they are, as Tables, as metadata alone.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/response.go`.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_api::{
    kinds::{Column, Kind, Printer},
    machinery::{
        field::{Errors, Path},
        gonum,
        meta::Meta,
        status::{Cause, Details, Status},
    },
};
use skiff_storage::Object;

use crate::{
    context::{Answer, Context},
    conversion,
    negotiate::{Accept, Form},
    stored,
    write::Written,
};

/// Reads a resourceVersion parameter.
pub fn revision(text: &str) -> Result<u64, Status> {
    gonum::uint64(text).map_err(|why| {
        let mut errors = Errors::default();
        errors.invalid(&Path::new("resourceVersion"), text, why);
        Status::internal_plain(errors.message())
    })
}

/// The asked revision has not come yet.
pub fn too_large_revision(asked: u64, newest: u64) -> Status {
    let mut status = Status::timeout(
        format!("Too large resource version: {asked}, current: {newest}"),
        1,
    );
    status.details = Some(Details {
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            ..Cause::default()
        }],
        retry_after_seconds: 1,
        ..Details::default()
    });
    status
}

pub async fn written(
    ctx: &Context,
    accept: &Accept,
    kind: &Arc<Kind>,
    code: u16,
    written: Written,
) -> Answer {
    match written {
        Written::Stored(stored) => object(ctx, accept, kind, code, stored).await,
        Written::Unstored(value) => self::value(ctx, accept, kind, code, value),
    }
}

/// A stored object.
pub async fn object(
    ctx: &Context,
    accept: &Accept,
    kind: &Arc<Kind>,
    code: u16,
    object: Arc<Object>,
) -> Answer {
    let object = conversion::shown(&ctx.app.core, kind, object).await?;
    if accept.form == Form::Object && stored::is_shown_as_stored(kind, &object) {
        return ctx.stored(code, accept, &object.bytes, kind.node());
    }
    value(ctx, accept, kind, code, stored::decoded(kind, &object)?)
}

/// An object as `kind` shows it.
pub fn value(ctx: &Context, accept: &Accept, kind: &Arc<Kind>, code: u16, value: Value) -> Answer {
    Look::of(kind).value(ctx, accept, code, value)
}

/// How objects of a type are shown.
pub struct Look<'a> {
    /// The package of upstream's type, and the type.
    pub told: (&'a str, &'a str),
    pub printer: &'a Printer,
    /// What a row says of its object besides the cells.
    pub conditions: fn(&Value) -> Vec<Value>,
    /// Annotations that the metadata has in the whole object alone.
    pub annotations: &'static [&'static str],
    /// Upstream has no type of its own for it, and takes it for a list that it turns out not to be.
    pub untyped: bool,
}

impl Look<'_> {
    pub fn of(kind: &Kind) -> Look<'_> {
        Look {
            told: (kind.internal_package(), kind.kind),
            printer: &kind.printer,
            conditions: kind.strategy.row_conditions,
            annotations: kind.strategy.annotations_of_version,
            untyped: !kind.is_builtin(),
        }
    }

    /// An object in the form that is wanted.
    pub fn value(&self, ctx: &Context, accept: &Accept, code: u16, value: Value) -> Answer {
        match accept.form {
            Form::Object => ctx.value(code, accept, &value),
            Form::Metadata(version) => ctx.value(code, accept, &self.partial(value, version)),
            Form::MetadataList(_) if self.untyped => {
                Err(Status::internal_plain("content is not a list"))
            }
            Form::MetadataList(_) => Err(Status::not_acceptable(format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list (*{}.{})",
                self.told.0, self.told.1
            ))),
            Form::Table(version) => {
                let include = IncludeObject::of(ctx)?;
                let metadata = match value.resource_version() {
                    "" => json!({}),
                    version => json!({"resourceVersion": version}),
                };
                let row = self.row(&value, ctx.app.core.clock.now(), include, version);
                let table = table(self.printer, version, metadata, vec![row], true);
                ctx.value(code, accept, &table)
            }
        }
    }

    /// `PartialObjectMetadata` of an object.
    pub fn partial(&self, mut value: Value, version: &str) -> Value {
        let mut metadata = value["metadata"].take();
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.retain(|name, _| !self.annotations.contains(&name.as_str()));
            if annotations.is_empty() {
                metadata
                    .as_object_mut()
                    .map(|all| all.remove("annotations"));
            }
        }
        json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
    }

    /// One row.
    pub fn row(
        &self,
        value: &Value,
        now: Timestamp,
        include: IncludeObject,
        version: &str,
    ) -> Value {
        let mut row = json!({"cells": self.printer.cells(value, now)});
        let conditions = (self.conditions)(value);
        if !conditions.is_empty() {
            row["conditions"] = conditions.into();
        }
        row["object"] = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Object => value.clone(),
            IncludeObject::Metadata => {
                self.partial(json!({"metadata": value["metadata"]}), version)
            }
        };
        row
    }
}

/// What of an object goes along in a table's row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl IncludeObject {
    pub fn of(ctx: &Context) -> Result<IncludeObject, Status> {
        match ctx.query.text("includeObject") {
            "" | "Metadata" => Ok(IncludeObject::Metadata),
            "None" => Ok(IncludeObject::None),
            "Object" => Ok(IncludeObject::Object),
            other => {
                let mut errors = Errors::default();
                errors.invalid(
                    &Path::new("includeObject"),
                    other,
                    "must be 'Metadata', 'Object', 'None', or empty",
                );
                Err(Status::bad_request(format!(
                    "Unable to convert to Table as requested: {}",
                    errors.message()
                )))
            }
        }
    }
}

/// A list of objects in the form that is wanted. What cannot be read is told of where objects are shown.
pub fn list(
    ctx: &Context,
    accept: &Accept,
    kind: &Arc<Kind>,
    metadata: Value,
    values: Result<Vec<Value>, Status>,
) -> Answer {
    let look = Look::of(kind);
    match accept.form {
        Form::Table(version) => {
            let include = IncludeObject::of(ctx)?;
            let now = ctx.app.core.clock.now();
            let rows = values?
                .iter()
                .map(|value| look.row(value, now, include, version))
                .collect();
            let table = table(&kind.printer, version, metadata, rows, true);
            ctx.value(200, accept, &table)
        }
        Form::Metadata(_) => {
            let of = match look.untyped {
                true => "unstructured.Unstructured".to_string(),
                false => format!("{}.{}", kind.internal_package(), kind.kind),
            };
            Err(Status::not_acceptable(format!(
                "you requested PartialObjectMetadata, but the requested object is a list (*{of}List)"
            )))
        }
        Form::MetadataList(version) => {
            let items: Vec<Value> = values?
                .into_iter()
                .map(|value| look.partial(value, version))
                .collect();
            // a list that upstream makes anew, and that stays Go's nil with nothing in it
            let items = if items.is_empty() {
                Value::Null
            } else {
                items.into()
            };
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata, "items": items});
            ctx.value(200, accept, &list)
        }
        Form::Object => {
            let mut items = values?;
            for item in items.iter_mut().filter(|_| !kind.flags.untyped) {
                if let Some(item) = item.as_object_mut() {
                    item.remove("apiVersion");
                    item.remove("kind");
                }
            }
            let list = json!({"kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": metadata, "items": items});
            ctx.value(200, accept, &list)
        }
    }
}

fn column(column: &Column<'_>) -> Value {
    json!({"name": column.name, "type": column.kind, "format": column.format, "description": column.description, "priority": column.priority})
}

/// The table. Later events of a watch leave the columns out.
pub fn table(
    printer: &Printer,
    version: &str,
    metadata: Value,
    rows: Vec<Value>,
    columns: bool,
) -> Value {
    let definitions = if columns {
        printer.definitions().iter().map(column).collect()
    } else {
        Value::Null
    };
    json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata, "columnDefinitions": definitions, "rows": rows})
}
