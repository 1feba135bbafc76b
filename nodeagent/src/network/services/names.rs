//! What the chains of a service's ports are called.

use sha2::{Digest, Sha256};

use super::{super::nft::Name, plan::PortPlan};

/// The names of a port's chains.
pub struct Names {
    pub cluster: Name,
    pub local: Name,
    pub external: Name,
    pub firewall: Name,
}

pub fn full_name(plan: &PortPlan) -> String {
    format!(
        "{}/{}/{}/{}",
        plan.service.namespace,
        plan.service.name,
        plan.protocol.name(),
        plan.port_name
    )
}

impl Names {
    pub fn new(plan: &PortPlan) -> Self {
        let base = unique(&full_name(plan));
        Names {
            cluster: format!("svc-{base}").into(),
            local: format!("local-{base}").into(),
            external: format!("ext-{base}").into(),
            firewall: format!("fw-{base}").into(),
        }
    }
}

/// A name that nftables takes (127 bytes at most, no odd characters) and that still tells a person whose it is.
pub fn unique(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let short: String = name.chars().take(96).collect();
    format!("{}-{short}", hex::encode(&hash[..4]))
}
