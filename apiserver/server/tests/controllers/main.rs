//! What controllers and scheduler bring about, in a control plane in memory.

mod autoscaling;
mod endpoints;
mod eviction;
mod namespaces;
mod plane;
mod scheduling;
mod workloads;
