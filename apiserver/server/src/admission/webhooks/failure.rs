//! Why a webhook keeps a write from being made, or does not.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/util/webhook/error.go` and the dispatchers of `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook`.

use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{patch::json::JsonPatchError, status::Status};

use super::review::InvalidAnswer;
use crate::webhook::{AnswerError, AskError, ClientError};

/// A webhook could not be asked, or its answer is none: what its failure policy is about.
#[derive(thiserror::Error, Debug)]
pub enum CallError {
    #[error("Webhook SideEffects is nil")]
    SideEffects,
    #[error(
        "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
    )]
    Versions,
    #[error("could not create admission objects: {0}")]
    Question(#[from] serde_json::Error),
    #[error("could not get REST client: {0}")]
    Client(ClientError),
    #[error("failed to call webhook: {0}")]
    Post(#[from] AskError),
    #[error("failed to call webhook: {0}")]
    Answer(#[from] AnswerError),
    #[error("received invalid webhook response: {0}")]
    Invalid(#[from] InvalidAnswer),
    #[error("received undecodable patch in webhook response: {0}")]
    Patch(String),
    #[error("unsupported patch type {}", GoQuoted(.0))]
    PatchType(String),
}

impl From<JsonPatchError> for CallError {
    fn from(why: JsonPatchError) -> CallError {
        CallError::Patch(why.to_string())
    }
}

#[derive(Debug)]
pub enum Failure {
    Calling(CallError),
    /// The write is refused, whatever the failure policy.
    Refused(Status),
    /// So is it here: not because the webhook says so, but for what it did or would be asked to do.
    Internal(Status),
}

impl<E: Into<CallError>> From<E> for Failure {
    fn from(why: E) -> Failure {
        Failure::Calling(why.into())
    }
}
