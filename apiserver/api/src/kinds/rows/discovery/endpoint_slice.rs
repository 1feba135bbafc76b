//! EndpointSlices: addresses of one type, each of which can be reached, and ports with different names.
//!
//! Invariant: `deprecatedTopology` is never written anew. Follows `pkg/apis/discovery/validation/validation.go`,
//! `pkg/registry/discovery/endpointslice/strategy.go` and `pkg/apis/discovery/v1/defaults.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    dns_label, endpoint_ip, immutable, legacy_ip, one_of, qualified_name, required_one_of,
};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_create: |slice| drop_topology(slice, None),
    prepare_for_update: |new, old| drop_topology(new, Some(old)),
    validate: |slice| validate(slice, None),
    validate_update: |new, old| {
        let mut errors = validate(new, Some(old));
        immutable(
            new.some("addressType"),
            old.some("addressType"),
            &Path::new("addressType"),
            &mut errors,
        );
        errors
    },
    warnings,
    ..Strategy::DEFAULT
};

const MOST_TOPOLOGY: usize = 16;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20000;
const MOST_ENDPOINTS: usize = 1000;
const MOST_HINTS: usize = 8;
const HOST: &str = "kubernetes.io/hostname";

fn defaults(slice: &mut Value) {
    for port in slice
        .as_object_mut()
        .into_iter()
        .flat_map(|map| fill::each(map, "ports"))
    {
        fill::absent(port, "name", "");
        fill::absent(port, "protocol", "TCP");
    }
}

/// The old field for nodes is read no more; a node that it named before goes to its own field.
fn drop_topology(slice: &mut Value, old: Option<&Value>) {
    if old.is_some_and(|old| old.some("endpoints") == slice.some("endpoints")) {
        return;
    }
    let host = |endpoint: &Value| endpoint.at("deprecatedTopology").text(HOST).to_string();
    let known: Vec<String> = old
        .into_iter()
        .flat_map(|old| old.list("endpoints"))
        .map(host)
        .filter(|name| !name.is_empty())
        .collect();
    for endpoint in slice
        .get_mut("endpoints")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let named = host(endpoint);
        let good = known.contains(&named) && names::is_dns1123_subdomain(&named).is_empty();
        let Some(map) = endpoint.as_object_mut() else {
            continue;
        };
        if good {
            fill::absent(map, "nodeName", named);
        }
        map.remove("deprecatedTopology");
    }
}

fn too_many(list: usize, most: usize, path: &Path, errors: &mut Errors) -> bool {
    if list > most {
        errors.too_many(path, list as i64, most as i64);
    }
    list > most
}

fn validate(slice: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let kind = slice.text("addressType");
    required_one_of(
        kind,
        &["FQDN", "IPv4", "IPv6"],
        &Path::new("addressType"),
        &mut errors,
    );
    ports(slice.list("ports"), &mut errors);
    // what was taken once stays good as long as it stays as it is
    if old.is_none_or(|old| old.some("endpoints") != slice.some("endpoints")) {
        let (list, path) = (slice.list("endpoints"), Path::new("endpoints"));
        if !too_many(list.len(), MOST_ENDPOINTS, &path, &mut errors) {
            let own = checks::is_api_server(slice);
            list.iter()
                .enumerate()
                .for_each(|(index, one)| endpoint(one, kind, own, &path.index(index), &mut errors));
        }
    }
    errors
}

fn ports(list: &[Value], errors: &mut Errors) {
    let root = Path::new("ports");
    if too_many(list.len(), MOST_PORTS, &root, errors) {
        return;
    }
    for (index, port) in list.iter().enumerate() {
        let path = root.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            dns_label(name, &path.child("name"), errors);
        }
        if list[..index]
            .iter()
            .any(|before| before.text("name") == name)
        {
            errors.duplicate(&path.child("name"), name);
        }
        match port.text_ptr("protocol") {
            None => errors.required(&path.child("protocol"), ""),
            Some(protocol) => one_of(
                protocol,
                &["SCTP", "TCP", "UDP"],
                &path.child("protocol"),
                errors,
            ),
        }
        if let Some(protocol) = port.text_ptr("appProtocol") {
            qualified_name(protocol, &path.child("appProtocol"), errors);
        }
    }
}

fn endpoint(endpoint: &Value, kind: &str, own: bool, path: &Path, errors: &mut Errors) {
    let (addresses, list) = (path.child("addresses"), endpoint.list("addresses"));
    if list.is_empty() {
        errors.required(&addresses, "must contain at least 1 address");
    }
    too_many(list.len(), MOST_ADDRESSES, &addresses, errors);
    for (index, one) in endpoint.texts("addresses").enumerate() {
        let path = addresses.index(index);
        if address(one, kind, &addresses, &path, errors) && !own {
            endpoint_ip(one, &path, errors);
        }
    }
    if let Some(node) = endpoint.text_ptr("nodeName") {
        checks::subdomain(node, &path.child("nodeName"), errors);
    }
    let topology = path.child("deprecatedTopology");
    too_many(
        endpoint.entries("deprecatedTopology").count(),
        MOST_TOPOLOGY,
        &topology,
        errors,
    );
    checks::labels(endpoint, "deprecatedTopology", &topology, errors);
    if let Some(host) = endpoint.text_ptr("hostname") {
        dns_label(host, &path.child("hostname"), errors);
    }
    if let Some(given) = endpoint.some("hints") {
        hints(given, &path.child("hints"), errors);
    }
}

