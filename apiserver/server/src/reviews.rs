//! Kinds that answer a question and are not kept: subject access reviews, token reviews, bindings by their own path.
//!
//! Follows `pkg/registry/authorization/*/rest.go` and `pkg/registry/authentication/*`.

use std::sync::Arc;

use axum::body::Body;
use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Review},
    machinery::{meta::Meta, read::Read, schema::conform, status::Status, time},
};

use crate::{
    admission::Operation,
    auth::{authenticate::review::token_review, authorize::reviews},
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    subresources::binding,
    write::{self, Part, managed},
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, review: Review, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::PLAIN)?;
    let media = negotiate::body_type(&ctx.headers)?;
    let text = body::read(body).await?;
    let call = ctx.call("CreateOptions")?;
    let mut asked = body::decode_kind(ctx, &text, media, kind)?;
    write::wipe_system_fields(&mut asked);
    write::check_namespace(kind, &ctx.info.namespace, &mut asked)?;
    if review != Review::SelfSubject {
        managed::track_update(&call, kind, Part::Whole, &json!({}), &mut asked)?;
    }
    let name = asked.name().to_string();
    let mut attributes = call.attributes(kind, "", Operation::Create, (&ctx.info.namespace, &name));
    attributes.object = Some(asked);
    call.admit(&mut attributes).await?;
    let errors = kind.validate(attributes.object.as_ref().unwrap_or(&Value::Null));
    if !errors.is_empty() {
        // upstream asks an object for its kind that does not know it
        return Err(Status::invalid(kind.group, "", "", &errors));
    }
    call.check(&attributes).await?;
    let mut asked = attributes.taken()?;
    let (authorizers, user, spec) = (&ctx.app.core.authorizers, &ctx.asked.user, asked.at("spec"));
    let status = match review {
        Review::SubjectAccess => reviews::subject_access(authorizers, spec).await?,
        Review::SelfSubjectAccess => reviews::self_subject_access(authorizers, user, spec).await?,
        Review::LocalSubjectAccess => {
            let (asked_in, of) = (&ctx.info.namespace, asked.namespace());
            reviews::local_subject_access(authorizers, asked_in, of, spec).await?
        }
        Review::SelfSubjectRules => {
            reviews::self_subject_rules(authorizers, user, spec.text("namespace"))?
        }
        Review::Token => token_review(&ctx.app.authenticator, &asked).await?,
        Review::SelfSubject => json!({"userInfo": **user}),
        Review::Binding => return binding::legacy(ctx, &call, &accept, asked).await,
    };
    if matches!(review, Review::SelfSubject | Review::SelfSubjectRules) {
        // the answer is an object of its own, with nothing of the one that asked
        asked = json!({"apiVersion": asked["apiVersion"].take(), "kind": asked["kind"].take(), "metadata": {}});
        conform(&mut asked, kind.node()).map_err(|error| Status::internal(error.to_string()))?;
    }
    if review == Review::SelfSubject {
        asked.set_meta("creationTimestamp", time::seconds(call.now()));
    }
    asked["status"] = status;
    ctx.value(201, &accept, &asked)
}
