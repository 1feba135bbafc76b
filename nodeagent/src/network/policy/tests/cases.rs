//! What one policy means for one pod, as a table: selectors, types, ports, blocks, and what cannot be read.

use super::{
    super::super::family::IpFamily,
    planned::{listed, shown, shown_of, town},
    yaml,
};

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

/// (what, blocks, what IPv4 lets in, what IPv6 does)
const BLOCKS: &[(&str, &str, &str, &str)] = &[
    (
        "of IPv6",
        "{ipBlock: {cidr: 'fd00:1::/32'}}",
        "drop",
        "ip6 saddr { fd00:1::-fd00:1:ffff:ffff:ffff:ffff:ffff:ffff } return; drop",
    ),
    (
        "of IPv4",
        "{ipBlock: {cidr: 10.1.0.0/16}}",
        "ip saddr { 10.1.0.0-10.1.255.255 } return; drop",
        "drop",
    ),
    (
        "of both",
        "{ipBlock: {cidr: 'fd00::1/128'}}, {ipBlock: {cidr: 10.1.2.3/32}}",
        "ip saddr { 10.1.2.3 } return; drop",
        "ip6 saddr { fd00::1 } return; drop",
    ),
    (
        "with exceptions",
        "{ipBlock: {cidr: 'fd00::/126', except: ['fd00::/128', 'fd00::3/128']}}",
        "drop",
        "ip6 saddr { fd00::1-fd00::2 } return; drop",
    ),
    (
        "all of IPv6 but the lower half",
        "{ipBlock: {cidr: '::/0', except: ['::/1']}}",
        "drop",
        "ip6 saddr { 8000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff } return; drop",
    ),
    (
        "all that is excepted",
        "{ipBlock: {cidr: 'fd00::/64', except: ['fd00::/65', 'fd00:0:0:0:8000::/65']}}",
        "drop",
        "drop",
    ),
    (
        "whose exception is of the other family",
        "{ipBlock: {cidr: 'fd00::/64', except: [10.0.0.0/8]}}",
        "drop",
        "drop",
    ),
];

#[test]
fn blocks_of_both_families() {
    for (what, blocks, v4, v6) in BLOCKS {
        let spec = format!("{{podSelector: {{}}, ingress: [{{from: [{blocks}]}}]}}");
        let mut plan = town();
        listed(&mut plan, &[("shop", &yaml(&spec))]);
        let ingress = plan.verdict("web").unwrap().ingress.as_ref();
        for (family, want) in [(IpFamily::V4, v4), (IpFamily::V6, v6)] {
            assert_eq!(shown_of(family, &plan, ingress, false), *want, "{what}");
        }
    }
}

/// What says nothing of addresses is the same for both.
#[test]
fn ports_of_both_families() {
    let spec = "{podSelector: {}, ingress: [{ports: [{port: 36412, protocol: SCTP}]}]}";
    let mut plan = town();
    listed(&mut plan, &[("shop", &yaml(spec))]);
    let ingress = plan.verdict("web").unwrap().ingress.as_ref();
    for family in IpFamily::ALL {
        for (replies, want) in [
            (false, "sctp dport { 36412 } return; drop"),
            (true, "sctp sport { 36412 } return; drop"),
        ] {
            assert_eq!(shown_of(family, &plan, ingress, replies), want);
        }
    }
}
