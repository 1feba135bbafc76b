//! The pod network of one node: a bridge, veth pairs with addresses from the node's podCIDR, services in nftables, cluster DNS.
//!
//! Invariant: everything it makes bears the prefix `skiff` and is gone after `node::clear` or `cluster::clear`.

pub mod cluster;
pub mod dns;
pub mod family;
mod forwarding;
mod hostports;
pub mod link;
pub mod listen;
mod messages;
mod netlink;
pub mod nft;
pub mod node;
pub mod ns;
mod outside;
pub mod pods;
pub mod policy;
mod pool;
pub mod protocol;
pub use pool::next_free;
pub mod routes;
pub mod services;
pub mod slice;
#[cfg(test)]
mod tests;
pub mod view;
mod wire;

use std::{net::IpAddr, path::PathBuf};

use async_trait::async_trait;

/// The bridge of a node's pods.
const BRIDGE: &str = "skiffbr0";

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("no address is left in {0}")]
    Exhausted(String),
    #[error("this machine lacks {what}: {hint}")]
    Unsupported { what: String, hint: String },
    #[error("cannot {what}: {reason}")]
    Failed { what: String, reason: String },
}

/// The network of one pod.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    /// Named network namespace, bind-mounted so that it outlives the agent.
    pub netns: PathBuf,
    pub ips: Vec<IpAddr>,
}

/// A port of the node that leads to one of a pod (`ports[].hostPort`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostPort {
    pub protocol: protocol::Protocol,
    /// `hostIP`; `None` means all addresses of the node but loopback.
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub container_port: u16,
}

#[async_trait]
pub trait PodNetworks: Send + Sync + 'static {
    /// Makes (or finds again, after an agent's restart) the network namespace and addresses of a pod.
    async fn setup(&self, pod_uid: &str) -> Result<PodNetwork, Error>;
    async fn teardown(&self, pod_uid: &str) -> Result<(), Error>;
    /// Leads ports of the node to the pod, in place of those it had; an empty list takes them away, as `teardown` does. The pod must be set up.
    async fn set_host_ports(&self, pod_uid: &str, ports: &[HostPort]) -> Result<(), Error> {
        if ports.is_empty() {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: "host ports".into(),
            hint: format!("the network of pod {pod_uid} has none"),
        })
    }
    /// What is there, by pod uid: for clearing away pods that are gone.
    async fn list(&self) -> Result<Vec<String>, Error>;
}

pub(crate) fn failed(what: impl Into<String>, reason: impl std::fmt::Display) -> Error {
    Error::Failed {
        what: what.into(),
        reason: reason.to_string(),
    }
}
