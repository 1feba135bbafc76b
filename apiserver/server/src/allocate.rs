//! Cluster IPs and node ports: given to services as they are written, taken back when they go.
//!
//! Invariant: an address or port belongs to one service; what is in use is derived from the stored services and from the writes
//! under way, so nothing can leak across a restart.
//! Follows `pkg/registry/core/service/storage/alloc.go` and `pkg/registry/core/service/ipallocator`.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    sync::Arc,
};

use ipnet::IpNet;
use parking_lot::{Mutex, MutexGuard};
use rand::RngExt;
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::{Meta, child_mut},
        read::Read,
        status::Status,
    },
};
use skiff_storage::Store;

use crate::stored;

pub const NODE_PORTS: RangeInclusive<u16> = 30000..=32767;

/// A port and its protocol.
type Port = (u16, String);

/// Addresses and node ports, of one service or of all.
#[derive(Default, Debug, PartialEq)]
struct Allocated {
    ips: HashSet<IpAddr>,
    ports: HashSet<Port>,
}

impl Allocated {
    /// What a service has.
    fn of(service: &Value) -> Allocated {
        let spec = service.at("spec");
        let health = spec.int("healthCheckNodePort");
        let health = port(health).map(|port| (port, "TCP".to_string()));
        let ports = spec.list("ports").iter();
        let ports = ports.filter_map(|of| Some((port(of.int("nodePort"))?, protocol(of))));
        Allocated {
            ips: cluster_ips(service).collect(),
            ports: ports.chain(health).collect(),
        }
    }

    /// Of a service that cannot be read: whatever looks like an address, a node port or a health check's.
    fn of_text(text: &str) -> Allocated {
        let mut held = Allocated::default();
        held.ips.extend(
            text.split('"')
                .filter_map(|part| part.parse::<IpAddr>().ok()),
        );
        for part in text.split("odePort\":").skip(1) {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            let Ok(port) = digits.parse() else { continue };
            held.ports
                .extend(["TCP", "UDP", "SCTP"].map(|protocol| (port, protocol.to_string())));
        }
        held
    }

    fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.ports.is_empty()
    }

    fn extend(&mut self, other: Allocated) {
        self.ips.extend(other.ips);
        self.ports.extend(other.ports);
    }

    fn remove(&mut self, other: &Allocated) {
        for ip in &other.ips {
            self.ips.remove(ip);
        }
        for port in &other.ports {
            self.ports.remove(port);
        }
    }
}

/// What services have of the two pools.
pub struct Allocator {
    pub cidr: IpNet,
    used: Mutex<Allocated>,
    /// Some service could not be decrypted: nobody knows what it has, so nothing is handed out.
    partial: bool,
}

impl Allocator {
    /// Learns from the stored services what is in use.
    pub fn new(cidr: IpNet, store: &dyn Store) -> Allocator {
        let (mut used, mut partial) = (Allocated::default(), false);
        for object in store.snapshot("services").range(None, None) {
            partial |= object.sealed().is_some();
            used.extend(match stored::value(&object) {
                Ok(service) => Allocated::of(&service),
                Err(status) => {
                    tracing::error!(
                        error = status.message,
                        "what this service has is not handed out again"
                    );
                    Allocated::of_text(&String::from_utf8_lossy(&object.bytes.read()))
                }
            });
        }
        Allocator {
            cidr,
            used: Mutex::new(used),
            partial,
        }
    }

    /// The first usable address: the `kubernetes` service's.
    pub fn first(&self) -> IpAddr {
        nth(&self.cidr, 1)
    }

    /// A service is gone.
    pub fn free(&self, service: &Value) {
        self.used.lock().remove(&Allocated::of(service));
    }

