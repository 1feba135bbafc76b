//! The nftables form of a service's plan: chains of its own, and elements in maps that all services share.
//!
//! Invariant: pure; everything one service needs is in its fragment, and a fragment mentions no other service's chains.
//! Follows the packet path of `pkg/proxy/nftables/proxier.go` upstream: verdict maps by destination, one rule a service that picks an endpoint at random,
//! a mark for what must be masqueraded, a set of (pod, pod) pairs for what comes back to its sender. What is different: a service that the outside does not
//! reach, and that remembers no clients, has no chain. Its endpoints are elements of one map of all services, numbered; its address leads to the chain that
//! picks one of as many as they are, which all services with so many share. A chain and a map a service, as upstream has them, make the kernel look through all of them
//! at each change, and the more of them there are, the longer it takes to make one.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};
use sha2::{Digest, Sha256};

use super::{
    super::{
        messages::only,
        nft::{
            Base, Batch, DNAT, Field, Hook, LOCAL, NEW, Name, Reject, Rule, Side, Statement, Test,
            Value, Verdict,
        },
    },
    elements::{Key, Leads, Shared, pick, table},
    plan::{Endpoint, PortPlan, Protocol, Target},
};

/// Of packets whose sender is to be hidden.
const MARK: u32 = 0x4000;

/// What one service adds to the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Name to rules.
    pub chains: BTreeMap<Name, Vec<Rule>>,
    /// Sets that remember clients: name to timeout in seconds.
    pub affinity: BTreeMap<Name, u32>,
    pub elements: BTreeMap<(Shared, Key), Leads>,
}

