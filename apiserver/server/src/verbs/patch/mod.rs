//! PATCH in its four kinds: JSON, merge, strategic merge, apply.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::Meta,
        patch::{self, go::GoValue},
        read::{Read, go_kind},
        schema::first_of,
        status::Status,
    },
};

use crate::{
    body,
    context::{Answer, Context},
    encoding::Encoding,
    limits::heavy,
    negotiate::{self, Offers},
    patched, respond,
    write::{self, Call, Part, Update, managed},
};

/// What the Content-Type says of a patch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

fn patch_type(ctx: &Context, kind: &Kind) -> Result<PatchType, Status> {
    Ok(
        match negotiate::patch_type(&ctx.headers, !kind.flags.untyped)? {
            "application/json-patch+json" => PatchType::Json,
            "application/merge-patch+json" => PatchType::Merge,
            "application/strategic-merge-patch+json" => PatchType::Strategic,
            _ => PatchType::Apply,
        },
    )
}

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, part: Part, body: Body) -> Answer {
    let patch_type = patch_type(ctx, kind)?;
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    let text = body::read(body).await?;
    let call = check_options(ctx, patch_type)?;
    ctx.trail.patched(&text);
    let patch = Patch {
        ctx,
        call: &call,
        kind,
        part,
        patch_type,
        text,
    };
    let how = Update {
        create: patch_type == PatchType::Apply && matches!(part, Part::Whole),
        ..Update::of(part)
    };
    let (written, created) = write::update(
        &call,
        kind,
        &ctx.info.namespace,
        ctx.info.name_in_path(),
        how,
        &mut |live| {
            // what a patch makes is dear by its own size as by that of what it is applied to: the live object was written once, and was bounded then
            heavy(patch.text.len(), || patch.apply(live))
        },
    )
    .await?;
    respond::written(ctx, &accept, kind, if created { 201 } else { 200 }, written).await
}

fn check_options(ctx: &Context, patch_type: PatchType) -> Result<Call<'_>, Status> {
    let mut errors = Errors::default();
    if patch_type == PatchType::Apply {
        if ctx.query.text("fieldManager").is_empty() {
            errors.required(&Path::new("fieldManager"), "is required for apply patch");
        }
    } else if ctx.query.get("force").is_some() {
        errors.forbidden(
            &Path::new("force"),
            "may not be specified for non-apply patch",
        );
    }
    ctx.call_after("PatchOptions", errors)
}

