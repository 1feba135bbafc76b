//! What runs on a machine: pod workers, runtimes, images, volumes, network, probes, and the node's own API.

pub mod agent;
pub mod api;
pub mod disk;
pub mod events;
pub mod image;
pub mod ingress;
pub mod logs;
pub mod machine;
pub mod network;
pub mod node;
pub mod open_files;
mod outcome;
pub mod pod;
pub mod probe;
pub mod runtime;
pub mod stats;
pub mod stream;
pub mod time;
pub mod volume;

pub use agent::{ApiConfig, Config, Error, Intervals, Parts, run};
