//! Cluster IPs and node ports: given to services as they are written, taken back when they go.
//!
//! Invariant: an address or port belongs to one service; what is in use is derived from the stored services, the IPAddress objects that others made, and
//! the writes under way, so nothing can leak across a restart.
//! Follows `pkg/registry/core/service/storage/alloc.go` and `pkg/registry/core/service/ipallocator`.

pub mod networks;
mod ports;
mod ranges;

use std::{collections::HashSet, net::IpAddr, ops::RangeInclusive, sync::Arc};

use ipnet::IpNet;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::{Kind, rows::core::service::families},
    machinery::{
        field::{Errors, Path},
        meta::{Meta, child_mut},
        names::ip::{self, family},
        read::Read,
        status::Status,
    },
};
use skiff_storage::{Key, Store};

use self::networks::{Network, Networks};
pub use self::ranges::{RangesError, ServiceRanges};
use crate::stored;

/// The objects that stand for addresses in use.
pub const ADDRESSES: &str = "ipaddresses.networking.k8s.io";
pub const NODE_PORTS: RangeInclusive<u16> = 30000..=32767;

/// Addresses and node ports, of one service or of all.
#[derive(Default, Debug, PartialEq)]
struct Allocated {
    ips: HashSet<IpAddr>,
    ports: HashSet<u16>,
}

impl Allocated {
    /// What a service has.
    fn of(service: &Value) -> Allocated {
        let spec = service.at("spec");
        let health = port(spec.int("healthCheckNodePort"));
        let ports = spec.list("ports").iter();
        let ports = ports.filter_map(|of| port(of.int("nodePort")));
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
            held.ports.extend(digits.parse::<u16>());
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

    /// Without what `other` has, too.
    fn without(mut self, other: &Allocated) -> Allocated {
        self.ips.retain(|ip| !other.ips.contains(ip));
        self.ports.retain(|port| !other.ports.contains(port));
        self
    }
}

/// What is in use, and where more is to be had.
#[derive(Default)]
struct State {
    used: Allocated,
    networks: Networks,
}

impl State {
    fn remove(&mut self, gone: &Allocated) {
        for ip in &gone.ips {
            if self.used.ips.remove(ip) {
                self.networks.count(ip, false);
            }
        }
        for port in &gone.ports {
            self.used.ports.remove(port);
        }
    }

    /// Whether nobody had it.
    fn insert(&mut self, ip: IpAddr) -> bool {
        let new = self.used.ips.insert(ip);
        if new {
            self.networks.count(&ip, true);
        }
        new
    }
}

/// What services have of the two pools.
pub struct Allocator {
    /// `--service-cluster-ip-range`: their families are those that services have.
    pub ranges: ServiceRanges,
    store: Arc<dyn Store>,
    state: Mutex<State>,
    /// Some service could not be decrypted: nobody knows what it has, so nothing is handed out.
    partial: bool,
}

impl Allocator {
    /// Learns from the stored services what is in use.
    pub fn new(ranges: ServiceRanges, store: &Arc<dyn Store>) -> Allocator {
        let (mut state, mut partial) = (State::default(), false);
        for object in store.snapshot("services").range(None, None) {
            partial |= object.sealed().is_some();
            state.used.extend(match stored::value(&object) {
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
            ranges,
            store: store.clone(),
            state: Mutex::new(state),
            partial,
        }
    }

    /// The first usable address: the `kubernetes` service's.
    pub fn first(&self) -> IpAddr {
        networks::first(self.ranges.first())
    }

    /// A service is gone.
    pub fn free(&self, service: &Value) {
        self.state.lock().remove(&Allocated::of(service));
    }

    /// Somebody has an object for the address.
    fn is_spoken_for(&self, ip: &IpAddr) -> bool {
        let key = Key {
            resource: ADDRESSES.into(),
            namespace: "".into(),
            name: ip.to_string().into(),
        };
        self.store.get(&key).is_some()
    }
}

pub fn cluster_ips(service: &Value) -> impl Iterator<Item = IpAddr> {
    let ips = service.at("spec").texts("clusterIPs");
    ips.filter_map(|text| ip::parse_ip_sloppy(text).map(|(ip, _)| ip))
}

/// The port of a number, if it is one's.
fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
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
            allocator.state.lock().remove(&self.taken);
        }
    }
}

