//! The nftables form of a service's plan: chains of its own, and elements in maps that all services share.
//!
//! Invariant: pure; everything one service needs is in its fragment, and a fragment mentions no other service's chains.
//! Follows the packet path of `pkg/proxy/nftables/proxier.go` upstream: verdict maps by destination, one rule a service that picks an endpoint at random,
//! a mark for what must be masqueraded, a set of (pod, pod) pairs for what comes back to its sender.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::{
    super::messages::only,
    plan::{Endpoint, PortPlan, Target},
};

pub const TABLE: &str = "skiff-proxy";
const MARK: &str = "meta mark set meta mark or 0x4000";

/// A map or set that all services share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shared {
    ServiceIps,
    ServiceNodePorts,
    NoEndpointServices,
    NoEndpointNodePorts,
    FirewallIps,
    ClusterIps,
    Hairpin,
}

impl Shared {
    pub fn name(self) -> &'static str {
        match self {
            Shared::ServiceIps => "service-ips",
            Shared::ServiceNodePorts => "service-nodeports",
            Shared::NoEndpointServices => "no-endpoint-services",
            Shared::NoEndpointNodePorts => "no-endpoint-nodeports",
            Shared::FirewallIps => "firewall-ips",
            Shared::ClusterIps => "cluster-ips",
            Shared::Hairpin => "hairpin",
        }
    }
}

/// What one service adds to the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Name to rules.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Sets that remember clients: name to timeout in seconds.
    pub affinity: BTreeMap<String, u32>,
    /// (container, key) to value; the value of a set's element is empty.
    pub elements: BTreeMap<(Shared, String), String>,
}

/// What the rules of a node depend on besides the services.
#[derive(Clone, Debug)]
pub struct NodeRules {
    /// The addresses of this node's own pods.
    pub pod_cidr: IpNet,
    /// What is sent to an address of it that no service has is dropped.
    pub service_cidr: Option<IpNet>,
    pub node_ips: Vec<Ipv4Addr>,
    /// Addresses of `service_cidr` that are no service's but answered all the same: cluster DNS.
    pub own_cluster_ips: Vec<Ipv4Addr>,
}

/// The table without services.
pub fn base(node: &NodeRules) -> String {
    let pods = node.pod_cidr;
    let own: Vec<_> = node
        .own_cluster_ips
        .iter()
        .map(Ipv4Addr::to_string)
        .collect();
    let spare_own = if own.is_empty() {
        String::new()
    } else {
        format!("ip daddr {{ {} }} return\n", own.join(", "))
    };
    let unallocated = node
        .service_cidr
        .map_or(String::new(), |cidr| format!("ip daddr {cidr} drop\n"));
    let (by_ip, by_port) = (
        "ip daddr . meta l4proto . th dport",
        "meta l4proto . th dport",
    );
    let local = "fib daddr type local ip daddr != 127.0.0.0/8";
    let ip_map = "type ipv4_addr . inet_proto . inet_service : verdict;";
    let port_map = "type inet_proto . inet_service : verdict;";
    format!(
        "table ip {TABLE} {{
comment \"services\"
map service-ips {{ {ip_map} }}
map service-nodeports {{ {port_map} }}
map no-endpoint-services {{ {ip_map} }}
map no-endpoint-nodeports {{ {port_map} }}
map firewall-ips {{ {ip_map} }}
set cluster-ips {{ type ipv4_addr; }}
set hairpin {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; }}
chain refuse {{ meta l4proto tcp reject with tcp reset
reject
}}
chain services {{
ip daddr @cluster-ips ip saddr != {pods} {MARK}
{by_ip} vmap @service-ips
{local} {by_port} vmap @service-nodeports
}}
chain masquerading {{
meta mark and 0x4000 != 0 meta mark set meta mark xor 0x4000 masquerade fully-random
ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin masquerade fully-random
}}
chain endpoints-check {{ {by_ip} vmap @no-endpoint-services
}}
chain nodeports-check {{ {local} {by_port} vmap @no-endpoint-nodeports
}}
chain firewall-check {{ {by_ip} vmap @firewall-ips
}}
chain cluster-ips-check {{
{spare_own}ip daddr @cluster-ips goto refuse
{unallocated}}}
chain nat-prerouting {{ type nat hook prerouting priority -100; jump services
}}
chain nat-output {{ type nat hook output priority -100; jump services
}}
chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading
}}
chain filter-prerouting {{ type filter hook prerouting priority -110; ct state new jump firewall-check
}}
chain filter-output-early {{ type filter hook output priority -110; ct state new jump firewall-check
}}
chain filter-input {{ type filter hook input priority 0; ct state new jump nodeports-check
ct state new jump endpoints-check
}}
chain filter-forward {{ type filter hook forward priority 0; ct state new jump endpoints-check
ct state new jump cluster-ips-check
}}
chain filter-output {{ type filter hook output priority 0; ct state new jump endpoints-check
ct state new jump cluster-ips-check
}}
}}
"
    )
}