struct Patch<'a> {
    ctx: &'a Context,
    call: &'a Call<'a>,
    kind: &'a Arc<Kind>,
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
        let (document, mut remarks) = self.document()?;
        let patched = self.patched(live, document.clone(), &mut remarks)?;
        let mut new = self.decoded(live, patched, &document, remarks)?;
        self.kind.defaults(&mut new);
        self.check_identity(&mut new, live)?;
        managed::track_update(self.call, self.kind, self.part, live, &mut new)?;
        Ok(new)
    }

    /// The patch as a value, and what strict reading has against it.
    fn document(&self) -> Result<(Value, Vec<String>), Status> {
        let document = body::parse(&self.text, Encoding::Json).map_err(|error| {
            let said = error.as_json();
            let ignore = body::FieldValidation::of(self.ctx) == body::FieldValidation::Ignore;
            Status::bad_request(match self.patch_type {
                // a strategic patch is read elsewhere
                PatchType::Strategic => said.to_string(),
                // and a merge patch that nobody looks at before
                PatchType::Merge if ignore => "Invalid JSON Patch".to_string(),
                _ => format!("error decoding patch: {said}"),
            })
        })?;
        let mut remarks = document.remarks();
        if self.patch_type == PatchType::Json {
            remarks
                .iter_mut()
                .for_each(|text| *text = format!("json patch {text}"));
        }
        Ok((document.value, remarks))
    }

    fn patched(
        &self,
        live: &Value,
        document: Value,
        remarks: &mut Vec<String>,
    ) -> Result<Value, Status> {
        let validate = body::FieldValidation::of(self.ctx) != body::FieldValidation::Ignore;
        let mut new = live.clone();
        match self.patch_type {
            PatchType::Json => {
                let patch = patch::json::JsonPatch::decode(&document, validate)
                    .map_err(|error| Status::bad_request(error.to_string()))?;
                remarks.extend(patch.unknown.iter().map(|path| {
                    format!("json patch unknown field {path}", path = GoQuoted(&path))
                }));
                // upstream keeps to itself which operation failed
                patch.apply(&mut new).map_err(|_| {
                    let mut status = Status::new(
                        422,
                        "Invalid",
                        "the server rejected our request due to an error in our request",
                    );
                    status.details = Some(Default::default());
                    status
                })?;
            }
            PatchType::Merge => {
                patch::merge::apply(&mut new, document, validate)
                    .map_err(|error| Status::bad_request(error.to_string()))?;
            }
            PatchType::Strategic => {
                new = patch::strategic::apply(live, &document, self.kind.node())
                    .map_err(|error| error.status())?;
            }
            PatchType::Apply => unreachable!("apply has a way of its own"),
        }
        Ok(new)
    }

    /// The patched object as its type has it. What is wrong is told of the object as patched, or of the patch where no text was made of the object.
    fn decoded(
        &self,
        live: &Value,
        mut new: Value,
        document: &Value,
        mut remarks: Vec<String>,
    ) -> Result<Value, Status> {
        if self.patch_type == PatchType::Strategic {
            let refused = |said: String| patched::not_taken(GoValue(document).to_string(), said);
            let decoded = self
                .kind
                .conform_converted(&mut new)
                .map_err(|error| refused(error.to_string()))?;
            self.ctx.emptied.note(&decoded);
            remarks.extend(decoded.remarks());
            self.strictly(remarks, refused)?;
            if !self.kind.flags.untyped {
                // who converts does not ask what it says that it is
                new["apiVersion"] = self.kind.api_version().into();
                new["kind"] = self.kind.kind.into();
            }
            return Ok(new);
        }
        // again, as reading it has changed what came out before
        let again = || self.patched(live, document.clone(), &mut Vec::new());
        let shown = || {
            let opened = match self.patch_type {
                PatchType::Json => patched::Opened::by_operations(&self.text),
                _ => patched::Opened::by_merge(document, live),
            };
            again().map(|patched| patched::shown(&patched, Some(self.kind.node()), &opened))
        };
        let refused = |said: String| match shown() {
            Ok(shown) => patched::not_taken(shown, said),
            Err(status) => status,
        };
        self.check_type(&new, refused)?;
        let decoded = match self.kind.conform(&mut new) {
            Ok(decoded) if decoded.unknown.len() < 2 || self.kind.flags.untyped => {
                remarks.extend(decoded.remarks());
                decoded
            }
            // of more than one mistake the first is told, or all in their order
            _ => {
                let (text, mut value) = (shown()?, again()?);
                let first = |paths: &[&str]| first_of(text.as_bytes(), paths);
                let decoded = self.kind.conform_as_written(&mut value, first);
                let decoded = decoded.map_err(|error| refused(error.to_string()))?;
                new = value;
                let document = body::Document::shown_as(Value::Null, text.as_bytes());
                remarks.extend(document.all_remarks(&decoded.unknown));
                decoded
            }
        };
        self.ctx.emptied.note(&decoded);
        self.strictly(remarks, refused)?;
        Ok(new)
    }

    /// What strict reading has against the object is an error, a warning or nothing, as the request asks.
    fn strictly(
        &self,
        remarks: Vec<String>,
        refused: impl Fn(String) -> Status,
    ) -> Result<(), Status> {
        match body::FieldValidation::of(self.ctx) {
            body::FieldValidation::Strict if !remarks.is_empty() => {
                return Err(refused(format!(
                    "strict decoding error: {}",
                    remarks.join(", ")
                )));
            }
            body::FieldValidation::Warn => body::warn_of(self.ctx, remarks),
            _ => {}
        }
        Ok(())
    }

    /// What a patched object says that it is. One that says no kind is what it was; one without a version loses its name on the way.
    fn check_type(&self, new: &Value, refused: impl Fn(String) -> Status) -> Result<(), Status> {
        let kind = self.kind;
        if kind.flags.untyped {
            return Ok(());
        }
        let unreadable = |said: String| refused(format!("{} {said}", body::UNREADABLE));
        let (version, named) = body::type_meta(new).map_err(unreadable)?;
        if version.is_empty() {
            // nobody knows what it has besides
            let fields = new.as_object().into_iter().flat_map(|all| all.keys());
            let mut unknown: Vec<String> = fields
                .filter(|name| !matches!(name.as_str(), "apiVersion" | "kind"))
                .map(|name| format!("unknown field {name}", name = GoQuoted(&name)))
                .collect();
            unknown.sort_unstable();
            self.strictly(unknown, &refused)?;
            return body::same_name("", self.ctx.info.name_in_path());
        }
        let named = if named.is_empty() { kind.kind } else { named };
        let expected = (kind.group, kind.version, kind.kind);
        body::foreign(&self.ctx.kinds, (version, named), expected).map_err(|why| match why {
            body::Foreign::Version(said) | body::Foreign::Other(said) => refused(said),
            body::Foreign::SameObjects => refused(format!(
                "the API version in the data ({version}) does not match the expected API version ({})",
                kind.api_version()
            )),
        })
    }

    /// A patch may not turn the object into another one.
    fn check_identity(&self, new: &mut Value, live: &Value) -> Result<(), Status> {
        let own = |value: &Value, field| value.text(field) == live.text(field);
        if self.kind.flags.untyped && !(own(new, "apiVersion") && own(new, "kind")) {
            return Err(self.is_another(new));
        }
        new["apiVersion"] = self.kind.api_version().into();
        new["kind"] = self.kind.kind.into();
        write::check_namespace(self.kind, &self.ctx.info.namespace, new)?;
        body::same_name(new.name(), live.name())
    }

    /// What a kind that was brought along says of an object that is of another.
    fn is_another(&self, new: &Value) -> Status {
        let mut errors = Errors::default();
        let wanted = [
            ("kind", self.kind.kind.to_string()),
            ("apiVersion", self.kind.api_version()),
        ];
        for (field, wanted) in wanted {
            if new.text(field) != wanted {
                let why = format!("must be {wanted}");
                errors.invalid(&Path::new(field), new.text(field), why);
            }
        }
        Status::invalid(self.kind.group, self.kind.kind, new.name(), &errors)
    }

    /// What came of a configuration fits the type's structure, but some value in it is none.
    fn unconverted(&self, config: &Value, why: &str) -> Status {
        let (kind, place) = (
            self.kind,
            format!("{}/{}", config.namespace(), config.name()),
        );
        let of = format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind);
        Status::internal_plain(format!(
            "failed to convert new object ({place}; {of}) to proper version: unable to convert unstructured object to {of}: {why}"
        ))
    }

    fn server_side(&self, live: Option<&Value>) -> Result<Value, Status> {
        let undecoded = |why: String| Status::bad_request(format!("error decoding YAML: {why}"));
        let document = body::parse(&self.text, Encoding::Yaml)
            .map_err(|error| undecoded(format!("error converting YAML to JSON: {error}")))?;
        let remarks = document.remarks();
        let config = match document.value {
            Value::Null => Value::Object(Default::default()),
            Value::Object(map) => Value::Object(map),
            other => {
                let found = go_kind(&other);
                let of = "map[string]interface {}";
                return Err(undecoded(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type {of}"
                )));
            }
        };
        if live.is_none() && !config.uid().is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                config.uid()
            );
            return Err(Status::conflict(
                self.kind.group,
                self.kind.plural,
                self.ctx.info.name_in_path(),
                &why,
            ));
        }
        body::is_of_type(&config, &self.kind.api_version(), self.kind.kind)?;
        let mut new = managed::apply(self.call, self.kind, self.part, live, &config)?;
        for text in remarks {
            let said = format!("error converting YAML to JSON: {text}");
            match body::FieldValidation::of(self.ctx) {
                body::FieldValidation::Strict => {
                    return Err(Status::bad_request(format!(
                        "error strict decoding YAML: {said}"
                    )));
                }
                body::FieldValidation::Warn => body::warn_of(self.ctx, vec![said]),
                body::FieldValidation::Ignore => {}
            }
        }
        new["apiVersion"] = self.kind.api_version().into();
        new["kind"] = self.kind.kind.into();
        let decoded = self
            .kind
            .conform_applied(&mut new)
            .map_err(|error| self.unconverted(&config, &error.to_string()))?;
        self.ctx.emptied.note(&decoded);
        self.kind.defaults(&mut new);
        write::check_namespace(self.kind, &self.ctx.info.namespace, &mut new)?;
        body::check_name(self.ctx, &new)?;
        Ok(new)
    }
}
