//! The network for real, as root, in network namespaces made for each test: one plays the host, others are nodes and pods.

mod cluster;
mod dns;
mod families;
pub(super) mod lab;
mod node;
pub(super) mod services;
pub(super) mod side_by_side;
