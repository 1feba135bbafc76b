//! What a service's plan is made for: the node, and the places that its traffic may go to.

use std::{collections::BTreeSet, net::IpAddr};

use super::super::family::IpFamily;

/// The node that a plan is for, and the family that it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub family: IpFamily,
    pub name: String,
    pub zone: Option<String>,
    pub ips: Vec<IpAddr>,
    /// ClusterIPs that this node answers at itself (cluster DNS), not to be translated.
    pub own_cluster_ips: BTreeSet<IpAddr>,
}

/// A place where a service is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub ip: IpAddr,
    pub port: u16,
    /// Its pod runs on this node.
    pub local: bool,
}