impl Fragment {
    fn add(&mut self, to: Shared, key: Key, leads: Leads) {
        self.elements.insert((to, key), leads);
    }
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

const FROM: Field = Field::Address(Side::Source);
const TO: Field = Field::Address(Side::Destination);
const BY_IP: [Field; 3] = [TO, Field::Protocol, Field::Port(Side::Destination)];
const BY_PORT: [Field; 2] = [Field::Protocol, Field::Port(Side::Destination)];

/// A rule for what is sent to the node itself.
fn local() -> Rule {
    const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    Rule::new()
        .when(
            Field::AddressType(Side::Destination),
            Test::Is(Value::Number(LOCAL)),
        )
        .when(TO, Test::Outside(LOOPBACK))
}

/// A rule for what is not from this network; pods have no other addresses than of version 4.
fn not_from(net: IpNet) -> Rule {
    match net {
        IpNet::V4(net) => Rule::new().when(FROM, Test::Outside(net)),
        IpNet::V6(_) => Rule::new(),
    }
}

fn first_of(chain: &str) -> Rule {
    Rule::new()
        .when(Field::ConnectionState, Test::Has(NEW))
        .jump(chain)
}

/// The table without services, in the place of whatever is there.
pub fn base(node: &NodeRules) -> Batch {
    let table = table();
    let mut batch = Batch::new();
    batch.renew(&table, Some("services"));
    for shared in Shared::ALL {
        batch.set(&table, shared.set());
    }
    let mut chain = |name: &str, base, rules| batch.chain(&table, name, base, rules);
    let reject = |rule: Rule, how| rule.then(Statement::Reject(how));
    let tcp = Test::Is(Value::Protocol(Protocol::Tcp.number()));
    let refuse = vec![
        reject(Rule::new().when(Field::Protocol, tcp), Reject::TcpReset),
        reject(Rule::new(), Reject::PortUnreachable),
    ];
    chain("refuse", None, refuse);
    let marked = Rule::new().among(&[TO], Shared::ClusterIps.name());
    let marked = marked.followed_by(not_from(node.pod_cidr));
    let services = vec![
        marked.then(Statement::MarkOr(MARK)),
        Rule::new().lookup(&BY_IP, Shared::ServiceIps.name()),
        local().lookup(&BY_PORT, Shared::ServiceNodePorts.name()),
    ];
    chain("services", None, services);
    let hidden = Statement::Masquerade { random: true };
    let back = [FROM, TO, Field::Protocol, Field::Port(Side::Destination)];
    let masquerading = vec![
        Rule::new()
            .when(Field::Mark, Test::Has(MARK))
            .then(Statement::MarkXor(MARK))
            .then(hidden.clone()),
        Rule::new()
            .when(Field::ConnectionStatus, Test::Has(DNAT))
            .among(&back, Shared::Hairpin.name())
            .then(hidden),
    ];
    chain("masquerading", None, masquerading);
    let by_ip = |map: Shared| vec![Rule::new().lookup(&BY_IP, map.name())];
    chain("endpoints-check", None, by_ip(Shared::NoEndpointServices));
    let nodeports = local().lookup(&BY_PORT, Shared::NoEndpointNodePorts.name());
    chain("nodeports-check", None, vec![nodeports]);
    chain("firewall-check", None, by_ip(Shared::FirewallIps));
    chain("cluster-ips-check", None, unanswered(node));
    let nat = |hook, priority| Some(Base::nat(hook, priority));
    let filter = |hook, priority| Some(Base::filter(hook, priority));
    let jump = |to: &str| vec![Rule::new().jump(to)];
    chain(
        "nat-prerouting",
        nat(Hook::Prerouting, -100),
        jump("services"),
    );
    chain("nat-output", nat(Hook::Output, -100), jump("services"));
    chain(
        "nat-postrouting",
        nat(Hook::Postrouting, 100),
        jump("masquerading"),
    );
    let firewall = || vec![first_of("firewall-check")];
    chain(
        "filter-prerouting",
        filter(Hook::Prerouting, -110),
        firewall(),
    );
    chain(
        "filter-output-early",
        filter(Hook::Output, -110),
        firewall(),
    );
    let checks = |first: &str, second: &str| vec![first_of(first), first_of(second)];
    let input = checks("nodeports-check", "endpoints-check");
    chain("filter-input", filter(Hook::Input, 0), input);
    let away = || checks("endpoints-check", "cluster-ips-check");
    chain("filter-forward", filter(Hook::Forward, 0), away());
    chain("filter-output", filter(Hook::Output, 0), away());
    batch
}

/// Adds the chain that picks one of so many endpoints.
pub fn pick_chain(batch: &mut Batch, count: u32) {
    let which = BY_IP.into_iter().chain([Field::Random(count)]).collect();
    let pick_one = Statement::DnatByMap(which, Shared::Endpoints.name().into());
    let rule = Rule::new().then(pick_one);
    batch.chain(&table(), &pick(count), None, vec![rule]);
}

/// For what no service's port was found for.
fn unanswered(node: &NodeRules) -> Vec<Rule> {
    let mut rules = Vec::new();
    if !node.own_cluster_ips.is_empty() {
        let own = node.own_cluster_ips.iter().map(|ip| Value::Ip(*ip));
        let own = own.map(|ip| (ip.clone(), ip)).collect();
        let spared = Rule::new().when(TO, Test::In(own));
        rules.push(spared.verdict(Verdict::Return));
    }
    let known = Rule::new().among(&[TO], Shared::ClusterIps.name());
    rules.push(known.goto("refuse"));
    if let Some(IpNet::V4(cidr)) = node.service_cidr {
        rules.push(Rule::new().when(TO, Test::Within(cidr.trunc())).drop());
    }
    rules
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
    cluster: Name,
    local: Name,
    external: Name,
    firewall: Name,
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
            cluster: format!("svc-{base}").into(),
            local: format!("local-{base}").into(),
            external: format!("ext-{base}").into(),
            firewall: format!("fw-{base}").into(),
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
        Target::Endpoints(endpoints) => number(fragment, plan, endpoints),
        Target::Drop => fragment.add(Shared::NoEndpointServices, at_cluster_ip, Leads::Drop),
        Target::Reject => fragment.add(Shared::NoEndpointServices, at_cluster_ip, Leads::Refuse),
    }
    render_external(fragment, plan, &names, node);
}

/// It is reached in other ways than by its ClusterIP, or remembers clients.
fn has_chains(plan: &PortPlan) -> bool {
    plan.externally_accessible() || plan.affinity.is_some()
}

/// Numbers the endpoints of a service that has no chains.
fn number(fragment: &mut Fragment, plan: &PortPlan, endpoints: &[Endpoint]) {
    let (ip, protocol, port) = (plan.cluster_ip, plan.protocol, plan.port);
    let mut count = 0;
    for endpoint in endpoints {
        let leads = Leads::To(endpoint.ip, endpoint.port);
        let key = Key::Nth(ip, protocol, port, count);
        fragment.add(Shared::Endpoints, key, leads);
        count += 1;
    }
    let at = Key::At(ip, protocol, port);
    fragment.add(Shared::ServiceIps, at, Leads::Pick(count));
}

