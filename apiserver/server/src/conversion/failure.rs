//! Why objects are not converted, in upstream's words.

use super::{
    metadata::{MetadataError, Unlike},
    review::InvalidAnswer,
};
use crate::webhook::{AnswerError, AskError, ClientError};

/// Why objects are not converted.
#[derive(thiserror::Error, Debug)]
pub enum ConversionError {
    #[error("request to convert CR from an invalid group/version: {0}")]
    From(String),
    #[error("no supported conversion review versions")]
    Versions,
    #[error("conversion webhook for {of} failed: {why}")]
    Failed { of: String, why: Failure },
    #[error("conversion webhook for {of} returned {got} objects, expected {expected}")]
    Count {
        of: String,
        got: usize,
        expected: usize,
    },
    /// The only one that was asked about.
    #[error(transparent)]
    NoObject(NoObject),
    #[error("conversion webhook for {of} returned invalid {place}: {why}")]
    Object {
        of: String,
        place: String,
        why: Invalid,
    },
}

/// There is no answer that holds.
#[derive(thiserror::Error, Debug)]
pub enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Post(#[from] AskError),
    #[error(transparent)]
    Question(#[from] serde_json::Error),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Invalid(#[from] InvalidAnswer),
}

/// What does not even say of which kind it is.
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("Object 'Kind' is missing in '{0}'")]
pub struct NoObject(pub String);

/// What is wrong with one object of an answer.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum Invalid {
    #[error(transparent)]
    NoObject(#[from] NoObject),
    #[error("invalid groupVersion (expected {expected}, received {received})")]
    GroupVersion { expected: String, received: String },
    #[error("invalid kind (expected {expected}, received {received})")]
    Kind { expected: String, received: String },
    #[error(transparent)]
    Unlike(#[from] Unlike),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// How objects of an answer are told of: the only one, or one of several.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Only,
    At(usize),
}

impl Invalid {
    /// Whose mistake it is, and where.
    pub fn of(self, of: &str, place: Place) -> ConversionError {
        let place = match (self, place) {
            (Invalid::NoObject(why), Place::Only) => return ConversionError::NoObject(why),
            (why @ Invalid::Metadata(_), Place::Only) => (why, "metadata".into()),
            (why @ Invalid::Metadata(_), Place::At(at)) => {
                (why, format!("metadata in object at index {at}"))
            }
            (why @ Invalid::Unlike(_), Place::Only) => (why, "object".into()),
            (why, Place::Only) => (why, "object at index 0".into()),
            (why, Place::At(at)) => (why, format!("converted object at index {at}")),
        };
        let (why, place) = place;
        ConversionError::Object {
            of: of.into(),
            place,
            why,
        }
    }
}
