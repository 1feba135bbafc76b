//! From a [`Config`] to a running server.
//!
//! Invariant: when [`start`] returns, the server answers `/readyz` and every default object is there.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use futures::future::LocalBoxFuture;
use ipnet::IpNet;
use skiff_api::{
    kinds::Registry,
    machinery::{clock::SharedClock, status::Status},
};
use skiff_storage::{Store, memory, redb};
use skiff_watching::{client::Client, task};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{authentication, authorization},
    addresses, admission,
    aggregation::{self, Aggregation},
    allocate::Allocator,
    app::{App, InProcess},
    audit,
    auth::{
        Objects, User,
        authenticate::{self, Anonymous, Authenticator, FrontProxies, service_account::Issuer},
        authorize::{Authorizers, Mode},
        pki::{self, Pki, tls},
    },
    bootstrap, conversion,
    core::{Core, StoredObjects},
    definitions::Definitions,
    dial::{Behind, Transports},
    encryption::{self, Encryption},
    fairness,
    flowcontrol::{FlowControl, NoSeats, Places},
    health::Health,
    legacy_tokens,
    limits::{
        deadline,
        inflight::{InFlight, Limits},
    },
    measured::{Follower, Measured},
    serve, stored,
    write::Writer,
};

/// Where the state is.
#[derive(Clone, Debug)]
pub enum Data {
    /// Gone with the process.
    Memory,
    Folder(PathBuf),
}

/// How a server is to run.
pub struct Config {
    pub data: Data,
    /// Certificates and keys; made when absent.
    pub cert_dir: PathBuf,
    /// Files of the user's own in their place.
    pub given: pki::Given,
    /// Port 0 picks one. The first is what kubeconfigs name.
    pub listen: Vec<SocketAddr>,
    /// Addresses under which pods reach the server (the endpoints of the service `kubernetes`); empty: the listening ones.
    pub advertise: Vec<SocketAddr>,
    /// Which of the listening addresses pods reach the server by, when `advertise` is empty. A port 0 after the first takes the first's port.
    pub advertise_listener: usize,
    /// The interface that pods and services are behind; `None`: the machine's routes lead to them.
    pub behind: Option<Behind>,
    /// Who may what.
    pub authorization: authorization::Options,
    /// Who is who, as others say it, and whether there may be nobody; never with the authorizer AlwaysAllow.
    pub authentication: authentication::Options,
    pub service_cidr: IpNet,
    pub token_file: Option<PathBuf>,
    /// `--service-account-key-file`s; empty: the key that signs.
    pub service_account_key_files: Vec<PathBuf>,
    /// `--service-account-signing-key-file`; `None`: the one in `cert_dir`.
    pub service_account_signing_key_file: Option<PathBuf>,
    pub service_account_issuer: String,
    /// `--enable-admission-plugins` and `--disable-admission-plugins`.
    pub admission: admission::Selection,
    pub clock: SharedClock,
    pub limits: Limits,
    /// `--enable-priority-and-fairness`: the limits are shared out among levels; else they are counted alone.
    pub priority_and_fairness: bool,
    /// `--request-timeout`.
    pub request_timeout: std::time::Duration,
    /// `--enable-bootstrap-token-auth`.
    pub bootstrap_tokens: bool,
    /// Clients are warned when they write what is stored and not acted upon.
    pub warns_of_no_effect: bool,
    /// `--audit-…`.
    pub audit: audit::Options,
    /// `--encryption-provider-config…`.
    pub encryption: encryption::Options,
    /// `--resource-metrics`: the server itself serves `metrics.k8s.io` as long as nobody registers an APIService for it.
    pub resource_metrics: bool,
}

