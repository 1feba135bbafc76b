//! The cluster's own names: what a question about them is answered with.
//!
//! Invariant: pure but for reading the view; every name under the cluster's domain gets a definite answer here and never leaves the machine.
//! Follows Kubernetes' DNS specification 1.1.0 and the `kubernetes` plugin of CoreDNS, whose answers kubeadm clusters give (time to live 30 s,
//! pods by address without a look at whether they exist).

use std::{
    collections::{BTreeSet, HashSet},
    hash::Hash,
    net::IpAddr,
    str::FromStr,
};

use hickory_server::proto::{
    ProtoError,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT},
    },
};

use super::{
    super::view::{ClusterView, ObjectName},
    index::{Endpoint, Index, cluster_ips, endpoints},
};

/// Seconds that answers may be kept, negative ones too.
pub const TTL: u32 = 30;
/// The version of the specification.
const VERSION: &str = "1.1.0";
/// Aliases of aliases that are followed.
const MAX_ALIASES: usize = 8;

/// What there is to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// The name exists, but has nothing of that type.
    NoData,
    NoName,
    /// An alias (the records so far) of a name that is not the cluster's.
    Alias {
        answers: Vec<Record>,
        target: Name,
    },
    /// Not a name of the cluster.
    Elsewhere,
}

impl Answer {
    fn only(answers: Vec<Record>) -> Self {
        Self::Records {
            answers,
            additionals: vec![],
        }
    }
}

/// The zone of the cluster's domain.
pub struct Zone {
    domain: Name,
    /// Where this server answers.
    server_ips: Vec<IpAddr>,
}

impl Zone {
    /// `domain` without a dot at the end, as in `cluster.local`.
    pub fn new(domain: &str, server_ips: Vec<IpAddr>) -> Result<Self, ProtoError> {
        let mut domain = Name::from_str(domain)?.to_lowercase();
        domain.set_fqdn(true);
        Ok(Zone { domain, server_ips })
    }

