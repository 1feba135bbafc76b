//! What all tasks of one node agent share.

pub mod context;
pub mod machine;
pub mod nodes;
pub mod observer;
pub mod puller;

pub use context::{Context, Parts};
