//! Cluster IPs and node ports: given to services as they are written, taken back when they go.
//!
//! Invariant: an address or port belongs to one service; what is in use is derived from the stored services and from the writes
//! under way, so nothing can leak across a restart.
//! Follows `pkg/registry/core/service/storage/alloc.go` and `pkg/registry/core/service/ipallocator`.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;
use parking_lot::Mutex;
use rand::RngExt;
use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::{self, Meta},
        status::Status,
    },
};
use skiff_storage::Store;

use crate::{context::Context, stored};

pub const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

#[derive(Default)]
struct Used {
    ips: HashSet<IpAddr>,
    ports: HashSet<(u16, String)>,
}

impl Used {
    /// Of a service that cannot be read: whatever looks like an address, a node port or a health check's.
    fn take_all_of(&mut self, text: &str) {
        self.ips.extend(
            text.split('"')
                .filter_map(|part| part.parse::<IpAddr>().ok()),
        );
        for part in text.split("odePort\":").skip(1) {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            let protocols = ["TCP", "UDP", "SCTP"].into_iter();
            self.ports
                .extend(digits.parse().into_iter().flat_map(|port: u16| {
                    protocols
                        .clone()
                        .map(move |protocol| (port, protocol.to_owned()))
                }));
        }
    }
}

/// What services have of the two pools.
pub struct Allocator {
    pub cidr: IpNet,
    used: Mutex<Used>,
}

impl Allocator {
    /// Learns from the stored services what is in use.
    pub fn new(cidr: IpNet, store: &dyn Store) -> Allocator {
        let mut used = Used::default();
        for object in store.snapshot("services").range(None, None) {
            match stored::value(&object) {
                Ok(service) => {
                    used.ips.extend(cluster_ips(&service));
                    used.ports.extend(node_ports(&service));
                }
                Err(status) => {
                    tracing::error!(
                        error = status.message,
                        "what this service has is not handed out again"
                    );
                    used.take_all_of(&String::from_utf8_lossy(&object.bytes));
                }
            }
        }
        Allocator {
            cidr,
            used: Mutex::new(used),
        }
    }

    /// The first usable address: the `kubernetes` service's.
    pub fn first(&self) -> IpAddr {
        nth(&self.cidr, 1)
    }

    fn random_ip(&self, used: &Used) -> Option<IpAddr> {
        let size = host_count(&self.cidr);
        let mut rng = rand::rng();
        // the lowest sixteenth (at most 256) is kept for addresses that people choose
        let reserved = (size / 16).clamp(16.min(size), 256.min(size));
        let start = rng.random_range(0..size.saturating_sub(reserved).max(1));
        let upper = (0..size.saturating_sub(reserved))
            .map(|i| reserved + (start + i) % (size - reserved).max(1));
        let lower = 1..reserved;
        upper
            .chain(lower)
            .filter(|n| *n > 0 && *n < size)
            .map(|n| nth(&self.cidr, n))
            .find(|ip| !used.ips.contains(ip))
    }

    fn random_port(&self, used: &Used, protocol: &str) -> Option<u16> {
        let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
        let start = rand::rng().random_range(0..count);
        // ports below this offset are kept for people's choice while others are left
        let band = 86;
        let order = (0..count).map(|i| (start + i) % count);
        let (upper, lower): (Vec<u16>, Vec<u16>) = order.partition(|offset| *offset >= band);
        upper
            .into_iter()
            .chain(lower)
            .map(|offset| NODE_PORTS.start() + offset)
            .find(|port| !used.ports.contains(&(*port, protocol.to_string())))
    }
}

fn host_count(cidr: &IpNet) -> u64 {
    let bits = match cidr {
        IpNet::V4(net) => 32 - net.prefix_len(),
        IpNet::V6(net) => (128 - net.prefix_len()).min(16),
    };
    (1u64 << bits) - u64::from(matches!(cidr, IpNet::V4(_)))
}

fn nth(cidr: &IpNet, n: u64) -> IpAddr {
    match cidr {
        IpNet::V4(net) => IpAddr::V4(Ipv4Addr::from(
            u32::from(net.network()).wrapping_add(n as u32),
        )),
        IpNet::V6(net) => {
            IpAddr::V6((u128::from(net.network()).wrapping_add(u128::from(n))).into())
        }
    }
}