impl Config {
    /// A server with upstream's defaults that keeps its state at `data` and its keys in `cert_dir`.
    pub fn new(data: Data, cert_dir: PathBuf) -> Config {
        Config {
            data,
            cert_dir,
            given: pki::Given::default(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            advertise: Vec::new(),
            advertise_listener: 0,
            behind: None,
            authorization: authorization::Options::default(),
            authentication: authentication::Options::default(),
            service_cidr: IpNet::new(std::net::Ipv4Addr::new(10, 96, 0, 0).into(), 16)
                .unwrap_or_default(),
            token_file: None,
            service_account_key_files: Vec::new(),
            service_account_signing_key_file: None,
            service_account_issuer: "https://kubernetes.default.svc.cluster.local".into(),
            admission: admission::Selection::default(),
            clock: skiff_api::machinery::clock::system(),
            limits: Limits::default(),
            priority_and_fairness: true,
            request_timeout: deadline::LONGEST,
            bootstrap_tokens: true,
            warns_of_no_effect: true,
            audit: audit::Options::default(),
            encryption: encryption::Options::default(),
            resource_metrics: false,
        }
    }
}

#[derive(thiserror::Error, Debug)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] skiff_storage::Error),
    #[error(
        "cannot listen on {address}; choose another address or port, or port 0 for any that is free"
    )]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Authorization(#[from] authorization::Error),
    #[error(transparent)]
    RemoteAuthentication(#[from] authentication::Error),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Pki(#[from] pki::PkiError),
    #[error(transparent)]
    Authentication(#[from] authenticate::ConfigError),
    #[error(transparent)]
    Admission(#[from] admission::SelectionError),
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error(transparent)]
    Encryption(#[from] encryption::ConfigError),
    #[error(transparent)]
    OwnKey(#[from] encryption::OwnKeyError),
    #[error(transparent)]
    NoSeats(#[from] NoSeats),
    #[error("cannot make the default objects: {0}")]
    Bootstrap(#[from] Status),
}

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
    let audit = audit::Audit::open(&config.audit, config.clock.clone())?;
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
    let mut listeners = Vec::new();
    let mut first_port = 0;
    for address in &config.listen {
        let mut address = *address;
        if address.port() == 0 {
            address.set_port(first_port);
        }
        let address = &address;
        listeners.push(
            serve::bind(*address)
                .await
                .map_err(|source| StartError::Listen {
                    address: *address,
                    source,
                })?,
        );
        first_port = listeners
            .last()
            .and_then(|listener| listener.local_addr().ok())
            .map_or(0, |address| address.port());
    }
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|l| l.local_addr().ok())
        .collect();
    let stopping = CancellationToken::new();
    let allocator = Arc::new(Allocator::new(config.service_cidr, &store));
    let pki = Pki::open(
        &config.cert_dir,
        &serving_names(&config, &allocator, &addresses),
        &config.given,
        config.clock.clone(),
    )?;
    let objects: Arc<dyn Objects> = Arc::new(StoredObjects(store.clone()));
    let decides = authorization::open(&config.authorization, config.behind.as_ref())?;
    let all_allowed = decides.has(Mode::AlwaysAllow);
    let (authenticator, issuer) =
        authenticator(&config, &pki, objects.clone(), all_allowed, &stopping)?;
    let authorizers = Authorizers::new(&decides.steps, objects);
    decides.follow(authorizers.clone(), &stopping);
    let (telling, used) = tokio::sync::mpsc::channel(64);
    let identity = (
        tls::certificates(pki.kubelet_client.certificate.as_bytes())?,
        tls::private_key(&pki.kubelet_client)?,
    );
    let advertised = advertised(&config, &addresses);
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
        follow: |writer, new, old| Box::pin(addresses::follow(writer, new, old)),
        warns_of_no_effect: config.warns_of_no_effect,
    });
    let transports = Arc::new(Transports::new(
        tls::roots(pki.authority.certificate_pem().as_bytes())?,
        identity,
        (
            tls::certificates(pki.front_proxy_client.certificate.as_bytes())?,
            tls::private_key(&pki.front_proxy_client)?,
        ),
        config.behind.clone(),
    )?);
    if let Some(file) = config.encryption.file.filter(|_| config.encryption.reload) {
        let following = encryption.follow(file, core.store.clone(), stopping.clone());
        task::spawn(following);
    }
    let definitions = Definitions::load(&core);
    let places = match config.priority_and_fairness {
        true => Places::Fair(Arc::new(FlowControl::new(
            config.limits,
            core.store.clone(),
        )?)),
        false => Places::Counted(InFlight::new(config.limits)),
    };
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
    health.made();
    let keeps = match places.fair() {
        Some(control) => {
            fairness::configure(control, &core);
            let [acts, keeps] = fairness::follow(control.clone(), &writer, &stopping);
            health.runs("poststarthook/priority-and-fairness-config-consumer", acts);
            keeps
        }
        None => fairness::keep(&writer, None, &stopping),
    };
    health.runs("poststarthook/priority-and-fairness-config-producer", keeps);
    for follows in webhooks.follow(&core, config.behind.as_ref(), &stopping) {
        health.runs(
            "poststarthook/start-apiserver-admission-initializer",
            follows,
        );
    }
    let aggregation = Arc::<Aggregation>::default();
    let services = aggregation::Services::load(&core, &transports, &aggregation);
    // one task does what these do
    let services = task::spawn(services.run(writer.clone(), stopping.clone()));
    for name in [
        "poststarthook/apiservice-discovery-controller",
        "poststarthook/apiservice-registration-controller",
        "poststarthook/apiservice-status-remote-available-controller",
    ] {
        health.runs(name, services.abort_handle());
    }
    let measured = config.resource_metrics.then(Arc::<Measured>::default);
    if let Some(measured) = &measured {
        let follower = Follower {
            core: core.clone(),
            transports: transports.clone(),
            aggregation: aggregation.clone(),
            measured: measured.clone(),
        };
        let follows = task::spawn(follower.run(stopping.clone()));
        health.runs("poststarthook/resource-metrics", follows.abort_handle());
    }
    let definitions = task::spawn(definitions.run(writer.clone(), stopping.clone()));
    health.runs(
        "poststarthook/start-apiextensions-controllers",
        definitions.abort_handle(),
    );
    let labels = legacy_tokens::label(writer.clone(), used, stopping.clone());
    health.runs(
        "poststarthook/start-legacy-token-tracking-controller",
        task::spawn(labels).abort_handle(),
    );
    let network = addresses::keep_network(writer.clone(), stopping.clone());
    health.runs(
        "poststarthook/start-kubernetes-service-cidr-controller",
        task::spawn(network).abort_handle(),
    );
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
        external_address: advertised
            .first()
            .map(SocketAddr::to_string)
            .unwrap_or_default(),
        places,
        audit: audit.map(Arc::new),
        request_timeout: config.request_timeout,
        stopping: stopping.clone(),
    });
    let stop = stopping.child_token();
    let believed = [&pki.client_ca, pki.front_proxy_ca.as_bytes()].join(&b'\n');
    let server = tls::server_config(&pki.serving, Some(&believed))?;
    let listeners = listeners
        .into_iter()
        .map(|listener| {
            task::spawn(serve::serve(
                listener,
                server.clone(),
                app.clone(),
                stop.clone(),
            ))
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

/// Under which addresses others reach the server.
fn advertised(config: &Config, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    if config.advertise.is_empty() {
        return addresses
            .iter()
            .skip(config.advertise_listener)
            .take(1)
            .copied()
            .collect();
    }
    let port = addresses.first().map_or(0, SocketAddr::port);
    config
        .advertise
        .iter()
        .map(|address| {
            SocketAddr::new(
                address.ip(),
                if address.port() == 0 {
                    port
                } else {
                    address.port()
                },
            )
        })
        .collect()
}

fn serving_names(
    config: &Config,
    allocator: &Allocator,
    addresses: &[SocketAddr],
) -> pki::ServingNames {
    let hosts = addresses
        .iter()
        .chain(&config.advertise)
        .map(SocketAddr::ip)
        .collect();
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_string())
        .unwrap_or_default();
    pki::ServingNames {
        cluster_domain: "cluster.local".into(),
        service_ips: vec![allocator.first()],
        listen_ips: hosts,
        host_name,
        extra: Vec::new(),
    }
}

/// Whoever may do anything must at least be known.
fn anonymous(wanted: Anonymous, all_allowed: bool) -> Anonymous {
    if wanted == Anonymous::No || !all_allowed {
        return wanted;
    }
    tracing::warn!(
        "AnonymousAuth is not allowed with the AlwaysAllow authorizer. Resetting AnonymousAuth to false. You should use a different authorizer"
    );
    Anonymous::No
}

fn authenticator(
    config: &Config,
    pki: &Pki,
    objects: Arc<dyn Objects>,
    all_allowed: bool,
    stop: &CancellationToken,
) -> Result<(Authenticator, Issuer), StartError> {
    let key = match &config.service_account_signing_key_file {
        Some(path) => pki::read_signing_key(path)?,
        None => pki::read_signing_key(&config.cert_dir.join("sa.key"))?,
    };
    let issuers = vec![config.service_account_issuer.clone()];
    let published = pki::read_public_keys(&config.service_account_key_files)?;
    let issuer = Issuer::new(
        key,
        published,
        config.service_account_issuer.clone(),
        issuers.clone(),
    );
    let here = authentication::Surroundings {
        audiences: issuers.clone(),
        issuers: issuers.clone(),
        clock: config.clock.clone(),
        behind: config.behind.clone(),
    };
    let others = authentication::open(&config.authentication, &here, stop)?;
    let wanted = others
        .anonymous
        .unwrap_or(match config.authentication.anonymous {
            Some(false) => Anonymous::No,
            _ => Anonymous::Yes,
        });
    let authentication = authenticate::Config {
        client_ca: Some(pki.client_ca.clone()),
        front_proxies: Some(FrontProxies {
            ca: pki.front_proxy_ca.clone().into_bytes(),
            names: vec![pki::FRONT_PROXY_CLIENT.to_owned()],
        }),
        token_file: config.token_file.clone(),
        service_account_keys: issuer.keys().to_vec(),
        issuers: issuers.clone(),
        audiences: issuers,
        lookup: true,
        bootstrap_tokens: config.bootstrap_tokens,
        anonymous: anonymous(wanted, all_allowed),
        remote: others.remote,
    };
    let authenticator = Authenticator::new(authentication, objects, config.clock.clone())?;
    Ok((authenticator, issuer))
}