/// What an object takes that `live` (`None` for a new one) did not have, and what it gives up. What a dry run shows is nobody's.
pub fn allocate(
    allocator: &Arc<Allocator>,
    kind: &Kind,
    value: &mut Value,
    live: Option<&Value>,
    dry: bool,
) -> Result<Allocation, Status> {
    families::settle(value, live, &allocator.ranges.families())
        .map_err(|errors| Status::invalid(kind.group, kind.kind, value.name(), &errors))?;
    let had = Allocated::of(live.unwrap_or(&Value::Null));
    let (done, taken) = {
        let mut taking = Taking {
            allocator,
            state: allocator.state.lock(),
            taken: Allocated::default(),
            had: &had,
            of: (kind, value.name().to_string()),
            dry,
            shown: Vec::new(),
        };
        (taking.all(value, live), taking.taken)
    };
    // the lock is gone before anything can be given back
    let mut allocation = Allocation {
        allocator: Some(allocator.clone()),
        taken,
        freed: Allocated::default(),
    };
    done?;
    if allocator.partial && !allocation.taken.is_empty() {
        return Err(Status::internal(
            "no addresses and ports are handed out, since some services could not be decrypted",
        ));
    }
    if !dry {
        allocation.freed = had.without(&Allocated::of(value));
    }
    Ok(allocation)
}

/// Why an address is not given.
#[derive(thiserror::Error, Debug)]
enum Refused {
    #[error("the provided network does not match the current range")]
    OtherNetwork,
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    Outside(IpAddr, IpNet),
    #[error("provided IP is already allocated")]
    Taken,
    #[error("allocator not ready")]
    NotReady,
    #[error("range is full")]
    Full,
}

/// One service on its way to what it needs.
struct Taking<'a> {
    allocator: &'a Allocator,
    state: MutexGuard<'a, State>,
    taken: Allocated,
    had: &'a Allocated,
    /// Its kind and its name.
    of: (&'a Kind, String),
    dry: bool,
    /// The ports that a dry run took for itself.
    shown: Vec<i64>,
}

