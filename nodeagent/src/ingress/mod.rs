//! Ingress, built in: a proxy on each node that leads HTTP and HTTPS to the pods that the cluster's Ingresses name, and its gateways once their kinds are defined.
//!
//! Invariant: the routing table is swapped whole, so that a request goes by one table from its beginning to its end; what is wrong with one Ingress
//! disturbs no other. The proxy itself, which knows nothing of Ingress, is `skiff-ingress`. Layers, lowest first: `certificates`, `class`, `backend`; `watch`, `gateway`
//! and `plan`; `members`, `status` and `doors`.

mod backend;
pub mod certificates;
pub mod class;
mod doors;
pub mod gateway;
mod knowledge;
mod members;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use skiff_watching::{
    api::Api,
    client::Client,
    clock::Clock,
    events::{Events, Recorder},
};
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use skiff_ingress::{access::AccessLog, proxy::Proxy, upstream::Upstreams};

use self::{
    certificates::{ByPort, Certificate},
    doors::Doors,
    members::Member,
    plan::{Plan, plan},
    watch::Watched,
};
use crate::network::{
    family::IpFamily,
    ns::Namespace,
    view::{Change, ClusterView},
};

/// How the proxy names itself to the API: in `managedFields`, in events.
const AGENT: &str = "skiff-ingress";
const COMPONENT: &str = "ingress";
const HTTP: u16 = 80;
const HTTPS: u16 = 443;
/// The ports that are open in any case, and whether with TLS.
const FIXED: [(u16, bool); 2] = [(HTTP, false), (HTTPS, true)];
/// Changes that come within this time are one.
const PAUSE: Duration = Duration::from_millis(20);
/// How often connections are looked at that nobody uses, and certificates that may have ended.
const SWEEP: Duration = Duration::from_secs(15);

/// Why the proxy cannot be.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Certificate(#[from] certificates::Error),
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What a node's proxy is made from.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// The node's own namespace, in which the threads are that run the proxy.
    pub node: Namespace,
    pub node_name: String,
    /// The addresses by which clients reach this node, which are told in the status of Ingresses. Its doors are open by their families.
    pub addresses: Vec<IpAddr>,
    /// Where a line is written for each request.
    pub access_log: Option<PathBuf>,
}

impl IngressConfig {
    /// The families of the node's addresses, each once.
    fn families(&self) -> impl Iterator<Item = IpFamily> {
        let of = |family: &IpFamily| !family.addresses(&self.addresses).is_empty();
        IpFamily::ALL.into_iter().filter(of)
    }
}

/// Runs the proxy until `stop`. `client` sees Ingresses and Secrets; `view` is the node's own of services.
pub async fn run_ingress(
    client: Client,
    view: Arc<ClusterView>,
    config: IngressConfig,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (api, clock) = (Api::new(client, AGENT), Clock::system());
    let events = Events::start(api.clone(), clock.clone(), stop.clone());
    let log = config.access_log.as_ref();
    let log = log.map(|_| AccessLog::new(clock.clone()));
    let house = House {
        recorder: events.recorder(COMPONENT).on(&config.node_name),
        plans: channel::Sender::new(Arc::new(Plan::default())),
        parts: Parts {
            proxy: Arc::new(Proxy::new(log.clone())),
            certificates: ByPort::new(Certificate::own()?),
            upstreams: Upstreams::default(),
            watched: Watched::new(),
            view,
            clock,
        },
        doors: channel::Sender::default(),
        api,
        config,
        stop,
    };
    let stop = || house.stop.clone();
    let write = async {
        if let (Some(log), Some(path)) = (log, house.config.access_log.clone()) {
            log.run(path, stop()).await;
        }
    };
    let Parts { watched, clock, .. } = &house.parts;
    let watch = watched.run(&house.api, clock, &events, stop());
    tokio::join!(house.serve(), write, watch);
    Ok(())
}

/// What a running proxy consists of.
struct House {
    api: Api,
    config: IngressConfig,
    recorder: Recorder,
    parts: Parts,
    plans: channel::Sender<Arc<Plan>>,
    doors: channel::Sender<doors::State>,
    stop: CancellationToken,
}

