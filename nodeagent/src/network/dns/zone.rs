//! The cluster's own names: what a question about them is answered with.
//!
//! Invariant: pure but for reading the view; every name under the cluster's domain gets a definite answer here and never leaves the machine.
//! Follows Kubernetes' DNS specification 1.1.0 and the `kubernetes` plugin of CoreDNS, whose answers kubeadm clusters give (time to live 30 s,
//! pods by address without a look at whether they exist).

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    str::FromStr,
};

use hickory_server::proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT},
};
use k8s_openapi::api::core::v1::Service;

use super::super::view::{ClusterView, ObjectName, Slices};

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

/// The zone of the cluster's domain.
pub struct Zone {
    domain: Name,
    /// Where this server answers.
    server_ips: Vec<IpAddr>,
}

/// Which services an address belongs to: as their ClusterIP, or as that of an endpoint. Kept by telling it of every change.
#[derive(Debug, Default)]
pub struct Index {
    by_ip: HashMap<IpAddr, BTreeSet<ObjectName>>,
    ips: HashMap<ObjectName, BTreeSet<IpAddr>>,
    namespaces: HashMap<String, usize>,
    /// Grows with each change.
    pub serial: u32,
}

impl Index {
    /// Looks at a service as it is now.
    pub fn update(&mut self, name: &ObjectName, view: &ClusterView) {
        self.serial = self.serial.wrapping_add(1);
        let service = view.service(name);
        let was_there = self.ips.contains_key(name);
        for ip in self.ips.remove(name).unwrap_or_default() {
            if let Some(names) = self.by_ip.get_mut(&ip) {
                names.remove(name);
                if names.is_empty() {
                    self.by_ip.remove(&ip);
                }
            }
        }
        self.count(&name.namespace, was_there, service.is_some());
        let Some((service, slices)) = service else {
            return;
        };
        let ips: BTreeSet<_> = cluster_ips(&service)
            .into_iter()
            .chain(endpoints(&slices).map(|e| e.ip))
            .collect();
        for ip in &ips {
            self.by_ip.entry(*ip).or_default().insert(name.clone());
        }
        self.ips.insert(name.clone(), ips);
    }

    fn count(&mut self, namespace: &str, was: bool, is: bool) {
        let count = self.namespaces.entry(namespace.to_owned()).or_default();
        *count = (*count + usize::from(is)).saturating_sub(usize::from(was));
        if *count == 0 {
            self.namespaces.remove(namespace);
        }
    }
}

/// A ready endpoint, and the ports of its slice: (name, protocol in small letters, number).
struct Endpoint<'a> {
    ip: IpAddr,
    host: String,
    ports: Vec<(&'a str, String, u16)>,
}

fn endpoints(slices: &Slices) -> impl Iterator<Item = Endpoint<'_>> {
    slices
        .values()
        .filter(|s| s.address_type != "FQDN")
        .flat_map(|slice| {
            let ports = slice.ports.iter().flatten().filter_map(|p| {
                let protocol = p.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
                Some((
                    p.name.as_deref().unwrap_or_default(),
                    protocol,
                    u16::try_from(p.port?).ok()?,
                ))
            });
            let ports: Vec<_> = ports.collect();
            let ready = slice
                .endpoints
                .iter()
                .flatten()
                .filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
            ready.flat_map(move |endpoint| {
                let ports = ports.clone();
                endpoint
                    .addresses
                    .iter()
                    .filter_map(|a| a.parse::<IpAddr>().ok())
                    .map(move |ip| Endpoint {
                        ip,
                        host: endpoint
                            .hostname
                            .clone()
                            .filter(|h| !h.is_empty())
                            .unwrap_or_else(|| ip.to_string().replace(['.', ':'], "-")),
                        ports: ports.clone(),
                    })
            })
        })
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let all = spec
        .cluster_ips
        .iter()
        .flatten()
        .chain(&spec.cluster_ip)
        .filter_map(|ip| ip.parse().ok());
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

