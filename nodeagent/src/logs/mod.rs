//! Containers' logs: their format, reading them, and keeping them small.

pub mod aside;
pub mod cri;
pub mod read;
