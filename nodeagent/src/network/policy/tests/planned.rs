//! What is planned, as tables: selectors, ports, blocks, defaults; and that a change touches what it changes.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    super::{
        plan::{Own, Plan, Touched},
        view::{self, Seen, Told},
    },
    policy, yaml,
};

pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub fn own(address: &str) -> Own {
    Own {
        ip: ip(address),
        link: Some(format!("skiffp{address}")),
    }
}

fn pod(namespace: &str, address: &str, labels: &str, ports: &str) -> view::Pod {
    let ports = ports.split_whitespace().map(|port| {
        let parts: Vec<_> = port.split('/').collect();
        json!({"name": parts[0], "containerPort": parts[1].parse::<u16>().unwrap(), "protocol": parts[2]})
    });
    let labels: serde_json::Map<String, Value> = labels
        .split_whitespace()
        .filter_map(|label| label.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    view::pod(
        &json!({"metadata": {"namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "ports": ports.collect::<Vec<_>>()}]}, "status": {"podIP": address}}),
    )
}

/// Three namespaces; `web` runs on this node.
fn town() -> Plan {
    let (mut plan, now) = (Plan::default(), Instant::now());
    let labels = |labels: Value| serde_json::from_value(labels).unwrap();
    plan.take(
        Told::Namespaces(Seen::Listed(vec![
            ("shop".into(), labels(json!({"team": "a"}))),
            ("other".into(), labels(json!({"team": "b"}))),
            ("bare".into(), labels(json!({}))),
        ])),
        now,
    );
    let pods = [
        (
            "web",
            pod(
                "shop",
                "10.0.0.1",
                "app=web tier=back",
                "http/80/TCP admin/81/TCP dns/53/UDP sig/7/SCTP",
            ),
        ),
        (
            "db",
            pod("shop", "10.0.1.1", "app=db tier=back", "http/8080/TCP"),
        ),
        (
            "cache",
            pod(
                "shop",
                "10.0.1.2",
                "app=cache tier=back",
                "http/8081/TCP http/53/UDP",
            ),
        ),
        (
            "guest",
            pod("other", "10.0.1.3", "app=guest", "http/80/TCP"),
        ),
        ("loner", pod("bare", "10.0.1.4", "app=web", "")),
        ("lost", pod("unknown", "10.0.1.5", "app=web", "")),
    ];
    let pods = pods.map(|(uid, pod)| (uid.to_owned(), pod));
    plan.take(Told::Pods(Seen::Listed(pods.into())), now);
    plan.add_own("web", own("10.0.0.1"), now);
    plan
}

fn listed(plan: &mut Plan, specs: &[(&str, &Value)]) {
    let named = specs
        .iter()
        .enumerate()
        .map(|(number, (namespace, spec))| policy(namespace, &number.to_string(), spec));
    plan.take(
        Told::Policies(Seen::Listed(named.collect())),
        Instant::now(),
    );
}

/// A chain's rules with what is in the sets in place of their names.
fn shown(plan: &Plan, chain: Option<&String>, replies: bool) -> String {
    let Some(name) = chain else {
        return "-".into();
    };
    let chain = plan.chain(name).unwrap();
    let rules = if replies {
        &chain.replies
    } else {
        &chain.rules
    };
    let texts: Vec<_> = rules.iter().map(|rule| rule.to_string()).collect();
    let mut text = texts.join("; ");
    for key in &chain.sets {
        let elements: Vec<_> = plan
            .elements(&key.name())
            .map(|(ip, port)| {
                let last = ip.octets();
                let short = format!("{}.{}", last[2], last[3]);
                port.map_or(short.clone(), |port| format!("{short}:{port}"))
            })
            .collect();
        text = text.replace(&key.name(), &format!("({})", elements.join(" ")));
    }
    text
}

/// (what, spec, ingress, egress)
const CASES: &[(&str, &str, &str, &str)] = &[
    ("nothing said", "{podSelector: {}}", "drop", "-"),
    ("no selector", "{policyTypes: [Ingress]}", "drop", "-"),
    (
        "both types",
        "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        "drop",
        "drop",
    ),
    (
        "egress alone",
        "{podSelector: {}, policyTypes: [Egress]}",
        "-",
        "drop",
    ),
    (
        "egress rules without types",
        "{podSelector: {}, egress: [{}]}",
        "drop",
        "return; drop",
    ),
    (
        "no egress rules without types",
        "{podSelector: {}, egress: []}",
        "drop",
        "-",
    ),
    (
        "rules of a type that is not named",
        "{podSelector: {}, policyTypes: [Egress], ingress: [{}]}",
        "-",
        "drop",
    ),
    (
        "a type that nobody knows",
        "{podSelector: {matchLabels: {app: nobody}}, policyTypes: [Sideways]}",
        "drop",
        "drop",
    ),
    (
        "a selector that cannot be read",
        "{podSelector: {matchExpressions: [{key: a, operator: Near}]}, ingress: [{}]}",
        "drop",
        "drop",
    ),
    (
        "another pod",
        "{podSelector: {matchLabels: {app: db}}}",
        "-",
        "-",
    ),
    (
        "by expression",
        "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}}",
        "drop",
        "-",
    ),
    (
        "everyone",
        "{podSelector: {}, ingress: [{}]}",
        "return; drop",
        "-",
    ),
    (
        "everyone by empty lists",
        "{podSelector: {}, ingress: [{from: [], ports: []}]}",
        "return; drop",
        "-",
    ),
    (
        "the own namespace",
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}",
        "ip saddr @(0.1 1.1 1.2) return; drop",
        "-",
    ),
    (
        "some of it",
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}",
        "ip saddr @(1.1) return; drop",
        "-",
    ),
    (
        "all namespaces that are known",
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}",
        "ip saddr @(0.1 1.1 1.2 1.3 1.4) return; drop",
        "-",
    ),
    (
        "one namespace",
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}",
        "ip saddr @(1.3) return; drop",
        "-",
    ),
    (
        "namespaces without a label",
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}]}",
        "ip saddr @(1.4) return; drop",
        "-",
    ),
    (
        "pods and namespaces",
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]}]}",
        "ip saddr @(0.1 1.4) return; drop",
        "-",
    ),
    (
        "a peer that says nothing",
        "{podSelector: {}, ingress: [{from: [{}]}]}",
        "drop",
        "-",
    ),
    (
        "a peer that cannot be read",
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Near}]}}]}]}",
        "drop",
        "-",
    ),
    (
        "a peer that cannot be read beside one that can",
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Near}]}}, {podSelector: {matchLabels: {app: db}}}]}]}",
        "ip saddr @(1.1) return; drop",
        "-",
    ),
    (
        "a port",
        "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}",
        "tcp dport { 80 } return; drop",
        "-",
    ),
    (
        "a port of UDP",
        "{podSelector: {}, ingress: [{ports: [{port: 80, protocol: UDP}]}]}",
        "udp dport { 80 } return; drop",
        "-",
    ),
    (
        "a port of SCTP",
        "{podSelector: {}, ingress: [{ports: [{port: 80, protocol: SCTP}]}]}",
        "sctp dport { 80 } return; drop",
        "-",
    ),
    (
        "a protocol that nobody knows",
        "{podSelector: {}, ingress: [{ports: [{port: 80, protocol: QUIC}]}]}",
        "drop",
        "-",
    ),
    (
        "all of a protocol",
        "{podSelector: {}, ingress: [{ports: [{protocol: UDP}]}]}",
        "meta l4proto udp return; drop",
        "-",
    ),
    (
        "all of TCP, by default",
        "{podSelector: {}, ingress: [{ports: [{}]}]}",
        "meta l4proto tcp return; drop",
        "-",
    ),
    (
        "a range",
        "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}]}]}",
        "tcp dport { 80-90 } return; drop",
        "-",
    ),
    (
        "a range of one",
        "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 80}]}]}",
        "tcp dport { 80 } return; drop",
        "-",
    ),
    (
        "a range that ends before it begins",
        "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 79}]}]}",
        "drop",
        "-",
    ),
    (
        "a range by name",
        "{podSelector: {}, ingress: [{ports: [{port: http, endPort: 79}]}]}",
        "drop",
        "-",
    ),
    (
        "a range without a beginning",
        "{podSelector: {}, ingress: [{ports: [{endPort: 79}]}]}",
        "drop",
        "-",
    ),
    (
        "ports that overlap and touch",
        "{podSelector: {}, ingress: [{ports: [{port: 85, endPort: 95}, {port: 80, endPort: 90}, {port: 96}, {port: 98}]}]}",
        "tcp dport { 80-96, 98 } return; drop",
        "-",
    ),
    (
        "ports of several protocols",
        "{podSelector: {}, ingress: [{ports: [{port: 53}, {port: 53, protocol: UDP}]}]}",
        "tcp dport { 53 } return; udp dport { 53 } return; drop",
        "-",
    ),
    (
        "no such port",
        "{podSelector: {}, ingress: [{ports: [{port: 0}, {port: 65536}, {port: -1}]}]}",
        "drop",
        "-",
    ),
    (
        "the highest port",
        "{podSelector: {}, ingress: [{ports: [{port: 65535}, {port: 65534}]}]}",
        "tcp dport { 65534-65535 } return; drop",
        "-",
    ),
    (
        "an own port by name",
        "{podSelector: {}, ingress: [{ports: [{port: admin}]}]}",
        "tcp dport { 81 } return; drop",
        "-",
    ),
    (
        "an own port by name and protocol",
        "{podSelector: {}, ingress: [{ports: [{port: sig, protocol: SCTP}, {port: dns, protocol: UDP}]}]}",
        "sctp dport { 7 } return; udp dport { 53 } return; drop",
        "-",
    ),
    (
        "an own port by name, of the other protocol",
        "{podSelector: {}, ingress: [{ports: [{port: dns}]}]}",
        "drop",
        "-",
    ),
    (
        "no own port of the name",
        "{podSelector: {}, ingress: [{ports: [{port: none}, {port: 9}]}]}",
        "tcp dport { 9 } return; drop",
        "-",
    ),
    (
        "peers at ports",
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}, {ipBlock: {cidr: 9.9.9.9/32}}], ports: [{port: 80}]}]}",
        "ip saddr @(1.1) tcp dport { 80 } return; ip saddr { 9.9.9.9 } tcp dport { 80 } return; drop",
        "-",
    ),
    (
        "a block",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16}}]}]}",
        "ip saddr { 10.1.0.0-10.1.255.255 } return; drop",
        "-",
    ),
    (
        "a block whose address is within",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/16}}]}]}",
        "ip saddr { 10.1.0.0-10.1.255.255 } return; drop",
        "-",
    ),
    (
        "all addresses",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}",
        "ip saddr { 0.0.0.0-255.255.255.255 } return; drop",
        "-",
    ),
    (
        "with an exception",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16, except: [10.1.1.0/24]}}]}]}",
        "ip saddr { 10.1.0.0-10.1.0.255, 10.1.2.0-10.1.255.255 } return; drop",
        "-",
    ),
    (
        "with exceptions at both ends",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/30, except: [10.1.0.3/32, 10.1.0.0/32]}}]}]}",
        "ip saddr { 10.1.0.1-10.1.0.2 } return; drop",
        "-",
    ),
    (
        "all but some, to the last address",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [0.0.0.0/1, 255.255.255.255/32]}}]}]}",
        "ip saddr { 128.0.0.0-255.255.255.254 } return; drop",
        "-",
    ),
    (
        "nothing is left",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/24, except: [10.1.0.0/24]}}]}]}",
        "drop",
        "-",
    ),
    (
        "an exception within another",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/24, except: [10.1.0.0/25, 10.1.0.0/26]}}]}]}",
        "ip saddr { 10.1.0.128-10.1.0.255 } return; drop",
        "-",
    ),
    (
        "another's exceptions do not close",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/24, except: [10.1.0.0/25]}}, {ipBlock: {cidr: 10.1.0.0/32}}]}]}",
        "ip saddr { 10.1.0.0, 10.1.0.128-10.1.0.255 } return; drop",
        "-",
    ),
    (
        "the other family",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: '::/0'}}]}]}",
        "drop",
        "-",
    ),
    (
        "a block that cannot be read",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: '10.1'}}]}]}",
        "drop",
        "-",
    ),
    (
        "an exception that cannot be read",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16, except: ['10.1']}}]}]}",
        "drop",
        "-",
    ),
    (
        "out to some",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {tier: back}}}], ports: [{port: 80}]}]}",
        "-",
        "ip daddr @(0.1 1.1 1.2) tcp dport { 80 } return; drop",
    ),
    (
        "out to a peer's port by name",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {tier: back}}}], ports: [{port: http}]}]}",
        "-",
        "ip daddr . tcp dport @(0.1:80 1.1:8080 1.2:8081) return; drop",
    ),
    (
        "out to a port by name, of UDP",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {tier: back}}}], ports: [{port: http, protocol: UDP}]}]}",
        "-",
        "ip daddr . udp dport @(1.2:53) return; drop",
    ),
    (
        "out to whoever has a port of the name",
        "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}, {port: 443}]}]}",
        "-",
        "ip daddr . tcp dport @(0.1:80 1.1:8080 1.2:8081 1.3:80) return; tcp dport { 443 } return; drop",
    ),
    (
        "out to whoever has it within a block",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.1.0/24, except: [10.0.1.2/32]}}], ports: [{port: http}]}]}",
        "-",
        "ip daddr . tcp dport @(1.1:8080 1.3:80) return; drop",
    ),
    (
        "out to a block",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 1.2.3.4/32}}], ports: [{port: 53, protocol: UDP}]}]}",
        "-",
        "ip daddr { 1.2.3.4 } udp dport { 53 } return; drop",
    ),
];

