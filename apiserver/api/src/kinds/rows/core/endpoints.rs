//! Endpoints: addresses that can be reached, and ports with names where there are several.
//!
//! Follows `ValidateEndpoints*` of `pkg/apis/core/validation/validation.go`, `pkg/registry/core/endpoint/strategy.go` and
//! `SetDefaults_Endpoints` of `pkg/apis/core/v1/defaults.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    dns_label, endpoint_ip, legacy_ip, qualified_name, required_one_of,
};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate: |endpoints| subsets(endpoints),
    // what was taken once stays good as long as it stays as it is
    validate_update: |new, old| {
        if new.some("subsets") == old.some("subsets") {
            Errors::default()
        } else {
            subsets(new)
        }
    },
    warnings,
    ..Strategy::DEFAULT
};

const LISTS: [&str; 2] = ["addresses", "notReadyAddresses"];

fn defaults(endpoints: &mut Value) {
    for subset in endpoints
        .as_object_mut()
        .into_iter()
        .flat_map(|map| fill::each(map, "subsets"))
    {
        fill::each(subset, "ports").for_each(|port| fill::text(port, "protocol", "TCP"));
    }
}

fn subsets(endpoints: &Value) -> Errors {
    let mut errors = Errors::default();
    let own = checks::is_api_server(endpoints);
    for (index, subset) in endpoints.list("subsets").iter().enumerate() {
        let root = Path::new("subsets");
        let path = root.index(index);
        if LISTS.iter().all(|list| subset.list(list).is_empty()) {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in LISTS {
            for (index, one) in subset.list(list).iter().enumerate() {
                address(one, own, &path.child(list).index(index), &mut errors);
            }
        }
        let ports = subset.list("ports");
        for (index, one) in ports.iter().enumerate() {
            port(
                one,
                ports.len() > 1,
                &path.child("ports").index(index),
                &mut errors,
            );
        }
    }
    errors
}

fn address(address: &Value, own: bool, path: &Path, errors: &mut Errors) {
    let ip = address.text("ip");
    legacy_ip(ip, &[], &path.child("ip"), errors);
    if !address.text("hostname").is_empty() {
        dns_label(address.text("hostname"), &path.child("hostname"), errors);
    }
    if let Some(node) = address.text_ptr("nodeName") {
        checks::subdomain(node, &path.child("nodeName"), errors);
    }
    if !own {
        endpoint_ip(ip, &path.child("ip"), errors);
    }
}

fn port(port: &Value, named: bool, path: &Path, errors: &mut Errors) {
    match port.text("name") {
        "" if named => errors.required(&path.child("name"), ""),
        "" => {}
        name => dns_label(name, &path.child("name"), errors),
    }
    let number = port.int("port");
    for said in names::is_valid_port_num(number) {
        errors.invalid(&path.child("port"), number, said);
    }
    required_one_of(
        port.text("protocol"),
        &["SCTP", "TCP", "UDP"],
        &path.child("protocol"),
        errors,
    );
    if let Some(protocol) = port.text_ptr("appProtocol") {
        qualified_name(protocol, &path.child("appProtocol"), errors);
    }
}

fn warnings(endpoints: &Value, _: Option<&Value>) -> Warnings {
    // what a controller made is in good form
    if endpoints.label("endpoints.kubernetes.io/managed-by") == Some("endpoint-controller") {
        return Vec::new();
    }
    let mut told = Vec::new();
    for (at, subset) in endpoints.list("subsets").iter().enumerate() {
        for list in LISTS {
            for (index, address) in subset.list(list).iter().enumerate() {
                told.extend(names::ip::warnings_for_ip(
                    &format!("subsets[{at}].{list}[{index}].ip"),
                    address.text("ip"),
                ));
            }
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports() {
        let of = |subset: Value| {
            let mut endpoints = json!({"subsets": [subset]});
            defaults(&mut endpoints);
            endpoints
        };
        for (subset, said) in [
            (
                json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}),
                "[]",
            ),
            (
                json!({"ports": [{"port": 1}]}),
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            ),
            (
                json!({"addresses": [{"ip": "127.0.0.1"}]}),
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1, "name": "a"}, {"port": 2}]}),
                "subsets[0].ports[1].name: Required value",
            ),
        ] {
            assert_eq!(subsets(&of(subset)).message(), said);
        }
        let bad = of(json!({"addresses": [{"ip": "127.0.0.1"}]}));
        assert!((STRATEGY.validate_update)(&bad, &bad).is_empty());
    }
}
