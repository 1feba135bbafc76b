//! What a patch makes of an object, be it a kind's or a subresource's, and what strict reading has against that.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.

use serde_json::Value;
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        patch::{self, json::JsonPatchError},
        quote::GoQuoted,
        read::go_kind,
        schema::Node,
        status::Status,
    },
};

use crate::{
    body::{self, FieldValidation},
    context::Context,
    encoding::Encoding,
    negotiate,
    write::Call,
};

/// What the Content-Type says of a patch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    /// # Errors
    /// 415: the kind takes no such patch.
    pub fn of(ctx: &Context, kind: &Kind) -> Result<PatchType, Status> {
        Ok(
            match negotiate::patch_type(&ctx.headers, !kind.flags.untyped)? {
                "application/json-patch+json" => PatchType::Json,
                "application/merge-patch+json" => PatchType::Merge,
                "application/strategic-merge-patch+json" => PatchType::Strategic,
                _ => PatchType::Apply,
            },
        )
    }

    /// The options of a request with such a patch.
    ///
    /// # Errors
    /// 422 with what is wrong with them.
    pub fn call(self, ctx: &Context) -> Result<Call<'_>, Status> {
        let mut errors = Errors::default();
        if self == PatchType::Apply {
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
}

/// A configuration to apply, as it was sent, and what strict reading has against it.
///
/// # Errors
/// 400: it is no object.
pub fn applied(text: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let undecoded = |why: String| Status::bad_request(format!("error decoding YAML: {why}"));
    let document = body::parse(text, Encoding::Yaml)
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
    Ok((config, remarks))
}

/// What strict reading has against a configuration is told once it could be applied.
pub fn tell_of_applied(ctx: &Context, remarks: Vec<String>) -> Result<(), Status> {
    for text in remarks {
        let said = format!("error converting YAML to JSON: {text}");
        match FieldValidation::of(ctx) {
            FieldValidation::Strict => {
                return Err(Status::bad_request(format!(
                    "error strict decoding YAML: {said}"
                )));
            }
            FieldValidation::Warn => body::warn_of(ctx, vec![said]),
            FieldValidation::Ignore => {}
        }
    }
    Ok(())
}

/// What strict reading has against what was patched is an error, a warning or nothing, as the request asks.
pub fn strictly(
    ctx: &Context,
    remarks: Vec<String>,
    refused: impl Fn(String) -> Status,
) -> Result<(), Status> {
    match FieldValidation::of(ctx) {
        FieldValidation::Strict if !remarks.is_empty() => {
            return Err(refused(format!(
                "strict decoding error: {}",
                remarks.join(", ")
            )));
        }
        FieldValidation::Warn => body::warn_of(ctx, remarks),
        _ => {}
    }
    Ok(())
}

/// A patch that is no apply, as it was sent.
pub struct Patching<'a> {
    pub patch_type: PatchType,
    pub validation: FieldValidation,
    pub text: &'a [u8],
}

impl Patching<'_> {
    /// The patch as a value, and what strict reading has against it.
    pub fn document(&self) -> Result<(Value, Vec<String>), Status> {
        let document = body::parse(self.text, Encoding::Json).map_err(|error| {
            let said = error.as_json();
            let ignore = self.validation == FieldValidation::Ignore;
            Status::bad_request(match self.patch_type {
                // a strategic patch is read elsewhere
                PatchType::Strategic => said.to_string(),
                PatchType::Json if ignore => said.to_string(),
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

    /// What the patch, read as `document`, makes of an object whose type is at `node`.
    pub fn patched(
        &self,
        live: &Value,
        document: Value,
        node: Node<'_>,
        remarks: &mut Vec<String>,
    ) -> Result<Value, Status> {
        let validate = self.validation != FieldValidation::Ignore;
        let mut new = live.clone();
        match self.patch_type {
            PatchType::Json => {
                let patch = patch::json::JsonPatch::decode(&document, validate).map_err(
                    |error| match error {
                        JsonPatchError::TooMany(_) => {
                            Status::too_large(format!("Request entity too large: {error}"))
                        }
                        _ => Status::bad_request(error.to_string()),
                    },
                )?;
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
                new = patch::strategic::apply(live, &document, node)
                    .map_err(|error| error.status())?;
            }
            PatchType::Apply => unreachable!("apply has a way of its own"),
        }
        Ok(new)
    }
}
