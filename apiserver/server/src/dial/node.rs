//! By which address a node's own API is reached.
//!
//! Follows `pkg/kubelet/client/kubelet_client.go` (GetConnectionInfo) and `pkg/util/node/node.go` (GetPreferredNodeAddress).

use serde_json::Value;
use skiff_api::machinery::{read::Read, status::Status};
use skiff_podspec::runtime::has_containers;

/// The types of addresses in the order of preference that kubeadm sets.
const PREFERRED: [&str; 3] = ["InternalIP", "ExternalIP", "Hostname"];
const PORT: u16 = 10250;

/// Host and port of a node.
///
/// # Errors
/// It tells no address, or one that would lead elsewhere; or it is simulated: whoever has its address is somebody else.
pub fn address(node: &Value) -> Result<(String, u16), Status> {
    let addresses = node.at("status").list("addresses");
    let of = |kind: &str| {
        addresses
            .iter()
            .find(|address| address.at("type") == kind)
            .and_then(|address| address.text_ptr("address"))
    };
    let known: Vec<String> = addresses
        .iter()
        .map(|address| format!("{{{} {}}}", address.text("type"), address.text("address")))
        .collect();
    let host = PREFERRED.iter().find_map(|kind| of(kind)).ok_or_else(|| {
        Status::internal_plain(format!(
            "no preferred addresses found; known addresses: [{}]",
            known.join(" ")
        ))
    })?;
    // an address or a name, and nothing that would make it another part of a URL
    let fits = host.parse::<std::net::IpAddr>().is_ok()
        || skiff_api::machinery::names::is_dns1123_subdomain(&host.to_ascii_lowercase()).is_empty();
    if !fits {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = node
        .at("status")
        .at("daemonEndpoints")
        .at("kubeletEndpoint")
        .at("Port")
        .as_u64()
        .filter(|port| *port > 0);
    let info = node.at("status").at("nodeInfo");
    if port.is_none() && !has_containers(info.text("containerRuntimeVersion")) {
        let name = node.at("metadata").text("name");
        return Err(Status::bad_request(format!(
            "node {name} is simulated: its pods have no containers, and there is nothing to connect to"
        )));
    }
    let port = port
        .map_or(Ok(PORT), u16::try_from)
        .map_err(|_| Status::bad_request("address not allowed"))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses() {
        let node = |addresses: Value, port: Value| json!({"status": {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
        let (ip, name) = (
            json!({"type": "InternalIP", "address": "10.0.0.1"}),
            json!({"type": "Hostname", "address": "Node-1"}),
        );
        assert_eq!(
            address(&node(json!([name, ip]), json!(0))).unwrap(),
            ("10.0.0.1".into(), 10250)
        );
        assert_eq!(
            address(&node(json!([name]), json!(1234))).unwrap(),
            ("Node-1".into(), 1234)
        );
        let none = address(&node(
            json!([{"type": "InternalDNS", "address": "x"}]),
            Value::Null,
        ))
        .unwrap_err();
        assert_eq!(
            none.message,
            "no preferred addresses found; known addresses: [{InternalDNS x}]"
        );
        for odd in ["10.0.0.1@evil", "evil/x", "a:1", "a b", ""] {
            assert_eq!(
                address(&node(
                    json!([{"type": "InternalIP", "address": odd}]),
                    Value::Null
                ))
                .unwrap_err()
                .code,
                400,
                "{odd}"
            );
        }
        assert_eq!(
            address(&node(json!([ip]), json!(70000))).unwrap_err().code,
            400
        );
        let mut pretended = node(json!([ip]), json!(0));
        pretended["metadata"]["name"] = "sim-1".into();
        pretended["status"]["nodeInfo"]["containerRuntimeVersion"] = "skiff-simulated://1".into();
        let refused = address(&pretended).unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (
                400,
                "node sim-1 is simulated: its pods have no containers, and there is nothing to connect to"
            )
        );
    }
}