pub fn cluster_ips(service: &Value) -> impl Iterator<Item = IpAddr> {
    service["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ip| ip.as_str()?.parse().ok())
}

/// A port's number, and the port, where there is one of this number.
fn asked(port: &Value) -> (i64, Option<u16>) {
    let number = port.as_i64().unwrap_or(0);
    (number, u16::try_from(number).ok().filter(|port| *port > 0))
}

fn node_ports(service: &Value) -> Vec<(u16, String)> {
    let health = asked(&service["spec"]["healthCheckNodePort"])
        .1
        .map(|port| (port, "TCP".to_string()));
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports
        .filter_map(|port| {
            Some((
                asked(&port["nodePort"]).1?,
                port["protocol"].as_str().unwrap_or("TCP").to_string(),
            ))
        })
        .chain(health)
        .collect()
}

/// What a write took. Given back when it is dropped without `keep`.
#[derive(Default)]
pub struct Allocation {
    allocator: Option<Arc<Allocator>>,
    ips: Vec<IpAddr>,
    ports: Vec<(u16, String)>,
    /// What the old object had and the new one has no more.
    freed: (Vec<IpAddr>, Vec<(u16, String)>),
}

impl Allocation {
    /// The write happened.
    pub fn keep(mut self) {
        if let Some(allocator) = self.allocator.take() {
            let mut used = allocator.used.lock();
            for ip in &self.freed.0 {
                used.ips.remove(ip);
            }
            for port in &self.freed.1 {
                used.ports.remove(port);
            }
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(allocator) = self.allocator.take() {
            let mut used = allocator.used.lock();
            for ip in &self.ips {
                used.ips.remove(ip);
            }
            for port in &self.ports {
                used.ports.remove(port);
            }
        }
    }
}

pub fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "services"
}

pub fn on_create(
    ctx: &Context,
    kind: &Kind,
    value: &mut Value,
    dry: bool,
) -> Result<Allocation, Status> {
    if !is_service(kind) {
        return Ok(Allocation::default());
    }
    allocate(ctx, kind, value, &Value::Null, dry)
}

pub fn on_update(
    ctx: &Context,
    kind: &Kind,
    value: &mut Value,
    live: &Value,
    dry: bool,
) -> Result<Allocation, Status> {
    if !is_service(kind) {
        return Ok(Allocation::default());
    }
    let mut allocation = allocate(ctx, kind, value, live, dry)?;
    let (ips, ports): (Vec<IpAddr>, _) = (cluster_ips(value).collect(), node_ports(value));
    allocation.freed = (
        cluster_ips(live).filter(|ip| !ips.contains(ip)).collect(),
        node_ports(live)
            .into_iter()
            .filter(|port| !ports.contains(port))
            .collect(),
    );
    if dry {
        allocation.freed = Default::default();
    }
    Ok(allocation)
}

/// A service is gone.
pub async fn release(ctx: &Context, kind: &Kind, value: &Value) {
    if is_service(kind) {
        free(ctx, value);
        crate::addresses::follow(&ctx.app, &Value::Null, value).await;
    }
}

fn free(ctx: &Context, value: &Value) {
    let mut used = ctx.app.allocator.used.lock();
    for ip in cluster_ips(value) {
        used.ips.remove(&ip);
    }
    for port in node_ports(value) {
        used.ports.remove(&port);
    }
}

fn allocate(
    ctx: &Context,
    kind: &Kind,
    value: &mut Value,
    live: &Value,
    dry: bool,
) -> Result<Allocation, Status> {
    let allocator = ctx.app.allocator.clone();
    let mut allocation = Allocation::default();
    allocation.allocator = Some(allocator.clone());
    let mut errors = Errors::default();
    let kind_of = meta::text_at(value, &["spec", "type"])
        .unwrap_or("ClusterIP")
        .to_string();
    {
        let mut used = allocator.used.lock();
        if kind_of != "ExternalName" {
            take_ips(
                &allocator,
                &mut used,
                &mut allocation,
                value,
                live,
                &mut errors,
            );
        }
        if matches!(kind_of.as_str(), "NodePort" | "LoadBalancer") && errors.is_empty() {
            take_ports(
                &allocator,
                &mut used,
                &mut allocation,
                value,
                live,
                &kind_of,
                &mut errors,
            );
        }
    }
    if dry {
        // what a dry run shows is not its own
        drop(std::mem::take(&mut allocation));
    }
    if errors.is_empty() {
        Ok(allocation)
    } else {
        Err(Status::invalid(
            kind.group,
            kind.kind,
            value.name(),
            &errors,
        ))
    }
}

fn take_ips(
    allocator: &Allocator,
    used: &mut Used,
    allocation: &mut Allocation,
    value: &mut Value,
    live: &Value,
    errors: &mut Errors,
) {
    let had: Vec<IpAddr> = cluster_ips(live).collect();
    let wanted: Vec<String> = value["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ip| ip.as_str().map(str::to_string))
        .collect();
    let spec = Path::new("spec");
    let path = spec.child("clusterIPs");
    if wanted.first().is_some_and(|ip| ip == "None") {
        return;
    }
    let named: Vec<String> = if wanted.is_empty() {
        value["spec"]["clusterIP"]
            .as_str()
            .filter(|s| !s.is_empty())
            .map(str::to_string)
            .into_iter()
            .collect()
    } else {
        wanted
    };
    if named.first().is_some_and(|ip| ip == "None") {
        return;
    }
    if named.is_empty() {
        match allocator.random_ip(used) {
            Some(ip) => {
                used.ips.insert(ip);
                allocation.ips.push(ip);
                set_ip(meta::child_mut(value, "spec"), ip);
            }
            None => errors.internal(&path, "failed to allocate a serviceIP: range is full"),
        }
        return;
    }
    for (index, text) in named.iter().enumerate() {
        let Ok(ip) = text.parse::<IpAddr>() else {
            continue;
        };
        if had.contains(&ip) {
            continue;
        }
        if !allocator.cidr.contains(&ip) || ip == allocator.cidr.network() {
            errors.invalid(
                &path,
                json!(named),
                format!("failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}", allocator.cidr),
            );
        } else if !used.ips.insert(ip) {
            errors.invalid(
                &path,
                json!(named),
                format!("failed to allocate IP {ip}: provided IP is already allocated"),
            );
        } else {
            allocation.ips.push(ip);
            if index == 0 {
                set_ip(meta::child_mut(value, "spec"), ip);
            }
        }
    }
}

fn set_ip(spec: &mut Map<String, Value>, ip: IpAddr) {
    spec.insert("clusterIP".into(), ip.to_string().into());
    spec.insert("clusterIPs".into(), json!([ip.to_string()]));
}

fn take_ports(
    allocator: &Allocator,
    used: &mut Used,
    allocation: &mut Allocation,
    value: &mut Value,
    live: &Value,
    kind_of: &str,
    errors: &mut Errors,
) {
    let had = node_ports(live);
    let spec = Path::new("spec");
    let path = spec.child("ports");
    let automatic =
        kind_of == "NodePort" || value["spec"]["allocateLoadBalancerNodePorts"] != false;
    let wants_health =
        kind_of == "LoadBalancer" && value["spec"]["externalTrafficPolicy"] == "Local";
    let mut by_port: Vec<(u64, u16, String)> = Vec::new();
    for (index, port) in value["spec"]["ports"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_string();
        let number = port["port"].as_u64().unwrap_or(0);
        let (wanted, node) = asked(&port["nodePort"]);
        if wanted != 0 {
            let entry = (node.unwrap_or(0), protocol);
            if had.contains(&entry) || allocation.ports.contains(&entry) {
                continue;
            }
            if !NODE_PORTS.contains(&entry.0) {
                errors.invalid(
                    &path.index(index).child("nodePort"),
                    wanted,
                    format!("provided port is not in the valid range. The range of valid ports is {}-{}", NODE_PORTS.start(), NODE_PORTS.end()),
                );
            } else if !used.ports.insert(entry.clone()) {
                errors.invalid(
                    &path.index(index).child("nodePort"),
                    wanted,
                    "provided port is already allocated",
                );
            } else {
                by_port.push((number, entry.0, entry.1.clone()));
                allocation.ports.push(entry);
            }
            continue;
        }
        if !automatic {
            continue;
        }
        // one port number in two protocols gets one node port, where it is free
        let twin = by_port
            .iter()
            .find(|(n, _, p)| *n == number && *p != protocol)
            .map(|(_, node, _)| *node);
        let twin = twin.filter(|node| !used.ports.contains(&(*node, protocol.clone())));
        match twin.or_else(|| allocator.random_port(used, &protocol)) {
            Some(node) => {
                used.ports.insert((node, protocol.clone()));
                allocation.ports.push((node, protocol.clone()));
                by_port.push((number, node, protocol));
                port["nodePort"] = node.into();
            }
            None => errors.internal(
                &path.index(index).child("nodePort"),
                "failed to allocate a nodePort: range is full",
            ),
        }
    }
    if wants_health && asked(&value["spec"]["healthCheckNodePort"]).0 == 0 {
        match allocator.random_port(used, "TCP") {
            Some(node) => {
                used.ports.insert((node, "TCP".into()));
                allocation.ports.push((node, "TCP".into()));
                value["spec"]["healthCheckNodePort"] = node.into();
            }
            None => errors.internal(
                &spec.child("healthCheckNodePort"),
                "failed to allocate a nodePort: range is full",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_port_has_are_no_ports() {
        let service = json!({"spec": {"ports": [{"nodePort": 65536 + 30000}, {"nodePort": -1}, {"nodePort": 30001}, {}], "healthCheckNodePort": -1}});
        assert_eq!(node_ports(&service), [(30001, "TCP".to_string())]);
        assert_eq!(asked(&json!(65536 + 30000)), (95536, None));
    }

    #[test]
    fn what_an_unreadable_service_has_is_not_free() {
        let mut used = Used::default();
        used.take_all_of(r#"{"spec":{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00::7"],"ports":[{"nodePort":30007},{"nodePort":0}],"healthCheckNodePort":30008,"x"#);
        let ips = ["10.96.0.7", "fd00::7"].map(|ip| ip.parse().unwrap());
        assert_eq!(used.ips, HashSet::from(ips));
        for port in [30007, 30008] {
            assert!(
                ["TCP", "UDP", "SCTP"]
                    .iter()
                    .all(|protocol| used.ports.contains(&(port, protocol.to_string()))),
                "{port}"
            );
        }
    }
}