/// What all ports of one service add.
pub fn render(plans: &[PortPlan], node: &NodeRules) -> Fragment {
    let mut fragment = Fragment::default();
    for plan in plans {
        render_port(&mut fragment, plan, node);
    }
    fragment
}

/// The names of a port's chains.
struct Names {
    cluster: String,
    local: String,
    external: String,
    firewall: String,
}

fn full_name(plan: &PortPlan) -> String {
    format!(
        "{}/{}/{}/{}",
        plan.service.namespace,
        plan.service.name,
        plan.protocol.name(),
        plan.port_name
    )
}

impl Names {
    fn new(plan: &PortPlan) -> Self {
        let base = unique(&full_name(plan));
        Names {
            cluster: format!("svc-{base}"),
            local: format!("local-{base}"),
            external: format!("ext-{base}"),
            firewall: format!("fw-{base}"),
        }
    }
}

/// A name that nftables takes (127 bytes at most, no odd characters) and that still tells a person whose it is.
fn unique(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let short: String = name.chars().take(96).collect();
    format!("{}-{short}", hex::encode(&hash[..4]))
}

fn render_port(fragment: &mut Fragment, plan: &PortPlan, node: &NodeRules) {
    let names = Names::new(plan);
    let protocol = plan.protocol.name();
    let (uses_cluster, uses_local) = (
        !plan.cluster_endpoints.is_empty(),
        !plan.local_endpoints.is_empty(),
    );
    if uses_cluster {
        let rules = to_endpoints(plan, &plan.cluster_endpoints);
        fragment.chains.insert(names.cluster.clone(), rules);
    }
    if uses_local {
        fragment.chains.insert(
            names.local.clone(),
            to_endpoints(plan, &plan.local_endpoints),
        );
    }
    for endpoint in plan.reachable() {
        if endpoint.local {
            fragment.elements.insert(
                (
                    Shared::Hairpin,
                    format!("{0} . {0} . {protocol} . {1}", endpoint.ip, endpoint.port),
                ),
                String::new(),
            );
        }
        if let Some(seconds) = plan.affinity {
            remember_clients(fragment, plan, &endpoint, seconds);
        }
    }
    fragment.elements.insert(
        (Shared::ClusterIps, plan.cluster_ip.to_string()),
        String::new(),
    );
    let internal_chain = if plan.internal_local {
        &names.local
    } else {
        &names.cluster
    };
    let at_cluster_ip = format!("{} . {protocol} . {}", plan.cluster_ip, plan.port);
    let (container, verdict) = match plan.internal() {
        Target::Endpoints(_) => (Shared::ServiceIps, format!("goto {internal_chain}")),
        Target::Drop => (Shared::NoEndpointServices, "drop".to_owned()),
        Target::Reject => (Shared::NoEndpointServices, "goto refuse".to_owned()),
    };
    fragment
        .elements
        .insert((container, at_cluster_ip), verdict);
    render_external(fragment, plan, &names, node);
}