/// Whether it is an IP address at all, of whichever family.
fn address(address: &str, kind: &str, list: &Path, path: &Path, errors: &mut Errors) -> bool {
    let before = errors.len();
    let family = match kind {
        "IPv4" => {
            legacy_ip(address, &[], path, errors);
            "must be an IPv4 address"
        }
        "IPv6" => {
            errors.invalid_all(path, address, names::ip::is_valid_ip(address));
            "must be an IPv6 address"
        }
        "FQDN" => {
            if address.is_empty() {
                errors.required(path, "");
            }
            for (said, value) in names::is_fully_qualified_domain_name(address) {
                errors.invalid(path, value, said);
            }
            return false;
        }
        _ => return false,
    };
    if errors.len() > before {
        return false;
    }
    if names::ip::parse_ip_sloppy(address).is_some_and(|(ip, _)| ip.is_ipv4() != (kind == "IPv4")) {
        errors.invalid(list, address, family);
    }
    true
}

fn hints(hints: &Value, path: &Path, errors: &mut Errors) {
    let checks: [(&str, fn(&str) -> Vec<String>); 2] = [
        ("forZones", names::is_label_value),
        ("forNodes", names::is_dns1123_subdomain),
    ];
    for (field, check) in checks {
        let (list, path) = (hints.list(field), path.child(field));
        if too_many(list.len(), MOST_HINTS, &path, errors) {
            return;
        }
        for (index, one) in list.iter().enumerate() {
            let name = one.text("name");
            if list[..index]
                .iter()
                .any(|before| before.text("name") == name)
            {
                errors.duplicate(&path.index(index).child("name"), name);
            }
            errors.invalid_all(&path.index(index).child("name"), name, check(name));
        }
    }
}

fn warnings(slice: &Value, old: Option<&Value>) -> Warnings {
    let mut told = Vec::new();
    if old.is_none() && slice.text("addressType") == "FQDN" {
        told.push("spec.addressType: FQDN endpoints are deprecated".to_string());
    }
    // what controllers made is in good form
    if matches!(
        slice.label("endpointslice.kubernetes.io/managed-by"),
        Some("endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io")
    ) {
        return told;
    }
    for (at, endpoint) in slice.list("endpoints").iter().enumerate() {
        for (index, address) in endpoint.texts("addresses").enumerate() {
            told.extend(names::ip::warnings_for_ip(
                &format!("endpoints[{at}].addresses[{index}]"),
                address,
            ));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_the_type() {
        for (kind, address, said) in [
            ("IPv4", "10.0.0.1", "[]"),
            ("IPv6", "2001:db8::1", "[]"),
            ("FQDN", "a.example.com", "[]"),
            ("FQDN", "", "endpoints[0].addresses[0]: Required value"),
            (
                "IPv4",
                "2001:db8::1",
                "endpoints[0].addresses: Invalid value: \"2001:db8::1\": must be an IPv4 address",
            ),
            (
                "IPv4",
                "127.0.0.1",
                "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                "IPv4",
                "::1",
                "[endpoints[0].addresses: Invalid value: \"::1\": must be an IPv4 address, endpoints[0].addresses[0]: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)]",
            ),
            (
                "IP",
                "127.0.0.1",
                "addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            ),
        ] {
            assert_eq!(
                validate(
                    &json!({"addressType": kind, "endpoints": [{"addresses": [address]}]}),
                    None
                )
                .message(),
                said
            );
        }
        let ports = json!({"addressType": "IPv4", "ports": [{"name": "a", "protocol": "TCP"}, {"name": "a", "protocol": "TCP"}]});
        assert_eq!(
            validate(&ports, None).message(),
            "ports[1].name: Duplicate value: \"a\""
        );
    }

    #[test]
    fn the_old_field_for_nodes_is_left_behind() {
        let of = |topology: &str| json!({"endpoints": [{"addresses": ["10.0.0.1"], "deprecatedTopology": {HOST: topology}}]});
        let mut new = of("a");
        drop_topology(&mut new, None);
        assert_eq!(new, json!({"endpoints": [{"addresses": ["10.0.0.1"]}]}));
        let mut changed = of("a");
        changed["endpoints"][0]["hostname"] = "b".into();
        drop_topology(&mut changed, Some(&of("a")));
        assert_eq!(changed["endpoints"][0]["nodeName"], "a");
    }
}