    /// The record that goes with negative answers.
    pub fn soa(&self, index: &Index) -> Record {
        let (server, person) = (self.name(&["ns", "dns"]), self.name(&["hostmaster"]));
        let soa = SOA::new(server, person, index.serial, 7200, 1800, 86400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// Answers a question; aliases within the cluster are followed.
    pub fn answer(
        &self,
        view: &ClusterView,
        index: &Index,
        name: &Name,
        kind: RecordType,
    ) -> Answer {
        let mut before = Vec::new();
        let mut asked = name.clone();
        for _ in 0..MAX_ALIASES {
            let question = Question {
                zone: self,
                view,
                index,
                name: &asked,
                kind,
            };
            match question.answer() {
                Answer::Alias { answers, target } => {
                    before.extend(answers);
                    if !self.domain.zone_of(&target.to_lowercase()) {
                        return Answer::Alias {
                            answers: before,
                            target,
                        };
                    }
                    asked = target;
                }
                Answer::Records {
                    answers,
                    additionals,
                } => {
                    before.extend(answers);
                    return Answer::Records {
                        answers: before,
                        additionals,
                    };
                }
                last if before.is_empty() => return last,
                // The alias is an answer, even when it leads nowhere.
                _ => break,
            }
        }
        Answer::only(before)
    }

    fn name(&self, labels: &[&str]) -> Name {
        let prefix = Name::from_labels(labels.iter().map(|l| l.as_bytes()));
        let whole = prefix.and_then(|p| p.append_name(&self.domain));
        whole.unwrap_or_else(|_| self.domain.clone())
    }

    fn service_name(&self, service: &ObjectName) -> Name {
        self.name(&[&service.name, &service.namespace, "svc"])
    }

    fn endpoint_name(&self, endpoint: &Endpoint, service: &ObjectName) -> Name {
        self.name(&[&endpoint.host, &service.name, &service.namespace, "svc"])
    }
}

/// One question, and what it is answered from.
struct Question<'a> {
    zone: &'a Zone,
    view: &'a ClusterView,
    index: &'a Index,
    name: &'a Name,
    kind: RecordType,
}

impl Question<'_> {
    fn answer(&self) -> Answer {
        let (zone, kind) = (self.zone, self.kind);
        let lower = self.name.to_lowercase();
        if !zone.domain.zone_of(&lower) {
            return match kind {
                RecordType::PTR => self.pointer(),
                _ => Answer::Elsewhere,
            };
        }
        let depth = lower.iter().count() - zone.domain.iter().count();
        let labels: Vec<_> = lower
            .iter()
            .take(depth)
            .map(String::from_utf8_lossy)
            .collect();
        let labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
        let object = |namespace: &str, service: &str| ObjectName::new(namespace, service);
        match labels.as_slice() {
            [] if kind == RecordType::SOA => Answer::only(vec![zone.soa(self.index)]),
            [] if kind == RecordType::NS => {
                self.records(vec![RData::NS(NS(zone.name(&["ns", "dns"])))])
            }
            ["dns-version"] if kind == RecordType::TXT => {
                self.records(vec![RData::TXT(TXT::new(vec![VERSION.into()]))])
            }
            ["ns", "dns"] => self.addresses(&zone.server_ips),
            [] | ["dns-version" | "dns" | "svc" | "pod"] | [_, "pod"] => Answer::NoData,
            [namespace, "svc"] if self.index.has_namespace(namespace) => Answer::NoData,
            [ip, _, "pod"] => pod_ip(ip).map_or(Answer::NoName, |ip| self.addresses(&[ip])),
            [service, namespace, "svc"] => self.service(&object(namespace, service), None),
            [host, service, namespace, "svc"] => self.endpoint(&object(namespace, service), host),
            [port, protocol, service, namespace, "svc"] => {
                match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                    (Some(port), Some(protocol)) => {
                        self.service(&object(namespace, service), Some((port, protocol)))
                    }
                    _ => Answer::NoName,
                }
            }
            _ => Answer::NoName,
        }
    }

    /// A service by its name, or one port of it (`_http._tcp`).
    fn service(&self, service: &ObjectName, port: Option<(&str, &str)>) -> Answer {
        let Some((object, slices)) = self.view.service(service) else {
            return Answer::NoName;
        };
        let Some(spec) = &object.spec else {
            return Answer::NoName;
        };
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec.external_name.as_deref().unwrap_or_default();
            return match Name::from_str(target) {
                Ok(name) if !target.is_empty() && target.parse::<IpAddr>().is_err() => {
                    self.alias(name)
                }
                _ => Answer::NoName,
            };
        }
        let fits = |name: &str, protocol: &str| {
            port.is_none_or(|(p, proto)| p == name && proto == protocol)
        };
        if spec.cluster_ip.as_deref() == Some("None") {
            let mut found: Vec<_> = endpoints(&slices).collect();
            for endpoint in &mut found {
                endpoint
                    .ports
                    .retain(|(name, protocol, _)| fits(name, protocol));
            }
            found.retain(|e| port.is_none() || !e.ports.is_empty());
            return self.headless(service, &found);
        }
        let ports = spec.ports.iter().flatten().filter_map(|p| {
            let protocol = p.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
            let fits = fits(p.name.as_deref().unwrap_or_default(), &protocol);
            u16::try_from(p.port).ok().filter(|_| fits)
        });
        let ports: Vec<_> = ports.collect();
        let ips = cluster_ips(&object);
        match self.kind {
            _ if ports.is_empty() => Answer::NoName,
            RecordType::SRV => {
                let host = self.zone.service_name(service);
                let targets = ports.iter().map(|p| (host.clone(), *p));
                self.located(targets, ips.into_iter().map(|ip| (host.clone(), ip)))
            }
            _ => self.addresses(&ips),
        }
    }

    fn headless(&self, service: &ObjectName, found: &[Endpoint]) -> Answer {
        if found.is_empty() {
            return Answer::NoName;
        }
        if self.kind != RecordType::SRV {
            let ips: BTreeSet<_> = found.iter().map(|e| e.ip).collect();
            return self.addresses(&ips.into_iter().collect::<Vec<_>>());
        }
        let host = &|e: &Endpoint| self.zone.endpoint_name(e, service);
        let targets = found
            .iter()
            .flat_map(|e| e.ports.iter().map(move |(_, _, port)| (host(e), *port)));
        self.located(targets, found.iter().map(|e| (host(e), e.ip)))
    }

    /// One endpoint of a service, by hostname or by its address with dashes.
    fn endpoint(&self, service: &ObjectName, host: &str) -> Answer {
        let Some((_, slices)) = self.view.service(service) else {
            return Answer::NoName;
        };
        let named = endpoints(&slices).filter(|e| e.host.eq_ignore_ascii_case(host));
        self.headless(service, &named.collect::<Vec<_>>())
    }

    /// The names of an address: of the services whose ClusterIP it is, or else of the endpoints.
    fn pointer(&self) -> Answer {
        let net = self.name.parse_arpa_name().ok();
        let net = net.filter(|net| net.prefix_len() == net.max_prefix_len());
        let Some(ip) = net.map(|net| net.addr()) else {
            return Answer::Elsewhere;
        };
        let (mut own, mut behind) = (Vec::new(), Vec::new());
        for service in self.index.services_of(ip) {
            let Some((object, slices)) = self.view.service(service) else {
                continue;
            };
            if cluster_ips(&object).contains(&ip) {
                own.push(self.zone.service_name(service));
            }
            let hosts = endpoints(&slices).filter(|e| e.ip == ip);
            behind.extend(hosts.map(|e| self.zone.endpoint_name(&e, service)));
        }
        let names = if own.is_empty() { behind } else { own };
        if names.is_empty() {
            return Answer::Elsewhere;
        }
        self.records(names.into_iter().map(|n| RData::PTR(PTR(n))).collect())
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), TTL, data)
    }

    fn records(&self, data: Vec<RData>) -> Answer {
        if data.is_empty() {
            return Answer::NoData;
        }
        Answer::only(data.into_iter().map(|data| self.record(data)).collect())
    }

    fn addresses(&self, ips: &[IpAddr]) -> Answer {
        let of_kind = ips
            .iter()
            .map(|ip| address(*ip))
            .filter(|data| data.record_type() == self.kind);
        self.records(of_kind.collect())
    }

    fn alias(&self, mut target: Name) -> Answer {
        target.set_fqdn(true);
        let answers = vec![self.record(RData::CNAME(CNAME(target.clone())))];
        match self.kind {
            RecordType::CNAME => Answer::only(answers),
            _ => Answer::Alias { answers, target },
        }
    }

    /// SRV records for (host, port) pairs, each once, all with the same weight, and the hosts' addresses.
    fn located(
        &self,
        targets: impl Iterator<Item = (Name, u16)>,
        hosts: impl Iterator<Item = (Name, IpAddr)>,
    ) -> Answer {
        let unique = each_once(targets);
        if unique.is_empty() {
            return Answer::NoData;
        }
        let weight = u16::try_from(100 / unique.len()).unwrap_or(0).max(1);
        let srv = |(host, port)| self.record(RData::SRV(SRV::new(0, weight, port, host)));
        Answer::Records {
            answers: unique.into_iter().map(srv).collect(),
            additionals: each_once(hosts)
                .into_iter()
                .map(|(host, ip)| Record::from_rdata(host, TTL, address(ip)))
                .collect(),
        }
    }
}