fn render_external(fragment: &mut Fragment, plan: &PortPlan, names: &Names, node: &NodeRules) {
    if !plan.externally_accessible() {
        return;
    }
    let protocol = plan.protocol.name();
    let mut everywhere = Vec::new();
    for ip in plan.external_ips.iter().chain(&plan.load_balancer_ips) {
        everywhere.push((
            Shared::ServiceIps,
            Shared::NoEndpointServices,
            format!("{ip} . {protocol} . {}", plan.port),
        ));
    }
    if let Some(port) = plan.node_port {
        everywhere.push((
            Shared::ServiceNodePorts,
            Shared::NoEndpointNodePorts,
            format!("{protocol} . {port}"),
        ));
    }
    for (services, none, key) in everywhere {
        // Both when the policy leaves nothing for the outside, but this node and its pods are still served.
        if plan.has_endpoints {
            fragment
                .elements
                .insert((services, key.clone()), format!("goto {}", names.external));
        }
        match plan.external() {
            Target::Endpoints(_) => {}
            Target::Drop => drop(fragment.elements.insert((none, key), "drop".into())),
            Target::Reject => drop(fragment.elements.insert((none, key), "goto refuse".into())),
        }
    }
    if plan.has_endpoints {
        fragment
            .chains
            .insert(names.external.clone(), external_rules(plan, names, node));
    }
    if !plan.load_balancer_ips.is_empty() && !plan.load_balancer_sources.is_empty() {
        fragment
            .chains
            .insert(names.firewall.clone(), vec![firewall_rule(plan, node)]);
        for ip in &plan.load_balancer_ips {
            fragment.elements.insert(
                (
                    Shared::FirewallIps,
                    format!("{ip} . {protocol} . {}", plan.port),
                ),
                format!("goto {}", names.firewall),
            );
        }
    }
}

fn external_rules(plan: &PortPlan, names: &Names, node: &NodeRules) -> Vec<String> {
    let Names { cluster, local, .. } = names;
    if !plan.external_local {
        // The endpoint may be on another node, which must answer through this one.
        return vec![MARK.to_owned(), format!("goto {cluster}")];
    }
    let mut rules = Vec::new();
    if !plan.cluster_endpoints.is_empty() {
        // This node and its pods are inside the cluster: the policy for the outside is not for them.
        rules.push(format!("ip saddr {} goto {cluster}", node.pod_cidr));
        rules.push(format!("fib saddr type local {MARK}"));
        rules.push(format!("fib saddr type local goto {cluster}"));
    }
    if !plan.local_endpoints.is_empty() {
        rules.push(format!("goto {local}"));
    }
    rules
}

fn firewall_rule(plan: &PortPlan, node: &NodeRules) -> String {
    let mut sources: Vec<_> = plan
        .load_balancer_sources
        .iter()
        .map(|s| s.trunc().to_string())
        .collect();
    // The balancer's address may be this node's own as well: then its own packets come from there.
    if plan
        .load_balancer_sources
        .iter()
        .any(|s| node.node_ips.iter().any(|ip| s.contains(ip)))
    {
        sources.extend(plan.load_balancer_ips.iter().map(Ipv4Addr::to_string));
    }
    format!("ip saddr != {{ {} }} drop", sources.join(", "))
}

fn endpoint_names(plan: &PortPlan, endpoint: &Endpoint) -> (String, String) {
    let base = unique(&format!(
        "{}/{}/{}",
        full_name(plan),
        endpoint.ip,
        endpoint.port
    ));
    (format!("ep-{base}"), format!("aff-{base}"))
}

fn to_endpoints(plan: &PortPlan, endpoints: &[Endpoint]) -> Vec<String> {
    let protocol = plan.protocol.name();
    if plan.affinity.is_some() {
        let names: Vec<_> = endpoints.iter().map(|e| endpoint_names(plan, e)).collect();
        let known = names
            .iter()
            .map(|(chain, set)| format!("ip saddr @{set} goto {chain}"));
        let choice: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(i, (chain, _))| format!("{i} : goto {chain}"))
            .collect();
        let new = format!(
            "numgen random mod {} vmap {{ {} }}",
            choice.len(),
            choice.join(", ")
        );
        return known.chain([new]).collect();
    }
    if let [only] = endpoints {
        return vec![format!(
            "meta l4proto {protocol} dnat to {}:{}",
            only.ip, only.port
        )];
    }
    let choice: Vec<_> = endpoints
        .iter()
        .enumerate()
        .map(|(i, e)| format!("{i} : {} . {}", e.ip, e.port))
        .collect();
    vec![format!(
        "meta l4proto {protocol} dnat ip addr . port to numgen random mod {} map {{ {} }}",
        choice.len(),
        choice.join(", ")
    )]
}

