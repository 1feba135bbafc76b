//! The proxy of ingress: requests of HTTP/1.1 and HTTP/2 on their way from clients to endpoints by a routing table, and answers on their way back.
//!
//! Invariant: it knows nothing of Kubernetes; names are texts here. It is a crate of its own so that it can be optimised for speed: what is generic in hyper is
//! compiled where it is used. Layers, lowest first: `table`, `headers`, `access`, `sent`, `heard`; `listeners`; `endpoint`, `upstream`, `treatment`, `answer` and `tunnel`; `proxy` and `serve`.

pub mod access;
mod answer;
pub mod endpoint;
pub mod headers;
mod heard;
pub mod listeners;
pub mod proxy;
mod sent;
pub mod serve;
pub mod table;
pub mod treatment;
mod tunnel;
pub mod upstream;
