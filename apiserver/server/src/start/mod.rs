//! From a [`Config`] to a running server.
//!
//! Invariant: when [`start`] returns, the server answers `/readyz` and every default object is there.

mod access;
mod addresses;
mod config;
mod tasks;

use std::{net::SocketAddr, sync::Arc};

use futures::future::LocalBoxFuture;
use skiff_api::kinds::Registry;
use skiff_storage::{Store, memory, redb};
use skiff_watching::{client::Client, task};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admission,
    allocate::Allocator,
    app::{App, InProcess},
    audit,
    auth::{
        User,
        pki::{self, Pki, tls},
    },
    bootstrap, conversion,
    core::{Core, StoredObjects},
    definitions::Definitions,
    dial::Transports,
    encryption::Encryption,
    flowcontrol::{FlowControl, Places},
    health::Health,
    identity,
    limits::inflight::InFlight,
    serve, stored,
    write::Writer,
};
pub use config::{Config, Data, StartError};
use tasks::Tasks;

/// A server that runs until `stop`.
pub struct Running {
    pub app: Arc<App>,
    /// Keys and certificates; signs those of nodes and admins.
    pub pki: Pki,
    pub addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    listeners: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// A client without a socket, for the controllers of this process.
    pub fn client(&self, user: User) -> Client {
        client(&self.app, user)
    }

    /// Ends the listeners and closes the store.
    pub async fn stop(self) {
        self.app.stopping.cancel();
        self.stop.cancel();
        for listener in self.listeners {
            // one that panicked has ended, too
            let _ = listener.await;
        }
        if let Some(audit) = &self.app.audit {
            audit.close().await;
        }
        self.app.core.store.close().await;
    }
}

/// A client whose transport is the server itself: no socket, no TLS.
pub fn client(app: &Arc<App>, user: User) -> Client {
    let (app, user) = (app.clone(), Arc::new(user));
    let service = tower::service_fn(
        move |request: http::Request<http_body_util::Full<bytes::Bytes>>| {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(InProcess(user.clone()));
            app.clone().handle(request)
        },
    );
    Client::new(service)
}

/// Opens the store, makes what is missing, listens.
///
/// Behind a pointer, so that this crate compiles what a request passes through: the body of an `async fn` is made where it is first polled, and at
/// the level of optimisation of that crate.
pub fn start(config: Config) -> LocalBoxFuture<'static, Result<Running, StartError>> {
    Box::pin(started(config))
}

async fn started(config: Config) -> Result<Running, StartError> {
    let audit = audit::Audit::open(&config.audit, config.clock.shared())?;
    let stopping = CancellationToken::new();
    let store = open_store(&config, &stopping)?;
    let (listeners, addresses) = addresses::listen(&config.listen).await?;
    let advertised = addresses::advertised(&config, &addresses);
    if let Some(address) = advertised.first() {
        config.service_ranges.lead_to(address.ip())?;
    }
    let allocator = Arc::new(Allocator::new(config.service_ranges, &store));
    let pki = Pki::open(
        &config.cert_dir,
        &addresses::serving_names(&config, &allocator, &addresses),
        &config.given,
        config.clock.shared(),
    )?;
    let objects = Arc::new(StoredObjects(store.clone()));
    let (authenticator, issuer, authorizers) = access::open(&config, &pki, objects, &stopping)?;
    let own_kinds = match config.resource_metrics {
        true => Registry::measuring(),
        false => Registry::builtin(),
    };
    let core = Arc::new(Core {
        kinds: arc_swap::ArcSwap::new(own_kinds.clone()),
        own_kinds,
        clock: config.clock.clone(),
        authorizers,
        store,
        commits: Default::default(),
        converter: Box::new(conversion::Webhooks::new(config.behind.clone())),
    });
    let webhooks = admission::Webhooks::default();
    let writer = Arc::new(Writer {
        core: core.clone(),
        admission: admission::chain(&config.admission, &webhooks)?,
        allocator,
        follow: |writer, new, old| Box::pin(crate::addresses::follow(writer, new, old)),
    });
    let transports = Arc::new(transports(&config, &pki)?);
    let definitions = Definitions::load(&core);
    let places = places(&config, &core)?;
    let health = Health::new(core.store.clone(), stopping.clone());
    health.pending(&[
        "poststarthook/bootstrap-controller",
        "poststarthook/rbac/bootstrap-roles",
        "poststarthook/scheduling/bootstrap-system-priority-classes",
    ]);
    bootstrap::run(&writer, &advertised, &pki, places.fair().is_some()).await?;
    if config.resource_metrics {
        bootstrap::metrics_reader(&writer).await?;
    }
    let host = addresses::host_name();
    let identity = identity::begin(&writer, host, advertised.first().copied()).await;
    health.made();
    let (telling, used) = tokio::sync::mpsc::channel(64);
    let tasks = Tasks {
        writer: &writer,
        health: &health,
        stopping: &stopping,
    };
    tasks.stand(advertised.clone(), bootstrap::authentication(&pki));
    tasks.be_known(identity);
    tasks.expire(config.event_ttl);
    tasks.share_places(&places);
    tasks.know_webhooks(&webhooks, config.behind.as_ref());
    let aggregation = tasks.aggregate(&transports);
    let measured = config
        .resource_metrics
        .then(|| tasks.measure(&transports, &aggregation));
    tasks.look_after(definitions, used);
    let app = Arc::new(App {
        core,
        writer,
        authenticator: authenticator.telling(telling),
        tokens: Arc::new(issuer),
        transports,
        aggregation,
        measured,
        metrics: Default::default(),
        health,
        openapi: Default::default(),
        kept: Default::default(),
        external_address: advertised
            .first()
            .map(SocketAddr::to_string)
            .unwrap_or_default(),
        places,
        audit: audit.map(Arc::new),
        request_timeout: config.request_timeout,
        stopping,
    });
    serving(app, pki, listeners, addresses)
}

