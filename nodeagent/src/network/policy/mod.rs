//! NetworkPolicies on this node: who may reach its pods, and whom these may reach.
//!
//! Invariant: a pod is closed until all that may hold for it is known, and stays as it was while the agent is away. One task decides and applies; each round
//! takes all changes that wait. What failed to apply is applied again from scratch.
//!
//! Connections that are open when a policy changes are judged anew, without a look at the kernel's table of connections: every packet meets the chains that
//! its connection's first packet met, and those that come back meet the same chains mirrored (`rules.rs`). So a connection ends with the script that ends
//! its permission, some milliseconds after the API server told of it, and nothing needs to be found and deleted; a packet costs a few look-ups more.
//!
//! What a node itself sends to its pods, and they to it, is not judged, as upstream says of every implementation. Cluster DNS, which each node answers
//! itself, is judged as the pods that it stands for would be: `k8s-app: kube-dns` in `kube-system`.

mod members;
mod own;
mod plan;
mod read;
mod rules;
mod table;
#[cfg(test)]
mod tests;
mod verdict;
mod view;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use skiff_watching::client::Client;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::own::{OwnPods, Walls};
use self::{
    own::{Answer, Request},
    plan::{Own, Plan},
    table::Table as Walled,
    view::{NamedPort, Pod, Told, Watcher},
};
use super::{
    Error, failed,
    family::IpFamily,
    nft::{Base, Batch, Change, Element, Hook, Kind, Nft, Set, Table, Value},
    ns::Namespace,
    pool,
    protocol::Protocol,
};

/// How often it is looked whether somebody flushed the tables.
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// Pause before a failed change is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// After so long policies hold although it is not known whom they name.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a node's walls are made from.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// The node's own namespace.
    pub node: Namespace,
    pub node_name: String,
    /// Folder of this node's network files: which pods have which addresses.
    pub dir: PathBuf,
    /// Where this node answers as cluster DNS.
    pub dns_ips: Vec<IpAddr>,
}

/// Keeps the walls of a node until `stop`. They stay afterwards, as pods may run on.
pub async fn run_policies(
    client: Client,
    config: PolicyConfig,
    own: &OwnPods,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (tell, told) = mpsc::unbounded_channel();
    let watcher = Watcher::start(client, tell, stop.clone());
    run(Some(watcher), told, config, own, stop).await
}

/// Takes the walls away; for a machine that leaves its cluster.
pub async fn clear(node: &Namespace) -> Result<(), Error> {
    let nft = match Nft::find(node).await {
        Ok(nft) => nft,
        Err(Error::Unsupported { .. }) => return Ok(()),
        Err(e) => return Err(e),
    };
    let walls = nft.clear_both(rules::TABLE).await;
    // Of a kernel that has no such tables there is none to be taken away.
    let cables = nft.apply_where_known(Batch::cleared(&rules::bridge_table()));
    let cables = cables.await.map(drop);
    walls.and(cables)
}

async fn has_bridge_tables(nft: &Nft) -> Result<bool, Error> {
    let table = Table::bridge("skiff-probe");
    let mut probe = Batch::new();
    probe.push(&table, Change::AddTable { comment: None });
    let base = Some(Base::filter(Hook::Prerouting, -310));
    probe.chain(&table, "c", base, Vec::new());
    probe.set(&table, Set::new("s", &[Kind::Link, Kind::Ip(IpFamily::V4)]));
    probe.push(&table, Change::DeleteTable);
    nft.apply_where_known(probe).await
}

async fn run(
    watcher: Option<Watcher>,
    mut told: mpsc::UnboundedReceiver<Told>,
    config: PolicyConfig,
    own: &OwnPods,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut requests = own.0.lock().await;
    let mut keeper = Keeper::start(watcher, config, own).await?;
    loop {
        keeper.round().await;
        let pause = keeper.rest();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(seen) = told.recv() => keeper.take(seen),
            Some(request) = requests.recv() => keeper.answer(request),
            () = tokio::time::sleep(pause) => keeper.care().await,
        }
        // Who asks is answered by all that was told before.
        std::iter::from_fn(|| told.try_recv().ok()).for_each(|seen| keeper.take(seen));
        std::iter::from_fn(|| requests.try_recv().ok()).for_each(|one| keeper.answer(one));
    }
}

