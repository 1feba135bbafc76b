//! Kinds that answer a question and are not kept: subject access reviews, token reviews, bindings by their own path.
//!
//! Follows `pkg/registry/authorization/*/rest.go` and `pkg/registry/authentication/*`.

use std::sync::Arc;

use axum::body::Body;
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{meta::Meta, status::Status, time},
};

use crate::{
    auth::{authenticate::review::token_review, authorize::reviews},
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    respond,
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::Plain)?;
    let media = negotiate::body_type(&ctx.headers)?;
    let text = body::read(body).await?;
    respond::check_options(ctx, "CreateOptions")?;
    let mut review = body::decode_kind(ctx, &text, media, kind)?;
    crate::write::check_namespace(kind, &ctx.info.namespace, &mut review)?;
    let authorizer = &ctx.app.authorizers;
    let spec = review["spec"].clone();
    let status = match kind.kind {
        "SubjectAccessReview" => reviews::subject_access(authorizer, &spec)?,
        "SelfSubjectAccessReview" => reviews::self_subject_access(authorizer, &ctx.user, &spec)?,
        "LocalSubjectAccessReview" => reviews::local_subject_access(
            authorizer,
            &ctx.info.namespace,
            review.namespace(),
            &spec,
        )?,
        "SelfSubjectRulesReview" => reviews::self_subject_rules(
            authorizer,
            &ctx.user,
            spec["namespace"].as_str().unwrap_or(""),
        )?,
        "TokenReview" => token_review(&ctx.app.authenticator, &spec).await?,
        "SelfSubjectReview" => {
            review.set_meta("creationTimestamp", time::seconds(ctx.app.clock.now()));
            json!({"userInfo": serde_json::to_value(&*ctx.user).unwrap_or(Value::Null)})
        }
        "Binding" => return crate::subresources::binding::legacy(ctx, &accept, review).await,
        other => return Err(Status::internal(format!("nothing answers for {other}"))),
    };
    // what the server answers is nobody's
    if !matches!(kind.kind, "SelfSubjectReview") {
        crate::managed::track_update(
            ctx,
            kind,
            crate::write::Part::Whole,
            &json!({}),
            &mut review,
        )?;
    }
    review["status"] = status;
    ctx.value(201, &accept, &review)
}