/// The store, and the key that what lies in it is sealed with.
fn open_store(config: &Config, stopping: &CancellationToken) -> Result<Arc<dyn Store>, StartError> {
    let keys = matches!(config.data, Data::Folder(_)).then_some(&*config.cert_dir);
    let (encryption, own_key) = Encryption::open(config.encryption.file.as_deref(), keys)?;
    let encryption = Arc::new(encryption);
    let options = skiff_storage::Options {
        indexer: Some(stored::indexer()),
        cipher: Some(encryption.clone()),
        ..Default::default()
    };
    let store: Arc<dyn Store> = match &config.data {
        Data::Memory => Arc::new(memory::open(options)?),
        Data::Folder(folder) => Arc::new(redb::open(folder, options)?),
    };
    if let Some(key) = own_key {
        key.keep(&*store)?;
    }
    if let Some(file) = &config.encryption.file
        && config.encryption.reload
    {
        task::spawn(encryption.follow(file.clone(), store.clone(), stopping.clone()));
    }
    Ok(store)
}

/// How nodes and other servers are spoken to.
fn transports(config: &Config, pki: &Pki) -> Result<Transports, StartError> {
    let identity = |of: &pki::Issued| {
        let certificates = tls::certificates(of.certificate.as_bytes())?;
        Ok::<_, StartError>((certificates, tls::private_key(of)?))
    };
    Ok(Transports::new(
        tls::roots(pki.authority.certificate_pem().as_bytes())?,
        identity(&pki.kubelet_client)?,
        identity(&pki.front_proxy_client)?,
        config.behind.clone(),
    )?)
}

fn places(config: &Config, core: &Core) -> Result<Places, StartError> {
    Ok(match config.priority_and_fairness {
        true => {
            let control = FlowControl::new(config.limits, core.store.clone())?;
            Places::Fair(Arc::new(control))
        }
        false => Places::Counted(InFlight::new(config.limits)),
    })
}

/// Answers from now on.
fn serving(
    app: Arc<App>,
    pki: Pki,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
) -> Result<Running, StartError> {
    let stop = app.stopping.child_token();
    let believed = [&pki.client_ca, pki.front_proxy_ca.as_bytes()].join(&b'\n');
    let server = tls::server_config(&pki.serving, Some(&believed))?;
    let listeners = listeners
        .into_iter()
        .map(|listener| {
            let (server, app, stop) = (server.clone(), app.clone(), stop.clone());
            task::spawn(serve::serve(listener, server, app, stop))
        })
        .collect();
    Ok(Running {
        app,
        pki,
        addresses,
        stop,
        listeners,
    })
}
