//! PATCH in its four kinds: JSON, merge, strategic merge, apply.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.

use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::Meta,
        patch,
        status::Status,
    },
};

use crate::{
    body::{self, Document, Fault},
    context::{Answer, Context},
    limits::heavy,
    managed,
    negotiate::{self, BodyType, Offers},
    respond,
    write::{self, Part, Update},
};

/// What the Content-Type says of a patch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

fn patch_type(ctx: &Context) -> Result<PatchType, Status> {
    Ok(match negotiate::patch_type(&ctx.headers)? {
        "application/json-patch+json" => PatchType::Json,
        "application/merge-patch+json" => PatchType::Merge,
        "application/strategic-merge-patch+json" => PatchType::Strategic,
        _ => PatchType::Apply,
    })
}

pub async fn serve(ctx: &Context, kind: &'static Kind, part: Part, body: Body) -> Answer {
    let patch_type = patch_type(ctx)?;
    let accept = negotiate::accept(&ctx.headers, Offers::Forms)?;
    let text = body::read(body).await?;
    check_options(ctx, patch_type)?;
    let patch = Patch { ctx, kind, part, patch_type, text };
    let how = Update { create: patch_type == PatchType::Apply && matches!(part, Part::Whole), ..Update::of(part) };
    let (written, created) = write::update(ctx, kind, &ctx.info.namespace, ctx.info.name_in_path(), how, &mut |live| {
        // what a patch makes is dear by its own size as by that of what it is applied to: the live object was written once, and was bounded then
        heavy(patch.text.len(), || patch.apply(live))
    })
    .await?;
    respond::written(ctx, &accept, kind, if created { 201 } else { 200 }, written)
}

fn check_options(ctx: &Context, patch_type: PatchType) -> Result<(), Status> {
    respond::check_options(ctx, "PatchOptions")?;
    let mut errors = Errors::default();
    if patch_type == PatchType::Apply {
        if ctx.query.text("fieldManager").is_empty() {
            errors.required(&Path::new("fieldManager"), "is required for apply patch");
        }
    } else if ctx.query.get("force").is_some() {
        errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors)) }
}

struct Patch<'a> {
    ctx: &'a Context,
    kind: &'static Kind,
    part: Part,
    patch_type: PatchType,
    text: Bytes,
}

