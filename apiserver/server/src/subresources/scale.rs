//! `/scale`: the count of replicas of any kind that has one, as autoscaling/v1 Scale.
//!
//! Follows `pkg/registry/apps/deployment/storage/storage.go` (ScaleREST).

use std::sync::Arc;

use axum::body::Body;
use serde_json::{Value, json};
use skiff_api::{
    kinds::{Flags, Kind, Printer, Scale, Subresource},
    machinery::{
        field::{Errors, Path},
        meta::{Meta, child_mut},
        object_meta,
        patch::go::GoValue,
        quote::GoQuoted,
        read::Read,
        schema::conform_converted,
        selector::Selector,
        status::Status,
    },
};

use crate::{
    body,
    context::{Answer, Context},
    conversion,
    negotiate::{self, Accept, Offers},
    patched::{self, Opened, not_taken},
    patching::{self, PatchType, Patching},
    respond::Look,
    stored,
    write::{self, Call, Part, Seen, Update, Written, managed},
};

const EXPECTED: (&str, &str, &str) = ("autoscaling", "v1", "Scale");

/// The selector of the pods that are counted, as text: a `LabelSelector`, a plain map, or the text itself (of custom resources).
fn selector(at: Option<&Value>) -> Result<String, Status> {
    let is_plain = |map: &Value| {
        map.is_object()
            && !["matchLabels", "matchExpressions"]
                .iter()
                .any(|key| map.get(key).is_some())
    };
    match at {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(map) if is_plain(map) => {
            let labels = map.as_object().into_iter().flatten();
            let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
            Ok(Selector::from_set(labels).to_string())
        }
        // shown as empty, one that cannot be read would select everything
        other => Selector::from_label_selector(other)
            .map(|selector| selector.to_string())
            .map_err(|error| Status::bad_request(error.to_string())),
    }
}

/// The Scale of an object.
fn scale_of(scale: &Scale, object: &Value) -> Result<Value, Status> {
    let number = |path| at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let text = selector(at(object, scale.selector))?;
    let m = object.at("metadata");
    let mut metadata = json!({});
    for name in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = m.get(name) {
            metadata[name] = value.clone();
        }
    }
    let mut out = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {}, "status": {"replicas": number(scale.status_replicas)}});
    if number(scale.spec_replicas) != 0 {
        out["spec"]["replicas"] = number(scale.spec_replicas).into();
    }
    if !text.is_empty() {
        out["status"]["selector"] = text.into();
    }
    Ok(out)
}

fn shown(ctx: &Context, kind: &Kind, accept: &Accept, scale: Value) -> Answer {
    let look = Look {
        told: match kind.is_builtin() {
            true => ("autoscaling", "Scale"),
            false => ("v1", "Scale"),
        },
        printer: &Printer::of_scales(),
        conditions: |_| Vec::new(),
        annotations: &[],
        untyped: false,
    };
    look.value(ctx, accept, 200, scale)
}

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let scale = kind.scale.as_ref().ok_or_else(Status::no_such_path)?;
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    let name = ctx.info.name_in_path();
    let key = stored::named(kind, &ctx.info.namespace, name)?;
    if ctx.info.verb == "get" {
        let core = &ctx.app.core;
        let object = core
            .store
            .get(&key)
            .ok_or_else(|| Status::not_found(kind.group, kind.plural, name))?;
        let value = conversion::read(core, kind, &object).await?;
        if has_none(kind, scale, &value) {
            let why = format!("the spec replicas field {} does not exist", told(scale));
            return Err(Status::internal(why));
        }
        return shown(ctx, kind, &accept, scale_of(scale, &value)?);
    }
    let patch_type = match ctx.info.verb.as_str() {
        "patch" => Some(PatchType::of(ctx, kind)?),
        _ => None,
    };
    let text = body::read(body).await?;
    let call = match patch_type {
        Some(patch_type) => patch_type.call(ctx)?,
        None => ctx.call("UpdateOptions")?,
    };
    if patch_type.is_some() {
        ctx.trail.patched(&text);
    }
    let change = Change {
        ctx,
        patch_type,
        call: &call,
        scale,
        kind,
        text: &text,
    };
    let put = match ctx.info.verb.as_str() {
        "update" => Some(change.put()?),
        _ => None,
    };
    let uid = put.as_ref().map(|given| given.uid().to_string());
    let how = Update {
        uid: uid.filter(|uid| !uid.is_empty()),
        seen: Some(scale),
        ..Update::of(Part::Sub(Subresource::Scale))
    };
    let (written, _) = write::update(&call, kind, &ctx.info.namespace, name, how, &mut |live| {
        change.apply(live.unwrap_or(&Value::Null), put.as_ref())
    })
    .await?;
    let value = match written {
        Written::Stored(object) => call.read(kind, &object).await?,
        Written::Unstored(value) => value,
    };
    shown(ctx, kind, &accept, scale_of(scale, &value)?)
}