impl Zone {
    /// `domain` without a dot at the end, as in `cluster.local`.
    pub fn new(domain: &str, server_ips: Vec<IpAddr>) -> Result<Self, String> {
        let mut name = Name::from_str(domain)
            .map_err(|e| e.to_string())?
            .to_lowercase();
        name.set_fqdn(true);
        Ok(Zone {
            domain: name,
            server_ips,
        })
    }

    /// The record that goes with negative answers.
    pub fn soa(&self, index: &Index) -> Record {
        let name = |prefix: &str| {
            Name::from_str(prefix)
                .and_then(|p| p.append_name(&self.domain))
                .unwrap_or_else(|_| self.domain.clone())
        };
        let soa = SOA::new(
            name("ns.dns"),
            name("hostmaster"),
            index.serial,
            7200,
            1800,
            86400,
            TTL,
        );
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
            match self.answer_once(view, index, &asked, kind) {
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
                _ => {
                    return Answer::Records {
                        answers: before,
                        additionals: Vec::new(),
                    };
                }
            }
        }
        Answer::Records {
            answers: before,
            additionals: Vec::new(),
        }
    }

    fn answer_once(
        &self,
        view: &ClusterView,
        index: &Index,
        name: &Name,
        kind: RecordType,
    ) -> Answer {
        let lower = name.to_lowercase();
        if !self.domain.zone_of(&lower) {
            return if kind == RecordType::PTR {
                self.pointer(view, index, name)
            } else {
                Answer::Elsewhere
            };
        }
        let depth = lower.iter().count() - self.domain.iter().count();
        let labels: Vec<String> = lower
            .iter()
            .take(depth)
            .map(|l| String::from_utf8_lossy(l).into_owned())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let with = |data: Vec<RData>| records(name, data);
        match labels.as_slice() {
            [] => match kind {
                RecordType::SOA => Answer::Records {
                    answers: vec![self.soa(index)],
                    additionals: vec![],
                },
                RecordType::NS => with(vec![RData::NS(NS(self.name(&["ns", "dns"])))]),
                _ => Answer::NoData,
            },
            ["dns-version"] => if_kind(kind, RecordType::TXT, || {
                with(vec![RData::TXT(TXT::new(vec![VERSION.into()]))])
            }),
            ["ns", "dns"] => addresses(name, kind, &self.server_ips),
            ["dns" | "svc" | "pod"] | [_, "pod"] => Answer::NoData,
            [namespace, "svc"] if index.namespaces.contains_key(*namespace) => Answer::NoData,
            [ip, _, "pod"] => pod_ip(ip).map_or(Answer::NoName, |ip| addresses(name, kind, &[ip])),
            [service, namespace, "svc"] => self.service(
                view,
                name,
                kind,
                &ObjectName::new(*namespace, *service),
                None,
            ),
            [host, service, namespace, "svc"] => self.endpoint(
                view,
                name,
                kind,
                &ObjectName::new(*namespace, *service),
                host,
            ),
            [port, protocol, service, namespace, "svc"] => {
                match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                    (Some(port), Some(protocol)) => self.service(
                        view,
                        name,
                        kind,
                        &ObjectName::new(*namespace, *service),
                        Some((port, protocol)),
                    ),
                    _ => Answer::NoName,
                }
            }
            _ => Answer::NoName,
        }
    }

    fn name(&self, labels: &[&str]) -> Name {
        let prefix = Name::from_labels(labels.iter().map(|l| l.as_bytes()));
        prefix
            .and_then(|p| p.append_name(&self.domain))
            .unwrap_or_else(|_| self.domain.clone())
    }

    /// A service by its name, or one port of it (`_http._tcp`).
    fn service(
        &self,
        view: &ClusterView,
        name: &Name,
        kind: RecordType,
        service: &ObjectName,
        port: Option<(&str, &str)>,
    ) -> Answer {
        let Some((object, slices)) = view.service(service) else {
            return Answer::NoName;
        };
        let Some(spec) = &object.spec else {
            return Answer::NoName;
        };
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec
                .external_name
                .as_deref()
                .filter(|n| n.parse::<IpAddr>().is_err())
                .and_then(|n| Name::from_str(n).ok());
            return target.map_or(Answer::NoName, |target| alias(name, kind, target));
        }
        let fits = |name: &str, protocol: &str| {
            port.is_none_or(|(p, proto)| p == name && proto == protocol)
        };
        if spec.cluster_ip.as_deref() == Some("None") {
            let found: Vec<_> = endpoints(&slices)
                .map(|mut e| {
                    e.ports.retain(|(name, protocol, _)| fits(name, protocol));
                    e
                })
                .filter(|e| port.is_none() || !e.ports.is_empty())
                .collect();
            return self.headless(name, kind, service, &found);
        }
        let ports = spec.ports.iter().flatten().filter_map(|p| {
            let protocol = p.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
            fits(p.name.as_deref().unwrap_or_default(), &protocol)
                .then_some(p.port)
                .and_then(|p| u16::try_from(p).ok())
        });
        let ports: Vec<_> = ports.collect();
        match kind {
            _ if ports.is_empty() => Answer::NoName,
            RecordType::SRV => {
                let host = self.name(&[&service.name, &service.namespace, "svc"]);
                let targets: Vec<_> = ports.iter().map(|p| (host.clone(), *p)).collect();
                located(
                    name,
                    &targets,
                    cluster_ips(&object)
                        .into_iter()
                        .map(|ip| (host.clone(), ip)),
                )
            }
            _ => addresses(name, kind, &cluster_ips(&object)),
        }
    }

    fn headless(
        &self,
        name: &Name,
        kind: RecordType,
        service: &ObjectName,
        found: &[Endpoint],
    ) -> Answer {
        if found.is_empty() {
            return Answer::NoName;
        }
        if kind != RecordType::SRV {
            let ips: BTreeSet<_> = found.iter().map(|e| e.ip).collect();
            return addresses(name, kind, &ips.into_iter().collect::<Vec<_>>());
        }
        let host = |e: &Endpoint| self.name(&[&e.host, &service.name, &service.namespace, "svc"]);
        let targets: Vec<_> = found
            .iter()
            .flat_map(|e| e.ports.iter().map(|(_, _, port)| (host(e), *port)))
            .collect();
        located(name, &targets, found.iter().map(|e| (host(e), e.ip)))
    }

    /// One endpoint of a service, by hostname or by its address with dashes.
    fn endpoint(
        &self,
        view: &ClusterView,
        name: &Name,
        kind: RecordType,
        service: &ObjectName,
        host: &str,
    ) -> Answer {
        let Some((_, slices)) = view.service(service) else {
            return Answer::NoName;
        };
        let found: Vec<_> = endpoints(&slices)
            .filter(|e| e.host.eq_ignore_ascii_case(host))
            .collect();
        self.headless(name, kind, service, &found)
    }

    /// The names of an address: of the services whose ClusterIP it is, or else of the endpoints.
    fn pointer(&self, view: &ClusterView, index: &Index, name: &Name) -> Answer {
        let Some(ip) = name
            .parse_arpa_name()
            .ok()
            .filter(|net| net.prefix_len() == net.max_prefix_len())
            .map(|net| net.addr())
        else {
            return Answer::Elsewhere;
        };
        let Some(services) = index.by_ip.get(&ip) else {
            return Answer::Elsewhere;
        };
        let (mut own, mut behind) = (Vec::new(), Vec::new());
        for service in services {
            let Some((object, slices)) = view.service(service) else {
                continue;
            };
            if cluster_ips(&object).contains(&ip) {
                own.push(self.name(&[&service.name, &service.namespace, "svc"]));
            }
            let hosts = endpoints(&slices)
                .filter(|e| e.ip == ip)
                .map(|e| self.name(&[&e.host, &service.name, &service.namespace, "svc"]));
            behind.extend(hosts);
        }
        let names = if own.is_empty() { behind } else { own };
        if names.is_empty() {
            Answer::Elsewhere
        } else {
            records(
                name,
                names.into_iter().map(|n| RData::PTR(PTR(n))).collect(),
            )
        }
    }
}

