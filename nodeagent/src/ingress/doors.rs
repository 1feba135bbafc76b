//! The doors of a node: the two that are open in any case, and those that the listeners of gateways need.
//!
//! Invariant: a door is open while something needs it; what keeps one shut is told, and it is tried again.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use skiff_ingress::{proxy::Proxy, serve::Door};
use skiff_watching::events::{EventType, Recorder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Error, FIXED, IngressConfig, certificates::ByPort, plan::Plan};

/// How often a port is tried that another program has.
const PORT_AGAIN: Duration = Duration::from_secs(30);

/// The doors by their ports: open, or why not yet.
pub type State = BTreeMap<u16, Result<(), String>>;

/// See the module.
pub struct Doors<'a> {
    pub config: &'a IngressConfig,
    pub recorder: &'a Recorder,
    pub proxy: &'a Arc<Proxy>,
    pub certificates: &'a ByPort,
    pub state: &'a watch::Sender<State>,
}

fn is_fixed(port: u16) -> bool {
    FIXED.iter().any(|(fixed, _)| *fixed == port)
}

impl Doors<'_> {
    /// Opens and shuts doors as the plans need them, until `stop`.
    pub async fn run(&self, mut plans: watch::Receiver<Arc<Plan>>, stop: &CancellationToken) {
        let mut open: BTreeMap<u16, (bool, CancellationToken)> = BTreeMap::new();
        let mut doors = FuturesUnordered::new();
        loop {
            let mut wanted = plans.borrow_and_update().doors.clone();
            wanted.extend(FIXED);
            for (port, (tls, stop)) in &open {
                if wanted.get(port) != Some(tls) {
                    stop.cancel();
                }
            }
            for (port, tls) in wanted {
                // one that is to have another protocol comes when the one before it is shut
                open.entry(port).or_insert_with(|| {
                    let stop = stop.child_token();
                    doors.push(self.door(port, tls, stop.clone()));
                    (tls, stop)
                });
            }
            tokio::select! {
                Some(shut) = doors.next() => drop(open.remove(&shut)),
                changed = plans.changed() => if changed.is_err() { break },
                () = stop.cancelled() => break,
            }
        }
        while doors.next().await.is_some() {}
    }

    /// Is there until `stop`; gives its port back.
    async fn door(&self, port: u16, tls: bool, stop: CancellationToken) -> u16 {
        if let Some(door) = self.open(port, tls, &stop).await {
            self.state.send_modify(|all| drop(all.insert(port, Ok(()))));
            door.serve(self.proxy.clone(), stop).await;
        }
        self.state.send_modify(|all| drop(all.remove(&port)));
        port
    }

    /// Opens a door, as soon as nobody else has the port. None: told to stop.
    async fn open(&self, port: u16, tls: bool, stop: &CancellationToken) -> Option<Door> {
        let mut told = false;
        loop {
            let error = match self.try_open(port, tls).await {
                Ok(door) => return Some(door),
                Err(error) => error,
            };
            if !std::mem::replace(&mut told, true) {
                let message =
                    format!("Ingress cannot listen at port {port}: {error}. It is tried again");
                let shut = Err(message.clone());
                self.state.send_modify(|all| drop(all.insert(port, shut)));
                let off = match is_fixed(port) {
                    true => "; --ingress=false turns it off",
                    false => "",
                };
                self.complain(format!("{message}{off}"));
            }
            tokio::select! {
                () = tokio::time::sleep(PORT_AGAIN) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn try_open(&self, port: u16, tls: bool) -> Result<Door, Error> {
        let mut listeners = Vec::new();
        for family in self.config.families() {
            let at = SocketAddr::from((family.unspecified(), port));
            listeners.push(self.config.node.tcp_listen(at).await?);
        }
        let tls = tls
            .then(|| self.certificates.at(port).server())
            .transpose()?;
        let door = Door::new(listeners, tls)?;
        Ok(match is_fixed(port) {
            true => door,
            false => door.without_table(),
        })
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
}
