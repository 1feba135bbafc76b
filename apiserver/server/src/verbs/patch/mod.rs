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
        patch::go::GoValue,
        read::Read,
        schema::{first_of, to_json},
        status::Status,
    },
};

use crate::{
    body,
    context::{Answer, Context},
    limits::heavy,
    negotiate::{self, Offers},
    patched,
    patching::{self, PatchType, Patching},
    respond,
    write::{self, Call, Part, Update, managed},
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, part: Part, body: Body) -> Answer {
    let patch_type = PatchType::of(ctx, kind)?;
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    let text = body::read(body).await?;
    let call = patch_type.call(ctx)?;
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

/// What is said to an update or a patch of a custom object that names none: the handler is there, and misses the name after it looked at the patch's type.
pub fn without_name(ctx: &Context, kind: &Kind) -> Answer {
    if ctx.info.verb == "patch" {
        PatchType::of(ctx, kind)?;
    }
    Err(Status::bad_request("name must be provided"))
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
        let (document, mut remarks) = self.patching().document()?;
        let patched = self.patched(live, document.clone(), &mut remarks)?;
        let mut new = self.decoded(live, patched, &document, remarks)?;
        self.kind.defaults(&mut new);
        self.check_identity(&mut new, live)?;
        managed::track_update(self.call, self.kind, self.part, live, &mut new)?;
        Ok(new)
    }

    fn patching(&self) -> Patching<'_> {
        Patching {
            patch_type: self.patch_type,
            validation: body::FieldValidation::of(self.ctx),
            text: &self.text,
        }
    }

    fn patched(
        &self,
        live: &Value,
        document: Value,
        remarks: &mut Vec<String>,
    ) -> Result<Value, Status> {
        let node = self.kind.node();
        self.patching().patched(live, document, node, remarks)
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
            // what has no Go type is written in order all through
            let node = (!self.kind.flags.untyped).then(|| self.kind.node());
            again().map(|patched| patched::shown(&patched, node, &opened))
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

    fn strictly(
        &self,
        remarks: Vec<String>,
        refused: impl Fn(String) -> Status,
    ) -> Result<(), Status> {
        patching::strictly(self.ctx, remarks, refused)
    }

    /// What a patched object says that it is. One that says no kind is what it was; one without a version loses its name on the way.
    fn check_type(&self, new: &Value, refused: impl Fn(String) -> Status) -> Result<(), Status> {
        let kind = self.kind;
        let unreadable = |said: String| refused(format!("{} {said}", body::UNREADABLE));
        if kind.flags.untyped {
            // what it says is looked at later, if it says it
            let (version, named) = body::type_meta(new).map_err(unreadable)?;
            return match (version, named) {
                (_, "") => Err(refused(format!(
                    "Object 'Kind' is missing in '{}'",
                    String::from_utf8_lossy(&to_json(new, None))
                ))),
                ("", _) => Err(Status::internal(
                    "Object 'apiVersion' is missing in 'object has no apiVersion field'",
                )),
                (odd, _) if odd.matches('/').count() > 1 => {
                    Err(refused(format!("unexpected GroupVersion string: {odd}")))
                }
                _ => Ok(()),
            };
        }
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
        body::foreign(&self.ctx.kinds, (version, named), expected)
            .map_err(|why| refused(why.said(version, &kind.api_version())))
    }

    /// A patch may not turn the object into another one.
    fn check_identity(&self, new: &mut Value, live: &Value) -> Result<(), Status> {
        let own = |value: &Value, field| value.text(field) == live.text(field);
        let whole = matches!(self.part, Part::Whole);
        if self.kind.flags.untyped && whole && !(own(new, "apiVersion") && own(new, "kind")) {
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
        // it is told of as what it says that it is
        let version = new.text("apiVersion");
        let group = version.split_once('/').map_or("", |(group, _)| group);
        Status::invalid(group, new.text("kind"), new.name(), &errors)
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
        let (config, remarks) = patching::applied(&self.text)?;
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
        patching::tell_of_applied(self.ctx, remarks)?;
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
