//! Where a node's own API is.
//!
//! Follows `pkg/kubelet/client/kubelet_client.go` (GetConnectionInfo).

use skiff_api::machinery::status::Status;

use super::live::live;
use crate::context::Context;
use crate::dial::{
    location::{Location, Scheme, Via},
    node,
};

/// Where to ask the node `name` for `path`.
pub fn location(
    ctx: &Context,
    name: &str,
    path: String,
    query: String,
) -> Result<Location, Status> {
    let row = ctx
        .kinds
        .find("", "v1", "nodes")
        .ok_or_else(Status::no_such_path)?;
    let found = live(ctx, row, "", name)?;
    let (host, port) = node::address(&found)?;
    Ok(Location {
        scheme: Scheme::Https,
        host,
        port,
        path,
        query,
        via: Via::Node,
    })
}
