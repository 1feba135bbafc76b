//! Services of the type LoadBalancer on the nodes of `up`: each has an address of its own in the nodes' network, to which the machine has a way through a
//! node that is ready.
//!
//! Invariant: an address belongs to one service, and to the same as long as that wants it. What is decided is a pure function of what is known; it is done
//! anew after every change, and again where it failed. Services with a class of their own are left to whoever serves that.
//! Follows what `staging/src/k8s.io/cloud-provider/controllers/service/controller.go` does with a cloud's balancers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::{Value, json};
use skiff_api::machinery::names::ip::IPV4;
use skiff_nodeagent::network::{
    cluster::ClusterNetwork,
    view::{ClusterView, NodeInfo, ObjectName, Slices},
};
use skiff_watching::api::{Api, PatchType, item};
use tokio_util::sync::CancellationToken;

const AGAIN: Duration = Duration::from_secs(1);

/// A service that is to be reached from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Balanced {
    /// What its status says.
    has: Vec<Ipv4Addr>,
    /// `spec.loadBalancerIP`.
    asks: Option<Ipv4Addr>,
    /// `externalTrafficPolicy: Local`: the nodes that have an endpoint that is ready.
    local: Option<BTreeSet<String>>,
}

/// What is to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    addresses: BTreeMap<ObjectName, Ipv4Addr>,
    /// Which node leads to an address.
    ways: BTreeMap<Ipv4Addr, String>,
    /// Services for which no address is left.
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
        .filter(|(name, ip)| known.get(*name).is_some_and(|of| of.has != [**ip]));
    for (name, ip) in news {
        let path = item::<Service>(&name.namespace, &name.name) + "/status";
        let body: Value =
            json!({"status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}}});
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
            || !has_ipv4(spec)
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

/// The addresses here are of IPv4, by which one that has none of it does not answer.
fn has_ipv4(spec: &ServiceSpec) -> bool {
    let mut families = spec.ip_families.iter().flatten().peekable();
    families.peek().is_none() || families.any(|family| family == IPV4)
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
        pool: &[Ipv4Addr],
        nodes: &BTreeMap<String, Arc<NodeInfo>>,
    ) -> Plan {
        let mut plan = Plan::default();
        let mut free: BTreeSet<Ipv4Addr> = pool.iter().copied().collect();
        // who has an address keeps it, unless it asks for another
        for (name, of) in known {
            let kept = of.has.iter().find(|ip| free.contains(*ip));
            if let Some(ip) = kept.filter(|ip| of.asks.is_none_or(|asked| asked == **ip)) {
                free.remove(ip);
                plan.addresses.insert(name.clone(), *ip);
            }
        }
        for (name, of) in known {
            if plan.addresses.contains_key(name) {
                continue;
            }
            let asked = of.asks.filter(|ip| free.contains(ip));
            match asked.or_else(|| free.first().copied()) {
                Some(ip) => {
                    free.remove(&ip);
                    plan.addresses.insert(name.clone(), ip);
                }
                None => plan.without.push(name.clone()),
            }
        }
        for (name, ip) in &plan.addresses {
            let local = known.get(name).and_then(|of| of.local.as_ref());
            if let Some(node) = leads(*ip, local, nodes) {
                plan.ways.insert(*ip, node.clone());
            }
        }
        plan
    }
}

/// The node that leads to an address: one that is ready, if there is one; another for each address.
fn leads<'n>(
    ip: Ipv4Addr,
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
    let place = usize::from(ip.octets()[3]) % some.len();
    some.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Vec<Ipv4Addr> {
        (1..=3).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect()
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
        let ip = |n: u8| (n > 0).then(|| Ipv4Addr::new(10, 0, 0, n));
        let known = services.iter().map(|(name, has, asks)| {
            let of = Balanced {
                has: ip(*has).into_iter().collect(),
                asks: ip(*asks),
                local: None,
            };
            (ObjectName::new("ns", *name), of)
        });
        let plan = Plan::of(&known.collect(), &pool(), &nodes(&[("a", true)]));
        assert_eq!(plan.ways.len(), plan.addresses.len());
        let given = plan.addresses.into_iter();
        given.map(|(of, ip)| (of.name, ip.octets()[3])).collect()
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
        let [one, two, _] = pool()[..] else { panic!() };
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