fn if_kind(kind: RecordType, want: RecordType, answer: impl FnOnce() -> Answer) -> Answer {
    if kind == want {
        answer()
    } else {
        Answer::NoData
    }
}

fn records(name: &Name, data: Vec<RData>) -> Answer {
    if data.is_empty() {
        return Answer::NoData;
    }
    Answer::Records {
        answers: data
            .into_iter()
            .map(|d| Record::from_rdata(name.clone(), TTL, d))
            .collect(),
        additionals: vec![],
    }
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn addresses(name: &Name, kind: RecordType, ips: &[IpAddr]) -> Answer {
    let fits = |ip: &&IpAddr| {
        kind == if ip.is_ipv4() {
            RecordType::A
        } else {
            RecordType::AAAA
        }
    };
    records(
        name,
        ips.iter().filter(fits).map(|ip| address(*ip)).collect(),
    )
}

fn alias(name: &Name, kind: RecordType, mut target: Name) -> Answer {
    target.set_fqdn(true);
    let record = Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
    if kind == RecordType::CNAME {
        Answer::Records {
            answers: vec![record],
            additionals: vec![],
        }
    } else {
        Answer::Alias {
            answers: vec![record],
            target,
        }
    }
}

/// SRV records for (host, port) pairs, each once, all with the same weight, and the hosts' addresses.
fn located(
    name: &Name,
    targets: &[(Name, u16)],
    hosts: impl Iterator<Item = (Name, IpAddr)>,
) -> Answer {
    let mut unique: Vec<&(Name, u16)> = Vec::new();
    for target in targets {
        if !unique.contains(&target) {
            unique.push(target);
        }
    }
    if unique.is_empty() {
        return Answer::NoData;
    }
    let weight = u16::try_from(100 / unique.len()).unwrap_or(0).max(1);
    let answers = unique
        .iter()
        .map(|(host, port)| {
            Record::from_rdata(
                name.clone(),
                TTL,
                RData::SRV(SRV::new(0, weight, *port, host.clone())),
            )
        })
        .collect();
    let mut additionals: Vec<Record> = Vec::new();
    for (host, ip) in hosts {
        let record = Record::from_rdata(host, TTL, address(ip));
        if !additionals.contains(&record) {
            additionals.push(record);
        }
    }
    Answer::Records {
        answers,
        additionals,
    }
}

/// `1-2-3-4`, or an IPv6 address with dashes for colons.
fn pod_ip(label: &str) -> Option<IpAddr> {
    let v4 = || label.replace('-', ".").parse().ok().map(IpAddr::V4);
    let v6 = || label.replace('-', ":").parse().ok().map(IpAddr::V6);
    if label.matches('-').count() == 3 && !label.contains("--") {
        v4()
    } else {
        v6()
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
            records
                .iter()
                .map(|r| r.data.to_string())
                .collect::<Vec<_>>()
                .join(" | ")
        };
        match answer {
            Answer::Records {
                answers,
                additionals,
            } if additionals.is_empty() => list(&answers),
            Answer::Records {
                answers,
                additionals,
            } => format!("{} + {}", list(&answers), list(&additionals)),
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
        for (name, kind, want) in cases {
            let answer = zone.answer(
                &view,
                &index,
                &Name::from_str(name).unwrap(),
                kind.parse().unwrap(),
            );
            assert_eq!(show(answer), want, "{kind} {name}");
        }
        let circle = zone.answer(
            &view,
            &index,
            &Name::from_str("circle.ns.svc.cluster.local.").unwrap(),
            RecordType::A,
        );
        assert!(
            matches!(circle, Answer::Records { answers, .. } if answers.len() == MAX_ALIASES),
            "a circle ends"
        );
    }

    #[test]
    fn the_index_forgets() {
        let (zone, view, mut index) = world();
        let web = ObjectName::new("ns", "web");
        index.update(&web, &view);
        assert_eq!(index.namespaces["ns"], 7, "the same service counts once");
        view.remove_service(&web);
        index.update(&web, &view);
        assert_eq!(index.namespaces["ns"], 6);
        let pointer = zone.answer(
            &view,
            &index,
            &Name::from_str("5.0.96.10.in-addr.arpa.").unwrap(),
            RecordType::PTR,
        );
        assert_eq!(pointer, Answer::Elsewhere);
    }
}