/// What holds the walls; `None` where there is no nftables, which is told of.
async fn kernel(config: &PolicyConfig) -> Result<Option<(Nft, Walled)>, Error> {
    let name = &config.node_name;
    let nft = match Nft::find(&config.node).await {
        Ok(nft) => nft,
        Err(e @ Error::Unsupported { .. }) => {
            tracing::warn!(
                "{e}. Node {name} cannot enforce network policies: pods that one selects do not start on it."
            );
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let bridge = has_bridge_tables(&nft).await?;
    if !bridge {
        tracing::warn!(
            "the kernel has no nftables for bridges: pods of node {name} that may send raw packets can send them under others' addresses, past network policies"
        );
    }
    Ok(Some((nft, Walled::new(bridge, config.dns_ips.clone()))))
}

struct Keeper<'a> {
    /// `None` where tests tell what was seen.
    watcher: Option<Watcher>,
    config: PolicyConfig,
    own: &'a OwnPods,
    plan: Plan,
    /// `None` where there is no nftables.
    kernel: Option<(Nft, Walled)>,
    /// The tables are to be made anew.
    whole: bool,
    /// All was known once, so that what the tables hold is known, too.
    begun: bool,
    /// Addresses that were given back before.
    closing: BTreeSet<IpAddr>,
    follows_peers: bool,
    /// Since when policies wait for what they name.
    waits: Option<Instant>,
    /// Pods that somebody waits for.
    asking: Vec<Answer>,
    next_sweep: Option<Instant>,
}

impl<'a> Keeper<'a> {
    async fn start(
        watcher: Option<Watcher>,
        config: PolicyConfig,
        own: &'a OwnPods,
    ) -> Result<Self, Error> {
        let kernel = kernel(&config).await?;
        let mut plan = Plan::default();
        let now = Instant::now();
        for (uid, ips, link) in pool::known(&config.dir)? {
            let link = Some(link);
            plan.add_own(&uid, Own { ips, link }, now);
        }
        for ip in &config.dns_ips {
            let own = Own {
                ips: vec![*ip],
                link: None,
            };
            plan.add_fixed(&format!("cluster-dns-{ip}"), own, cluster_dns(*ip), now);
        }
        let mut keeper = Keeper {
            watcher,
            config,
            own,
            plan,
            kernel,
            whole: true,
            begun: false,
            closing: BTreeSet::new(),
            follows_peers: false,
            waits: None,
            asking: Vec::new(),
            next_sweep: None,
        };
        keeper.stand().await;
        Ok(keeper)
    }

    /// Walls that an earlier agent left stand until all is known that they are made from. Where none are, all is closed until then.
    async fn stand(&mut self) {
        let Some((nft, table)) = &mut self.kernel else {
            return;
        };
        let (mut there, mut missing) = (false, Vec::new());
        for family in table.needed(&self.plan) {
            match nft.has_chain(&rules::table(family), "forward").await {
                Ok(true) => {
                    there = true;
                    self.own.stand(family);
                }
                Ok(false) | Err(_) => missing.push(family),
            }
        }
        let batch = if there {
            let closed = missing.iter();
            closed.fold(Batch::new(), |mut batch, family| {
                batch.append(rules::base(*family, &self.config.dns_ips));
                batch
            })
        } else {
            table.replace(&self.plan)
        };
        match nft.apply(batch).await {
            Ok(()) => missing.iter().for_each(|family| self.own.stand(*family)),
            Err(e) => tracing::warn!("network policies of node {}: {e}", self.config.node_name),
        }
    }

    /// Whether there are tables for all that this node's pods have.
    fn stands(&self) -> bool {
        let table = self.kernel.as_ref().map(|(_, table)| table);
        table.is_none_or(|table| self.own.stands(table.needed(&self.plan).into_iter()))
    }

    fn take(&mut self, seen: Told) {
        self.plan.take(seen, Instant::now());
        if self.plan.has_policies() && !self.follows_peers {
            self.follows_peers = true;
            if let Some(watcher) = &self.watcher {
                watcher.follow_peers();
            }
            if self.kernel.is_none() {
                tracing::error!(
                    "there are network policies, and node {} cannot enforce them",
                    self.config.node_name
                );
            }
        }
    }

    fn answer(&mut self, request: Request) {
        let now = Instant::now();
        match request {
            Request::Here { uid, own, done } => {
                self.plan.add_own(&uid, own, now);
                self.asking.push(Answer { uid, done });
            }
            Request::Gone { uid, done } => {
                self.closing.extend(self.plan.addresses(&uid));
                self.plan.remove_own(&uid, now);
                self.asking.push(Answer { uid, done });
            }
        }
    }

    /// Brings the kernel to what is planned, and answers who waits for that.
    async fn round(&mut self) {
        if self.plan.is_ready() {
            self.waits = None;
            self.begun = true;
        } else {
            self.waits.get_or_insert_with(Instant::now);
        }
        let applied = if self.begun {
            self.apply().await
        } else {
            self.close().await
        };
        match applied {
            Ok(()) if !self.begun => return self.settle(),
            Ok(()) => self.whole = false,
            Err(e) => {
                tracing::warn!(
                    "network policies of node {}: {e}; trying again from scratch",
                    self.config.node_name
                );
                self.whole = true;
                return;
            }
        }
        if let Some((_, table)) = &self.kernel {
            table.families().for_each(|family| self.own.stand(family));
        }
        self.settle();
    }

    async fn apply(&mut self) -> Result<(), Error> {
        self.closing.clear();
        self.next_sweep = self.plan.sweep(Instant::now());
        let touched = self.plan.touched();
        let Some((nft, table)) = &mut self.kernel else {
            return Ok(());
        };
        let batch = if self.whole || !table.covers(&self.plan) {
            table.replace(&self.plan)
        } else {
            table.change(&self.plan, touched)
        };
        nft.apply(batch).await
    }

    /// While it is not known what walls are made from: new pods are closed anyhow, and addresses that were given back are closed, too.
    async fn close(&mut self) -> Result<(), Error> {
        if !self.stands() {
            self.stand().await;
        }
        let (Some((nft, _)), false) = (&self.kernel, self.closing.is_empty()) else {
            return Ok(());
        };
        // What is not there can only be deleted after it was added.
        let mut batch = Batch::new();
        for family in IpFamily::ALL {
            if !self.own.stands(std::iter::once(family)) {
                continue;
            }
            let ips = self.closing.iter().filter(|ip| family.has(ip));
            let all: Vec<_> = ips.map(|ip| Element::of(vec![Value::Ip(*ip)])).collect();
            let table = rules::table(family);
            batch.push(&table, Change::AddElements("pods".into(), all.clone()));
            batch.push(&table, Change::DeleteElements("pods".into(), all));
        }
        nft.apply(batch).await?;
        self.closing.clear();
        Ok(())
    }

    /// Answers for the pods that have a verdict, and for those that are gone.
    fn settle(&mut self) {
        let (plan, enforces) = (&self.plan, self.kernel.is_some());
        let waiting = std::mem::take(&mut self.asking);
        self.asking = waiting
            .into_iter()
            .filter_map(|answer| {
                let here = plan.is_own(&answer.uid);
                let isolated = match plan.verdict(&answer.uid) {
                    None if here => return Some(answer),
                    verdict => verdict.is_some_and(|v| v.ingress.is_some() || v.egress.is_some()),
                };
                answer.give(if isolated && !enforces {
                    Err(Error::Unsupported {
                        what: "nftables".into(),
                        hint: "a NetworkPolicy selects the pod, and this node could not enforce it"
                            .into(),
                    })
                } else {
                    Ok(())
                });
                None
            })
            .collect();
    }

    /// How long nothing needs to be done.
    fn rest(&self) -> Duration {
        if self.whole && self.begun || !self.closing.is_empty() || !self.stands() {
            return RETRY_AFTER;
        }
        let due = |at: Instant| at.saturating_duration_since(Instant::now());
        let patience = self.waits.map(|since| due(since + PATIENCE));
        let sweep = self.next_sweep.map(due);
        patience
            .into_iter()
            .chain(sweep)
            .fold(CHECK_EVERY, Duration::min)
    }

    /// What is to be done when nothing happens.
    async fn care(&mut self) {
        let now = Instant::now();
        if self.waits.is_some_and(|since| now >= since + PATIENCE) {
            if self.plan.has_policies() {
                tracing::warn!(
                    "pods and namespaces cannot be read: network policies hold for node {} as if there were none",
                    self.config.node_name
                );
                self.plan.lose_patience(now);
            } else {
                tracing::warn!(
                    "network policies cannot be read: new pods of node {} are closed until they can",
                    self.config.node_name
                );
                self.waits = Some(now);
            }
        }
        if self.next_sweep.is_some_and(|at| at <= now) || !self.begun {
            return;
        }
        let Some((nft, table)) = &self.kernel else {
            return;
        };
        for family in table.families() {
            let reason = match nft.has_chain(&rules::table(family), "forward").await {
                Ok(true) => continue,
                Ok(false) => "somebody flushed them".to_owned(),
                Err(e) => e.to_string(),
            };
            tracing::warn!("the walls between pods are gone ({reason}): making them anew");
            self.whole = true;
        }
    }
}

/// What a node itself answers as, beside the service `kube-dns`.
fn cluster_dns(ip: IpAddr) -> Pod {
    let port = |name: &str, protocol| NamedPort {
        name: name.into(),
        protocol,
        port: 53,
    };
    Pod {
        namespace: "kube-system".into(),
        labels: [("k8s-app".to_owned(), "kube-dns".to_owned())].into(),
        ips: vec![ip],
        ports: vec![port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)],
    }
}

fn ended() -> Error {
    failed("put up the walls of a pod", "the node's network ended")
}
