//! The node's own API, over TLS: what the API server asks of a node on behalf of its clients.

pub mod about;
pub mod auth;
pub mod logs;
pub mod paths;
pub mod query;
pub mod server;
pub mod shared;
pub mod stats;
pub mod streams;
