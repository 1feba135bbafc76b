//! The network for real, as root, in network namespaces made for each test: one plays the host, others are nodes and pods.

mod cluster;
mod dns;
mod lab;
mod node;
mod services;
mod side_by_side;
