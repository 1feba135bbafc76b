//! Subresources that are more than a part of their object, one file each.

pub mod binding;
pub mod component_status;
pub mod eviction;
pub mod node_proxy;
pub mod scale;
pub mod token;
