//! Probes: whether containers have started, live, and are ready.

pub mod grpc;
pub mod http;
pub mod run;
pub mod state;
pub mod task;