fn remember_clients(fragment: &mut Fragment, plan: &PortPlan, endpoint: &Endpoint, seconds: u32) {
    let (chain, set) = endpoint_names(plan, endpoint);
    let rules = vec![
        format!("update @{set} {{ ip saddr }}"),
        format!(
            "meta l4proto {} dnat to {}:{}",
            plan.protocol.name(),
            endpoint.ip,
            endpoint.port
        ),
    ];
    fragment.chains.insert(chain, rules);
    fragment.affinity.insert(set, seconds);
}

/// The IPv4 addresses of a list.
pub fn ipv4(ips: &[IpAddr]) -> Vec<Ipv4Addr> {
    ips.iter().filter_map(only!(IpAddr::V4)).copied().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use skiff_testing::With;

    use super::{
        super::{super::view::ObjectName, plan::Protocol},
        *,
    };

    pub fn node() -> NodeRules {
        NodeRules {
            pod_cidr: "10.244.0.0/24".parse().unwrap(),
            service_cidr: Some("10.96.0.0/16".parse().unwrap()),
            node_ips: vec![Ipv4Addr::new(10, 89, 0, 2)],
            own_cluster_ips: Vec::new(),
        }
    }

    pub fn endpoint(last: u8) -> Endpoint {
        Endpoint {
            ip: Ipv4Addr::new(10, 244, 0, last),
            port: 8080,
            local: last < 100,
        }
    }

    pub fn plan(name: &str, last: u8, endpoints: &[u8]) -> PortPlan {
        PortPlan {
            service: ObjectName::new("ns", name),
            port_name: "http".into(),
            protocol: Protocol::Tcp,
            cluster_ip: Ipv4Addr::new(10, 96, 0, last),
            port: 80,
            node_port: None,
            external_ips: vec![],
            load_balancer_ips: vec![],
            load_balancer_sources: vec![],
            affinity: None,
            internal_local: false,
            external_local: false,
            cluster_endpoints: endpoints.iter().copied().map(endpoint).collect(),
            local_endpoints: vec![],
            has_endpoints: !endpoints.is_empty(),
            health_check: None,
        }
    }

    /// Without the hashes and the names behind them, which other tests cover.
    fn show(fragment: &Fragment) -> Vec<String> {
        let plain = |text: &str| {
            let word = |word: &str| match (word.split_once('-'), word.contains("/http")) {
                (Some((kind, rest)), true) => format!(
                    "{kind}{}",
                    rest.trim_start_matches(|c| c != ',' && c != ';')
                ),
                _ => word.to_owned(),
            };
            text.split(' ').map(word).collect::<Vec<_>>().join(" ")
        };
        let chains = fragment
            .chains
            .iter()
            .map(|(name, rules)| plain(&format!("{name} = {}", rules.join("; "))));
        let elements = fragment.elements.iter().map(|((to, key), value)| {
            plain(&format!("{} {key} {value}", to.name()))
                .trim_end()
                .to_owned()
        });
        chains.chain(elements).collect()
    }

    #[test]
    fn fragments() {
        let both = |p: PortPlan| {
            p.with(|p| {
                p.node_port = Some(30080);
                p.external_ips = vec![Ipv4Addr::new(1, 2, 3, 4)];
            })
        };
        let cases: Vec<(&str, PortPlan, Vec<&str>)> = vec![
            (
                "no endpoints",
                plan("a", 1, &[]),
                vec![
                    "no-endpoint-services 10.96.0.1 . tcp . 80 goto refuse",
                    "cluster-ips 10.96.0.1",
                ],
            ),
            (
                "two endpoints, one here",
                plan("a", 1, &[2, 102]),
                vec![
                    "svc = meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.0.102 . 8080 }",
                    "service-ips 10.96.0.1 . tcp . 80 goto svc",
                    "cluster-ips 10.96.0.1",
                    "hairpin 10.244.0.2 . 10.244.0.2 . tcp . 8080",
                ],
            ),
            (
                "outside, policy Cluster",
                both(plan("a", 1, &[102])),
                vec![
                    "ext = meta mark set meta mark or 0x4000; goto svc",
                    "svc = meta l4proto tcp dnat to 10.244.0.102:8080",
                    "service-ips 1.2.3.4 . tcp . 80 goto ext",
                    "service-ips 10.96.0.1 . tcp . 80 goto svc",
                    "service-nodeports tcp . 30080 goto ext",
                    "cluster-ips 10.96.0.1",
                ],
            ),
            (
                "outside, policy Local, nothing here",
                both(plan("a", 1, &[102])).with(|p| p.external_local = true),
                vec![
                    "ext = ip saddr 10.244.0.0/24 goto svc; fib saddr type local meta mark set meta mark or 0x4000; fib saddr type local goto svc",
                    "svc = meta l4proto tcp dnat to 10.244.0.102:8080",
                    "service-ips 1.2.3.4 . tcp . 80 goto ext",
                    "service-ips 10.96.0.1 . tcp . 80 goto svc",
                    "service-nodeports tcp . 30080 goto ext",
                    "no-endpoint-services 1.2.3.4 . tcp . 80 drop",
                    "no-endpoint-nodeports tcp . 30080 drop",
                    "cluster-ips 10.96.0.1",
                ],
            ),
            (
                "inside, policy Local",
                PortPlan {
                    internal_local: true,
                    cluster_endpoints: vec![],
                    local_endpoints: vec![endpoint(2)],
                    ..plan("a", 1, &[102])
                },
                vec![
                    "local = meta l4proto tcp dnat to 10.244.0.2:8080",
                    "service-ips 10.96.0.1 . tcp . 80 goto local",
                    "cluster-ips 10.96.0.1",
                    "hairpin 10.244.0.2 . 10.244.0.2 . tcp . 8080",
                ],
            ),
            (
                "a balancer for some",
                plan("a", 1, &[102]).with(|p| {
                    p.load_balancer_ips = vec![Ipv4Addr::new(9, 9, 9, 9)];
                    p.load_balancer_sources = vec!["10.0.0.0/8".parse().unwrap()];
                }),
                vec![
                    "ext = meta mark set meta mark or 0x4000; goto svc",
                    "fw = ip saddr != { 10.0.0.0/8, 9.9.9.9 } drop",
                    "svc = meta l4proto tcp dnat to 10.244.0.102:8080",
                    "service-ips 10.96.0.1 . tcp . 80 goto svc",
                    "service-ips 9.9.9.9 . tcp . 80 goto ext",
                    "firewall-ips 9.9.9.9 . tcp . 80 goto fw",
                    "cluster-ips 10.96.0.1",
                ],
            ),
        ];
        for (what, plan, want) in cases {
            assert_eq!(show(&render(&[plan], &node())), want, "{what}");
        }
    }

    #[test]
    fn affinity_has_a_chain_and_a_set_an_endpoint() {
        let fragment = render(
            &[plan("a", 1, &[2, 102]).with(|p| p.affinity = Some(60))],
            &node(),
        );
        assert_eq!(fragment.affinity.values().collect::<Vec<_>>(), [&60, &60]);
        assert_eq!(fragment.chains.len(), 3);
        let service = fragment
            .chains
            .iter()
            .find(|(n, _)| n.starts_with("svc-"))
            .unwrap()
            .1;
        assert_eq!(service.len(), 3, "two look-ups and a choice: {service:?}");
        assert!(fragment.chains.keys().all(|n| n.len() < 127));
    }

    #[test]
    fn long_names_stay_apart() {
        let long = "x".repeat(200);
        assert!(unique(&long).len() <= 105);
        assert_ne!(unique(&format!("{long}a")), unique(&format!("{long}b")));
    }
}
