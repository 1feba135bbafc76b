//! Containers' logs: their format, reading them, and keeping them small.

pub mod cri;
pub mod read;
pub mod rotate;
