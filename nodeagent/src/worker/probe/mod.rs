//! The tasks of probes, and how one is run.

pub mod run;
pub mod task;
