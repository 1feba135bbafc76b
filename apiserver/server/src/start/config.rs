//! How a server is to run, and what can keep it from beginning.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use skiff_api::machinery::status::Status;
use skiff_watching::clock::Clock;

use crate::{
    access::{authentication, authorization},
    admission,
    allocate::{RangesError, ServiceRanges},
    audit,
    auth::{authenticate, pki},
    dial::Behind,
    encryption,
    flowcontrol::NoSeats,
    limits::{deadline, inflight::Limits},
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
    /// `--service-cluster-ip-range`.
    pub service_ranges: ServiceRanges,
    pub token_file: Option<PathBuf>,
    /// `--service-account-key-file`s; empty: the key that signs.
    pub service_account_key_files: Vec<PathBuf>,
    /// `--service-account-signing-key-file`; `None`: the one in `cert_dir`.
    pub service_account_signing_key_file: Option<PathBuf>,
    pub service_account_issuer: String,
    /// `--service-account-jwks-uri`: where the discovery document says that the keys are; `None`: at this server.
    pub service_account_jwks_uri: Option<String>,
    /// `--enable-admission-plugins` and `--disable-admission-plugins`.
    pub admission: admission::Selection,
    pub clock: Clock,
    pub limits: Limits,
    /// `--enable-priority-and-fairness`: the limits are shared out among levels; else they are counted alone.
    pub priority_and_fairness: bool,
    /// `--request-timeout`.
    pub request_timeout: Duration,
    /// `--event-ttl`: how long an event is kept after it was written last; none goes by itself when this is zero.
    pub event_ttl: Duration,
    /// `--enable-bootstrap-token-auth`.
    pub bootstrap_tokens: bool,
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
            service_ranges: ServiceRanges::default(),
            token_file: None,
            service_account_key_files: Vec::new(),
            service_account_signing_key_file: None,
            service_account_issuer: "https://kubernetes.default.svc.cluster.local".into(),
            service_account_jwks_uri: None,
            admission: admission::Selection::default(),
            clock: Clock::system(),
            limits: Limits::default(),
            priority_and_fairness: true,
            request_timeout: deadline::LONGEST,
            event_ttl: Duration::from_secs(60 * 60),
            bootstrap_tokens: true,
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
    Ranges(#[from] RangesError),
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