/// In the order in which they first come.
fn each_once<T: Clone + Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    all.filter(|one| seen.insert(one.clone())).collect()
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// `1-2-3-4`, or an IPv6 address with dashes for colons.
fn pod_ip(label: &str) -> Option<IpAddr> {
    if label.matches('-').count() == 3 && !label.contains("--") {
        label.replace('-', ".").parse().ok().map(IpAddr::V4)
    } else {
        label.replace('-', ":").parse().ok().map(IpAddr::V6)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn world() -> (Zone, ClusterView, Index) {
        let view = ClusterView::default();
        let put = |name: &str, spec: Value| {
            view.put_service(
                serde_json::from_value(
                    json!({"metadata": {"namespace": "ns", "name": name}, "spec": spec}),
                )
                .unwrap(),
            );
        };
        put(
            "web",
            json!({"clusterIP": "10.96.0.5", "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
        );
        put(
            "db",
            json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}),
        );
        put(
            "empty",
            json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}),
        );
        put(
            "ext",
            json!({"type": "ExternalName", "externalName": "example.com"}),
        );
        put(
            "inner",
            json!({"type": "ExternalName", "externalName": "web.ns.svc.cluster.local"}),
        );
        put(
            "circle",
            json!({"type": "ExternalName", "externalName": "circle.ns.svc.cluster.local."}),
        );
        put(
            "dual",
            json!({"clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.6", "fd00::6"], "ports": [{"port": 80}]}),
        );
        for (service, port, endpoints) in [
            (
                "db",
                json!({"name": "sql", "port": 5432, "protocol": "TCP"}),
                json!([{"addresses": ["10.244.0.7"], "hostname": "db-0"}, {"addresses": ["10.244.0.8"]},
                    {"addresses": ["10.244.0.9"], "conditions": {"ready": false}}]),
            ),
            (
                "web",
                json!({"name": "http", "port": 8080, "protocol": "TCP"}),
                json!([{"addresses": ["10.244.0.3"]}]),
            ),
        ] {
            view.put_slice(
                serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": service, "labels": {"kubernetes.io/service-name": service}},
                    "addressType": "IPv4", "ports": [port], "endpoints": endpoints}))
                .unwrap(),
            );
        }
        let mut index = Index::default();
        view.service_names()
            .iter()
            .for_each(|n| index.update(n, &view));
        (
            Zone::new("cluster.local", vec![[10, 96, 0, 10].into()]).unwrap(),
            view,
            index,
        )
    }

    fn show(answer: Answer) -> String {
        let list = |records: &[Record]| {
            let texts: Vec<_> = records.iter().map(|r| r.data.to_string()).collect();
            texts.join(" | ")
        };
        match answer {
            Answer::Records {
                answers,
                additionals,
            } => {
                let all = [answers, additionals];
                all.iter()
                    .filter(|part| !part.is_empty())
                    .map(|part| list(part))
                    .collect::<Vec<_>>()
                    .join(" + ")
            }
            Answer::NoData => "no data".into(),
            Answer::NoName => "no name".into(),
            Answer::Alias { answers, target } => format!("{} then {target}", list(&answers)),
            Answer::Elsewhere => "elsewhere".into(),
        }
    }

    #[test]
    fn names_of_the_cluster() {
        let (zone, view, index) = world();
        let cases = [
            ("web.ns.svc.cluster.local.", "A", "10.96.0.5"),
            ("WEB.ns.SVC.cluster.local.", "A", "10.96.0.5"),
            ("web.ns.svc.cluster.local.", "AAAA", "no data"),
            ("dual.ns.svc.cluster.local.", "AAAA", "fd00::6"),
            ("none.ns.svc.cluster.local.", "A", "no name"),
            ("web.other.svc.cluster.local.", "A", "no name"),
            ("db.ns.svc.cluster.local.", "A", "10.244.0.7 | 10.244.0.8"),
            ("db-0.db.ns.svc.cluster.local.", "A", "10.244.0.7"),
            ("10-244-0-8.db.ns.svc.cluster.local.", "A", "10.244.0.8"),
            ("10-244-0-9.db.ns.svc.cluster.local.", "A", "no name"),
            ("10-244-0-3.web.ns.svc.cluster.local.", "A", "10.244.0.3"),
            ("empty.ns.svc.cluster.local.", "A", "no name"),
            (
                "_http._tcp.web.ns.svc.cluster.local.",
                "SRV",
                "0 100 80 web.ns.svc.cluster.local. + 10.96.0.5",
            ),
            ("_http._udp.web.ns.svc.cluster.local.", "SRV", "no name"),
            ("_dns._udp.web.ns.svc.cluster.local.", "A", "10.96.0.5"),
            (
                "web.ns.svc.cluster.local.",
                "SRV",
                "0 50 80 web.ns.svc.cluster.local. | 0 50 53 web.ns.svc.cluster.local. + 10.96.0.5",
            ),
            (
                "_sql._tcp.db.ns.svc.cluster.local.",
                "SRV",
                "0 50 5432 db-0.db.ns.svc.cluster.local. | 0 50 5432 10-244-0-8.db.ns.svc.cluster.local. + 10.244.0.7 | 10.244.0.8",
            ),
            (
                "ext.ns.svc.cluster.local.",
                "A",
                "example.com. then example.com.",
            ),
            ("ext.ns.svc.cluster.local.", "CNAME", "example.com."),
            (
                "inner.ns.svc.cluster.local.",
                "A",
                "web.ns.svc.cluster.local. | 10.96.0.5",
            ),
            ("1-2-3-4.ns.pod.cluster.local.", "A", "1.2.3.4"),
            ("fd00--1.ns.pod.cluster.local.", "AAAA", "fd00::1"),
            ("x.ns.pod.cluster.local.", "A", "no name"),
            ("dns-version.cluster.local.", "TXT", "1.1.0"),
            ("dns-version.cluster.local.", "A", "no data"),
            ("cluster.local.", "A", "no data"),
            ("cluster.local.", "NS", "ns.dns.cluster.local."),
            ("ns.dns.cluster.local.", "A", "10.96.0.10"),
            ("svc.cluster.local.", "A", "no data"),
            ("ns.svc.cluster.local.", "A", "no data"),
            ("other.svc.cluster.local.", "A", "no name"),
            ("example.com.cluster.local.", "A", "no name"),
            ("example.com.", "A", "elsewhere"),
            (
                "5.0.96.10.in-addr.arpa.",
                "PTR",
                "web.ns.svc.cluster.local.",
            ),
            (
                "7.0.244.10.in-addr.arpa.",
                "PTR",
                "db-0.db.ns.svc.cluster.local.",
            ),
            ("8.8.8.8.in-addr.arpa.", "PTR", "elsewhere"),
        ];
        let ask =
            |name: &str, kind| zone.answer(&view, &index, &Name::from_str(name).unwrap(), kind);
        for (name, kind, want) in cases {
            assert_eq!(
                show(ask(name, kind.parse().unwrap())),
                want,
                "{kind} {name}"
            );
        }
        let circle = ask("circle.ns.svc.cluster.local.", RecordType::A);
        assert!(
            matches!(circle, Answer::Records { answers, .. } if answers.len() == MAX_ALIASES),
            "a circle ends"
        );
    }

    #[test]
    fn what_comes_twice_stands_where_it_came_first() {
        let all = ["b", "a", "b", "c", "a"].map(|name| Name::from_ascii(name).unwrap());
        let once = each_once(all.iter().cloned());
        assert_eq!(once, [&all[0], &all[1], &all[3]].map(Clone::clone));
    }

    #[test]
    fn the_index_forgets() {
        let (zone, view, mut index) = world();
        let web = ObjectName::new("ns", "web");
        index.update(&web, &view);
        assert_eq!(index.services_in("ns"), 7, "the same service counts once");
        view.remove_service(&web);
        index.update(&web, &view);
        assert_eq!(index.services_in("ns"), 6);
        let name = Name::from_str("5.0.96.10.in-addr.arpa.").unwrap();
        assert_eq!(
            zone.answer(&view, &index, &name, RecordType::PTR),
            Answer::Elsewhere
        );
    }
}
