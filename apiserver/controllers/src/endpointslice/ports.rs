//! The order of a slice's ports, which is that of their hashes.
//!
//! Invariant: the same ports stand in the same order, whatever the service's is. Follows k8s.io/endpointslice/util/controller_utils.go
//! (NewPortMapKey, portsInOrder) and k8s.io/utils/dump.

use k8s_openapi::api::discovery::v1::EndpointPort;

use crate::hash::fnv128a;

/// What upstream hashes: the port as Go shows it.
fn shown(port: &EndpointPort) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "<nil>".into());
    let number = port.port.map(|port| port.to_string());
    format!(
        "(v1.EndpointPort){{Name:(*string){} Protocol:(*v1.Protocol){} Port:(*int32){} AppProtocol:(*string){}}}",
        text(&port.name),
        text(&port.protocol),
        text(&number),
        text(&port.app_protocol)
    )
}

/// Puts ports in order.
pub fn in_order(mut ports: Vec<EndpointPort>) -> Vec<EndpointPort> {
    ports.sort_by_cached_key(|port| fnv128a(shown(port).as_bytes()));
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_in_the_order_of_their_hashes() {
        let port = |name: &str, protocol: &str, number, app: Option<&str>| EndpointPort {
            name: Some(name.into()),
            protocol: Some(protocol.into()),
            port: Some(number),
            app_protocol: app.map(Into::into),
        };
        let ports = vec![
            port("dns", "UDP", 53, Some("example.com/x")),
            port("grpc", "TCP", 9000, Some("h2c")),
            port("https", "TCP", 443, None),
            port("http", "TCP", 8080, None),
        ];
        assert_eq!(
            shown(&ports[3]),
            "(v1.EndpointPort){Name:(*string)http Protocol:(*v1.Protocol)TCP Port:(*int32)8080 AppProtocol:(*string)<nil>}"
        );
        let names: Vec<_> = in_order(ports).into_iter().filter_map(|p| p.name).collect();
        assert_eq!(names, ["http", "https", "dns", "grpc"]);
    }
}