#[test]
fn one_policy() {
    for (what, spec, ingress, egress) in CASES {
        let mut plan = town();
        listed(&mut plan, &[("shop", &yaml(spec))]);
        let verdict = plan
            .verdict("web")
            .unwrap_or_else(|| panic!("{what}: none"));
        let seen = [&verdict.ingress, &verdict.egress].map(|side| {
            let text = shown(&plan, side.as_ref(), false);
            // They are sorted by names that mean nothing.
            let mut rules: Vec<_> = text.split("; ").collect();
            rules.sort_unstable();
            rules.join("; ")
        });
        let wanted = [ingress, egress].map(|text| {
            let mut rules: Vec<_> = text.split("; ").collect();
            rules.sort_unstable();
            rules.join("; ")
        });
        assert_eq!(seen, wanted, "{what}");
    }
}

#[test]
fn what_comes_back_is_mirrored() {
    let mut plan = town();
    let spec = yaml(
        "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{ipBlock: {cidr: 9.9.9.9/32}}], ports: [{port: 80}]}], \
        egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: http}]}]}",
    );
    listed(&mut plan, &[("shop", &spec)]);
    let verdict = plan.verdict("web").unwrap().clone();
    assert_eq!(
        shown(&plan, verdict.ingress.as_ref(), true),
        "ip daddr { 9.9.9.9 } tcp sport { 80 } return; drop"
    );
    assert_eq!(
        shown(&plan, verdict.egress.as_ref(), true),
        "ip saddr . tcp sport @(1.1:8080) return; drop"
    );
}

