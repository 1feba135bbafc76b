//! Where a service is reached: one of its endpoints, or the name that it stands for.
//!
//! Invariant: what is read is what is stored in that moment. There need be no service proxy where the server runs, so an endpoint is dialled, not the
//! cluster IP. Follows `staging/src/k8s.io/apiserver/pkg/util/proxy/proxy.go` (ResolveCluster for what may be asked, ResolveEndpoint for the place).

use rand::RngExt;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{read::Read, status::Status};
use skiff_storage::{Key, Object};

use crate::{core::Core, stored};

pub const SERVICES: &str = "services";
pub const SLICES: &str = "endpointslices.discovery.k8s.io";
const SERVICE_OF_SLICE: &str = "kubernetes.io/service-name";

/// Why a service cannot be reached, in upstream's words.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum Unresolved {
    #[error("service {} not found", GoQuoted(.0))]
    NotFound(String),
    #[error("cannot route to service with ClusterIP \"None\"")]
    Headless,
    #[error("unsupported service type {}", GoQuoted(.0))]
    Type(String),
    #[error("no service port {port} found for service {name}", name = GoQuoted(.name))]
    NoPort { port: u16, name: String },
    #[error("no endpoints available for service {}", GoQuoted(.0))]
    NoEndpoints(String),
    #[error("{0}")]
    Unreadable(String),
}

impl From<Status> for Unresolved {
    fn from(status: Status) -> Unresolved {
        Unresolved::Unreadable(status.message)
    }
}

/// Namespace and name of the service that a stored service, or a slice of endpoints, is about.
pub fn of(object: &Object) -> (&str, &str) {
    let key = &object.key;
    let name = match &*key.resource == SLICES {
        true => object.attributes().label(SERVICE_OF_SLICE).unwrap_or(""),
        false => &key.name,
    };
    (&key.namespace, name)
}

/// A service as it is stored.
pub fn service(core: &Core, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
    let key = Key {
        resource: SERVICES.into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let found = core.store.get(&key);
    found.map(|object| stored::value(&object)).transpose()
}

/// The slices of a service's endpoints.
pub fn slices(core: &Core, namespace: &str, name: &str) -> Result<Vec<Value>, Status> {
    let all = core.store.snapshot(SLICES).range(Some(namespace), None);
    all.filter(|slice| of(slice) == (namespace, name))
        .map(|slice| stored::value(&slice))
        .collect()
}

/// An endpoint takes connections; who does not say is taken for ready.
pub fn is_ready(endpoint: &Value) -> bool {
    endpoint.at("conditions").flag_ptr("ready") != Some(false)
}

/// A host and a port for `port` of a service.
///
/// # Errors
/// There is no such service or port, or nothing that is ready behind it.
pub fn resolve(
    core: &Core,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<(String, u16), Unresolved> {
    let found = service(core, namespace, name)?;
    let service = found.ok_or_else(|| Unresolved::NotFound(name.into()))?;
    let port_name = match routed(service.at("spec"), name, port)? {
        Routed::Elsewhere(host) => return Ok((host, port)),
        Routed::Port(port_name) => port_name,
    };
    let mut slices = slices(core, namespace, name)?;
    let primary = service.at("spec").texts("ipFamilies").next().unwrap_or("");
    // the family of the service's first address before the other
    slices.sort_by_key(|slice| slice.text("addressType") != primary);
    let place = slices.iter().find_map(|slice| endpoint(slice, &port_name));
    place.ok_or_else(|| Unresolved::NoEndpoints(name.into()))
}

#[derive(Debug, PartialEq)]
enum Routed {
    /// The port of this name, of its endpoints.
    Port(String),
    Elsewhere(String),
}

fn routed(spec: &Value, name: &str, port: u16) -> Result<Routed, Unresolved> {
    match spec.text("type") {
        "ClusterIP" if spec.text("clusterIP") == "None" => return Err(Unresolved::Headless),
        "ClusterIP" | "NodePort" | "LoadBalancer" => {}
        "ExternalName" => return Ok(Routed::Elsewhere(spec.text("externalName").into())),
        other => return Err(Unresolved::Type(other.into())),
    }
    let mut ports = spec.list("ports").iter();
    ports
        .find(|one| one.int("port") == i64::from(port))
        .map(|one| Routed::Port(one.text("name").into()))
        .ok_or_else(|| Unresolved::NoPort {
            port,
            name: name.into(),
        })
}

/// One of the ready endpoints of a slice, when it has the port.
fn endpoint(slice: &Value, port_name: &str) -> Option<(String, u16)> {
    let mut ports = slice.list("ports").iter();
    let port = ports.find(|port| port.text("name") == port_name)?;
    let port = u16::try_from(port.int_ptr("port")?).ok()?;
    let endpoints = slice.list("endpoints");
    let start = rand::rng().random_range(0..endpoints.len().max(1));
    let mut from_there = endpoints[start..].iter().chain(&endpoints[..start]);
    let address = from_there
        .find(|endpoint| is_ready(endpoint))?
        .texts("addresses")
        .next()?;
    Some((address.to_string(), port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_asked() {
        let ports = json!([{"name": "web", "port": 443}, {"port": 80}]);
        for (spec, port, wanted) in [
            (
                json!({"type": "ClusterIP", "ports": ports}),
                443,
                Ok(Routed::Port("web".into())),
            ),
            (
                json!({"type": "NodePort", "ports": ports}),
                80,
                Ok(Routed::Port(String::new())),
            ),
            (
                json!({"type": "ClusterIP", "ports": ports}),
                8443,
                Err(Unresolved::NoPort {
                    port: 8443,
                    name: "s".into(),
                }),
            ),
            (
                json!({"type": "ClusterIP", "clusterIP": "None", "ports": ports}),
                443,
                Err(Unresolved::Headless),
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.b"}),
                443,
                Ok(Routed::Elsewhere("a.b".into())),
            ),
            (json!({"type": "x"}), 443, Err(Unresolved::Type("x".into()))),
        ] {
            assert_eq!(routed(&spec, "s", port), wanted, "{spec}");
        }
    }

    #[test]
    fn endpoints_that_are_ready() {
        let slice = |endpoints: Value| json!({"ports": [{"name": "web", "port": 8443}, {"name": "none"}], "endpoints": endpoints});
        let (there, not, unknown) = (
            json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}}),
            json!({"addresses": ["10.0.0.2"], "conditions": {"ready": false}}),
            json!({"addresses": ["10.0.0.3"], "conditions": {}}),
        );
        let place = |ip: &str| Some((ip.to_string(), 8443));
        for (endpoints, port, wanted) in [
            (json!([not, there]), "web", place("10.0.0.1")),
            (json!([unknown]), "web", place("10.0.0.3")),
            (json!([not]), "web", None),
            (json!([]), "web", None),
            (json!([there]), "other", None),
            (json!([there]), "none", None),
        ] {
            assert_eq!(
                endpoint(&slice(endpoints.clone()), port),
                wanted,
                "{endpoints}"
            );
        }
    }
}
