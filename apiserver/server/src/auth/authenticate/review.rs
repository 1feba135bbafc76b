//! TokenReview, from `spec` to `status`.
//!
//! Invariant: a token for another audience is not authenticated, whatever else holds of it. Follows
//! `pkg/registry/authentication/tokenreview/storage.go`.

use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::machinery::status::Status;

use super::Authenticator;
use crate::auth::null_is_default;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    token: String,
    #[serde(deserialize_with = "null_is_default")]
    audiences: Vec<String>,
}

/// The `status` of a TokenReview with this `spec`. The error is the answer.
pub async fn token_review(authenticator: &Authenticator, spec: &Value) -> Result<Value, Status> {
    let spec = Option::<Spec>::deserialize(spec)
        .map_err(|error| Status::internal(format!("cannot read the review: {error}")))?
        .unwrap_or_default();
    if spec.token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    Ok(
        match authenticator.review(&spec.token, &spec.audiences).await {
            Ok(holder) => {
                json!({"authenticated": true, "user": holder.user, "audiences": holder.audiences})
            }
            Err(error) => json!({"user": {}, "error": error.to_string()}),
        },
    )
}
