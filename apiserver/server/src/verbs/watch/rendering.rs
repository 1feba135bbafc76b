//! How a watch's events are written, in the encoding and the form that its client asked for.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{schema::conform, status::Status},
};
use skiff_storage::Object;

use crate::{app::App, encoding::Encoding, negotiate::Form, respond, stored};

/// How events are written; part of the key under which a rendering is shared.
#[derive(Clone)]
pub struct Rendering {
    pub kind: Arc<Kind>,
    pub encoding: Encoding,
    pub form: Form,
    pub include: respond::IncludeObject,
    pub app: Arc<App>,
}

impl Rendering {
    pub fn line(&self, what: &str, object: &Object, columns: bool) -> Result<Bytes, Status> {
        if self.form == Form::Object && stored::is_shown_as_stored(&self.kind, object) {
            let node = Some(self.kind.node());
            return self.encoding.event(what, &object.bytes, node);
        }
        let value = stored::decoded(&self.kind, object)?;
        let look = respond::Look::of(&self.kind);
        let shown = match self.form {
            Form::Metadata(version) | Form::MetadataList(version) => look.partial(value, version),
            Form::Table(version) => {
                let row = look.row(&value, self.app.core.clock.now(), self.include, version);
                let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                respond::table(&self.kind.printer, version, metadata, vec![row], columns)
            }
            Form::Object => value,
        };
        self.encoding.event_of(what, &shown)
    }

    /// An event of what there is at the beginning.
    pub fn first(&self, object: &Object, columns: bool) -> Result<Bytes, Status> {
        if self.form == Form::Object && stored::is_shown_as_stored(&self.kind, object) {
            return self
                .encoding
                .first_event(&self.kind, object, &self.app.kept);
        }
        self.line("ADDED", object, columns)
    }

    /// What ends a watch. (A Status has a form in every encoding.)
    pub fn failure(&self, status: &Status) -> Option<Bytes> {
        self.encoding.event_of("ERROR", &status.to_value()).ok()
    }

    pub fn bookmark(
        &self,
        revision: u64,
        initial_end: bool,
        columns: bool,
    ) -> Result<Bytes, Status> {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Metadata(version) | Form::MetadataList(version) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
            }
            Form::Table(version) => {
                // what tells of the end is an annotation, which no client may do without
                let include = match self.include {
                    respond::IncludeObject::None if initial_end => respond::IncludeObject::Metadata,
                    include => include,
                };
                let look = respond::Look::of(&self.kind);
                let row = look.row(
                    &self.zero(metadata)?,
                    self.app.core.clock.now(),
                    include,
                    version,
                );
                let metadata = json!({"resourceVersion": revision.to_string()});
                respond::table(&self.kind.printer, version, metadata, vec![row], columns)
            }
            Form::Object => self.zero(metadata)?,
        };
        self.encoding.event_of("BOOKMARK", &object)
    }

    /// The zero object of the type, as Go would write it, with this metadata.
    fn zero(&self, metadata: Value) -> Result<Value, Status> {
        let mut zero = json!({});
        conform(&mut zero, self.kind.node()).map_err(Status::internal)?;
        zero["kind"] = self.kind.kind.into();
        zero["apiVersion"] = self.kind.api_version().into();
        zero["metadata"] = metadata;
        Ok(zero)
    }
}

/// Under which number watchers of the same version share what they are sent in the same encoding and form. A row of a table tells how old an object is at
/// that moment, which is each watcher's own.
pub fn slot(kind: &Kind, encoding: Encoding, form: Form) -> Option<u32> {
    let and = |sum: u32, next: u32| sum.wrapping_mul(31).wrapping_add(next);
    let form = match form {
        Form::Object => 0,
        Form::Metadata("v1") | Form::MetadataList("v1") => 1,
        Form::Metadata(_) | Form::MetadataList(_) => 2,
        Form::Table(_) => return None,
    };
    let version = match kind.stored_as {
        None => 0,
        Some(_) => kind
            .version
            .bytes()
            .fold(1, |sum, byte| and(sum, byte.into())),
    };
    Some(and(and(version, form), encoding as u32))
}
