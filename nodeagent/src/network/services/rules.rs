//! The nftables form of a service's plan: chains of its own, and elements in maps that all services share.
//!
//! Invariant: pure; everything one service needs is in its fragment, and a fragment mentions no other service's chains.
//! Follows the packet path of `pkg/proxy/nftables/proxier.go` upstream: verdict maps by destination, one rule a service that picks an endpoint at random,
//! a mark for what must be masqueraded, a set of (pod, pod) pairs for what comes back to its sender. What is different: a service that the outside does not
//! reach, and that remembers no clients, has no chain. Its endpoints are elements of one map of all services, numbered; its address leads to the chain that
//! picks one of as many as they are, which all services with so many share. A chain and a map a service, as upstream has them, make the kernel look through all of them
//! at each change, and the more of them there are, the longer it takes to make one.

use super::{
    super::nft::{Field, Name, Rule, Statement, Test, Value},
    base::{NodeRules, from},
    elements::{Key, Leads, Shared},
    external::render_external,
    fragment::Fragment,
    names::{Names, full_name, unique},
    node::Endpoint,
    plan::{PortPlan, Target},
};
use crate::network::protocol::Protocol;

/// What all ports of one service add.
pub fn render(plans: &[PortPlan], node: &NodeRules) -> Fragment {
    let mut fragment = Fragment::default();
    for plan in plans {
        render_port(&mut fragment, plan, node);
    }
    fragment
}

fn render_port(fragment: &mut Fragment, plan: &PortPlan, node: &NodeRules) {
    let names = Names::new(plan);
    let protocol = plan.protocol;
    if has_chains(plan) {
        for (chain, endpoints) in [
            (&names.cluster, &plan.cluster_endpoints),
            (&names.local, &plan.local_endpoints),
        ] {
            if !endpoints.is_empty() {
                let rules = to_endpoints(plan, endpoints);
                fragment.chains.insert(chain.clone(), rules);
            }
        }
    }
    for endpoint in plan.reachable() {
        if endpoint.local {
            let key = Key::Back(endpoint.ip, protocol, endpoint.port);
            fragment.add(Shared::Hairpin, key, Leads::Nowhere);
        }
        if let Some(seconds) = plan.affinity {
            remember_clients(fragment, plan, &endpoint, seconds);
        }
    }
    fragment.add(Shared::ClusterIps, Key::Ip(plan.cluster_ip), Leads::Nowhere);
    let at_cluster_ip = Key::At(plan.cluster_ip, protocol, plan.port);
    match plan.internal() {
        Target::Endpoints(_) if has_chains(plan) => {
            let chain = if plan.internal_local {
                &names.local
            } else {
                &names.cluster
            };
            let leads = Leads::Goto(chain.clone());
            fragment.add(Shared::ServiceIps, at_cluster_ip, leads);
        }
        Target::Endpoints(endpoints) => fragment.number(plan, endpoints),
        Target::Drop => fragment.add(Shared::NoEndpointServices, at_cluster_ip, Leads::Drop),
        Target::Reject => fragment.add(Shared::NoEndpointServices, at_cluster_ip, Leads::Refuse),
    }
    render_external(fragment, plan, &names, node);
}

/// It is reached in other ways than by its ClusterIP, or remembers clients.
fn has_chains(plan: &PortPlan) -> bool {
    plan.externally_accessible() || plan.affinity.is_some()
}

/// The names of an endpoint's chain, and of the set of its clients.
fn endpoint_names(plan: &PortPlan, endpoint: &Endpoint) -> (Name, Name) {
    let base = unique(&format!(
        "{}/{}/{}",
        full_name(plan),
        endpoint.ip,
        endpoint.port
    ));
    (format!("ep-{base}").into(), format!("aff-{base}").into())
}

