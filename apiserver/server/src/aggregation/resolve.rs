//! Where the service of an APIService is reached, and whether there is anything to reach.
//!
//! Invariant: what is dialled is an endpoint that is ready (a cluster address leads nowhere but in nodes' networks), or the name that an external
//! service says.
//! Follows `staging/src/k8s.io/apiserver/pkg/util/proxy/proxy.go` and, for what is told,
//! `staging/src/k8s.io/kube-aggregator/pkg/controllers/status/remote/remote_available_controller.go`.

use rand::RngExt;
use serde_json::Value;
use skiff_api::machinery::{read::Read, status::Status};
use skiff_storage::{Key, Store};

use super::known::Backend;
use crate::stored;

pub const SERVICES: &str = "services";
pub const SLICES: &str = "endpointslices.discovery.k8s.io";
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Why a service leads nowhere.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum Nowhere {
    #[error("service {0:?} not found")]
    NoService(String),
    #[error("unsupported service type {0:?}")]
    Type(String),
    #[error("no service port {port} found for service {service:?}")]
    NoPort { port: i64, service: String },
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
    #[error("{0}")]
    Unreadable(String),
}

impl From<Status> for Nowhere {
    fn from(status: Status) -> Nowhere {
        Nowhere::Unreadable(status.message)
    }
}

/// What is stored of a service.
pub struct Found {
    service: Option<Value>,
    slices: Vec<Value>,
}

impl Found {
    pub fn read(store: &dyn Store, backend: &Backend) -> Result<Found, Status> {
        let key = Key {
            resource: SERVICES.into(),
            namespace: backend.namespace.as_str().into(),
            name: backend.name.as_str().into(),
        };
        let service = store.get(&key).map(|object| stored::value(&object));
        let slices = store.snapshot(SLICES);
        let ours = slices
            .range(Some(&backend.namespace), None)
            .filter(|slice| slice.attributes().label(SERVICE_NAME) == Some(&backend.name));
        Ok(Found {
            service: service.transpose()?,
            slices: ours
                .map(|slice| stored::value(&slice))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Host and port to dial.
    pub fn place(&self, backend: &Backend) -> Result<(String, u16), Nowhere> {
        let name = || backend.name.clone();
        let service = self
            .service
            .as_ref()
            .ok_or_else(|| Nowhere::NoService(name()))?;
        let spec = service.at("spec");
        match spec.text("type") {
            "ClusterIP" | "NodePort" | "LoadBalancer" => {}
            "ExternalName" => {
                let port = u16::try_from(backend.port).map_err(|_| self.no_port(backend))?;
                return Ok((spec.text("externalName").into(), port));
            }
            other => return Err(Nowhere::Type(other.into())),
        }
        let port = port_name(service, backend.port).ok_or_else(|| self.no_port(backend))?;
        let mut slices: Vec<&Value> = self.slices.iter().collect();
        let family = spec.texts("ipFamilies").next().unwrap_or("");
        slices.sort_by_key(|slice| {
            let of_family = !family.is_empty() && slice.text("addressType") == family;
            (!of_family, rand::rng().random_range(0..u32::MAX))
        });
        slices
            .into_iter()
            .find_map(|slice| endpoint(slice, port))
            .ok_or_else(|| Nowhere::NoEndpoints(name()))
    }

    fn no_port(&self, backend: &Backend) -> Nowhere {
        Nowhere::NoPort {
            port: backend.port,
            service: backend.name.clone(),
        }
    }

    /// Why nobody needs to be asked whether the service answers: reason and message of the condition.
    pub fn missing(&self, backend: &Backend) -> Option<(&'static str, String)> {
        let Backend {
            namespace,
            name,
            port,
        } = backend;
        let Some(service) = &self.service else {
            let why = format!("service/{name} in {namespace:?} is not present");
            return Some(("ServiceNotFound", why));
        };
        if service.at("spec").text("type") != "ClusterIP" {
            return None;
        }
        let Some(port_name) = port_name(service, *port) else {
            let why = format!("service/{name} in {namespace:?} is not listening on port {port}");
            return Some(("ServicePortError", why));
        };
        if self.slices.is_empty() {
            let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Some(("EndpointsNotFound", why));
        }
        let leads = |slice: &Value| {
            slice.list("endpoints").iter().any(ready) && numbered(slice, port_name).is_some()
        };
        if !self.slices.iter().any(leads) {
            let why = format!(
                "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
            );
            return Some(("MissingEndpoints", why));
        }
        None
    }
}

/// The name of a service's port; empty for one without a name.
fn port_name(service: &Value, port: i64) -> Option<&str> {
    let mut ports = service.at("spec").list("ports").iter();
    ports
        .find(|one| one.int_ptr("port") == Some(port))
        .map(|one| one.text("name"))
}

fn ready(endpoint: &Value) -> bool {
    endpoint.at("conditions").flag_ptr("ready").unwrap_or(true)
}

/// The number of a slice's port.
fn numbered(slice: &Value, name: &str) -> Option<i64> {
    let mut ports = slice.list("ports").iter();
    ports
        .find(|port| port.text("name") == name && port.int_ptr("port").is_some())
        .and_then(|port| port.int_ptr("port"))
}

/// Any endpoint of the slice that is ready, when it has the port.
fn endpoint(slice: &Value, port: &str) -> Option<(String, u16)> {
    let port = u16::try_from(numbered(slice, port)?).ok()?;
    let endpoints = slice.list("endpoints");
    let start = rand::rng().random_range(0..endpoints.len().max(1));
    let mut from_any = endpoints[start..].iter().chain(&endpoints[..start]);
    let found = from_any.find(|endpoint| ready(endpoint))?;
    let address = found.texts("addresses").next()?;
    Some((address.into(), port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_told_of_what_is_missing() {
        let backend = Backend {
            namespace: "n".into(),
            name: "s".into(),
            port: 443,
        };
        let service = |spec: Value| Some(json!({"spec": spec}));
        let cluster = |port: i64| {
            service(json!({"type": "ClusterIP", "ports": [{"name": "web", "port": port}]}))
        };
        let slice = |ready: bool, name: &str| {
            json!({"addressType": "IPv4", "ports": [{"name": name, "port": 8443}],
                "endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": ready}}]})
        };
        for (service, slices, reason, place) in [
            (None, vec![], "ServiceNotFound", r#"service "s" not found"#),
            (
                cluster(80),
                vec![],
                "ServicePortError",
                r#"no service port 443 found for service "s""#,
            ),
            (
                cluster(443),
                vec![],
                "EndpointsNotFound",
                r#"no endpoints available for service "s""#,
            ),
            (
                cluster(443),
                vec![slice(false, "web")],
                "MissingEndpoints",
                r#"no endpoints available for service "s""#,
            ),
            (
                cluster(443),
                vec![slice(true, "other")],
                "MissingEndpoints",
                r#"no endpoints available for service "s""#,
            ),
            (
                cluster(443),
                vec![slice(true, "other"), slice(true, "web")],
                "",
                "10.0.0.7:8443",
            ),
            (
                service(json!({"type": "ExternalName", "externalName": "localhost"})),
                vec![],
                "",
                "localhost:443",
            ),
        ] {
            let found = Found { service, slices };
            let told = found.missing(&backend).map_or("", |(reason, _)| reason);
            let leads = match found.place(&backend) {
                Ok((host, port)) => format!("{host}:{port}"),
                Err(why) => why.to_string(),
            };
            assert_eq!((told, leads.as_str()), (reason, place));
        }
    }
}
