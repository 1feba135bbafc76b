//! The node's own object: its registration, its status, its heartbeat.

pub mod lease;
pub mod register;
pub mod status;