fn to_endpoints(plan: &PortPlan, endpoints: &[Endpoint]) -> Vec<Rule> {
    if plan.affinity.is_some() {
        let from = from(plan.family());
        let names: Vec<_> = endpoints.iter().map(|e| endpoint_names(plan, e)).collect();
        let known = names.iter().map(|(chain, set)| {
            Rule::new()
                .among(std::slice::from_ref(&from), set)
                .goto(chain.clone())
        });
        let any = names.iter().map(|(chain, _)| chain.clone()).collect();
        let new = Rule::new().then(Statement::GotoAny(any));
        return known.chain([new]).collect();
    }
    if let [only] = endpoints {
        return vec![to_endpoint(plan.protocol, only)];
    }
    let protocol = Test::Is(Value::Protocol(plan.protocol.number()));
    let places = endpoints.iter().map(|e| (e.ip, e.port)).collect();
    let rule = Rule::new().when(Field::Protocol, protocol);
    vec![rule.then(Statement::DnatAny(plan.family(), places))]
}

fn to_endpoint(protocol: Protocol, endpoint: &Endpoint) -> Rule {
    let protocol = Test::Is(Value::Protocol(protocol.number()));
    Rule::new()
        .when(Field::Protocol, protocol)
        .then(Statement::Dnat(endpoint.ip, endpoint.port))
}

