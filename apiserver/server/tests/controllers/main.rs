//! What controllers and scheduler bring about, in a control plane in memory.

mod apps;
mod autoscaling;
mod budgets;
mod endpoints;
mod eviction;
mod garbage;
mod jobs;
mod kubelet;
mod namespaces;
mod plane;
mod policies;
mod quotas;
mod rights;
mod scheduling;
mod series;
mod volumes;
#[path = "../support/widget.rs"]
mod widget;
mod workloads;
