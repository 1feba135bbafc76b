//! The port of a service that a rule leads to.
//!
//! Invariant: what cannot be reached is told of, with why. Follows `staging/src/k8s.io/api/networking/v1/types.go` upstream.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use skiff_ingress::{
    endpoint::Protocol,
    upstream::{PortOf, Upstreams},
};

use crate::network::{
    family::IpFamily,
    services::ready_endpoints,
    view::{ObjectName, Slices},
};

/// A service with its slices, by name.
pub type Services<'a> = dyn Fn(&ObjectName) -> Option<(Arc<Service>, Slices)> + 'a;

/// Which port of a service.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    Name(&'a str),
    Number(i32),
}

impl Wanted<'_> {
    fn is(self, port: &ServicePort) -> bool {
        match self {
            Wanted::Name(name) => port.name.as_deref() == Some(name),
            Wanted::Number(number) => port.port == number,
        }
    }
}

/// Why a backend cannot be reached.
#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum Unreachable {
    #[error("There is no Service {0}")]
    NoService(ObjectName),
    #[error("Service {0} is of type ExternalName, which is not served")]
    External(ObjectName),
    #[error("Service {0} has no TCP port {1}")]
    NoPort(ObjectName, String),
}

impl From<Unreachable> for (&'static str, String) {
    /// The reason of an event, and its message.
    fn from(why: Unreachable) -> Self {
        let reason = match why {
            Unreachable::NoService(_) => "ServiceNotFound",
            Unreachable::External(_) => "UnsupportedBackend",
            Unreachable::NoPort(..) => "PortNotFound",
        };
        (reason, why.to_string())
    }
}

/// The port of the service, its endpoints brought up to date.
pub fn port(
    services: &Services<'_>,
    upstreams: &Upstreams,
    name: &ObjectName,
    wanted: Wanted<'_>,
) -> Result<PortOf, Unreachable> {
    let (service, slices) = services(name).ok_or_else(|| Unreachable::NoService(name.clone()))?;
    let spec = service.spec.as_ref();
    if spec.is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName")) {
        return Err(Unreachable::External(name.clone()));
    }
    let is_tcp =
        |found: &&ServicePort| matches!(found.protocol.as_deref(), None | Some("" | "TCP"));
    let mut ports = spec
        .and_then(|spec| spec.ports.as_ref())
        .into_iter()
        .flatten()
        .filter(is_tcp);
    let found = ports.find(|port| wanted.is(port)).ok_or_else(|| {
        let wanted = match wanted {
            Wanted::Name(name) => name.to_owned(),
            Wanted::Number(number) => number.to_string(),
        };
        Unreachable::NoPort(name.clone(), wanted)
    })?;
    let protocol = protocol_of(found.app_protocol.as_deref());
    let port = PortOf {
        service: name.to_string().into(),
        port: u16::try_from(found.port).unwrap_or_default(),
        protocol,
    };
    let name = found.name.as_deref().unwrap_or_default();
    let endpoints = ready_endpoints(&slices, name, &families(spec));
    upstreams.get(port.clone()).set(&endpoints, protocol);
    Ok(port)
}

/// The families of a service, its own first.
fn families(spec: Option<&ServiceSpec>) -> Vec<IpFamily> {
    let named = spec.and_then(|spec| spec.ip_families.as_ref());
    let mut own: Vec<_> = named
        .into_iter()
        .flatten()
        .filter_map(|name| IpFamily::parse(name))
        .chain(IpFamily::ALL)
        .collect();
    own.dedup();
    own
}

/// How endpoints are spoken to.
fn protocol_of(app_protocol: Option<&str>) -> Protocol {
    match app_protocol
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "kubernetes.io/h2c" | "h2c" | "grpc" => Protocol::H2c,
        "https" | "kubernetes.io/wss" => Protocol::Https,
        "grpcs" => Protocol::H2,
        _ => Protocol::Http1,
    }
}
