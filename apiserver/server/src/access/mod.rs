//! Who asks and who may, as others say it: issuers of tokens (OpenID Connect), webhooks that know tokens, webhooks that decide.
//!
//! Invariant: none of it is there unless it was asked for, and then it costs only who is not known here. Who cannot be asked, and what cannot be read or
//! understood, authenticates nobody and allows nothing. A file that is followed is taken whole or not at all.
//! Follows `pkg/kubeapiserver/{authenticator,authorizer,options}` and `staging/src/k8s.io/apiserver/pkg/apis/apiserver`.

pub mod authentication;
pub mod authorization;
mod cache;
mod client;
mod kubeconfig;
mod retry;

pub use crate::config_file::FileError;
pub use client::{Client, ClientError};
pub use kubeconfig::{KubeconfigError, client as client_of_kubeconfig};
