//! What can go wrong in a controller: one enum for the crate, with the questions that reconcilers ask of an API answer.
//!
//! Invariant: an API refusal keeps its whole `Status`, so that "not found" is only ever said by the server's own reason.
//! Follows k8s.io/apimachinery/pkg/api/errors.

use crate::{client::BoxError, status::Status};

/// Any failure of a controller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered, and refused.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// The request did not get an answer that can be read.
    #[error("cannot {what}: {source}")]
    Transport {
        /// What was asked: method and path.
        what: String,
        /// The client's own error.
        #[source]
        source: BoxError,
    },
    /// The server's answer is not of the expected shape.
    #[error("cannot read the answer to {what}: {source}")]
    Decode {
        /// What was asked: method and path.
        what: String,
        /// What could not be read, and where.
        #[source]
        source: BoxError,
    },
    /// An object could not be written as JSON.
    #[error("cannot encode {what}: {source}")]
    Encode {
        /// What was to be sent.
        what: String,
        /// serde's complaint.
        #[source]
        source: serde_json::Error,
    },
    /// `--controllers` asks for all and for none.
    #[error("--controllers=*,-* asks for all and none of the controllers")]
    AllAndNone,
    /// A controller of upstream's that is not here.
    #[error("\"{name}\" is a controller that this program does not have")]
    AbsentController {
        /// As it was asked for.
        name: String,
    },
    /// `--controllers` names something that does not exist.
    #[error("\"{name}\" is not in the list of known controllers: {known}")]
    UnknownController {
        /// The name as given.
        name: String,
        /// All known names, joined.
        known: String,
    },
    /// An option's value cannot be used.
    #[error("invalid {option}: {why}")]
    InvalidOption {
        /// The command line flag's name.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The label selector of an object cannot be read.
    #[error(transparent)]
    Selector(#[from] skiff_podspec::selector::SelectorError),
    /// A reconciliation cannot go on, and is to be tried again.
    #[error("{0}")]
    Failed(String),
    /// Several independent parts of one reconciliation failed; all were tried.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Several(Vec<Error>),
}

impl Error {
    /// The server's `Status`, when it answered with one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Error::Refused(status) => Some(status),
            _ => None,
        }
    }

    fn reason(&self) -> &str {
        self.status().map_or("", |s| s.reason.as_str())
    }

    /// The object (or its parent) does not exist.
    pub fn is_not_found(&self) -> bool {
        self.reason() == "NotFound"
    }

    /// Someone else wrote the object in between.
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }

    /// The name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// The object is not valid.
    pub fn is_invalid(&self) -> bool {
        self.reason() == "Invalid"
    }

    /// The resource does not support the verb.
    pub fn is_method_not_supported(&self) -> bool {
        self.reason() == "MethodNotAllowed"
    }

    /// The watch or continue token is too old.
    pub fn is_expired(&self) -> bool {
        matches!(self.reason(), "Expired" | "Gone") || self.status().is_some_and(|s| s.code == 410)
    }

    /// The namespace is being deleted, so nothing new can be made in it.
    pub fn is_namespace_terminating(&self) -> bool {
        self.status()
            .and_then(|s| s.details.as_ref())
            .is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"))
    }

    /// `Ok(())` for no errors, the error for one, [`Error::Several`] for more.
    pub fn collect(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }
}

/// Turns "it is gone already" into `None`: the usual wish of one who deletes or patches what others may delete too.
pub fn unless_gone<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}
