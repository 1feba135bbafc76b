//! What is planned where policies, pods and what is known of them come together; and the town that plans are tried on.

use std::{net::IpAddr, time::Instant};

use serde_json::{Value, json};

use super::{
    super::{
        super::family::IpFamily,
        plan::{Own, Plan},
        view::{self, Seen, Told},
    },
    policy, yaml,
};

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn own(address: &str) -> Own {
    Own {
        ips: vec![ip(address)],
        link: Some(format!("skiffp{address}")),
    }
}

pub fn pod(namespace: &str, address: &str, labels: &str, ports: &str) -> view::Pod {
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
pub fn town() -> Plan {
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

pub fn listed(plan: &mut Plan, specs: &[(&str, &Value)]) {
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
pub fn shown(plan: &Plan, chain: Option<&String>, replies: bool) -> String {
    shown_of(IpFamily::V4, plan, chain, replies)
}

/// The same of a family.
pub fn shown_of(family: IpFamily, plan: &Plan, chain: Option<&String>, replies: bool) -> String {
    let Some(name) = chain else {
        return "-".into();
    };
    let chain = plan.chain(name).unwrap();
    let rules = if replies {
        chain.replies(family)
    } else {
        chain.rules(family)
    };
    let texts: Vec<_> = rules.iter().map(|rule| rule.to_string()).collect();
    let mut text = texts.join("; ");
    for key in &chain.sets {
        let elements: Vec<_> = plan
            .elements(&key.name())
            .filter(|(ip, _)| family.has(ip))
            .map(|(ip, port)| {
                let short = match ip {
                    IpAddr::V4(ip) => format!("{}.{}", ip.octets()[2], ip.octets()[3]),
                    IpAddr::V6(ip) => ip.to_string(),
                };
                port.map_or(short.clone(), |port| format!("{short}:{port}"))
            })
            .collect();
        text = text.replace(&key.name(), &format!("({})", elements.join(" ")));
    }
    text
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

#[test]
fn pods_as_they_are_read() {
    let read = |value: Value| view::pod(&value);
    let running = json!({"metadata": {"namespace": "a"}, "spec": {"containers": []}, "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}});
    assert_eq!(read(running.clone()).ips, [ip("10.0.0.1"), ip("fd00::1")]);
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