fn render_external(fragment: &mut Fragment, plan: &PortPlan, names: &Names, node: &NodeRules) {
    if !plan.externally_accessible() {
        return;
    }
    let protocol = plan.protocol;
    let mut everywhere = Vec::new();
    for ip in plan.external_ips.iter().chain(&plan.load_balancer_ips) {
        everywhere.push((
            Shared::ServiceIps,
            Shared::NoEndpointServices,
            Key::At(*ip, protocol, plan.port),
        ));
    }
    if let Some(port) = plan.node_port {
        everywhere.push((
            Shared::ServiceNodePorts,
            Shared::NoEndpointNodePorts,
            Key::Port(protocol, port),
        ));
    }
    for (services, none, key) in everywhere {
        // Both when the policy leaves nothing for the outside, but this node and its pods are still served.
        if plan.has_endpoints {
            fragment.add(services, key, Leads::Goto(names.external.clone()));
        }
        match plan.external() {
            Target::Endpoints(_) => {}
            Target::Drop => fragment.add(none, key, Leads::Drop),
            Target::Reject => fragment.add(none, key, Leads::Refuse),
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
            let key = Key::At(*ip, protocol, plan.port);
            let leads = Leads::Goto(names.firewall.clone());
            fragment.add(Shared::FirewallIps, key, leads);
        }
    }
}

fn external_rules(plan: &PortPlan, names: &Names, node: &NodeRules) -> Vec<Rule> {
    let Names { cluster, local, .. } = names;
    if !plan.external_local {
        // The endpoint may be on another node, which must answer through this one.
        let marked = Rule::new().then(Statement::MarkOr(MARK));
        return vec![marked, Rule::new().goto(cluster.clone())];
    }
    let mut rules = Vec::new();
    if !plan.cluster_endpoints.is_empty() {
        // This node and its pods are inside the cluster: the policy for the outside is not for them.
        if let IpNet::V4(pods) = node.pod_cidr {
            let from_pods = Rule::new().when(FROM, Test::Within(pods.trunc()));
            rules.push(from_pods.goto(cluster.clone()));
        }
        let own = Test::Is(Value::Number(LOCAL));
        let from_here = Rule::new().when(Field::AddressType(Side::Source), own);
        rules.push(from_here.clone().then(Statement::MarkOr(MARK)));
        rules.push(from_here.goto(cluster.clone()));
    }
    if !plan.local_endpoints.is_empty() {
        rules.push(Rule::new().goto(local.clone()));
    }
    rules
}

fn firewall_rule(plan: &PortPlan, node: &NodeRules) -> Rule {
    let mut sources: Vec<_> = plan
        .load_balancer_sources
        .iter()
        .map(Ipv4Net::trunc)
        .collect();
    // The balancer's address may be this node's own as well: then its own packets come from there.
    if plan
        .load_balancer_sources
        .iter()
        .any(|s| node.node_ips.iter().any(|ip| s.contains(ip)))
    {
        sources.extend(plan.load_balancer_ips.iter().copied().map(Ipv4Net::from));
    }
    // The kernel takes no ranges that overlap.
    let sources = Ipv4Net::aggregate(&sources).into_iter();
    let sources = sources.map(|net| (Value::Ip(net.network()), Value::Ip(net.broadcast())));
    Rule::new()
        .when(FROM, Test::NotIn(sources.collect()))
        .drop()
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
        let names: Vec<_> = endpoints.iter().map(|e| endpoint_names(plan, e)).collect();
        let known = names
            .iter()
            .map(|(chain, set)| Rule::new().among(&[FROM], set).goto(chain.clone()));
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
    vec![rule.then(Statement::DnatAny(places))]
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
        Rule::new().then(Statement::Remember(set.clone())),
        to_endpoint(plan.protocol, endpoint),
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
        super::elements::element,
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
                p.external_ips = vec![Ipv4Addr::new(1, 2, 3, 4)];
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
                    p.load_balancer_ips = vec![Ipv4Addr::new(9, 9, 9, 9)];
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
