//! Services of the type LoadBalancer on the nodes of `up`: each has an address of its own in the nodes' network, one of each of its families, to which the
//! machine has a way through a node that is ready.
//!
//! Invariant: an address belongs to one service, and to the same as long as that wants it. What is decided is a pure function of what is known; it is done
//! anew after every change, and again where it failed. Services with a class of their own are left to whoever serves that.
//! Follows what `staging/src/k8s.io/cloud-provider/controllers/service/controller.go` does with a cloud's balancers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use skiff_api::machinery::names::ip::family;
use skiff_nodeagent::network::{
    cluster::ClusterNetwork,
    family::octets,
    view::{ClusterView, NodeInfo, ObjectName, Slices},
};
use skiff_watching::api::{Api, PatchType, item};
use tokio_util::sync::CancellationToken;

const AGAIN: Duration = Duration::from_secs(1);

/// A service that is to be reached from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Balanced {
    /// `spec.ipFamilies`, by which it answers.
    families: Vec<String>,
    /// What its status says.
    has: Vec<IpAddr>,
    /// `spec.loadBalancerIP`.
    asks: Option<IpAddr>,
    /// `externalTrafficPolicy: Local`: the nodes that have an endpoint that is ready.
    local: Option<BTreeSet<String>>,
}

/// What is to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// One of each family of the service, in its order.
    addresses: BTreeMap<ObjectName, Vec<IpAddr>>,
    /// Which node leads to an address.
    ways: BTreeMap<IpAddr, String>,
    /// Services for which no address of one of their families is left.
    without: Vec<ObjectName>,
}

/// Gives addresses and leads to them until `stop`.
pub async fn balance(
    view: Arc<ClusterView>,
    network: Arc<ClusterNetwork>,
    api: Api,
    stop: CancellationToken,
) {
    let mut changes = view.subscribe();
    let follow = async {
        view.wait_synced().await;
        let mut told = BTreeSet::new();
        loop {
            let pool = network.balancer_addresses().await;
            let known = wanted(&view);
            let plan = Plan::of(&known, &pool, &view.nodes());
            for name in plan.without.iter().filter(|name| !told.contains(*name)) {
                tracing::warn!(service = %name, "no address is left for a service of the type LoadBalancer");
            }
            told = plan.without.iter().cloned().collect();
            let done = carry_out(&plan, &known, &network, &api).await;
            if let Err(error) = &done {
                tracing::warn!("services of the type LoadBalancer: {error:#}");
            }
            tokio::select! {
                change = changes.recv() => if change.is_none() { return },
                () = tokio::time::sleep(AGAIN), if done.is_err() => {}
            }
            // all that was told meanwhile is one change
            while changes.try_recv().is_ok() {}
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop.cancelled() => {}
    }
}

async fn carry_out(
    plan: &Plan,
    known: &BTreeMap<ObjectName, Balanced>,
    network: &ClusterNetwork,
    api: &Api,
) -> anyhow::Result<()> {
    network.set_balanced(plan.ways.clone()).await?;
    let news = plan
        .addresses
        .iter()
        .filter(|(name, ips)| known.get(*name).is_some_and(|of| of.has != **ips));
    for (name, ips) in news {
        let path = item::<Service>(&name.namespace, &name.name) + "/status";
        let points = ips.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"}));
        let points: Vec<Value> = points.collect();
        let body: Value = json!({"status": {"loadBalancer": {"ingress": points}}});
        match api.patch(&path, PatchType::Merge, &body).await {
            Err(error) if error.is_not_found() => {}
            done => drop(done?),
        }
    }
    Ok(())
}

fn wanted(view: &ClusterView) -> BTreeMap<ObjectName, Balanced> {
    let of = |name: ObjectName| {
        let (service, slices) = view.service(&name)?;
        Some((name, Balanced::of(&service, &slices)?))
    };
    view.service_names().into_iter().filter_map(of).collect()
}

impl Balanced {
    /// `None`: it is not ours to balance.
    fn of(service: &Service, slices: &Slices) -> Option<Balanced> {
        let spec = service.spec.as_ref()?;
        if spec.type_.as_deref() != Some("LoadBalancer")
            || spec.load_balancer_class.is_some()
            || service.metadata.deletion_timestamp.is_some()
        {
            return None;
        }
        let status = service.status.iter();
        let points = status
            .filter_map(|status| status.load_balancer.as_ref())
            .flat_map(|of| of.ingress.iter().flatten());
        let local = spec.external_traffic_policy.as_deref() == Some("Local");
        Some(Balanced {
            families: spec.ip_families.clone().unwrap_or_default(),
            has: points
                .filter_map(|point| point.ip.as_ref()?.parse().ok())
                .collect(),
            asks: spec
                .load_balancer_ip
                .as_ref()
                .and_then(|ip| ip.parse().ok()),
            local: local.then(|| ready_nodes(slices)),
        })
    }
}

/// The nodes that have an endpoint that is ready.
fn ready_nodes(slices: &Slices) -> BTreeSet<String> {
    let endpoints = slices.values().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| endpoint.ready);
    ready
        .filter_map(|endpoint| endpoint.node.as_deref().map(String::from))
        .collect()
}

