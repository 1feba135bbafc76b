//! Validation that several kinds share: one file a subject, pod specs in a folder of their own.
//!
//! Invariant: texts, paths, values and order of errors are upstream's. Follows `pkg/apis/*/validation/validation.go`.

pub mod balancer;
pub mod cel;
pub mod checks;
pub mod conditions;
pub mod diff;
pub mod internal;
pub mod pem;
pub mod pod;
pub mod webhook;
pub mod workload;

pub use crate::machinery::url::parse as url;