#[test]
fn policies_add_up_within_their_namespace() {
    let rule = |port: u16| json!({"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]});
    let (a, b, c) = (rule(1), rule(2), rule(3));
    let mut plan = town();
    listed(
        &mut plan,
        &[
            ("shop", &a),
            ("shop", &b),
            ("other", &c),
            ("sho", &c),
            ("shop2", &c),
        ],
    );
    let verdict = plan.verdict("web").unwrap();
    assert_eq!(
        shown(&plan, verdict.ingress.as_ref(), false),
        "tcp dport { 1 } return; tcp dport { 2 } return; drop"
    );
}

#[test]
fn nobody_is_open_before_it_is_known_that_he_may_be() {
    let (mut plan, now) = (Plan::default(), Instant::now());
    plan.add_own("a", own("10.0.0.1"), now);
    assert!(plan.verdict("a").is_none(), "policies are not listed");
    listed(&mut plan, &[]);
    assert!(plan.verdict("a").is_some(), "there are none");
    let spec = json!({"podSelector": {"matchLabels": {"app": "a"}}});
    listed(&mut plan, &[("shop", &spec)]);
    assert!(
        plan.verdict("a").is_some(),
        "what was open stays so for the moment in which it is not known whom the first policy names"
    );
    plan.add_own("b", own("10.0.0.2"), now);
    assert!(plan.verdict("b").is_none(), "what is new does not");
    plan.take(Told::Namespaces(Seen::Listed(Vec::new())), now);
    let a = pod("shop", "", "app=a", "");
    plan.take(Told::Pods(Seen::Listed(vec![("a".into(), a.clone())])), now);
    assert!(plan.verdict("a").unwrap().ingress.is_some());
    assert!(plan.verdict("b").is_none(), "of whom nothing is known");
    plan.take(
        Told::Pods(Seen::Applied("b".into(), pod("shop", "", "app=b", ""))),
        now,
    );
    assert!(plan.verdict("b").unwrap().ingress.is_none());
    plan.take(Told::Pods(Seen::Gone("b".into())), now);
    assert!(plan.verdict("b").is_none(), "closed again");
    // Without patience.
    let mut plan = Plan::default();
    plan.add_own("a", own("10.0.0.1"), now);
    listed(&mut plan, &[]);
    listed(&mut plan, &[("shop", &spec)]);
    plan.lose_patience(now);
    assert!(
        plan.verdict("a").is_none(),
        "nobody is open for ever who is not known"
    );
}

#[test]
fn an_unreadable_policy_closes_its_namespace_alone() {
    let (mut plan, now) = (town(), Instant::now());
    plan.add_own("guest", own("10.0.1.3"), now);
    let open = json!({"podSelector": {}, "ingress": [{}], "egress": [{}]});
    listed(&mut plan, &[("shop", &open), ("other", &open)]);
    let name = super::super::super::view::ObjectName::new("other", "broken");
    let broken = super::super::read::Policy::closed();
    plan.take(Told::Policies(Seen::Applied(name, broken)), now);
    // Beside one that lets all through it changes nothing; alone it closes.
    assert_eq!(
        shown(
            &plan,
            plan.verdict("guest").unwrap().ingress.as_ref(),
            false
        ),
        "return; drop"
    );
    listed(&mut plan, &[("shop", &open)]);
    let name = super::super::super::view::ObjectName::new("other", "broken");
    let broken = super::super::read::Policy::closed();
    plan.take(Told::Policies(Seen::Applied(name, broken)), now);
    let guest = plan.verdict("guest").unwrap();
    assert_eq!(shown(&plan, guest.ingress.as_ref(), false), "drop");
    assert_eq!(shown(&plan, guest.egress.as_ref(), false), "drop");
    assert_eq!(
        shown(&plan, plan.verdict("web").unwrap().ingress.as_ref(), false),
        "return; drop"
    );
}

fn names(touched: &Touched) -> (usize, usize, usize, usize) {
    let elements = touched.elements.values().map(BTreeSet::len).sum();
    (
        touched.addresses.len(),
        touched.chains.len(),
        touched.sets.len(),
        elements,
    )
}

#[test]
fn a_change_touches_what_it_changes() {
    let (mut plan, now) = (town(), Instant::now());
    let spec = yaml(
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {tier: back}}}]}]}",
    );
    // The same selector in two policies is one set.
    listed(&mut plan, &[("shop", &spec), ("shop", &spec)]);
    assert_eq!(names(&plan.touched()), (1, 1, 1, 0));
    assert_eq!(plan.sets().count(), 1);
    let put = |plan: &mut Plan, uid: &str, address: &str, labels: &str| {
        plan.take(
            Told::Pods(Seen::Applied(uid.into(), pod("shop", address, labels, ""))),
            now,
        );
        names(&plan.touched())
    };
    assert_eq!(
        put(&mut plan, "new", "10.0.2.1", "app=new"),
        (0, 0, 0, 0),
        "nobody's peer"
    );
    assert_eq!(put(&mut plan, "new", "10.0.2.1", "tier=back"), (0, 0, 0, 1));
    assert_eq!(
        put(&mut plan, "new", "10.0.2.1", "tier=back"),
        (0, 0, 0, 0),
        "the same again"
    );
    assert_eq!(
        put(&mut plan, "new", "10.0.2.2", "tier=back"),
        (0, 0, 0, 2),
        "another address"
    );
    assert_eq!(
        put(&mut plan, "twin", "10.0.2.2", "tier=back"),
        (0, 0, 0, 0),
        "an address that is there"
    );
    plan.take(Told::Pods(Seen::Gone("new".into())), now);
    assert_eq!(
        names(&plan.touched()),
        (0, 0, 0, 0),
        "it is still another's"
    );
    plan.take(Told::Pods(Seen::Gone("twin".into())), now);
    assert_eq!(names(&plan.touched()), (0, 0, 0, 1));
    // A pod with the same walls shares the chain.
    plan.take(
        Told::Pods(Seen::Applied(
            "web2".into(),
            pod("shop", "10.0.0.2", "app=web", ""),
        )),
        now,
    );
    plan.add_own("web2", own("10.0.0.2"), now);
    assert_eq!(names(&plan.touched()), (1, 0, 0, 0));
    // The walls come down; chain and set rest before they go.
    listed(&mut plan, &[]);
    plan.sweep(now);
    assert_eq!(names(&plan.touched()), (2, 0, 0, 0));
    plan.sweep(now + Duration::from_secs(2));
    assert_eq!(names(&plan.touched()), (0, 1, 1, 0));
    assert_eq!((plan.sets().count(), plan.chains().count()), (0, 0));
}

#[test]
fn pods_as_they_are_read() {
    let read = |value: Value| view::pod(&value);
    let running = json!({"metadata": {"namespace": "a"}, "spec": {"containers": []}, "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}});
    assert_eq!(read(running.clone()).ips, [ip("10.0.0.1")]);
    for (what, path, value) in [
        ("ended", "/status/phase", json!("Succeeded")),
        ("failed", "/status/phase", json!("Failed")),
        ("the node's own address", "/spec/hostNetwork", json!(true)),
    ] {
        let mut pod = running.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value;
        assert!(read(pod).ips.is_empty(), "{what}");
    }
    let port = json!([{"name": "x", "containerPort": 1}, {"containerPort": 2}]);
    let ports = read(
        json!({"metadata": {}, "spec": {"containers": [{"ports": port}],
        "initContainers": [{"restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 3, "protocol": "UDP"}]}, {"ports": [{"name": "init", "containerPort": 4}]}]}}),
    );
    let shown: Vec<_> = ports
        .ports
        .iter()
        .map(|p| format!("{} {}/{}", p.name, p.port, p.protocol.name()))
        .collect();
    assert_eq!(shown, ["side 3/udp", "x 1/tcp"]);
}
