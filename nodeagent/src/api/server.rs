//! The listener: TLS, who asks, and which answer is whose.
//!
//! Invariant: every path needs a known and allowed user.
//! Follows `pkg/kubelet/server/server.go`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use skiff_watching::task::boxed;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    about,
    auth::{self, Guard, User},
    logs,
    paths::Paths,
    shared::Shared,
    stats, streams,
};
use crate::{agent::context::Context, config::ApiConfig, time};

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot read {what}: {source}")]
    Pem {
        what: &'static str,
        source: rustls::pki_types::pem::Error,
    },
    #[error("cannot set TLS up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot set TLS up: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    port: u16,
    tls: TlsAcceptor,
    router: Router,
    node: Arc<Context>,
}

impl Server {
    /// Binds the address and reads keys and certificates.
    pub async fn bind(node: Arc<Context>, config: &ApiConfig) -> Result<Self, Error> {
        let tls = TlsAcceptor::from(Arc::new(tls(config)?));
        let failed = |source| Error::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let guard = Arc::new(Guard::new(node.api.clone(), node.config.node_name.clone()));
        let router = router(Shared {
            node: node.clone(),
            guard,
            measuring: Arc::default(),
        });
        Ok(Self {
            listener,
            port,
            tls,
            router,
            node,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves until the agent stops; connections get a short time to end.
    pub async fn serve(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => _ = connections.spawn(boxed(connection(stream, self.tls.clone(), self.router.clone()))),
                    Err(error) => {
                        tracing::warn!(%error, "connection not accepted");
                        time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = self.node.stop.cancelled() => break,
            }
        }
        connections.shutdown().await;
    }
}

fn tls(config: &ApiConfig) -> Result<ServerConfig, Error> {
    let pem = |what| move |source| Error::Pem { what, source };
    let certificates = |what, text| -> Result<Vec<CertificateDer<'static>>, Error> {
        CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(pem(what))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates("the clients' authority", &config.client_ca)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let key = PrivateKeyDer::from_pem_slice(&config.key).map_err(pem("the private key"))?;
    let chain = certificates("the certificate", &config.certificate)?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "delay not switched off");
    }
    let stream = match time::timeout(Duration::from_secs(10), tls.accept(stream)).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        None => return tracing::debug!("TLS handshake took too long"),
    };
    let user = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| auth::of_certificate(chain.first()?));
    let service = tower::ServiceBuilder::new()
        .map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(user.clone());
            request.map(Body::new)
        })
        .service(router);
    let builder = Builder::new(TokioExecutor::new());
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
        .await
    {
        tracing::debug!(error, "connection broke off");
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(about::healthz))
        .route("/healthz/{check}", get(about::check))
        .route("/configz", get(about::configz))
        .service("/pods", get(about::pods))
        .tree("/runningpods/", get(about::running_pods))
        .service(
            "/containerLogs/{namespace}/{pod}/{container}",
            get(logs::container),
        )
        .tree("/logs/", any(about::logs_disabled))
        .route("/logs/{*file}", any(about::logs_disabled))
        .merge(streamed())
        .service("/stats/summary", get(stats::summary).post(stats::summary))
        .route("/metrics", get(stats::metrics))
        .route("/metrics/probes", get(stats::probes))
        .route("/metrics/resource", get(stats::resource_metrics))
        .route("/metrics/cadvisor", get(stats::cadvisor_metrics))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), check))
        .with_state(shared)
}

/// The ways to containers; a path may name a pod's uid besides its name.
fn streamed() -> Router<Shared> {
    let mut router = Router::new();
    for place in ["{namespace}/{pod}", "{namespace}/{pod}/{uid}"] {
        let of = |what: &str| format!("/{what}/{place}/{{container}}");
        router = router
            .service(&of("exec"), get(streams::exec).post(streams::exec))
            .service(&of("attach"), get(streams::attach).post(streams::attach))
            .service(&of("run"), post(streams::run))
            .service(
                &format!("/portForward/{place}"),
                get(streams::port_forward).post(streams::port_forward),
            );
    }
    router
}

/// Lets through who is known and allowed.
async fn check(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let refuse = |status: StatusCode, text: String| (status, text).into_response();
    let (method, path) = (request.method().as_str(), request.uri().path());
    shared.node.figures.requests.count(method, path);
    let mut user = request.extensions_mut().remove::<Option<User>>().flatten();
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .map(str::to_owned);
    if let (None, Some(token)) = (&user, token) {
        user = match shared.guard.of_token(&token).await {
            Ok(user) => user,
            Err(error) => {
                tracing::warn!(%error, "token not reviewed");
                return refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "token could not be reviewed".to_owned(),
                );
            }
        };
    }
    let Some(user) = user else {
        return refuse(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned());
    };
    match shared
        .guard
        .allows(&user, request.method(), request.uri().path())
        .await
    {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            let (verb, subresources) = auth::needed(request.method(), request.uri().path());
            let wanted = subresources
                .iter()
                .map(|name| format!("nodes/{name}"))
                .collect::<Vec<_>>()
                .join(" ");
            refuse(
                StatusCode::FORBIDDEN,
                format!(
                    "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{wanted}])\n",
                    user.name
                ),
            )
        }
        Err(error) => {
            tracing::warn!(%error, "access not reviewed");
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!(
                    "Authorization error (user={}, verb={}, resource=nodes)",
                    user.name,
                    auth::needed(request.method(), request.uri().path()).0
                ),
            )
        }
    }
}
