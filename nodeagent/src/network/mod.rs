//! The pod network of one node: a bridge, veth pairs with addresses from the node's podCIDR, services in nftables, cluster DNS.
//!
//! Invariant: everything it makes bears the prefix `skiff` and is gone after `Network::clear`.

pub mod cluster;
pub mod dns;
pub mod link;
pub mod nft;
pub mod ns;
mod outside;
pub mod pods;
pub mod routes;
pub mod services;
#[cfg(test)]
mod tests;
pub mod view;

use std::{net::IpAddr, path::PathBuf};

use async_trait::async_trait;

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

#[async_trait]
pub trait PodNetworks: Send + Sync + 'static {
    /// Makes (or finds again, after an agent's restart) the network namespace and addresses of a pod.
    async fn setup(&self, pod_uid: &str) -> Result<PodNetwork, Error>;
    async fn teardown(&self, pod_uid: &str) -> Result<(), Error>;
    /// What is there, by pod uid: for clearing away pods that are gone.
    async fn list(&self) -> Result<Vec<String>, Error>;
}

pub(crate) fn failed(what: impl Into<String>, reason: impl std::fmt::Display) -> Error {
    Error::Failed { what: what.into(), reason: reason.to_string() }
}
