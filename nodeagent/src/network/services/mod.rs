//! Services on this node: what pods, the node itself and the outside send to a service's addresses reaches one of its endpoints.
//!
//! Invariant: one task decides and applies; each round takes all changes that wait, and does only those. What failed to apply is applied again from
//! scratch. The rules stay when the agent ends, so that its restart is not noticed. Follows kube-proxy's `cmd/kube-proxy/app/server.go` in purpose.

mod base;
mod candidates;
mod conntrack;
mod elements;
mod external;
mod fragment;
mod health;
mod names;
mod node;
mod picks;
mod plan;
mod resting;
mod rules;
mod table;
#[cfg(test)]
mod tests;
mod userspace;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::candidates::ready_endpoints;
use self::{
    base::NodeRules,
    node::NodeFacts,
    plan::{PortPlan, plan},
    rules::render,
    table::Table,
    userspace::UserspaceProxy,
};
use super::{
    Error,
    family::IpFamily,
    nft::Nft,
    ns::Namespace,
    view::{Change, ClusterView, ObjectName},
};

/// How often it is looked whether somebody flushed the table.
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// Pause before a failed change is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What a node's service proxy is made from.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The node's own namespace.
    pub node: Namespace,
    pub node_name: String,
    /// The addresses of the node's own pods, one network of each family that they have. There are services of these families.
    pub pod_cidrs: Vec<IpNet>,
    pub service_cidrs: Vec<IpNet>,
    /// ClusterIPs that this node answers at itself: those of cluster DNS.
    pub own_cluster_ips: Vec<IpAddr>,
    /// Never use nftables: for tests and for `--proxy-mode=userspace`.
    pub force_userspace: bool,
}

/// Runs the service proxy of a node until `stop`, for each family by itself. With nftables its rules stay in place afterwards; in user space its listeners
/// end with it.
pub async fn run_proxy(
    view: Arc<ClusterView>,
    config: ProxyConfig,
    stop: CancellationToken,
) -> Result<(), Error> {
    let families = config.pod_cidrs.iter().map(|cidr| {
        let place = Place {
            family: IpFamily::of_network(*cidr),
            pod_cidr: *cidr,
        };
        run_family(view.clone(), config.clone(), place, stop.clone())
    });
    futures::future::try_join_all(families).await.map(drop)
}

/// The family of which a proxy serves services, and the node's pods in it.
#[derive(Clone, Copy, Debug)]
struct Place {
    family: IpFamily,
    pod_cidr: IpNet,
}

async fn run_family(
    view: Arc<ClusterView>,
    config: ProxyConfig,
    place: Place,
    stop: CancellationToken,
) -> Result<(), Error> {
    let changes = view.subscribe();
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = view.wait_synced() => {}
    }
    let backend = backend(&config, place.family).await?;
    let mut proxy = Proxy {
        plans: BTreeMap::new(),
        health: health::HealthServers::new(config.node.clone(), place.family),
        place,
        view,
        config,
        backend,
    };
    let result = proxy.run(changes, &stop).await;
    proxy.health.close();
    if let Backend::Userspace(userspace) = &mut proxy.backend {
        userspace.close().await;
    }
    result
}