impl Plan {
    fn of(
        known: &BTreeMap<ObjectName, Balanced>,
        pool: &[IpAddr],
        nodes: &BTreeMap<String, Arc<NodeInfo>>,
    ) -> Plan {
        let mut plan = Plan::default();
        let mut free: BTreeSet<IpAddr> = pool.iter().copied().collect();
        // what a service has already, it keeps before others choose
        let kept: BTreeMap<_, _> = known
            .iter()
            .map(|(name, of)| (name, of.kept(&mut free)))
            .collect();
        for (name, of) in known {
            let kept = kept.get(name).map_or(&[][..], |kept| kept);
            let ips = of.families.iter().map(|wanted| {
                let kept = kept.iter().find(|ip| family(ip) == wanted).copied();
                kept.or_else(|| of.given(wanted, &mut free))
            });
            let ips: Vec<_> = ips.collect();
            if ips.contains(&None) {
                plan.without.push(name.clone());
            }
            let ips: Vec<_> = ips.into_iter().flatten().collect();
            if !ips.is_empty() {
                plan.addresses.insert(name.clone(), ips);
            }
        }
        for (name, ips) in &plan.addresses {
            let local = known.get(name).and_then(|of| of.local.as_ref());
            for ip in ips {
                if let Some(node) = leads(*ip, local, nodes) {
                    plan.ways.insert(*ip, node.clone());
                }
            }
        }
        plan
    }
}

impl Balanced {
    /// Of each family the address that it has, unless it asks for another of that; what it keeps is not free any more.
    fn kept(&self, free: &mut BTreeSet<IpAddr>) -> Vec<IpAddr> {
        let keeps = |wanted: &String| {
            let asks = self.asks.filter(|asked| family(asked) == wanted);
            let mut has = self.has.iter().copied();
            has.find(|ip| family(ip) == wanted && free.contains(ip))
                .filter(|ip| asks.is_none_or(|asked| asked == *ip))
        };
        let kept: Vec<_> = self.families.iter().filter_map(keeps).collect();
        for ip in &kept {
            free.remove(ip);
        }
        kept
    }

    /// An address of the family that it does not have yet: the one that it asks for, or the first that is free.
    fn given(&self, wanted: &str, free: &mut BTreeSet<IpAddr>) -> Option<IpAddr> {
        let fits = |ip: &IpAddr| family(ip) == wanted && free.contains(ip);
        let first = || free.iter().find(|ip| family(ip) == wanted).copied();
        let ip = self.asks.filter(fits).or_else(first)?;
        free.remove(&ip);
        Some(ip)
    }
}

/// The node that leads to an address: one that is ready, if there is one; another for each address.
fn leads<'n>(
    ip: IpAddr,
    local: Option<&BTreeSet<String>>,
    nodes: &'n BTreeMap<String, Arc<NodeInfo>>,
) -> Option<&'n String> {
    let fits = |ready: bool, here: bool| -> Vec<&String> {
        let fits = nodes.iter().filter(|(name, node)| {
            (node.ready || !ready) && (!here || local.is_none_or(|local| local.contains(*name)))
        });
        fits.map(|(name, _)| name).collect()
    };
    let some = [fits(true, true), fits(true, false), fits(false, false)]
        .into_iter()
        .find(|some| !some.is_empty())?;
    let last = octets(ip).last().copied()?;
    some.get(usize::from(last) % some.len()).copied()
}

#[cfg(test)]
mod tests {
    use skiff_api::machinery::names::ip::{IPV4, IPV6};

    use super::*;

    /// Three of each family.
    fn pool() -> Vec<IpAddr> {
        let four = (1..=3).map(|n| IpAddr::from([10, 0, 0, n]));
        four.chain((1..=3).map(six)).collect()
    }

    fn six(n: u8) -> IpAddr {
        format!("fd00::{n}").parse().unwrap()
    }

    fn nodes(ready: &[(&str, bool)]) -> BTreeMap<String, Arc<NodeInfo>> {
        let node = |(name, ready): &(&str, bool)| {
            let info = NodeInfo {
                ready: *ready,
                ..NodeInfo::default()
            };
            (name.to_string(), Arc::new(info))
        };
        ready.iter().map(node).collect()
    }

