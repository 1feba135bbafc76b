//! TokenReview, from `spec` to `status`.
//!
//! Invariant: a token for another audience is not authenticated, whatever else holds of it. Follows
//! `pkg/registry/authentication/tokenreview/storage.go`.

use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::machinery::{read::Read, status::Status};

use super::Authenticator;
use crate::auth::null_is_default;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    token: String,
    #[serde(deserialize_with = "null_is_default")]
    audiences: Vec<String>,
}

/// The `status` of this TokenReview: what it was sent with, with what is known of the token put into it. The error is the answer.
pub async fn token_review(authenticator: &Authenticator, review: &Value) -> Result<Value, Status> {
    let spec = Option::<Spec>::deserialize(review.at("spec"))
        .map_err(|error| Status::internal(format!("cannot read the review: {error}")))?
        .unwrap_or_default();
    if spec.token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let mut status = review.at("status").as_object().cloned().unwrap_or_default();
    match authenticator.review(&spec.token, &spec.audiences).await {
        Ok(holder) => {
            status.insert("authenticated".into(), true.into());
            status.insert("user".into(), json!(holder.user));
            status.insert("audiences".into(), json!(holder.audiences));
        }
        Err(error) => {
            status.remove("authenticated");
            status.entry("user").or_insert_with(|| json!({}));
            status.insert("error".into(), error.to_string().into());
        }
    }
    Ok(status.into())
}