fn remember_clients(fragment: &mut Fragment, plan: &PortPlan, endpoint: &Endpoint, seconds: u32) {
    let (chain, set) = endpoint_names(plan, endpoint);
    let rules = vec![
        Rule::new().then(Statement::Remember(plan.family(), set.clone())),
        to_endpoint(plan.protocol, endpoint),
    ];
    fragment.chains.insert(chain, rules);
    fragment.affinity.insert(set, seconds);
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use skiff_testing::With;

    use super::{
        super::super::{family::IpFamily, view::ObjectName},
        super::elements::element,
        *,
    };

    pub fn node() -> NodeRules {
        NodeRules {
            family: IpFamily::V4,
            pod_cidr: "10.244.0.0/24".parse().unwrap(),
            service_cidr: Some("10.96.0.0/16".parse().unwrap()),
            node_ips: vec![[10, 89, 0, 2].into()],
            own_cluster_ips: Vec::new(),
        }
    }

    /// The last byte of an address.
    pub fn last(ip: IpAddr) -> u8 {
        super::super::super::family::octets(ip).pop().unwrap()
    }

    pub fn endpoint(last: u8) -> Endpoint {
        Endpoint {
            ip: [10, 244, 0, last].into(),
            port: 8080,
            local: last < 100,
        }
    }

    pub fn plan(name: &str, last: u8, endpoints: &[u8]) -> PortPlan {
        PortPlan {
            service: ObjectName::new("ns", name),
            port_name: "http".into(),
            protocol: Protocol::Tcp,
            cluster_ip: [10, 96, 0, last].into(),
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
        let chains = fragment.chains.iter().map(|(name, rules)| {
            let rules: Vec<_> = rules.iter().map(Rule::to_string).collect();
            plain(&format!("{name} = {}", rules.join("; ")))
        });
        let elements = fragment
            .elements
            .iter()
            .map(|((to, key), leads)| plain(&format!("{} {}", to.name(), element(*key, leads))));
        chains.chain(elements).collect()
    }

    #[test]
    fn fragments() {
        let both = |p: PortPlan| {
            p.with(|p| {
                p.node_port = Some(30080);
                p.external_ips = vec![Ipv4Addr::new(1, 2, 3, 4).into()];
            })
        };
        let cases: Vec<(&str, PortPlan, Vec<&str>)> = vec![
            (
                "no endpoints",
                plan("a", 1, &[]),
                vec![
                    "no-endpoint-services 10.96.0.1 . tcp . 80 : goto refuse",
                    "cluster-ips 10.96.0.1",
                ],
            ),
            (
                "two endpoints, one here",
                plan("a", 1, &[2, 102]),
                vec![
                    "service-ips 10.96.0.1 . tcp . 80 : goto pick-2",
                    "cluster-ips 10.96.0.1",
                    "hairpin 10.244.0.2 . 10.244.0.2 . tcp . 8080",
                    "endpoints 10.96.0.1 . tcp . 80 . 0 : 10.244.0.2 . 8080",
                    "endpoints 10.96.0.1 . tcp . 80 . 1 : 10.244.0.102 . 8080",
                ],
            ),
            (
                "outside, two endpoints",
                plan("a", 1, &[101, 102]).with(|p| p.node_port = Some(30080)),
                vec![
                    "ext = meta mark set meta mark or 0x4000; goto svc",
                    "svc = meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.244.0.101 . 8080, 1 : 10.244.0.102 . 8080 }",
                    "service-ips 10.96.0.1 . tcp . 80 : goto svc",
                    "service-nodeports tcp . 30080 : goto ext",
                    "cluster-ips 10.96.0.1",
                ],
            ),
            (
                "outside, policy Cluster",
                both(plan("a", 1, &[102])),
                vec![
                    "ext = meta mark set meta mark or 0x4000; goto svc",
                    "svc = meta l4proto tcp dnat to 10.244.0.102:8080",
                    "service-ips 1.2.3.4 . tcp . 80 : goto ext",
                    "service-ips 10.96.0.1 . tcp . 80 : goto svc",
                    "service-nodeports tcp . 30080 : goto ext",
                    "cluster-ips 10.96.0.1",
                ],
            ),
            (
                "outside, policy Local, nothing here",
                both(plan("a", 1, &[102])).with(|p| p.external_local = true),
                vec![
                    "ext = ip saddr 10.244.0.0/24 goto svc; fib saddr type local meta mark set meta mark or 0x4000; fib saddr type local goto svc",
                    "svc = meta l4proto tcp dnat to 10.244.0.102:8080",
                    "service-ips 1.2.3.4 . tcp . 80 : goto ext",
                    "service-ips 10.96.0.1 . tcp . 80 : goto svc",
                    "service-nodeports tcp . 30080 : goto ext",
                    "no-endpoint-services 1.2.3.4 . tcp . 80 : drop",
                    "no-endpoint-nodeports tcp . 30080 : drop",
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
                    "service-ips 10.96.0.1 . tcp . 80 : goto pick-1",
                    "cluster-ips 10.96.0.1",
                    "hairpin 10.244.0.2 . 10.244.0.2 . tcp . 8080",
                    "endpoints 10.96.0.1 . tcp . 80 . 0 : 10.244.0.2 . 8080",
                ],
            ),
            (
                "a balancer for some",
                plan("a", 1, &[102]).with(|p| {
                    p.load_balancer_ips = vec![Ipv4Addr::new(9, 9, 9, 9).into()];
                    p.load_balancer_sources = vec!["10.0.0.0/8".parse().unwrap()];
                }),
                vec![
                    "ext = meta mark set meta mark or 0x4000; goto svc",
                    "fw = ip saddr != { 9.9.9.9, 10.0.0.0-10.255.255.255 } drop",
                    "svc = meta l4proto tcp dnat to 10.244.0.102:8080",
                    "service-ips 9.9.9.9 . tcp . 80 : goto ext",
                    "service-ips 10.96.0.1 . tcp . 80 : goto svc",
                    "firewall-ips 9.9.9.9 . tcp . 80 : goto fw",
                    "cluster-ips 10.96.0.1",
                ],
            ),
        ];
        for (what, plan, want) in cases {
            assert_eq!(show(&render(&[plan], &node())), want, "{what}");
        }
    }

    /// No socket of SCTP can be opened everywhere, so its rules are looked at.
    #[test]
    fn sctp_is_led_as_the_others_are() {
        let sctp = |endpoints: &[u8]| {
            plan("a", 1, endpoints).with(|p| {
                p.protocol = Protocol::Sctp;
                p.node_port = Some(30132);
            })
        };
        assert_eq!(
            show(&render(&[sctp(&[2, 102])], &node())),
            [
                "ext = meta mark set meta mark or 0x4000; goto svc",
                "svc = meta l4proto sctp dnat ip addr . port to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.0.102 . 8080 }",
                "service-ips 10.96.0.1 . sctp . 80 : goto svc",
                "service-nodeports sctp . 30132 : goto ext",
                "cluster-ips 10.96.0.1",
                "hairpin 10.244.0.2 . 10.244.0.2 . sctp . 8080",
            ]
        );
        assert_eq!(
            show(&render(&[sctp(&[])], &node())),
            [
                "no-endpoint-services 10.96.0.1 . sctp . 80 : goto refuse",
                "no-endpoint-nodeports sctp . 30132 : goto refuse",
                "cluster-ips 10.96.0.1",
            ]
        );
    }

    #[test]
    fn a_service_of_ipv6() {
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        let node = NodeRules {
            family: IpFamily::V6,
            pod_cidr: "fd00:244::/64".parse().unwrap(),
            service_cidr: Some("fd00:96::/112".parse().unwrap()),
            node_ips: vec![v6("fd89::2")],
            own_cluster_ips: vec![v6("fd00:96::a")],
        };
        let endpoint = |text: &str, local| Endpoint {
            ip: v6(text),
            port: 8080,
            local,
        };
        let plan = plan("a", 1, &[]).with(|p| {
            p.cluster_ip = v6("fd00:96::1");
            p.has_endpoints = true;
            p.cluster_endpoints = vec![
                endpoint("fd00:244::2", true),
                endpoint("fd00:244:0:1::2", false),
            ];
        });
        assert_eq!(
            show(&render(std::slice::from_ref(&plan), &node)),
            [
                "service-ips fd00:96::1 . tcp . 80 : goto pick-2",
                "cluster-ips fd00:96::1",
                "hairpin fd00:244::2 . fd00:244::2 . tcp . 8080",
                "endpoints fd00:96::1 . tcp . 80 . 0 : fd00:244::2 . 8080",
                "endpoints fd00:96::1 . tcp . 80 . 1 : fd00:244:0:1::2 . 8080",
            ]
        );
        let outside = plan.with(|p| {
            p.external_local = true;
            p.load_balancer_ips = vec![v6("2001:db8::9")];
            p.load_balancer_sources = vec!["2001:db8:1::/48".parse().unwrap()];
        });
        assert_eq!(
            show(&render(&[outside], &node)),
            [
                "ext = ip6 saddr fd00:244::/64 goto svc; fib saddr type local meta mark set meta mark or 0x4000; fib saddr type local goto svc",
                "fw = ip6 saddr != { 2001:db8:1::-2001:db8:1:ffff:ffff:ffff:ffff:ffff } drop",
                "svc = meta l4proto tcp dnat ip6 addr . port to numgen random mod 2 map { 0 : fd00:244::2 . 8080, 1 : fd00:244:0:1::2 . 8080 }",
                "service-ips 2001:db8::9 . tcp . 80 : goto ext",
                "service-ips fd00:96::1 . tcp . 80 : goto svc",
                "no-endpoint-services 2001:db8::9 . tcp . 80 : drop",
                "firewall-ips 2001:db8::9 . tcp . 80 : goto fw",
                "cluster-ips fd00:96::1",
                "hairpin fd00:244::2 . fd00:244::2 . tcp . 8080",
            ]
        );
        let base = super::super::base::base(&node).to_string();
        for rule in [
            "refuse meta l4proto tcp reject with tcp reset",
            "services ip6 daddr @cluster-ips ip6 saddr != fd00:244::/64 meta mark",
            "cluster-ips-check ip6 daddr { fd00:96::a } return",
            "cluster-ips-check ip6 daddr fd00:96::/112 drop",
            "ip6 daddr != ::1/128 meta l4proto . th dport vmap @service-nodeports",
        ] {
            assert!(base.contains(rule), "{rule} in {base}");
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
