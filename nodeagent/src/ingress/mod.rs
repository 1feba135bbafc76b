//! Ingress, built in: a proxy on each node that leads HTTP and HTTPS to the pods that the cluster's Ingresses name.
//!
//! Invariant: the routing table is swapped whole, so that a request goes by one table from its beginning to its end; what is wrong with one Ingress
//! disturbs no other. The proxy itself, which knows nothing of Ingress, is `skiff-ingress`. Layers, lowest first: `certificates`, `class`, `watch` and `plan`;
//! `members` and `status`.

pub mod certificates;
pub mod class;
mod members;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use skiff_watching::{
    api::Api,
    client::Client,
    clock::Clock,
    events::{EventType, Events, Recorder},
};
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;

use skiff_ingress::{access::AccessLog, proxy::Proxy, serve::Door, upstream::Upstreams};

use self::{
    certificates::{Certificate, Certificates},
    members::Member,
    plan::{Plan, plan},
    watch::Watched,
};
use crate::network::{
    ns::Namespace,
    view::{Change, ClusterView},
};

/// How the proxy names itself to the API: in `managedFields`, in events.
const AGENT: &str = "skiff-ingress";
const COMPONENT: &str = "ingress";
const HTTP: u16 = 80;
const HTTPS: u16 = 443;
/// Changes that come within this time are one.
const PAUSE: Duration = Duration::from_millis(20);
/// How often connections are looked at that nobody uses, and certificates that may have ended.
const SWEEP: Duration = Duration::from_secs(15);
/// How often a port is tried that another program has.
const PORT_AGAIN: Duration = Duration::from_secs(30);

/// Why the proxy cannot be.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Certificate(#[from] certificates::Error),
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// What a node's proxy is made from.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// The node's own namespace, in which the threads are that run the proxy.
    pub node: Namespace,
    pub node_name: String,
    /// The address by which clients reach this node, which is told in the status of Ingresses.
    pub address: Ipv4Addr,
    /// Where a line is written for each request.
    pub access_log: Option<PathBuf>,
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
    let certificates = Certificates::new(&Certificate::own()?);
    let tls = certificates.server()?;
    let log = config.access_log.as_ref();
    let log = log.map(|_| AccessLog::new(clock.clone()));
    let house = House {
        recorder: events.recorder(COMPONENT).on(&config.node_name),
        plans: channel::Sender::new(Arc::new(Plan::default())),
        parts: Parts {
            proxy: Arc::new(Proxy::new(log.clone())),
            certificates,
            upstreams: Upstreams::default(),
            watched: Watched::new(),
            view,
            clock,
        },
        opened: Notify::new(),
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
    tokio::join!(house.serve(tls), write, watch);
    Ok(())
}

/// What a running proxy consists of.
struct House {
    api: Api,
    config: IngressConfig,
    recorder: Recorder,
    parts: Parts,
    plans: channel::Sender<Arc<Plan>>,
    /// Somebody can come in.
    opened: Notify,
    stop: CancellationToken,
}

impl House {
    /// Opens once it is known what there is, and serves until the end.
    async fn serve(&self, tls: Arc<rustls::ServerConfig>) {
        if self.parts.first(&self.plans, &self.stop).await {
            tokio::join!(
                self.door(HTTP, None),
                self.door(HTTPS, Some(tls)),
                self.parts.keep(&self.plans, &self.stop),
                self.tell()
            );
        }
    }

    async fn door(&self, port: u16, tls: Option<Arc<rustls::ServerConfig>>) {
        if let Some(door) = self.open(port, tls).await {
            self.opened.notify_one();
            door.serve(self.parts.proxy.clone(), self.stop.clone())
                .await;
        }
    }

    /// Opens a door, as soon as nobody else has the port. None: told to stop.
    async fn open(&self, port: u16, tls: Option<Arc<rustls::ServerConfig>>) -> Option<Door> {
        let mut told = false;
        loop {
            let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let listening = self.config.node.tcp_listen(at).await;
            let error = match listening.and_then(|socket| Door::new(socket, tls.clone())) {
                Ok(door) => return Some(door),
                Err(error) => error,
            };
            if !std::mem::replace(&mut told, true) {
                self.complain(format!(
                    "Ingress cannot listen at port {port}: {error}. It is tried again; --ingress=false turns it off"
                ));
            }
            tokio::select! {
                () = tokio::time::sleep(PORT_AGAIN) => {}
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Says what is wrong with this node, in the log and as an event.
    fn complain(&self, message: String) {
        tracing::warn!("{message}");
        let node = ObjectReference {
            kind: Some("Node".into()),
            api_version: Some("v1".into()),
            name: Some(self.config.node_name.clone()),
            uid: Some(self.config.node_name.clone()),
            ..ObjectReference::default()
        };
        self.recorder
            .about(node, EventType::Warning, "IngressPortTaken", message);
    }

    /// Tells that this node serves, once somebody can come in.
    async fn tell(&self) {
        let member = Member {
            api: self.api.clone(),
            clock: self.parts.clock.clone(),
            node: self.config.node_name.clone(),
            address: self.config.address,
        };
        tokio::select! {
            () = self.opened.notified() => {}
            () = self.stop.cancelled() => return,
        }
        let (recorder, plans) = (self.recorder.clone(), self.plans.subscribe());
        status::run(member, recorder, plans, self.stop.clone()).await;
    }
}

/// What makes plans and puts them in force.
struct Parts {
    proxy: Arc<Proxy>,
    certificates: Arc<Certificates>,
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
        self.certificates
            .set(std::mem::take(&mut made.certificates));
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
