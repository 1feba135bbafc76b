//! What all requests share: the state of a running server.
//!
//! Invariant: nothing here answers; the way of a request through it is `chain.rs`.

use std::{sync::Arc, time::Duration};

use skiff_api::kinds::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    aggregation::Aggregation,
    audit::Audit,
    auth::{
        User,
        authenticate::{Authenticator, service_account::Issuer},
    },
    core::Core,
    dial::Transports,
    encoding::Kept,
    flowcontrol::Places,
    health::Health,
    measured::Measured,
    metrics::Metrics,
    openapi::Documents,
    write::Writer,
};

pub struct App {
    pub core: Arc<Core>,
    pub writer: Arc<Writer>,
    pub authenticator: Authenticator,
    pub tokens: Arc<Issuer>,
    pub transports: Arc<Transports>,
    /// Which groups are somebody else's.
    pub aggregation: Arc<Aggregation>,
    /// What nodes and pods use, where this server measures it.
    pub measured: Option<Arc<Measured>>,
    pub metrics: Metrics,
    /// Whether it and its parts are well.
    pub health: Health,
    pub openapi: Documents,
    /// What was listed in protobuf.
    pub kept: Kept,
    /// Host and port under which the server says that it is reached from elsewhere.
    pub external_address: String,
    pub places: Places,
    /// Who is told of requests, if anybody.
    pub audit: Option<Arc<Audit>>,
    /// `--request-timeout`.
    pub request_timeout: Duration,
    /// Ends watches and other long answers when the server stops.
    pub stopping: CancellationToken,
}

/// Who asks, for requests that do not come through the network: controllers and the scheduler of this process.
#[derive(Clone)]
pub struct InProcess(pub Arc<User>);

impl App {
    /// Serves other kinds from now on; requests that have begun keep those that they know.
    pub fn serve(&self, change: impl Fn(&Registry) -> Registry) {
        self.core.kinds.rcu(|kinds| change(kinds));
    }
}
