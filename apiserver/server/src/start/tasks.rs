//! The tasks that a server consists of besides its answers, and the checks of health that tell whether each still runs.
//!
//! Invariant: checks bear the names of upstream's hooks that do the same.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use skiff_watching::task;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    addresses, admission,
    aggregation::{self, Aggregation},
    auth::authenticate::service_account::Used,
    definitions::Definitions,
    dial::{Behind, Transports},
    expiry, fairness,
    flowcontrol::Places,
    health::Health,
    identity::{self, Identity},
    legacy_tokens,
    measured::{Follower, Measured},
    standing,
    write::Writer,
};

/// What the tasks of a server work on.
pub struct Tasks<'s> {
    pub writer: &'s Arc<Writer>,
    pub health: &'s Health,
    pub stopping: &'s CancellationToken,
}

impl Tasks<'_> {
    fn run(&self, names: &[&'static str], task: impl Future<Output = ()> + Send + 'static) {
        let task = task::spawn(task);
        for name in names {
            self.health.runs(name, task.abort_handle());
        }
    }

    /// Keeps the objects of priority and fairness, and lets them act where levels share out the places.
    pub fn share_places(&self, places: &Places) {
        let keeps = match places.fair() {
            Some(control) => {
                fairness::configure(control, &self.writer.core);
                let [acts, keeps] = fairness::follow(control.clone(), self.writer, self.stopping);
                let name = "poststarthook/priority-and-fairness-config-consumer";
                self.health.runs(name, acts);
                keeps
            }
            None => fairness::keep(self.writer, None, self.stopping),
        };
        let name = "poststarthook/priority-and-fairness-config-producer";
        self.health.runs(name, keeps);
    }

    /// Reads the configurations of admission webhooks when they change.
    pub fn know_webhooks(&self, webhooks: &admission::Webhooks, behind: Option<&Behind>) {
        for follows in webhooks.follow(&self.writer.core, behind, self.stopping) {
            let name = "poststarthook/start-apiserver-admission-initializer";
            self.health.runs(name, follows);
        }
    }

    /// Knows which groups are somebody else's.
    pub fn aggregate(&self, transports: &Arc<Transports>) -> Arc<Aggregation> {
        let aggregation = Arc::<Aggregation>::default();
        let services = aggregation::Services::load(&self.writer.core, transports, &aggregation);
        // one task does what these do
        self.run(
            &[
                "poststarthook/apiservice-discovery-controller",
                "poststarthook/apiservice-registration-controller",
                "poststarthook/apiservice-status-remote-available-controller",
            ],
            services.run(self.writer.clone(), self.stopping.clone()),
        );
        aggregation
    }

    /// Asks the nodes what is used.
    pub fn measure(
        &self,
        transports: &Arc<Transports>,
        aggregation: &Arc<Aggregation>,
    ) -> Arc<Measured> {
        let measured = Arc::<Measured>::default();
        let follower = Follower {
            core: self.writer.core.clone(),
            transports: transports.clone(),
            aggregation: aggregation.clone(),
            measured: measured.clone(),
        };
        let name = "poststarthook/resource-metrics";
        self.run(&[name], follower.run(self.stopping.clone()));
        measured
    }

    /// Has come back what a cluster cannot be without.
    pub fn stand(&self, advertised: Vec<SocketAddr>, trust: Value) {
        let (writer, stopping) = (self.writer, self.stopping);
        for step in standing::steps(advertised) {
            let hook = step.hook;
            self.run(&[hook], step.run(writer.clone(), stopping.clone()));
        }
        self.run(
            &["poststarthook/start-cluster-authentication-info-controller"],
            standing::trust(writer.clone(), trust, stopping.clone()),
        );
    }

    /// Stays known as a server among others.
    pub fn be_known(&self, identity: Identity) {
        let (writer, stopping) = (self.writer, self.stopping);
        self.run(
            &["poststarthook/start-kube-apiserver-identity-lease-controller"],
            identity::keep(writer.clone(), identity, stopping.clone()),
        );
        self.run(
            &["poststarthook/start-kube-apiserver-identity-lease-garbage-collector"],
            identity::collect_garbage(writer.clone(), stopping.clone()),
        );
    }

    /// Removes what was written last so long ago; nothing goes by itself when that is no time.
    pub fn expire(&self, ttl: Duration) {
        for kind in expiry::kinds().filter(|_| !ttl.is_zero()) {
            let core = self.writer.core.clone();
            let name = "poststarthook/expire-objects";
            self.run(&[name], expiry::run(core, kind, ttl, self.stopping.clone()));
        }
    }

    /// Serves what definitions bring; looks after tokens that are used as they were long ago, and after the network of services.
    pub fn look_after(&self, definitions: Definitions, used: mpsc::Receiver<Used>) {
        let (writer, stopping) = (self.writer, self.stopping);
        self.run(
            &["poststarthook/start-apiextensions-controllers"],
            definitions.run(writer.clone(), stopping.clone()),
        );
        self.run(
            &["poststarthook/start-legacy-token-tracking-controller"],
            legacy_tokens::label(writer.clone(), used, stopping.clone()),
        );
        self.run(
            &["poststarthook/start-kubernetes-service-cidr-controller"],
            addresses::keep_network(writer.clone(), stopping.clone()),
        );
    }
}
