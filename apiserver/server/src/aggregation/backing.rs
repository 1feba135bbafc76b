//! What there is behind the service of an APIService, as far as can be told without asking it.
//!
//! Invariant: pure; what is missing is told in upstream's words.
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/controllers/status/remote/remote_available_controller.go`.

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{read::Read, status::Status};

use super::known::Backend;
use crate::{core::Core, services};

/// What is stored of a service.
pub struct Backing {
    service: Option<Value>,
    slices: Vec<Value>,
}

impl Backing {
    pub fn read(core: &Core, backend: &Backend) -> Result<Backing, Status> {
        let (namespace, name) = (&backend.namespace, &backend.name);
        Ok(Backing {
            service: services::service(core, namespace, name)?,
            slices: services::slices(core, namespace, name)?,
        })
    }

    /// Why nobody needs to be asked whether the service answers: reason and message of the condition.
    pub fn missing(&self, backend: &Backend) -> Option<(&'static str, String)> {
        let Backend {
            namespace,
            name,
            port,
        } = backend;
        let Some(service) = &self.service else {
            let why = format!(
                "service/{name} in {namespace} is not present",
                namespace = GoQuoted(&namespace)
            );
            return Some(("ServiceNotFound", why));
        };
        if service.at("spec").text("type") != "ClusterIP" {
            return None;
        }
        let mut ports = service.at("spec").list("ports").iter();
        let Some(found) = ports.find(|one| one.int("port") == i64::from(*port)) else {
            let why = format!(
                "service/{name} in {namespace} is not listening on port {port}",
                namespace = GoQuoted(&namespace)
            );
            return Some(("ServicePortError", why));
        };
        if self.slices.is_empty() {
            let why = format!(
                "cannot find endpointslices for service/{name} in {namespace}",
                namespace = GoQuoted(&namespace)
            );
            return Some(("EndpointsNotFound", why));
        }
        let port_name = found.text("name");
        if !self.slices.iter().any(|slice| leads(slice, port_name)) {
            let why = format!(
                "endpointslices for service/{name} in {namespace} have no addresses with port name {port_name}",
                namespace = GoQuoted(&namespace),
                port_name = GoQuoted(&port_name)
            );
            return Some(("MissingEndpoints", why));
        }
        None
    }
}

/// Whether a slice has an endpoint that is ready, and the port.
fn leads(slice: &Value, port_name: &str) -> bool {
    let port = |port: &Value| port.text("name") == port_name && port.int_ptr("port").is_some();
    slice.list("endpoints").iter().any(services::is_ready) && slice.list("ports").iter().any(port)
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
        let cluster = |port: u16| {
            service(json!({"type": "ClusterIP", "ports": [{"name": "web", "port": port}]}))
        };
        let slice = |ready: bool, name: &str| json!({"ports": [{"name": name, "port": 8443}], "endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": ready}}]});
        for (service, slices, told) in [
            (
                None,
                vec![],
                r#"ServiceNotFound: service/s in "n" is not present"#,
            ),
            (
                cluster(80),
                vec![],
                r#"ServicePortError: service/s in "n" is not listening on port 443"#,
            ),
            (
                cluster(443),
                vec![],
                r#"EndpointsNotFound: cannot find endpointslices for service/s in "n""#,
            ),
            (
                cluster(443),
                vec![slice(false, "web"), slice(true, "other")],
                r#"MissingEndpoints: endpointslices for service/s in "n" have no addresses with port name "web""#,
            ),
            (
                cluster(443),
                vec![slice(true, "other"), slice(true, "web")],
                "",
            ),
            (
                service(json!({"type": "ExternalName", "externalName": "localhost"})),
                vec![],
                "",
            ),
        ] {
            let missing = Backing { service, slices }.missing(&backend);
            let text = missing.map_or(String::new(), |(reason, why)| format!("{reason}: {why}"));
            assert_eq!(text, told);
        }
    }
}
