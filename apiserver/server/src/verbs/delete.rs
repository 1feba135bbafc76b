//! DELETE of one object and of collections.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/delete.go`.

use std::sync::Arc;

use axum::body::Body;
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::Kind,
    machinery::{
        meta::Meta,
        schema::{Schema, conform},
        status::{Details, Status},
    },
};

use super::{list, list_options::ListOptions};
use crate::{
    body,
    context::{Answer, Context},
    negotiate::{self, Accept, Offers},
    respond, stored,
    write::{self, DeleteOptions, Deleted},
};

/// From the body, else from the query.
fn read(ctx: &Context, text: &[u8]) -> Result<DeleteOptions, Status> {
    let value = if text.is_empty() {
        from_query(ctx)?
    } else {
        from_body(ctx, text)?
    };
    DeleteOptions::from_value(&value)
}

fn warn(ctx: &Context, kind: &Kind, options: &DeleteOptions) {
    if let Some(warning) = options.warning(kind) {
        ctx.warn(warning);
    }
}

fn from_query(ctx: &Context) -> Result<Value, Status> {
    let mut value = json!({});
    let query = &ctx.query;
    if let Some(seconds) = query.integer("gracePeriodSeconds")? {
        value["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(policy) = query.get("propagationPolicy") {
        value["propagationPolicy"] = policy.into();
    }
    if query.get("orphanDependents").is_some() {
        value["orphanDependents"] = query.flag("orphanDependents").into();
    }
    for name in ["uid", "resourceVersion"] {
        let wanted = query.text(name);
        if !wanted.is_empty() {
            value["preconditions"][name] = wanted.into();
        }
    }
    let dry: Vec<&str> = query.all("dryRun").collect();
    if !dry.is_empty() {
        value["dryRun"] = dry.into();
    }
    Ok(value)
}

fn from_body(ctx: &Context, text: &[u8]) -> Result<Value, Status> {
    let node = Schema::builtin()
        .get("meta.v1.DeleteOptions")
        .ok_or_else(|| Status::internal("DeleteOptions is not in the schema table"))?;
    let media = negotiate::body_type(&ctx.headers)?;
    let mut value = body::parse_object(text, media, Some(node))
        .map_err(|error| error.status())?
        .value;
    if value.is_null() {
        value = json!({});
    }
    let (version, kind) = body::type_meta(&value)
        .map_err(|said| Status::bad_request(format!("{} {said}", body::UNREADABLE)))?;
    if version.matches('/').count() > 1 {
        let said = format!("unexpected GroupVersion string: {version}");
        return Err(Status::bad_request(said));
    }
    if !matches!(kind, "" | "DeleteOptions") {
        let version = if version.is_empty() {
            "meta.k8s.io/v1"
        } else {
            version
        };
        return Err(Status::bad_request(format!(
            "no kind {kind} is registered for version {version} in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"",
            kind = GoQuoted(&kind),
            version = GoQuoted(&version)
        )));
    }
    conform(&mut value, node).map_err(|error| Status::bad_request(error.to_string()))?;
    ctx.trail.sent(&value, Some(node));
    Ok(value)
}

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    let text = body::read(body).await?;
    let options = read(ctx, &text)?;
    warn(ctx, kind, &options);
    let name = ctx.info.name_in_path();
    if let Some(why) = (kind.strategy.stays)(name) {
        return Err(Status::forbidden(kind.group, kind.plural, name, why));
    }
    let call = ctx.call_with(write::Options::default());
    match write::delete(&call, kind, &ctx.info.namespace, name, &options).await? {
        Deleted::Marked(value) => {
            // who asked in the old way for dependents to go is told that they are not gone yet
            let code = if options.orphan_dependents == Some(false) {
                202
            } else {
                200
            };
            respond::value(ctx, &accept, kind, code, value)
        }
        Deleted::Gone(value) if kind.flags.returns_deleted => {
            respond::value(ctx, &accept, kind, 200, value)
        }
        Deleted::Gone(value) => success(ctx, &accept, kind, &value),
    }
}

fn success(ctx: &Context, accept: &Accept, kind: &Kind, value: &Value) -> Answer {
    let details = Details {
        name: value.name().into(),
        group: kind.group.into(),
        kind: kind.plural.into(),
        uid: value.uid().into(),
        ..Details::default()
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.to_value()});
    ctx.value(200, accept, &status)
}

/// DELETE of a collection, or of the page of it that `limit` and `continue` ask for. Answered as they were before.
pub async fn collection(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    let text = body::read(body).await?;
    let (page, selection) = ListOptions::of(ctx, kind)?;
    let options = read(ctx, &text)?;
    warn(ctx, kind, &options);
    let (metadata, objects) = list::page(ctx, kind, &accept, &page, &selection).await?;
    // nothing goes of what cannot be listed
    objects
        .iter()
        .try_for_each(|object| stored::sealed_in_list(object))?;
    let call = ctx.call_with(write::Options::default());
    for object in &objects {
        let key = &object.key;
        match write::delete(&call, kind, &key.namespace, &key.name, &options).await {
            Ok(_) => {}
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    list::answer(ctx, &accept, kind, metadata, objects).await
}