/// Takes the rules away; for a machine that leaves its cluster.
pub async fn clear(node: &Namespace) -> Result<(), Error> {
    match Nft::find(node).await {
        Ok(nft) => nft.clear_both(elements::TABLE).await,
        Err(Error::Unsupported { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

enum Backend {
    Nftables { nft: Nft, table: Table },
    Userspace(UserspaceProxy),
}

async fn backend(config: &ProxyConfig, family: IpFamily) -> Result<Backend, Error> {
    let reason = match Nft::find_for(&config.node, family).await {
        Ok(nft) if !config.force_userspace => {
            return Ok(Backend::Nftables {
                nft,
                table: Table::new(family),
            });
        }
        Ok(_) => "user space was asked for".to_owned(),
        Err(e @ Error::Unsupported { .. }) => e.to_string(),
        Err(e) => return Err(e),
    };
    tracing::warn!(
        "services are proxied in user space: {reason}. This is slower, hides clients' addresses from pods and cannot do SCTP. A kernel with nftables ends this."
    );
    Ok(Backend::Userspace(
        UserspaceProxy::start(config.node.clone()).await?,
    ))
}

struct Proxy {
    place: Place,
    view: Arc<ClusterView>,
    config: ProxyConfig,
    backend: Backend,
    plans: BTreeMap<ObjectName, Vec<PortPlan>>,
    health: health::HealthServers,
}

impl Proxy {
    async fn run(
        &mut self,
        mut changes: mpsc::UnboundedReceiver<Change>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut facts = self.facts();
        let mut whole = true;
        let mut waiting: BTreeSet<ObjectName> = BTreeSet::new();
        loop {
            let now_facts = self.facts();
            whole |= now_facts != facts;
            facts = now_facts;
            let result = if whole {
                self.replace(&facts).await
            } else {
                self.change(std::mem::take(&mut waiting), &facts).await
            };
            whole = match result {
                Ok(()) => false,
                Err(e) => {
                    tracing::warn!(
                        "services of node {}: {e}; trying again from scratch",
                        self.config.node_name
                    );
                    true
                }
            };
            let pause = if whole { RETRY_AFTER } else { self.rest() };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                change = changes.recv() => {
                    let Some(change) = change else { return Ok(()) };
                    let rest = std::iter::from_fn(|| changes.try_recv().ok());
                    waiting.extend(std::iter::once(change).chain(rest).filter_map(|c| if let Change::Service(name) = c { Some(name) } else { None }));
                }
                () = tokio::time::sleep(pause) => whole |= self.care().await,
            }
        }
    }

    fn facts(&self) -> NodeFacts {
        let info = self.view.node(&self.config.node_name).unwrap_or_default();
        let family = self.place.family;
        let own = family.addresses(&self.config.own_cluster_ips);
        NodeFacts {
            family,
            name: self.config.node_name.clone(),
            zone: info.zone.clone(),
            ips: family.addresses(&info.internal_ips),
            own_cluster_ips: own.into_iter().collect(),
        }
    }

    fn node_rules(&self, facts: &NodeFacts) -> NodeRules {
        NodeRules {
            family: self.place.family,
            pod_cidr: self.place.pod_cidr,
            service_cidr: self.place.family.network(&self.config.service_cidrs),
            node_ips: facts.ips.clone(),
            own_cluster_ips: facts.own_cluster_ips.iter().copied().collect(),
        }
    }

    fn plan(&self, name: &ObjectName, facts: &NodeFacts) -> Vec<PortPlan> {
        self.view
            .service(name)
            .map(|(service, slices)| plan(&service, &slices, facts))
            .unwrap_or_default()
    }

    async fn replace(&mut self, facts: &NodeFacts) -> Result<(), Error> {
        let plans: BTreeMap<_, _> = self
            .view
            .service_names()
            .into_iter()
            .map(|n| (n.clone(), self.plan(&n, facts)))
            .collect();
        let node = self.node_rules(facts);
        match &mut self.backend {
            Backend::Nftables { nft, table } => {
                let fragments = plans
                    .iter()
                    .map(|(name, plans)| (name.clone(), render(plans, &node)));
                nft.apply(table.replace(&node, fragments)).await?;
            }
            Backend::Userspace(userspace) => userspace.replace(plans.values().flatten()).await,
        }
        self.after(plans, true).await;
        Ok(())
    }

    async fn change(
        &mut self,
        names: BTreeSet<ObjectName>,
        facts: &NodeFacts,
    ) -> Result<(), Error> {
        let changed: BTreeMap<_, _> = names
            .into_iter()
            .map(|name| (name.clone(), self.plan(&name, facts)))
            .filter(|(name, plan)| {
                self.plans.get(name).map_or(&[][..], Vec::as_slice) != plan.as_slice()
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let node = self.node_rules(facts);
        match &mut self.backend {
            Backend::Nftables { nft, table } => {
                let fragments = changed.iter().map(|(name, plans)| {
                    (
                        name.clone(),
                        Some(render(plans, &node)).filter(|_| !plans.is_empty()),
                    )
                });
                nft.apply(table.change(fragments, Instant::now())).await?;
            }
            Backend::Userspace(userspace) => {
                let all = self
                    .plans
                    .iter()
                    .filter(|(name, _)| !changed.contains_key(*name))
                    .chain(&changed);
                userspace.replace(all.flat_map(|(_, plans)| plans)).await;
            }
        }
        self.after(changed, false).await;
        Ok(())
    }

    /// What follows from changes that are in force.
    async fn after(&mut self, changed: BTreeMap<ObjectName, Vec<PortPlan>>, all: bool) {
        let mut lost = conntrack::Wanted::default();
        let empty = Vec::new();
        for (name, new) in &changed {
            lost.add(self.plans.get(name).unwrap_or(&empty), new);
        }
        if all {
            self.plans.retain(|name, old| {
                let gone = !changed.contains_key(name);
                if gone {
                    lost.add(old, &[]);
                }
                !gone
            });
        }
        let mut checked = all;
        for (name, new) in changed {
            let is_checked = |plans: &[PortPlan]| plans.iter().any(|p| p.health_check.is_some());
            checked |= is_checked(&new);
            let old = if new.is_empty() {
                self.plans.remove(&name)
            } else {
                self.plans.insert(name, new)
            };
            checked |= old.is_some_and(|old| is_checked(&old));
        }
        // what most changes have nothing to do with need not be looked for among all services
        if checked {
            self.health.set(self.plans.values().flatten()).await;
        }
        if !lost.is_empty() && matches!(self.backend, Backend::Nftables { .. }) {
            match conntrack::clean(&self.config.node, self.place.family, lost).await {
                Ok(0) => {}
                Ok(n) => tracing::debug!("forgot {n} connections to endpoints that are gone"),
                Err(e) => tracing::warn!(
                    "{e}; UDP clients of endpoints that are gone may wait for up to two minutes"
                ),
            }
        }
    }

    /// How long nothing needs to be done.
    fn rest(&self) -> Duration {
        let due = match &self.backend {
            Backend::Nftables { table, .. } => table
                .next_sweep()
                .map(|at| at.saturating_duration_since(Instant::now())),
            Backend::Userspace(_) => None,
        };
        due.unwrap_or(CHECK_EVERY).min(CHECK_EVERY)
    }

    /// Deletes chains that have rested; says whether the table must be made anew because somebody flushed it.
    async fn care(&mut self) -> bool {
        let Backend::Nftables { nft, table } = &mut self.backend else {
            return false;
        };
        let rested = table.sweep(Instant::now());
        if !rested.is_empty() {
            // What failed is no longer known of: it may be there still, or nothing at all.
            return match nft.apply(rested).await {
                Ok(()) => false,
                Err(e) => {
                    tracing::warn!("chains of services that are gone: {e}: making the rules anew");
                    true
                }
            };
        }
        match nft
            .has_chain(&elements::table(self.place.family), "services")
            .await
        {
            Ok(true) => false,
            Ok(false) => {
                tracing::warn!("the rules for services are gone: making them anew");
                true
            }
            Err(e) => {
                tracing::warn!("the rules for services: {e}: making them anew");
                true
            }
        }
    }
}
