//! Who asks, and whether they may: certificates, authentication, impersonation, authorization.
//!
//! Invariant: an error never admits anybody. A request with credentials that do not hold is refused with 401, even where a request
//! without any would pass as `system:anonymous`; an authorizer that cannot decide has no opinion, and no opinion is a refusal.
//! Follows `staging/src/k8s.io/apiserver/pkg/authentication`, `.../authorization` and `plugin/pkg/auth`.
//!
//! The seam: the server hands in its objects as [`Objects`] and its clock; per request it calls [`authenticate::Authenticator::authenticate`],
//! [`impersonate::impersonate`] and [`Authorizer::authorize`].

pub mod authenticate;
pub mod authorize;
pub mod front;
pub mod impersonate;
mod impersonated;
pub mod jwt;
pub mod keys;
pub mod pki;
#[cfg(test)]
#[path = "tests/recorded.rs"]
mod recorded_tests;
#[cfg(test)]
#[path = "tests/testing.rs"]
pub(crate) mod testing;
mod text;
mod types;

pub use types::*;