impl Taking<'_> {
    fn all(&mut self, service: &mut Value, live: Option<&Value>) -> Result<(), Status> {
        let Some(old) = live else {
            self.ips(service, 0)?;
            return self.first_ports(service);
        };
        let is_named = |service: &Value| service.at("spec").text("type") == "ExternalName";
        let families = |service: &Value| service.at("spec").list("ipFamilies").len();
        let headless = old.at("spec").texts("clusterIPs").next() == Some("None");
        let more = (families(old), families(service)) == (1, 2);
        if is_named(old) {
            self.ips(service, 0)?;
        } else if more && !headless && !is_named(service) {
            self.ips(service, 1)?;
        }
        self.more_ports(service, old)
    }

    /// An address for each family from the one at `start`: that which is asked for, else any.
    fn ips(&mut self, service: &mut Value, start: usize) -> Result<(), Status> {
        let spec = service.at("spec");
        let mut ips: Vec<String> = spec.texts("clusterIPs").map(str::to_string).collect();
        if spec.text("type") == "ExternalName" || ips.first().is_some_and(|ip| ip == "None") {
            return Ok(());
        }
        let families: Vec<String> = spec.texts("ipFamilies").map(str::to_string).collect();
        ips.resize(families.len().max(ips.len()), String::new());
        let State { used, networks } = &mut *self.state;
        networks.refresh(&*self.allocator.store, &self.allocator.ranges, &used.ips);
        for (index, family) in families.iter().enumerate().skip(start) {
            ips[index] = match ips[index].as_str() {
                "" => self.any_ip(family, &ips)?,
                text => self.named_ip(text, &ips)?,
            };
        }
        let spec = child_mut(service, "spec");
        if let Some(first) = ips.first() {
            spec.insert("clusterIP".into(), first.as_str().into());
        }
        spec.insert("clusterIPs".into(), ips.into());
        Ok(())
    }

    fn any_ip(&mut self, of: &str, ips: &[String]) -> Result<String, Status> {
        let found = match self.dry {
            true => self.shown_ip(of),
            false => self.free_ip(of),
        };
        let ip = found.map_err(|why| match why {
            Refused::Full => Status::internal(format!(
                "failed to allocate a serviceIP for Service {}: {why}",
                GoQuoted(&self.of.1)
            )),
            why => self.refused_ip(ips, &format!("failed to allocate IP: {why}")),
        })?;
        Ok(ip.to_string())
    }

    fn named_ip(&mut self, text: &str, ips: &[String]) -> Result<String, Status> {
        let Some((ip, _)) = ip::parse_ip_sloppy(text) else {
            let said = format!("failed to parse service IP {text}", text = GoQuoted(&text));
            return Err(Status::internal(said));
        };
        let done = match self.dry {
            true => self.look_at_ip(ip),
            false => self.take_ip(ip),
        };
        done.map_err(|why| self.refused_ip(ips, &format!("failed to allocate IP {text}: {why}")))?;
        Ok(text.into())
    }

    fn refused_ip(&self, ips: &[String], why: &str) -> Status {
        self.invalid(&Path::new("spec").child("clusterIPs"), json!(ips), why)
    }

    fn invalid(&self, path: &Path, value: impl Into<Value>, why: impl ToString) -> Status {
        let mut errors = Errors::default();
        errors.invalid(path, value, why.to_string());
        let (kind, name) = &self.of;
        Status::invalid(kind.group, kind.kind, name, &errors)
    }

    /// The first network that is ready and has one, gives it.
    fn free_ip(&mut self, of: &str) -> Result<IpAddr, Refused> {
        let (allocator, used) = (self.allocator, &self.state.used.ips);
        let taken = |ip: &IpAddr| used.contains(ip) || allocator.is_spoken_for(ip);
        let gives = |network: &&Network| network.ready && family(&network.net.addr()) == of;
        let mut networks = self.state.networks.all.iter().filter(gives);
        let ip = networks.find_map(|network| network.free(&taken));
        let ip = ip.ok_or(Refused::Full)?;
        self.state.insert(ip);
        self.taken.ips.insert(ip);
        Ok(ip)
    }

    fn take_ip(&mut self, ip: IpAddr) -> Result<(), Refused> {
        let mut networks = self.state.networks.all.iter();
        if !networks.any(|network| network.ready && network.holds(&ip)) {
            return Err(Refused::OtherNetwork);
        }
        if self.allocator.is_spoken_for(&ip) || !self.state.insert(ip) {
            return Err(Refused::Taken);
        }
        self.taken.ips.insert(ip);
        Ok(())
    }

    /// A dry run looks at one network, and shows its own address, which nobody may take for a service's.
    fn shown_ip(&self, of: &str) -> Result<IpAddr, Refused> {
        let mut networks = self.state.networks.all.iter();
        let network = networks.find(|network| network.ready && family(&network.net.addr()) == of);
        network
            .map(|network| network.net.addr())
            .ok_or(Refused::NotReady)
    }

    fn look_at_ip(&self, ip: IpAddr) -> Result<(), Refused> {
        let of = family(&ip);
        let networks = || {
            let all = self.state.networks.all.iter();
            all.filter(|network| network.ready && family(&network.net.addr()) == of)
        };
        if networks().any(|network| network.holds(&ip)) {
            return Ok(());
        }
        let one = networks().next().ok_or(Refused::NotReady)?;
        Err(Refused::Outside(ip, one.net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_port_has_are_no_ports() {
        let service = json!({"spec": {"ports": [{"nodePort": 65536 + 30000}, {"nodePort": -1}, {"nodePort": 30001}, {}], "healthCheckNodePort": -1}});
        let ports = Allocated::of(&service).ports;
        assert_eq!(ports, HashSet::from([30001]));
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
            assert!(held.ports.contains(&port), "{port}");
        }
    }
}
