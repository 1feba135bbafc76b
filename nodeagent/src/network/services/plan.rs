//! What a service means on this node: for each of its ports, the addresses it answers at and the endpoints that traffic goes to.
//!
//! Invariant: pure; the same service, slices and node give the same plan, endpoints sorted. A plan is of one family of addresses: a service with addresses of
//! both has one of each, from the slices of that family.
//! Follows `pkg/proxy/{topology,serviceport,servicechangetracker}.go` upstream.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::{
    super::{
        family::{self, IpFamily},
        protocol::Protocol,
        view::{ObjectName, Slices},
    },
    candidates::{Candidate, Candidates, candidates, nearness},
    node::{Endpoint, NodeFacts},
};

/// Services with this label belong to another proxy.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// `spec.sessionAffinityConfig.clientIP.timeoutSeconds` when it is not given.
const DEFAULT_AFFINITY_SECONDS: u32 = 10800;

/// Where traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    Endpoints(&'a [Endpoint]),
    /// There are endpoints, but none that the traffic policy allows here.
    Drop,
    /// There are none at all.
    Reject,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    pub service: ObjectName,
    /// Empty when the service has only one and does not name it.
    pub port_name: String,
    pub protocol: Protocol,
    pub cluster_ip: IpAddr,
    pub port: u16,
    pub node_port: Option<u16>,
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress` of mode VIP.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Empty: everybody.
    pub load_balancer_sources: Vec<IpNet>,
    /// `ClientIP` affinity, in seconds.
    pub affinity: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    /// For policy Cluster; empty when the service never uses it.
    pub cluster_endpoints: Vec<Endpoint>,
    /// For policy Local; empty when the service never uses it.
    pub local_endpoints: Vec<Endpoint>,
    /// Usable ones anywhere in the cluster.
    pub has_endpoints: bool,
    /// `healthCheckNodePort`, and how many ready endpoints this node has.
    pub health_check: Option<(u16, usize)>,
}

impl PortPlan {
    /// That of all its addresses.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.cluster_ip)
    }

    /// For traffic to the ClusterIP.
    pub fn internal(&self) -> Target<'_> {
        self.target(self.internal_local)
    }

    /// For traffic from outside of the cluster to node ports, external and load balancer IPs.
    pub fn external(&self) -> Target<'_> {
        self.target(self.external_local)
    }

    fn target(&self, local: bool) -> Target<'_> {
        let endpoints = if local {
            &self.local_endpoints
        } else {
            &self.cluster_endpoints
        };
        match (self.has_endpoints, endpoints.is_empty()) {
            (false, _) => Target::Reject,
            (true, true) => Target::Drop,
            (true, false) => Target::Endpoints(endpoints),
        }
    }

    pub fn externally_accessible(&self) -> bool {
        self.node_port.is_some()
            || !self.external_ips.is_empty()
            || !self.load_balancer_ips.is_empty()
    }

    /// All endpoints that traffic of this node may reach.
    pub fn reachable(&self) -> BTreeSet<Endpoint> {
        self.cluster_endpoints
            .iter()
            .chain(&self.local_endpoints)
            .copied()
            .collect()
    }
}

/// The plan of one service; empty for what has no virtual addresses (headless, `ExternalName`) or is another proxy's.
pub fn plan(service: &Service, slices: &Slices, node: &NodeFacts) -> Vec<PortPlan> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let others = service
        .metadata
        .labels
        .as_ref()
        .is_some_and(|l| l.contains_key(OTHER_PROXY_LABEL));
    let cluster_ip = spec
        .cluster_ips
        .iter()
        .flatten()
        .chain(&spec.cluster_ip)
        .filter_map(|ip| ip.parse().ok())
        .find(|ip| node.family.has(ip));
    let Some(cluster_ip) =
        cluster_ip.filter(|_| !others && spec.type_.as_deref() != Some("ExternalName"))
    else {
        return Vec::new();
    };
    if node.own_cluster_ips.contains(&cluster_ip) {
        return Vec::new();
    }
    spec.ports
        .iter()
        .flatten()
        .filter_map(|port| plan_port(service, cluster_ip, port, slices, node))
        .collect()
}

fn plan_port(
    service: &Service,
    cluster_ip: IpAddr,
    port: &ServicePort,
    slices: &Slices,
    node: &NodeFacts,
) -> Option<PortPlan> {
    let spec = service.spec.as_ref()?;
    let protocol = Protocol::parse(port.protocol.as_deref())?;
    let port_name = port.name.clone().unwrap_or_default();
    let mut plan = PortPlan {
        service: ObjectName::new(
            service.metadata.namespace.clone().unwrap_or_default(),
            service.metadata.name.clone().unwrap_or_default(),
        ),
        protocol,
        cluster_ip,
        port: u16::try_from(port.port).ok()?,
        node_port: port_number(port.node_port),
        external_ips: spec
            .external_ips
            .iter()
            .flatten()
            .filter_map(|ip| ip.parse().ok())
            .filter(|ip| node.family.has(ip))
            .collect(),
        load_balancer_ips: load_balancer_ips(service, node.family),
        load_balancer_sources: source_ranges(
            spec.load_balancer_source_ranges
                .as_deref()
                .unwrap_or_default(),
            node.family,
        ),
        affinity: affinity(spec),
        internal_local: is_local(spec.internal_traffic_policy.as_ref()),
        external_local: is_local(spec.external_traffic_policy.as_ref()),
        cluster_endpoints: Vec::new(),
        local_endpoints: Vec::new(),
        has_endpoints: false,
        health_check: None,
        port_name,
    };
    let candidates = candidates(slices, &plan.port_name, protocol, node);
    plan.health_check = health_check(spec, &candidates);
    categorize(&mut plan, &candidates);
    Some(plan)
}

/// A port's number; 0 is none.
fn port_number(number: Option<i32>) -> Option<u16> {
    let number = number.and_then(|number| u16::try_from(number).ok());
    number.filter(|number| *number != 0)
}

fn is_local(policy: Option<&String>) -> bool {
    policy.is_some_and(|policy| policy == "Local")
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let given = spec.session_affinity_config.as_ref();
    let given = given.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let given = given.and_then(|seconds| u32::try_from(seconds).ok());
    Some(given.unwrap_or(DEFAULT_AFFINITY_SECONDS))
}

/// Only a balancer that is to send to nodes with endpoints asks for them.
fn health_check(spec: &ServiceSpec, candidates: &Candidates) -> Option<(u16, usize)> {
    if !is_local(spec.external_traffic_policy.as_ref())
        || spec.type_.as_deref() != Some("LoadBalancer")
    {
        return None;
    }
    let port = port_number(spec.health_check_node_port)?;
    let ready: BTreeSet<_> = candidates
        .values()
        .filter(|c| c.ready && c.endpoint.local)
        .map(|c| c.endpoint.ip)
        .collect();
    Some((port, ready.len()))
}

fn load_balancer_ips(service: &Service, family: IpFamily) -> Vec<IpAddr> {
    let ingress = service
        .status
        .iter()
        .filter_map(|s| s.load_balancer.as_ref())
        .flat_map(|l| l.ingress.iter().flatten());
    ingress
        .filter(|i| i.ip_mode.as_deref().unwrap_or("VIP") == "VIP")
        .filter_map(|i| i.ip.as_deref()?.parse().ok())
        .filter(|ip| family.has(ip))
        .collect()
}

/// A range of everything is the same as none. What cannot be read, and ranges of the other family, let nobody in; that they are there is a restriction all
/// the same.
fn source_ranges(ranges: &[String], family: IpFamily) -> Vec<IpNet> {
    let mut readable: Vec<IpNet> = ranges
        .iter()
        .filter_map(|range| range.trim().parse().ok())
        .filter(|range| IpFamily::of_network(*range) == family)
        .collect();
    if readable.iter().any(|range| range.prefix_len() == 0) {
        return Vec::new();
    }
    if readable.is_empty() && !ranges.is_empty() {
        readable.push(family::alone(family.unspecified()));
    }
    readable
}

/// Fills in the endpoints for the policies that the service uses: ready ones, or where there are none those that terminate but still serve.
fn categorize(plan: &mut PortPlan, candidates: &Candidates) {
    let pick = |want: &dyn Fn(&Candidate) -> bool| -> Vec<Endpoint> {
        candidates
            .values()
            .filter(|c| want(c))
            .map(|c| c.endpoint)
            .collect()
    };
    let or_terminating = |ready: Vec<Endpoint>, may: &dyn Fn(&Candidate) -> bool| {
        if ready.is_empty() {
            pick(&|c| c.serving_terminating && may(c))
        } else {
            ready
        }
    };
    let uses_cluster = !plan.internal_local || plan.externally_accessible();
    let uses_local = plan.internal_local || (plan.external_local && plan.externally_accessible());
    if uses_cluster {
        let nearness = nearness(candidates);
        plan.cluster_endpoints =
            or_terminating(pick(&|c| c.ready && nearness.allows(c)), &|_| true);
    }
    if uses_local {
        plan.local_endpoints = or_terminating(pick(&|c| c.ready && c.endpoint.local), &|c| {
            c.endpoint.local
        });
    }
    plan.has_endpoints = candidates
        .values()
        .any(|c| c.ready || c.serving_terminating);
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, HashSet},
        sync::Arc,
    };

    use serde_json::{Value, json};

    use super::{
        super::{super::slice::Slice, rules::tests::last},
        *,
    };

    fn node() -> NodeFacts {
        NodeFacts {
            name: "me".into(),
            zone: Some("z1".into()),
            ..Default::default()
        }
    }

    fn service(spec: Value) -> Service {
        let mut spec = spec;
        for (key, default) in [
            ("clusterIP", json!("10.96.0.5")),
            ("ports", json!([{"port": 80, "protocol": "TCP"}])),
        ] {
            if spec.get(key).is_none() {
                spec[key] = default;
            }
        }
        serde_json::from_value(
            json!({"metadata": {"namespace": "ns", "name": "svc"}, "spec": spec}),
        )
        .unwrap()
    }

    /// `1@me:rst` is an endpoint with address 10.0.0.1 on node `me` that is ready, serving and terminating.
    fn slices(endpoints: &[&str]) -> Slices {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|text| {
                let (ip, rest) = text.split_once('@').unwrap();
                let (node, flags) = rest.split_once(':').unwrap();
                let (flags, hints) = flags.split_once('/').unwrap_or((flags, ""));
                let zones: Vec<_> = hints.split(',').filter(|h| h.starts_with('z')).map(|z| json!({"name": z})).collect();
                let nodes: Vec<_> = hints.split(',').filter(|h| h.starts_with('m')).map(|z| json!({"name": z})).collect();
                json!({"addresses": [format!("10.0.0.{ip}")], "nodeName": node, "hints": {"forZones": zones, "forNodes": nodes},
                    "conditions": {"ready": flags.contains('r'), "serving": flags.contains('s'), "terminating": flags.contains('t')}})
            })
            .collect();
        let slice = json!({"metadata": {"name": "a", "namespace": "ns"}, "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints});
        let slice = Slice::of(&serde_json::from_value(slice).unwrap(), &mut HashSet::new());
        Slices::from([("a".into(), Arc::new(slice))])
    }

    fn show(target: Target) -> String {
        match target {
            Target::Endpoints(e) => e
                .iter()
                .map(|e| last(e.ip).to_string())
                .collect::<Vec<_>>()
                .join(","),
            Target::Drop => "drop".into(),
            Target::Reject => "reject".into(),
        }
    }

    #[test]
    fn policies_choose_endpoints() {
        let node_port = json!([{"port": 80, "nodePort": 30080}]);
        let internal_local = json!({"internalTrafficPolicy": "Local"});
        let external_local = json!({"externalTrafficPolicy": "Local", "ports": node_port});
        let cases: &[(Value, &[&str], &str, &str)] = &[
            (json!({}), &[], "reject", "reject"),
            (json!({}), &["1@me:rs", "2@you:rs"], "1,2", "1,2"),
            (json!({}), &["1@me:rs", "2@you:st", "3@you:"], "1", "1"),
            (json!({}), &["1@me:st", "2@you:st", "3@you:t"], "1,2", "1,2"),
            (json!({}), &["1@me:", "2@you:s"], "reject", "reject"),
            (
                internal_local.clone(),
                &["1@me:rs", "2@you:rs"],
                "1",
                "drop",
            ),
            (internal_local.clone(), &["2@you:rs"], "drop", "drop"),
            (
                internal_local.clone(),
                &["1@me:st", "2@you:rs"],
                "1",
                "drop",
            ),
            (internal_local, &[], "reject", "reject"),
            (external_local.clone(), &["1@me:rs", "2@you:rs"], "1,2", "1"),
            (external_local.clone(), &["2@you:rs"], "2", "drop"),
            (external_local.clone(), &["1@me:st", "2@you:rs"], "2", "1"),
            (external_local, &["1@me:st", "2@you:st"], "1,2", "1"),
            // The same address twice: the one that does not terminate counts.
            (json!({}), &["1@me:rs", "1@me:st"], "1", "1"),
            (json!({}), &["1@me:st", "1@me:rs"], "1", "1"),
            // Hints.
            (json!({}), &["1@me:rs/z1", "2@you:rs/z2"], "1", "1"),
            (json!({}), &["1@me:rs/z1", "2@you:rs"], "1,2", "1,2"),
            (json!({}), &["1@me:rs/z2", "2@you:rs/z3"], "1,2", "1,2"),
            (json!({}), &["1@you:rs/z1,me", "2@you:rs/z1,my"], "1", "1"),
            (json!({}), &["1@you:rs/z1,my", "2@you:rs/z2,my"], "1", "1"),
            (json!({}), &["1@me:st/z1", "2@you:st/z2"], "1,2", "1,2"),
        ];
        for (spec, endpoints, internal, external) in cases {
            let plan = plan(&service(spec.clone()), &slices(endpoints), &node()).remove(0);
            assert_eq!(
                (show(plan.internal()), show(plan.external())),
                ((*internal).into(), (*external).into()),
                "{spec} {endpoints:?}"
            );
        }
    }

    #[test]
    fn a_service_has_a_plan_of_each_of_its_families() {
        let service = service(
            json!({"clusterIP": "fd00::5", "clusterIPs": ["fd00::5", "10.96.0.5"], "externalIPs": ["1.2.3.4", "2001:db8::1"],
            "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"]}),
        );
        let mut slices = slices(&["1@me:rs"]);
        let of_v6 = json!({"metadata": {"name": "b", "namespace": "ns"}, "addressType": "IPv6",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": [{"addresses": ["fd00:244::9"], "nodeName": "you"}]});
        let of_v6 = serde_json::from_value(of_v6).unwrap();
        let of_v6 = Slice::of(&of_v6, &mut HashSet::new());
        slices.insert("b".into(), Arc::new(of_v6));
        for (family, cluster_ip, endpoint, external, source) in [
            (
                IpFamily::V4,
                "10.96.0.5",
                "10.0.0.1",
                "1.2.3.4",
                "10.0.0.0/8",
            ),
            (
                IpFamily::V6,
                "fd00::5",
                "fd00:244::9",
                "2001:db8::1",
                "fd00::/8",
            ),
        ] {
            let node = NodeFacts { family, ..node() };
            let [plan] = &plan(&service, &slices, &node)[..] else {
                panic!("one port");
            };
            assert_eq!(plan.family(), family);
            assert_eq!(plan.cluster_ip.to_string(), cluster_ip);
            let Target::Endpoints([only]) = plan.internal() else {
                panic!("{:?}", plan.internal());
            };
            assert_eq!(only.ip.to_string(), endpoint);
            assert_eq!(plan.external_ips, [external.parse::<IpAddr>().unwrap()]);
            assert_eq!(
                plan.load_balancer_sources,
                [source.parse::<IpNet>().unwrap()]
            );
        }
        let ready = |families: &[IpFamily]| super::super::ready_endpoints(&slices, "", families);
        let [v4, v6] = ["10.0.0.1:8080", "[fd00:244::9]:8080"].map(|at| at.parse().unwrap());
        assert_eq!(ready(&IpFamily::ALL), [v4]);
        assert_eq!(ready(&[IpFamily::V6, IpFamily::V4]), [v6]);
        slices.remove("a");
        let ready = super::super::ready_endpoints(&slices, "", &IpFamily::ALL);
        assert_eq!(ready, [v6], "those that there are");
    }

    #[test]
    fn some_services_have_no_plan() {
        let own = NodeFacts {
            own_cluster_ips: BTreeSet::from([IpAddr::from([10, 96, 0, 10])]),
            ..node()
        };
        for spec in [
            json!({"clusterIP": "None"}),
            json!({"clusterIP": ""}),
            json!({"type": "ExternalName", "externalName": "x"}),
            json!({"clusterIP": "10.96.0.10"}),
            json!({"clusterIP": "fd00::1"}),
        ] {
            assert!(
                plan(&service(spec.clone()), &slices(&["1@me:rs"]), &own).is_empty(),
                "{spec}"
            );
        }
        let mut labelled = service(json!({}));
        labelled.metadata.labels = Some(BTreeMap::from([(
            OTHER_PROXY_LABEL.into(),
            "cilium".into(),
        )]));
        assert!(plan(&labelled, &slices(&["1@me:rs"]), &own).is_empty());
    }

    #[test]
    fn addresses_and_affinity() {
        let mut service = service(json!({
            "type": "LoadBalancer", "externalIPs": ["1.2.3.4", "fd00::2"], "loadBalancerSourceRanges": [" 10.0.0.0/8", "fd00::/8"],
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
            "ports": [{"name": "", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        }));
        service.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"ip": "8.8.8.8", "ipMode": "Proxy"}]}})).unwrap();
        let plans = plan(&service, &slices(&["1@me:rs", "2@me:st"]), &node());
        assert_eq!(plans.len(), 2);
        let http = &plans[0];
        assert_eq!(http.external_ips, [IpAddr::from([1, 2, 3, 4])]);
        assert_eq!(http.load_balancer_ips, [IpAddr::from([9, 9, 9, 9])]);
        assert_eq!(http.load_balancer_sources, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(
            (http.affinity, http.node_port, http.health_check),
            (Some(60), Some(30080), Some((31000, 1)))
        );
        assert_eq!(
            plans[1].internal(),
            Target::Reject,
            "no port of that name in the slice"
        );
        assert!(
            source_ranges(&["0.0.0.0/0".into(), "10.0.0.0/8".into()], IpFamily::V4).is_empty()
                && source_ranges(&[], IpFamily::V4).is_empty()
        );
        let texts = |ranges: &[&str], family| {
            source_ranges(
                &ranges
                    .iter()
                    .map(|range| range.to_string())
                    .collect::<Vec<_>>(),
                family,
            )
            .iter()
            .map(IpNet::to_string)
            .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(&[" 10.0.0.0/8", "nonsense"], IpFamily::V4),
            ["10.0.0.0/8"]
        );
        assert_eq!(
            texts(&["nonsense"], IpFamily::V4),
            ["0.0.0.0/32"],
            "nobody, not everybody"
        );
        let other = ["2001:db8::/32"];
        assert_eq!(texts(&other, IpFamily::V4), ["0.0.0.0/32"]);
        assert_eq!(texts(&other, IpFamily::V6), other);
        assert_eq!(texts(&["10.0.0.0/8"], IpFamily::V6), ["::/128"]);
    }
}
