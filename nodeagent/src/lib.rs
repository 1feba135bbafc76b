//! What runs on a machine: pod workers, runtimes, images, volumes, network, probes, and the node's own API.

pub mod image;
pub mod network;
pub mod runtime;