/// Stands for a custom object's count while there is none: whoever writes the Scale must give one.
const NONE: i64 = i32::MIN as i64;

/// A custom object may have no count.
fn has_none(kind: &Kind, scale: &Scale, object: &Value) -> bool {
    !kind.is_builtin() && at(object, scale.spec_replicas).is_none_or(Value::is_null)
}

/// The place of the count as a definition names it, in quotes.
fn told(scale: &Scale) -> String {
    GoQuoted(&format!(".{}", scale.spec_replicas)).to_string()
}

/// Admission sees the Scale, and what it makes of the count.
impl Seen for Scale {
    fn show(&self, object: &Value) -> Result<Value, Status> {
        scale_of(self, object)
    }

    fn take(&self, object: &mut Value, part: &Value) {
        let count = part.at("spec").int("replicas");
        let had = at(object, self.spec_replicas).and_then(Value::as_i64);
        if had != Some(count) {
            set(object, self.spec_replicas, count.into());
        }
    }
}

struct Change<'a> {
    ctx: &'a Context,
    /// What kind of patch it is, where it is one.
    patch_type: Option<PatchType>,
    call: &'a Call<'a>,
    scale: &'a Scale,
    kind: &'a Arc<Kind>,
    text: &'a [u8],
}

impl Change<'_> {
    /// The object with the count that is wanted: of a Scale that was `put`, or of a patch.
    fn apply(&self, live: &Value, put: Option<&Value>) -> Result<Value, Status> {
        let mut now = scale_of(self.scale, live)?;
        if has_none(self.kind, self.scale, live) {
            now["spec"]["replicas"] = NONE.into();
        }
        let mut new = live.clone();
        let of = managed::ScaleOf {
            kind: self.kind,
            kinds: &self.ctx.kinds,
            node: body::node_of(EXPECTED)?,
        };
        let applies = self.patch_type == Some(PatchType::Apply);
        let wanted = match put {
            Some(given) => given.clone(),
            None if applies => {
                let (config, remarks) = patching::applied(self.text)?;
                body::is_of_type(&config, "autoscaling/v1", "Scale")?;
                let mut wanted = managed::apply_scale(self.call, &of, &now, &config, &mut new)?;
                self.check_applied(&now, &wanted, &config)?;
                patching::tell_of_applied(self.ctx, remarks)?;
                self.same_object(&mut wanted)?;
                wanted
            }
            None => {
                let shown = managed::scale_with_managers(&of, &now, live)?;
                let patch_type = self.patch_type.unwrap_or(PatchType::Merge);
                let mut wanted = self.patched(patch_type, &shown)?;
                // who manages it is not for the request to say
                let managers = shown.at("metadata").get("managedFields").cloned();
                match managers {
                    Some(managers) => wanted.set_meta("managedFields", managers),
                    None => drop(wanted.meta_mut().remove("managedFields")),
                }
                self.same_object(&mut wanted)?;
                wanted
            }
        };
        let count = wanted.at("spec").int("replicas");
        if count == NONE && !self.kind.is_builtin() {
            let why = format!(
                "the spec replicas field {} cannot be empty",
                told(self.scale)
            );
            return Err(Status::bad_request(why));
        }
        self.validate(&wanted)?;
        // of a patch of a custom object's nobody asks
        let asked = self.kind.is_builtin() || put.is_some();
        if asked && !wanted.uid().is_empty() && wanted.uid() != live.uid() {
            let why = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                wanted.uid(),
                live.uid()
            );
            let resource = format!("{}/scale", self.kind.plural);
            return Err(Status::conflict(
                self.kind.group,
                &resource,
                live.name(),
                &why,
            ));
        }
        set(&mut new, self.scale.spec_replicas, count.into());
        // whether it is the version that is stored is asked of every update; a custom object's Scale may say none
        if self.kind.is_builtin() || !wanted.resource_version().is_empty() {
            new.set_meta("resourceVersion", wanted.resource_version());
        }
        if !applies {
            managed::track_scale(self.call, &of, &now, &wanted, &mut new)?;
        }
        Ok(new)
    }

    /// What was applied to the Scale of a custom object must change nothing of it: who converts custom objects is asked to convert what comes out, and knows of no Scales that are
    /// no typed ones. Follows `ConvertToVersion` of `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/conversion/converter.go`.
    fn check_applied(&self, now: &Value, wanted: &Value, config: &Value) -> Result<(), Status> {
        let bare = |scale: &Value| {
            let mut scale = scale.clone();
            child_mut(&mut scale, "metadata").remove("managedFields");
            scale
        };
        if self.kind.is_builtin() || bare(now) == bare(wanted) {
            return Ok(());
        }
        let (group, version, kind) = EXPECTED;
        let why = format!(
            "failed to convert new object ({}/{}; {group}/{version}, Kind={kind}) to proper version: request to convert CR to an invalid group/version: {group}/{version}",
            config.namespace(),
            config.name()
        );
        Err(Status::internal_plain(why))
    }

    /// A Scale is of the object that the path names.
    fn same_object(&self, wanted: &mut Value) -> Result<(), Status> {
        write::check_namespace(self.kind, &self.ctx.info.namespace, wanted)?;
        body::check_name(self.ctx, wanted)
    }

    /// A Scale is held to what any object is, although nothing but its count is kept; that of a custom object is judged by what becomes of the object.
    fn validate(&self, wanted: &Value) -> Result<(), Status> {
        if !self.kind.is_builtin() {
            return Ok(());
        }
        let mut errors = Errors::default();
        let rules = Flags::default();
        let name_problems = |name: &str, prefix| rules.name_problems(name, prefix);
        errors.extend(object_meta::validate(
            wanted,
            self.kind.namespaced,
            name_problems,
        ));
        errors.extend(object_meta::standard_finalizers(wanted));
        let count = wanted.at("spec").int("replicas");
        if count < 0 {
            errors.invalid(
                &Path::new("spec").child("replicas"),
                count,
                "must be greater than or equal to 0",
            );
        }
        if errors.is_empty() {
            return Ok(());
        }
        let name = wanted.name();
        Err(Status::invalid("autoscaling", "Scale", name, &errors))
    }

    fn put(&self) -> Result<Value, Status> {
        let (media, node) = (
            negotiate::body_type(&self.ctx.headers)?,
            body::node_of(EXPECTED)?,
        );
        let value = body::decode(self.ctx, self.text, media, EXPECTED, body::As::Type(node))?;
        self.ctx.trail.sent(&value, Some(node));
        let mut value = value;
        self.same_object(&mut value)?;
        Ok(value)
    }

    /// What is patched is a Scale still. One that says no kind or version is what it was.
    fn check_type(&self, new: &Value) -> Result<(), String> {
        let unreadable = |said: String| format!("{} {said}", body::UNREADABLE);
        let (version, named) = body::type_meta(new).map_err(unreadable)?;
        let (group, own, kind) = EXPECTED;
        let own = format!("{group}/{own}");
        let version = if version.is_empty() { &own } else { version };
        let named = if named.is_empty() { kind } else { named };
        let wanted = body::foreign(&self.ctx.kinds, (version, named), EXPECTED);
        wanted.map_err(|why| why.said(version, &own))
    }

    /// What a patch makes of the Scale. Mistakes are told as those of a patch of any object are.
    fn patched(&self, patch_type: PatchType, now: &Value) -> Result<Value, Status> {
        let node = body::node_of(EXPECTED)?;
        let patching = Patching {
            patch_type,
            validation: body::FieldValidation::of(self.ctx),
            text: self.text,
        };
        let (document, mut remarks) = patching.document()?;
        let mut new = patching.patched(now, document.clone(), node, &mut remarks)?;
        if patch_type == PatchType::Strategic {
            let refused = |said: String| not_taken(GoValue(&document).to_string(), said);
            let decoded = conform_converted(&mut new, node);
            let decoded = decoded.map_err(|error| refused(error.to_string()))?;
            remarks.extend(decoded.remarks());
            patching::strictly(self.ctx, remarks, refused)?;
            return Ok(new);
        }
        let opened = match patch_type {
            PatchType::Json => Opened::by_operations(self.text),
            _ => Opened::by_merge(&document, now),
        };
        let shown = patched::shown(&new, Some(node), &opened);
        self.check_type(&new)
            .map_err(|said| not_taken(shown.clone(), said))?;
        let document = body::Document::with_remarks(new, remarks);
        body::finish(self.ctx, document, body::As::Type(node)).map_err(|fault| match fault {
            body::Fault::Type(said) | body::Fault::Strict(said) => not_taken(shown, said),
        })
    }
}

/// What stands at a dotted path.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |at, name| at.get(name))
}

fn set(value: &mut Value, path: &str, to: Value) {
    *path.split('.').fold(value, |at, name| &mut at[name]) = to;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_as_text() {
        let text = |value: Value| selector(Some(&value)).map_err(|status| status.code);
        for (given, shown) in [
            (json!({"matchLabels": {"a": "b"}}), Ok("a=b")),
            (json!({"a": "b"}), Ok("a=b")),
            (json!("a in (b,c)"), Ok("a in (b,c)")),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}),
                Err(400),
            ),
        ] {
            assert_eq!(text(given), shown.map(str::to_string));
        }
    }
}
