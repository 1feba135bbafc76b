//! The API server: HTTP, the verbs, discovery, admission, authentication and authorization, over a store.
//!
//! Invariant: one way in for every request, one way to write for every object. [`start`] makes a running server out of a [`Config`].
//!
//! The modules stand in layers; each uses those above it in this list and none below, in files as in folders (`tests/modules.rs` looks):
//!
//! 1. `auth`: who asks, and may they; knows objects, not requests. `request`, `limits`, `groups`, `names`, `dial`, `config_file`, `spent`, `encoding` and, which
//!    says who wants which, `negotiate`: readings of HTTP and of the kinds that need no state. `flowcontrol`: which place a request has among all.
//! 2. `following`: what happens to a resource; `core`: the kinds that are served, the store, the clock, the authorizers; `stored`: objects as
//!    bytes; `expiry`: those that go by themselves; `encryption`: as they are on disk; `services`: where they are reached; `webhook`: how webhooks are asked; `conversion`: objects whose
//!    versions one of them converts; `access`: who asks and who may, as others say it; `audit`: what is told of requests, and to whom.
//! 3. `admission`, `allocate`, then `write`: what a write is (`write::Call`: who asks, with which options), and the one way to do it.
//! 4. `own`: the server's own writes, and on it `addresses`, `definitions`, `aggregation`, `legacy_tokens`, `fairness`, `measured`, `bootstrap`, `standing`, `identity`. Nothing up to here knows of
//!    requests.
//! 5. `metrics`, `health`, `openapi`, and `app`: the state that requests share.
//! 6. `context`: one request; `body` and `respond`: what it brought, what it is sent.
//! 7. `subresources`, `reviews`, `verbs`, `discovery`, `non_resource`: one file for each thing that can be asked; `delegate`: what others answer.
//! 8. `chain`: the way of a request to them; `serve`: connections; `start`: all of it put together.

pub mod access;
mod addresses;
pub mod admission;
mod aggregation;
mod allocate;
mod app;
pub mod audit;
pub mod auth;
mod body;
mod bootstrap;
mod chain;
mod config_file;
mod context;
mod conversion;
mod core;
mod definitions;
mod delegate;
mod dial;
mod discovery;
mod emptied;
mod encoding;
pub mod encryption;
mod expiry;
mod fairness;
mod flowcontrol;
mod following;
mod groups;
mod health;
mod identity;
mod legacy_tokens;
mod limits;
pub mod measured;
mod metrics;
mod names;
mod negotiate;
mod non_resource;
mod openapi;
mod own;
mod patched;
mod patching;
mod request;
mod respond;
mod reviews;
mod rows;
mod serve;
mod services;
mod spent;
mod standing;
mod start;
mod stored;
mod subresources;
mod verbs;
mod webhook;
mod write;

pub use allocate::{RangesError, ServiceRanges};
pub use app::{App, InProcess};
pub use dial::Behind;
pub use limits::{deadline::LONGEST as LONGEST_REQUEST, inflight::Limits};
pub use non_resource::version;
pub use openapi::VERSION_FIELDS;
pub use start::{Config, Data, Running, StartError, client, start};
