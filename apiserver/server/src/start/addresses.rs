//! Where a server listens, and under which names and addresses it is reached.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{Config, StartError};
use crate::{allocate::Allocator, auth::pki, serve};

/// Listens at each of the addresses. A port 0 after the first takes the first's port.
pub async fn listen(
    wanted: &[SocketAddr],
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::<SocketAddr>::new());
    for wanted in wanted {
        let mut address = *wanted;
        if let (0, Some(first)) = (address.port(), addresses.first()) {
            address.set_port(first.port());
        }
        let refused = |source| StartError::Listen { address, source };
        let listener = serve::bind(address).await.map_err(refused)?;
        addresses.push(listener.local_addr().map_err(refused)?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

/// Under which addresses others reach the server.
pub fn advertised(config: &Config, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    if config.advertise.is_empty() {
        return addresses
            .iter()
            .skip(config.advertise_listener)
            .take(1)
            .copied()
            .collect();
    }
    let port = addresses.first().map_or(0, SocketAddr::port);
    config
        .advertise
        .iter()
        .map(|address| {
            SocketAddr::new(
                address.ip(),
                if address.port() == 0 {
                    port
                } else {
                    address.port()
                },
            )
        })
        .collect()
}

/// What this machine is called.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_string())
        .unwrap_or_default()
}

/// The names and addresses that its certificate is for.
pub fn serving_names(
    config: &Config,
    allocator: &Allocator,
    addresses: &[SocketAddr],
) -> pki::ServingNames {
    let hosts = addresses
        .iter()
        .chain(&config.advertise)
        .map(SocketAddr::ip)
        .collect();
    pki::ServingNames {
        cluster_domain: "cluster.local".into(),
        service_ips: vec![allocator.first()],
        listen_ips: hosts,
        host_name: host_name(),
        extra: Vec::new(),
    }
}
