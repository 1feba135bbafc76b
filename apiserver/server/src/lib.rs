//! The API server: HTTP, the verbs, discovery, admission, authentication and authorization, over a store.
//!
//! Invariant: one way in for every request, one way to write for every object. [`start`] makes a running server out of a [`Config`].

mod addresses;
pub mod admission;
mod allocate;
mod app;
pub mod auth;
mod body;
mod bootstrap;
mod chain;
mod context;
mod core;
mod dial;
mod discovery;
mod groups;
mod legacy_tokens;
mod limits;
mod metrics;
mod negotiate;
mod non_resource;
mod openapi;
mod own;
mod request;
mod respond;
mod reviews;
mod serve;
mod start;
mod stored;
mod subresources;
mod verbs;
mod write;

pub use app::{App, InProcess};
pub use dial::Behind;
pub use limits::{deadline::LONGEST as LONGEST_REQUEST, inflight::Limits};
pub use start::{Config, Data, Running, StartError, client, start};