impl House {
    /// Opens once it is known what there is, and serves until the end.
    async fn serve(&self) {
        if self.parts.first(&self.plans, &self.stop).await {
            let doors = Doors {
                config: &self.config,
                recorder: &self.recorder,
                proxy: &self.parts.proxy,
                certificates: &self.parts.certificates,
                state: &self.doors,
            };
            tokio::join!(
                doors.run(self.plans.subscribe(), &self.stop),
                self.parts.keep(&self.plans, &self.stop),
                self.tell()
            );
        }
    }

    /// Tells that this node serves, once somebody can come in.
    async fn tell(&self) {
        let member = Member {
            api: self.api.clone(),
            clock: self.parts.clock.clone(),
            node: self.config.node_name.clone(),
            addresses: self.config.addresses.clone(),
        };
        let mut doors = self.doors.subscribe();
        tokio::select! {
            _ = doors.wait_for(|doors| doors.values().any(Result::is_ok)) => {}
            () = self.stop.cancelled() => return,
        }
        let (recorder, plans) = (self.recorder.clone(), self.plans.subscribe());
        status::run(member, recorder, (plans, doors), self.stop.clone()).await;
    }
}

/// What makes plans and puts them in force.
struct Parts {
    proxy: Arc<Proxy>,
    certificates: ByPort,
    upstreams: Upstreams,
    watched: Arc<Watched>,
    view: Arc<ClusterView>,
    clock: Clock,
}

impl Parts {
    /// Makes the first plan, once all is known; before that nobody is let in. False: told to stop.
    async fn first(&self, plans: &channel::Sender<Arc<Plan>>, stop: &CancellationToken) -> bool {
        let mut changes = self.watched.changes();
        let known = async {
            self.view.wait_synced().await;
            // the sender lives in `self`
            changes.wait_for(|count| *count > 0).await.is_ok()
        };
        tokio::select! {
            _ = known => {}
            () = stop.cancelled() => return false,
        }
        self.make(plans);
        true
    }

    /// Makes a plan and puts it in force.
    fn make(&self, plans: &channel::Sender<Arc<Plan>>) {
        let services = |name: &_| self.view.service(name);
        let mut made = plan(
            &self.watched.knowledge(),
            &services,
            &self.upstreams,
            self.clock.now(),
        );
        let by_host = std::mem::take(&mut made.certificates);
        self.certificates.at(HTTPS).set(by_host);
        let of_listeners = std::mem::take(&mut made.of_listeners);
        let has_door = |port| port == HTTPS || made.doors.contains_key(&port);
        self.certificates.set(of_listeners, has_door);
        let listeners = std::mem::take(&mut made.listeners);
        self.proxy.listeners.store(Arc::new(listeners));
        self.proxy
            .routes
            .store(Arc::new(std::mem::take(&mut made.table)));
        self.upstreams.keep(|port| made.used.contains(port));
        plans.send_replace(Arc::new(made));
    }

    /// Makes a new plan whenever something changes, until `stop`.
    async fn keep(&self, plans: &channel::Sender<Arc<Plan>>, stop: &CancellationToken) {
        let mut changes = self.watched.changes();
        let mut services = self.view.subscribe();
        // what changed between the first plan and now
        self.make(plans);
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let concerns = |change: &Change| match change {
                Change::Service(name) => plans.borrow().services.contains(name),
                Change::Node(_) => false,
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                change = services.recv() => match change {
                    Some(change) if concerns(&change) => {}
                    Some(_) => continue,
                    None => return,
                },
                _ = sweep.tick() => {
                    self.upstreams.close_idle();
                    let now = self.clock.now();
                    if plans.borrow().next.is_none_or(|next| next > now) {
                        continue;
                    }
                }
                () = stop.cancelled() => return,
            }
            tokio::time::sleep(PAUSE).await;
            while services.try_recv().is_ok() {}
            changes.mark_unchanged();
            self.make(plans);
        }
    }
}
