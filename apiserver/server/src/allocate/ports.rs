//! Node ports: those that a service asks for, and others for what it leaves out.
//!
//! Invariant: a number belongs to one service, in all protocols. Follows `initNodePorts`, `updateNodePorts` and `allocHealthCheckNodePort` of
//! `pkg/registry/core/service/storage/alloc.go`, and `pkg/registry/core/service/portallocator`.

use std::collections::HashMap;

use rand::RngExt;
use serde_json::Value;
use skiff_api::{
    kinds::rows::core::service,
    machinery::{field::Path, meta::child_mut, read::Read, status::Status},
};

use super::{Allocated, NODE_PORTS, Taking, port};

/// Why a port is not given.
#[derive(thiserror::Error, Debug, PartialEq)]
enum Refused {
    #[error(
        "provided port is not in the valid range. The range of valid ports is {}-{}",
        NODE_PORTS.start(),
        NODE_PORTS.end()
    )]
    Outside,
    #[error("provided port is already allocated")]
    Taken,
    #[error("range is full")]
    Full,
}

fn has_node_ports(spec: &Value) -> bool {
    matches!(spec.text("type"), "NodePort" | "LoadBalancer")
}

fn needs_health_check(spec: &Value) -> bool {
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

/// A node port and its protocol.
type Entry = (i64, String);

fn entry(of: &Value) -> Entry {
    (of.int("nodePort"), of.text("protocol").to_string())
}

impl Taking<'_> {
    /// Ports for a new service.
    pub(super) fn first_ports(&mut self, service: &mut Value) -> Result<(), Status> {
        if has_node_ports(service.at("spec")) {
            self.ports_of_new(service)?;
        }
        if needs_health_check(service.at("spec")) {
            self.health_check(service)?;
        }
        Ok(())
    }

    /// Ports for what an update brings.
    pub(super) fn more_ports(&mut self, service: &mut Value, old: &Value) -> Result<(), Status> {
        if has_node_ports(service.at("spec")) {
            self.ports_of_changed(service)?;
        }
        if needs_health_check(service.at("spec")) && !needs_health_check(old.at("spec")) {
            self.health_check(service)?;
        }
        Ok(())
    }

    /// A port number that stands twice gets one node port: that which a client names with it, where one does.
    fn ports_of_new(&mut self, service: &mut Value) -> Result<(), Status> {
        let automatic = service::is_given_node_ports(service.at("spec"));
        let mut given: HashMap<i64, i64> = HashMap::new();
        let mut ports = service.at("spec").list("ports").to_vec();
        for index in 0..ports.len() {
            let (number, wanted) = (ports[index].int("port"), ports[index].int("nodePort"));
            if wanted == 0 && !automatic {
                continue;
            }
            let node = match given.get(&number) {
                Some(node) if wanted == 0 || wanted == *node => *node,
                Some(_) => {
                    self.named_port(index, wanted)?;
                    wanted
                }
                None => {
                    let named = ports
                        .iter()
                        .find(|of| of.int("port") == number && of.int("nodePort") != 0);
                    let node = match named.map(|of| of.int("nodePort")) {
                        Some(node) => {
                            self.named_port(index, node)?;
                            node
                        }
                        None => self.any_node_port()?,
                    };
                    given.insert(number, node);
                    node
                }
            };
            ports[index]["nodePort"] = node.into();
        }
        if !ports.is_empty() {
            child_mut(service, "spec").insert("ports".into(), ports.into());
        }
        Ok(())
    }

    fn ports_of_changed(&mut self, service: &mut Value) -> Result<(), Status> {
        let automatic = service::is_given_node_ports(service.at("spec"));
        let mut ports = service.at("spec").list("ports").to_vec();
        let mut seen: Vec<Entry> = Vec::new();
        for (index, of) in ports.iter_mut().enumerate() {
            match of.int("nodePort") {
                0 if !automatic => continue,
                0 => of["nodePort"] = self.any_node_port()?.into(),
                wanted => {
                    let had = port(wanted).is_some_and(|node| self.had.ports.contains(&node));
                    if !had && seen.iter().all(|(node, _)| *node != wanted) {
                        self.named_port(index, wanted)?;
                    }
                }
            }
            let this = entry(of);
            if seen.contains(&this) {
                let said = format!("duplicate nodePort: {{{} {}}}", this.1, this.0);
                return Err(Status::internal_plain(said));
            }
            seen.push(this);
        }
        if !ports.is_empty() {
            child_mut(service, "spec").insert("ports".into(), ports.into());
        }
        Ok(())
    }

    fn health_check(&mut self, service: &mut Value) -> Result<(), Status> {
        let wanted = service.at("spec").int("healthCheckNodePort");
        if wanted == 0 {
            let node = self.any_port().map_err(|why| {
                Status::internal(format!(
                    "failed to allocate a HealthCheck NodePort 0: {why}"
                ))
            })?;
            child_mut(service, "spec").insert("healthCheckNodePort".into(), node.into());
            return Ok(());
        }
        self.take_port(wanted).map_err(|why| {
            let what = "failed to allocate requested HealthCheck NodePort";
            Status::internal(format!("{what} {wanted}: {why}"))
        })
    }

    fn named_port(&mut self, index: usize, wanted: i64) -> Result<(), Status> {
        self.take_port(wanted).map_err(|why| {
            let root = Path::new("spec");
            let ports = root.child("ports");
            let port = ports.index(index);
            self.invalid(&port.child("nodePort"), wanted, why)
        })
    }

    fn any_node_port(&mut self) -> Result<i64, Status> {
        self.any_port()
            .map_err(|why| Status::internal(format!("failed to allocate a nodePort: {why}")))
    }

    /// A dry run takes numbers of no range, too.
    fn take_port(&mut self, wanted: i64) -> Result<(), Refused> {
        if self.dry {
            let used = port(wanted)
                .is_some_and(|n| NODE_PORTS.contains(&n) && self.state.used.ports.contains(&n));
            if used || self.shown.contains(&wanted) {
                return Err(Refused::Taken);
            }
            self.shown.push(wanted);
            return Ok(());
        }
        let node = port(wanted)
            .filter(|node| NODE_PORTS.contains(node))
            .ok_or(Refused::Outside)?;
        if !self.state.used.ports.insert(node) {
            return Err(Refused::Taken);
        }
        self.taken.ports.insert(node);
        Ok(())
    }

    /// Any that is free. A dry run shows numbers after the greatest that it has shown, which nobody may take for one of the range.
    fn any_port(&mut self) -> Result<i64, Refused> {
        if self.dry {
            let greatest = self.shown.iter().max().copied();
            let node = greatest.unwrap_or(i64::from(*NODE_PORTS.end()) + 1) + 1;
            self.shown.push(node);
            return Ok(node);
        }
        let node = random_port(&self.state.used).ok_or(Refused::Full)?;
        self.state.used.ports.insert(node);
        self.taken.ports.insert(node);
        Ok(node.into())
    }
}

fn random_port(used: &Allocated) -> Option<u16> {
    // ports below this offset are kept for people's choice while others are left
    const BAND: u16 = 86;
    let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    let mut rng = rand::rng();
    [(BAND, count - BAND), (0, BAND)]
        .into_iter()
        .find_map(|(begin, count)| {
            let start = rng.random_range(0..count);
            let mut places = (start..count).chain(0..start);
            let node = |place: u16| NODE_PORTS.start() + begin + place;
            places
                .find(|place| !used.ports.contains(&node(*place)))
                .map(node)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_for_people_are_given_last() {
        let mut used = Allocated::default();
        let mut order = Vec::new();
        while let Some(node) = random_port(&used) {
            assert!(used.ports.insert(node));
            order.push(node);
        }
        assert_eq!(order.len(), NODE_PORTS.count());
        assert!(order[..2682].iter().all(|node| *node >= 30_086));
    }
}