    fn random_ip(&self, used: &Allocated) -> Option<IpAddr> {
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

    fn random_port(&self, used: &Allocated, protocol: &str) -> Option<u16> {
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
    let ips = service.at("spec").list("clusterIPs").iter();
    ips.filter_map(|ip| ip.as_str()?.parse().ok())
}

/// The port of a number, if it is one's.
fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

fn protocol(port: &Value) -> String {
    match port.text("protocol") {
        "" => "TCP".into(),
        given => given.into(),
    }
}

/// What a write took. Given back when it is dropped without `keep`.
#[derive(Default)]
pub struct Allocation {
    allocator: Option<Arc<Allocator>>,
    taken: Allocated,
    /// What the old object had and the new one has no more.
    freed: Allocated,
}

impl Allocation {
    /// The write happened.
    pub fn keep(mut self) {
        self.taken = std::mem::take(&mut self.freed);
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(allocator) = self.allocator.take() {
            allocator.used.lock().remove(&self.taken);
        }
    }
}

/// What an object takes that `live` (`Null` for a new one) did not have, and what it gives up. What a dry run shows is free again at once.
pub fn allocate(
    allocator: &Arc<Allocator>,
    kind: &Kind,
    value: &mut Value,
    live: &Value,
    dry: bool,
) -> Result<Allocation, Status> {
    let mut allocation = Allocation {
        allocator: Some(allocator.clone()),
        taken: Allocated::default(),
        freed: Allocated::of(live),
    };
    let of = value.at("spec").text("type").to_string();
    // its lock is gone before anything can be given back
    let errors = {
        let mut taking = Taking {
            allocator,
            used: allocator.used.lock(),
            taken: &mut allocation.taken,
            had: &allocation.freed,
            dry,
            errors: Errors::default(),
        };
        if of != "ExternalName" {
            taking.ips(value);
        }
        if matches!(of.as_str(), "NodePort" | "LoadBalancer") && taking.errors.is_empty() {
            taking.ports(value, &of, live.is_null());
        }
        taking.errors
    };
    if !live.is_null()
        && errors.is_empty()
        && let Some((node, protocol)) = twice(value)
    {
        return Err(Status::internal_plain(format!(
            "duplicate nodePort: {{{protocol} {node}}}"
        )));
    }
    if !errors.is_empty() {
        return Err(Status::invalid(
            kind.group,
            kind.kind,
            value.name(),
            &errors,
        ));
    }
    if allocator.partial && !allocation.taken.is_empty() {
        return Err(Status::internal(
            "no addresses and ports are handed out, since some services could not be decrypted",
        ));
    }
    if dry {
        return Ok(Allocation::default());
    }
    allocation.freed.remove(&Allocated::of(value));
    Ok(allocation)
}

/// A node port that two ports of a service have in one protocol.
fn twice(service: &Value) -> Option<(i64, String)> {
    let ports = service.at("spec").list("ports");
    let all: Vec<(i64, String)> = ports
        .iter()
        .map(|of| (of.int("nodePort"), protocol(of)))
        .filter(|(node, _)| *node != 0)
        .collect();
    let again = |index: &usize| all[..*index].contains(&all[*index]);
    let index = (0..all.len()).find(again)?;
    Some(all[index].clone())
}

/// One service on its way to what it needs.
struct Taking<'a> {
    allocator: &'a Allocator,
    used: MutexGuard<'a, Allocated>,
    taken: &'a mut Allocated,
    had: &'a Allocated,
    /// Upstream looks at no range where nothing is taken for good.
    dry: bool,
    errors: Errors,
}

impl Taking<'_> {
    fn ips(&mut self, service: &mut Value) {
        let spec = service.at("spec");
        let wanted = spec.list("clusterIPs").iter().filter_map(Value::as_str);
        let mut named: Vec<String> = wanted.map(str::to_string).collect();
        if named.is_empty() {
            named.extend(Some(spec.text("clusterIP").to_string()).filter(|ip| !ip.is_empty()));
        }
        if named.first().is_some_and(|ip| ip == "None") {
            return;
        }
        let spec = Path::new("spec");
        let path = spec.child("clusterIPs");
        if named.is_empty() {
            match self.allocator.random_ip(&self.used) {
                Some(ip) => self.take_ip(service, ip, true),
                None => self
                    .errors
                    .internal(&path, "failed to allocate a serviceIP: range is full"),
            }
            return;
        }
        for (index, text) in named.iter().enumerate() {
            let Ok(ip) = text.parse::<IpAddr>() else {
                continue;
            };
            if self.had.ips.contains(&ip) {
                continue;
            }
            let cidr = self.allocator.cidr;
            let why = if !cidr.contains(&ip) || ip == cidr.network() {
                format!(
                    "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {cidr}"
                )
            } else if self.used.ips.contains(&ip) {
                "provided IP is already allocated".into()
            } else {
                self.take_ip(service, ip, index == 0);
                continue;
            };
            let why = format!("failed to allocate IP {ip}: {why}");
            self.errors.invalid(&path, json!(named), why);
        }
    }

