//! What authentication comes to: who it is, or why it is nobody.

use std::sync::Arc;

use async_trait::async_trait;

use super::token_file::TokenFileError;
use crate::auth::{
    ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, Unauthorized, User, pki::PkiError,
    text::quote_list,
};

#[derive(thiserror::Error, Debug)]
pub enum ConfigError {
    #[error("cannot read the client certificate authorities: {0}")]
    ClientCa(#[from] PkiError),
    #[error("cannot check client certificates: {0}")]
    Verifier(String),
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
}

/// A token that holds, and for which of the audiences that were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub user: User,
    pub audiences: Vec<String>,
    /// For Warning headers.
    pub warnings: Vec<String>,
}

/// Somebody outside who knows whose tokens are whose.
#[async_trait]
pub trait RemoteTokens: Send + Sync {
    /// Whose token this is, when it is good for one of these audiences; `None`: it is none that is known there.
    async fn holder(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Holder>, Unauthorized>;
}

/// Who asks, and what they are to be warned of.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub user: Arc<User>,
    pub warnings: Vec<String>,
}

/// Everybody who is somebody is authenticated.
pub(super) fn with_group(mut user: User) -> User {
    let said = user
        .groups
        .iter()
        .any(|group| group == ALL_AUTHENTICATED || group == ALL_UNAUTHENTICATED);
    if user.name != ANONYMOUS && !said {
        user.groups.push(ALL_AUTHENTICATED.to_owned());
    }
    user
}

/// The text about audiences that do not meet.
pub(crate) fn audience_error(token: &[String], wanted: &[String]) -> String {
    format!(
        "token audiences {} is invalid for the target audiences {}",
        quote_list(token),
        quote_list(wanted)
    )
}
