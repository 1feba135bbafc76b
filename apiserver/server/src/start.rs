//! From a [`Config`] to a running server.
//!
//! Invariant: when [`start`] returns, the server answers `/readyz` and every default object is there.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc};

use ipnet::IpNet;
use skiff_api::machinery::{clock::SharedClock, status::Status};
use skiff_storage::{Store, memory, redb};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Chain,
    allocate::Allocator,
    app::{App, InProcess, StoredObjects},
    auth::{User, authenticate::Authenticator, authorize::Authorizers},
    bootstrap, serve, stored,
    subresources::node_proxy::{self, NodeClient},
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
    /// Port 0 picks one. The first is what kubeconfigs name.
    pub listen: Vec<SocketAddr>,
    /// Addresses under which pods reach the server (the endpoints of the service `kubernetes`); empty: the listening ones.
    pub advertise: Vec<SocketAddr>,
    pub authorization_modes: Vec<String>,
    pub service_cidr: IpNet,
    pub tokens: HashMap<String, User>,
    pub clock: SharedClock,
}

#[derive(thiserror::Error, Debug)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] skiff_storage::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Mode(#[from] crate::auth::authorize::ModeError),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot make the default objects: {0}")]
    Bootstrap(#[from] Status),
}

/// A server that runs until `stop`.
pub struct Running {
    pub app: Arc<App>,
    pub addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    listeners: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// A client without a socket, for the controllers of this process.
    pub fn client(&self, user: User) -> kube::Client {
        client(&self.app, user)
    }

    /// Ends the listeners and closes the store.
    pub async fn stop(self) {
        self.app.stopping.cancel();
        self.stop.cancel();
        for listener in self.listeners {
            let _ = listener.await;
        }
        self.app.store.close().await;
    }
}

/// A client whose transport is the server itself: no socket, no TLS.
pub fn client(app: &Arc<App>, user: User) -> kube::Client {
    let (app, user) = (app.clone(), Arc::new(user));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(InProcess(user.clone()));
        app.clone().handle(request)
    });
    kube::Client::new(service, "default")
}

/// Opens the store, makes what is missing, listens.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let options = skiff_storage::Options { indexer: Some(stored::indexer()), ..Default::default() };
    let store: Arc<dyn Store> = match &config.data {
        Data::Memory => Arc::new(memory::open(options)?),
        Data::Folder(folder) => Arc::new(redb::open(folder, options)?),
    };
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(serve::bind(*address).await.map_err(|source| StartError::Listen { address: *address, source })?);
    }
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let stopping = CancellationToken::new();
    let app = Arc::new(App {
        clock: config.clock,
        authenticator: Authenticator { tokens: config.tokens },
        authorizers: Authorizers::new(&config.authorization_modes, Arc::new(StoredObjects(store.clone())))?,
        admission: Chain::default(),
        allocator: Arc::new(Allocator::new(config.service_cidr, &*store)),
        tokens: Arc::new(crate::auth::authenticate::service_account::Issuer),
        node_client: NodeClient::new(node_proxy::tls_config(rustls::RootCertStore::empty(), None)?),
        metrics: Default::default(),
        stopping: stopping.clone(),
        store,
    });
    let advertised = if config.advertise.is_empty() { addresses.clone() } else { config.advertise };
    bootstrap::run(&app, &advertised).await?;
    let stop = stopping.child_token();
    let tls = self_signed()?;
    let listeners = listeners.into_iter().map(|listener| tokio::spawn(serve::serve(listener, tls.clone(), app.clone(), stop.clone()))).collect();
    Ok(Running { app, addresses, stop, listeners })
}

fn self_signed() -> Result<Arc<rustls::ServerConfig>, StartError> {
    let cert = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(cert.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider())).with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(vec![cert.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
