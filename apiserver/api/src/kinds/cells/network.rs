//! Cells of services, their endpoints and addresses, and ingresses. Follows `pkg/printers/internalversion/printers.go`.

use serde_json::Value;

use super::{
    Makers, NONE, UNKNOWN, UNSET, few, items, joined, load_balancer, makers, or, size, text,
};
use crate::machinery::read::Read;

pub(super) const MAKERS: Makers = makers! { of;
    "endpoints" => endpoints(of.at),
    "ingress.hosts" => hosts(items(of.at)),
    "ingress.ports" => if size(of.at) > 0 { "80, 443" } else { "80" },
    "ingress_class.parameters" => parameters(of.at),
    "ip_address.parent" => parent(of.at),
    "service.external_ip" => external_ip(of.object),
    "service.ports" => ports(items(of.at)),
    "slice.addresses" => few_or_unset(items(of.at).iter().flat_map(|endpoint| endpoint.list("addresses")).map(|address| text(address).to_string())),
    "slice.ports" => few_or_unset(items(of.at).iter().map(slice_port)),
};

/// `ip:port` of each ready address and port, or the bare address where a headless service has no port.
fn endpoints(subsets: &Value) -> String {
    let mut addresses = Vec::new();
    for subset in items(subsets) {
        let ips = || subset.list("addresses").iter().map(|of| of.text("ip"));
        match subset.list("ports") {
            [] => addresses.extend(ips().map(str::to_string)),
            ports => {
                let at = |port: &Value| {
                    ips()
                        .map(|ip| host_port(ip, port.int("port")))
                        .collect::<Vec<_>>()
                };
                addresses.extend(ports.iter().flat_map(at));
            }
        }
    }
    if size(subsets) == 0 {
        NONE.to_string()
    } else {
        few(&addresses, 3)
    }
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

/// The hosts of the rules, three at most. Rules after the third host count as more, whether they name a host or not.
fn hosts(rules: &[Value]) -> String {
    const MAX: usize = 3;
    let named: Vec<(usize, &str)> = rules
        .iter()
        .map(|rule| rule.text("host"))
        .enumerate()
        .filter(|(_, host)| !host.is_empty())
        .collect();
    let shown = joined(named.iter().take(MAX).map(|(_, host)| *host), "");
    match named.get(MAX - 1) {
        _ if shown.is_empty() => "*".to_string(),
        Some(&(third, _)) if third + 1 < rules.len() => {
            format!("{shown} + {} more...", rules.len() - MAX)
        }
        _ => shown,
    }
}

fn parameters(reference: &Value) -> String {
    if reference.is_null() {
        return NONE.to_string();
    }
    let group = reference
        .text_ptr("apiGroup")
        .map(|group| format!(".{group}"))
        .unwrap_or_default();
    format!(
        "{}{group}/{}",
        reference.text("kind"),
        reference.text("name")
    )
}

/// `resource.group/namespace/name` of what an address was given to.
fn parent(parent: &Value) -> String {
    if parent.is_null() {
        return NONE.to_string();
    }
    let written = |before: &str, field: &str| match parent.text(field) {
        "" => String::new(),
        text => format!("{before}{text}"),
    };
    let resource = format!("{}{}", parent.text("resource"), written(".", "group")).to_lowercase();
    format!(
        "{resource}{}/{}",
        written("/", "namespace"),
        parent.text("name")
    )
}

fn external_ip(service: &Value) -> String {
    let spec = service.at("spec");
    let own = spec.list("externalIPs").iter().map(text);
    match spec.text("type") {
        "ClusterIP" | "NodePort" => joined(own, NONE),
        "LoadBalancer" => {
            let addresses = load_balancer(service.at("status"));
            let balanced = addresses.split(',').filter(|address| !address.is_empty());
            joined(balanced.chain(own), "<pending>")
        }
        "ExternalName" => spec.text("externalName").to_string(),
        _ => UNKNOWN.to_string(),
    }
}

fn ports(ports: &[Value]) -> String {
    let written: Vec<String> = ports
        .iter()
        .map(|port| match (port.int("port"), port.int("nodePort")) {
            (own, node) if node > 0 => format!("{own}:{node}/{}", port.text("protocol")),
            (own, _) => format!("{own}/{}", port.text("protocol")),
        })
        .collect();
    or(&written.join(","), NONE).into()
}

fn slice_port(port: &Value) -> String {
    port.int_ptr("port").map_or_else(
        || port.text_ptr("name").unwrap_or("*").to_string(),
        |port| port.to_string(),
    )
}

fn few_or_unset(items: impl Iterator<Item = String>) -> String {
    or(&few(&items.collect::<Vec<_>>(), 3), UNSET).into()
}