    /// Services by name, with what each has and asks for by the last number of an address (0: nothing).
    fn plan(services: &[(&str, u8, u8)]) -> Vec<(String, u8)> {
        let ip = |n: u8| (n > 0).then(|| IpAddr::from([10, 0, 0, n]));
        let known = services.iter().map(|(name, has, asks)| {
            let of = Balanced {
                families: vec![IPV4.into()],
                has: ip(*has).into_iter().collect(),
                asks: ip(*asks),
                local: None,
            };
            (ObjectName::new("ns", *name), of)
        });
        let plan = Plan::of(&known.collect(), &pool(), &nodes(&[("a", true)]));
        assert_eq!(plan.ways.len(), plan.addresses.len());
        let given = plan.addresses.into_iter();
        let last = |ips: Vec<IpAddr>| octets(ips[0])[3];
        given.map(|(of, ips)| (of.name, last(ips))).collect()
    }

    #[test]
    fn a_service_has_an_address_of_each_of_its_families() {
        let four = |n| IpAddr::from([10, 0, 0, n]);
        for (families, has, asks, wanted) in [
            (vec![IPV6], vec![], None, vec![six(1)]),
            (vec![IPV4, IPV6], vec![], None, vec![four(1), six(1)]),
            (vec![IPV6, IPV4], vec![], None, vec![six(1), four(1)]),
            (vec![IPV4, IPV6], vec![four(2)], None, vec![four(2), six(1)]),
            (vec![IPV6], vec![four(2)], None, vec![six(1)]),
            (
                vec![IPV4, IPV6],
                vec![four(2), six(3)],
                Some(six(2)),
                vec![four(2), six(2)],
            ),
        ] {
            let of = Balanced {
                families: families.iter().map(|f| f.to_string()).collect(),
                has,
                asks,
                local: None,
            };
            let name = ObjectName::new("ns", "a");
            let known = BTreeMap::from([(name.clone(), of)]);
            let nodes = nodes(&[("a", true)]);
            let plan = Plan::of(&known, &pool(), &nodes);
            assert_eq!(plan.addresses[&name], wanted, "{known:?}");
            assert!(plan.without.is_empty());
            assert!(plan.ways.keys().all(|ip| wanted.contains(ip)));
            assert_eq!(plan.ways.len(), wanted.len());
            // with no address of one family left it has the other
            let plan = Plan::of(&known, &[six(3)], &nodes);
            assert_eq!(plan.without.is_empty(), families == [IPV6]);
            assert_eq!(plan.addresses[&name], [six(3)]);
        }
    }

    #[test]
    fn addresses_are_given_once_and_kept() {
        for (services, wanted) in [
            (vec![("a", 0, 0), ("b", 0, 0)], vec![("a", 1), ("b", 2)]),
            (vec![("a", 0, 0), ("b", 1, 0)], vec![("a", 2), ("b", 1)]),
            (vec![("a", 2, 0), ("b", 2, 0)], vec![("a", 2), ("b", 1)]),
            (vec![("a", 9, 0)], vec![("a", 1)]),
            (vec![("a", 1, 3)], vec![("a", 3)]),
            (vec![("a", 0, 1), ("b", 1, 0)], vec![("a", 2), ("b", 1)]),
            (vec![("a", 0, 9)], vec![("a", 1)]),
            (
                vec![("a", 0, 0), ("b", 0, 0), ("c", 0, 0), ("d", 3, 0)],
                vec![("a", 1), ("b", 2), ("d", 3)],
            ),
        ] {
            let wanted = wanted.into_iter().map(|(name, n)| (name.to_owned(), n));
            assert_eq!(plan(&services), wanted.collect::<Vec<_>>(), "{services:?}");
        }
    }

    #[test]
    fn a_node_that_is_ready_leads() {
        let [one, two, ..] = pool()[..] else { panic!() };
        let local = |names: &[&str]| Some(names.iter().map(|n| n.to_string()).collect());
        for (ip, local, there, wanted) in [
            (one, None, vec![("a", true), ("b", true)], Some("b")),
            (two, None, vec![("a", true), ("b", true)], Some("a")),
            (one, None, vec![("a", true), ("b", false)], Some("a")),
            (
                one,
                local(&["a"]),
                vec![("a", true), ("b", true)],
                Some("a"),
            ),
            (
                one,
                local(&["a"]),
                vec![("a", false), ("b", true)],
                Some("b"),
            ),
            (one, local(&[]), vec![("a", true), ("b", true)], Some("b")),
            (one, None, vec![("a", false)], Some("a")),
            (one, None, vec![], None),
        ] {
            let nodes = nodes(&there);
            let found = leads(ip, local.as_ref(), &nodes);
            assert_eq!(
                found.map(String::as_str),
                wanted,
                "{ip} {local:?} {there:?}"
            );
        }
    }
}
