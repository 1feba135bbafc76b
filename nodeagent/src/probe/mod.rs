//! Probes: what they ask (`http`, `grpc`), and what follows from the answers (`state`).

pub mod grpc;
pub mod http;
pub mod state;