impl Patch<'_> {
    fn apply(&self, live: Option<&Value>) -> Result<Value, Status> {
        let nothing = Value::Object(Default::default());
        if self.patch_type == PatchType::Apply {
            return self.server_side(live);
        }
        let live = live.unwrap_or(&nothing);
        let new = self.patched(live)?;
        // as decoding an object does: types, unknown fields, defaults
        let mut new = body::finish(self.ctx, Document::of(new), self.kind.node()).map_err(|fault| match fault {
            Fault::Type(said) if self.patch_type == PatchType::Strategic => Status::bad_request(said),
            Fault::Type(said) => self.unprocessable_type(said),
            Fault::Strict(said) => Status::bad_request(said),
        })?;
        (self.kind.strategy.defaults)(&mut new);
        self.check_identity(&new, live)?;
        managed::track_update(self.ctx, self.kind, self.part, live, &mut new)?;
        Ok(new)
    }

    fn unprocessable_type(&self, said: String) -> Status {
        let mut errors = Errors::default();
        errors.invalid(&Path::new("patch"), String::from_utf8_lossy(&self.text).into_owned(), said);
        Status::invalid("", "", "", &errors)
    }

    fn patched(&self, live: &Value) -> Result<Value, Status> {
        let validate = body::FieldValidation::of(self.ctx) != body::FieldValidation::Ignore;
        let document = self.document()?;
        let mut new = live.clone();
        match self.patch_type {
            PatchType::Json => {
                let patch = patch::json::JsonPatch::decode(&document, validate).map_err(|error| Status::bad_request(error.to_string()))?;
                self.report(patch.unknown.iter().map(|path| format!("unknown field {path:?}")))?;
                // upstream keeps to itself which operation failed
                patch.apply(&mut new).map_err(|_| {
                    let mut status = Status::new(422, "Invalid", "the server rejected our request due to an error in our request");
                    status.details = Some(Default::default());
                    status
                })?;
            }
            PatchType::Merge => {
                patch::merge::apply(&mut new, document, validate).map_err(|error| Status::bad_request(error.to_string()))?;
            }
            PatchType::Strategic => {
                new = patch::strategic::apply(live, &document, self.kind.node()).map_err(|error| error.status())?;
            }
            PatchType::Apply => unreachable!("apply has a way of its own"),
        }
        Ok(new)
    }

    fn document(&self) -> Result<Value, Status> {
        let document = body::parse(&self.text, BodyType::Json).map_err(|error| {
            Status::bad_request(format!("error decoding patch: {}", error.trim_start_matches("couldn't get version/kind; json parse error: ")))
        })?;
        self.report(document.remarks().into_iter())?;
        Ok(document.value)
    }

    /// What a document should not hold: an error, warnings or nothing, as the request asks.
    fn report(&self, said: impl Iterator<Item = String>) -> Result<(), Status> {
        let said: Vec<String> = said.collect();
        match body::FieldValidation::of(self.ctx) {
            body::FieldValidation::Strict if !said.is_empty() => Err(Status::bad_request(format!("strict decoding error: {}", said.join(", ")))),
            body::FieldValidation::Warn => {
                said.into_iter().for_each(|text| self.ctx.warn(text));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A patch may not turn the object into another one.
    fn check_identity(&self, new: &Value, live: &Value) -> Result<(), Status> {
        let kind_of = |value: &Value| (value["apiVersion"].as_str().unwrap_or("").to_string(), value["kind"].as_str().unwrap_or("").to_string());
        if kind_of(new) != kind_of(live) {
            let (version, kind) = kind_of(new);
            return Err(Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {}: no kind {kind:?} is registered for version {version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                self.kind.kind
            )));
        }
        if new.name() != live.name() {
            return Err(Status::bad_request(format!("the name of the object ({}) does not match the name on the URL ({})", new.name(), live.name())));
        }
        Ok(())
    }

    fn server_side(&self, live: Option<&Value>) -> Result<Value, Status> {
        let document = body::parse(&self.text, BodyType::Yaml).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
        let remarks = document.remarks();
        let config = document.value;
        if !config.is_object() {
            return Err(Status::bad_request("error decoding YAML: the patch is no object"));
        }
        self.report(remarks.into_iter())?;
        if let Some(live) = live
            && !config.uid().is_empty()
            && config.uid() != live.uid()
        {
            let why = format!("uid mismatch: the provided object specified uid {}, and no existing object was found", config.uid());
            return Err(Status::conflict(self.kind.group, self.kind.plural, self.ctx.info.name_in_path(), &why));
        }
        let expected = self.kind.api_version();
        let given = config["apiVersion"].as_str().unwrap_or("");
        if given.is_empty() || config["kind"].as_str().unwrap_or("").is_empty() {
            return Err(Status::bad_request(format!(
                "invalid object type: {}, Kind={}",
                if given.is_empty() { "/" } else { given },
                config["kind"].as_str().unwrap_or("")
            )));
        }
        if given != expected {
            return Err(Status::bad_request(format!("Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}")));
        }
        let unknown = body::finish(self.ctx, Document::of(config.clone()), self.kind.node());
        unknown.map_err(|fault| match fault {
            Fault::Type(said) => Status::internal(format!("failed to create typed patch object: {said}")),
            Fault::Strict(said) => Status::bad_request(said),
        })?;
        let mut new = managed::apply(self.ctx, self.kind, self.part, live, &config)?;
        new["apiVersion"] = self.kind.api_version().into();
        new["kind"] = self.kind.kind.into();
        if new.name().is_empty() {
            new.set_meta("name", self.ctx.info.name_in_path());
        }
        let _ = skiff_api::machinery::schema::conform(&mut new, self.kind.node()).map_err(|error| Status::bad_request(error.to_string()))?;
        (self.kind.strategy.defaults)(&mut new);
        if new.name() != self.ctx.info.name_in_path() {
            return Err(Status::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                new.name(),
                self.ctx.info.name_in_path()
            )));
        }
        Ok(new)
    }
}