    fn take_ip(&mut self, service: &mut Value, ip: IpAddr, first: bool) {
        self.used.ips.insert(ip);
        self.taken.ips.insert(ip);
        if first {
            let spec = child_mut(service, "spec");
            spec.insert("clusterIP".into(), ip.to_string().into());
            spec.insert("clusterIPs".into(), json!([ip.to_string()]));
        }
    }

    fn ports(&mut self, service: &mut Value, of: &str, new: bool) {
        let spec = service.at("spec");
        let balanced = of == "LoadBalancer";
        let automatic = !balanced || spec.flag_ptr("allocateLoadBalancerNodePorts") != Some(false);
        let wants_health = balanced
            && spec.text("externalTrafficPolicy") == "Local"
            && spec.int("healthCheckNodePort") == 0;
        let top = Path::new("spec");
        let list = top.child("ports");
        let spec = child_mut(service, "spec");
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        // which node port a port number got, in which protocol
        let mut given: Vec<(i64, Port)> = Vec::new();
        for (index, of) in ports.into_iter().flatten().enumerate() {
            let path = list.index(index);
            let path = path.child("nodePort");
            let (number, protocol, wanted) = (of.int("port"), protocol(of), of.int("nodePort"));
            if wanted != 0 {
                let entry = (port(wanted).unwrap_or(0), protocol);
                if !self.had.ports.contains(&entry) && !self.taken.ports.contains(&entry) {
                    self.take_port(&path, wanted, &entry);
                    given.push((number, entry));
                }
                continue;
            }
            if !automatic {
                continue;
            }
            // a new service's port number that stands twice gets one node port: in two protocols where it is free, and in one to be refused
            let twin = given
                .iter()
                .find(|(of, _)| *of == number && new)
                .map(|(_, (node, of))| (*node, *of == protocol));
            if let Some((node, true)) = twin {
                of["nodePort"] = node.into();
                continue;
            }
            let twin = twin
                .map(|(node, _)| node)
                .filter(|node| !self.used.ports.contains(&(*node, protocol.clone())));
            if let Some(node) = self.any_port(&path, twin, &protocol) {
                of["nodePort"] = node.into();
                given.push((number, (node, protocol)));
            }
        }
        let path = top.child("healthCheckNodePort");
        if wants_health && let Some(node) = self.any_port(&path, None, "TCP") {
            spec.insert("healthCheckNodePort".into(), node.into());
        }
    }

    fn take_port(&mut self, path: &Path, wanted: i64, entry: &Port) {
        if !self.dry && !NODE_PORTS.contains(&entry.0) {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                NODE_PORTS.start(),
                NODE_PORTS.end()
            );
            self.errors.invalid(path, wanted, why);
        } else if !self.used.ports.insert(entry.clone()) {
            let why = "provided port is already allocated";
            self.errors.invalid(path, wanted, why);
        } else {
            self.taken.ports.insert(entry.clone());
        }
    }

    /// The port that is asked for, else any that is free.
    fn any_port(&mut self, path: &Path, wanted: Option<u16>, protocol: &str) -> Option<u16> {
        let found = wanted.or_else(|| self.allocator.random_port(&self.used, protocol));
        match found {
            Some(node) => {
                self.used.ports.insert((node, protocol.into()));
                self.taken.ports.insert((node, protocol.into()));
            }
            None => self
                .errors
                .internal(path, "failed to allocate a nodePort: range is full"),
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_port_has_are_no_ports() {
        let service = json!({"spec": {"ports": [{"nodePort": 65536 + 30000}, {"nodePort": -1}, {"nodePort": 30001}, {}], "healthCheckNodePort": -1}});
        let ports = Allocated::of(&service).ports;
        assert_eq!(ports, HashSet::from([(30001, "TCP".to_string())]));
        assert_eq!(port(65536 + 30000), None);
    }

    #[test]
    fn what_an_unreadable_service_has_is_not_free() {
        let held = Allocated::of_text(
            r#"{"spec":{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00::7"],"ports":[{"nodePort":30007},{"nodePort":0}],"healthCheckNodePort":30008,"x"#,
        );
        let ips = ["10.96.0.7", "fd00::7"].map(|ip| ip.parse().unwrap());
        assert_eq!(held.ips, HashSet::from(ips));
        for port in [30007, 30008] {
            for protocol in ["TCP", "UDP", "SCTP"] {
                assert!(held.ports.contains(&(port, protocol.into())), "{port}");
            }
        }
    }
}
