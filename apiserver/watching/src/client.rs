//! How requests reach a server: in this process, or over TLS.
//!
//! Invariant: whoever asks does not know which. Over TLS, the server's certificate is checked against the given authority, unless there is
//! none to check it against; a peer that falls silent ends the connection after half a minute.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header, uri};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::connect::HttpConnector,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tower::{Service, ServiceExt};

/// Any cause of a failure.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// An answer's body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence after which a peer is asked whether it is still there, and how long it may leave what was sent unacknowledged.
const SILENCE: Duration = Duration::from_secs(15);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not `https://HOST:PORT`.
    #[error("{0:?} is not the URL of a server, such as https://10.0.0.1:6443")]
    Url(String),
    /// A certificate or key cannot be read.
    #[error("the {what} cannot be read: {why}")]
    Pem { what: &'static str, why: String },
    /// Certificate and key cannot be used together.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// A server elsewhere, and who asks it. All texts are PEM.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// `https://HOST:PORT`.
    pub server: String,
    /// Who must have signed the server's certificate; `None` believes any.
    pub authority: Option<String>,
    /// Certificate and key to show.
    pub identity: Option<(String, String)>,
    /// A bearer token.
    pub token: Option<String>,
}

type Call = dyn Fn(Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<Body>, BoxError>>
    + Send
    + Sync;

/// Sends requests; cheap to clone, and clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Call>);

impl Client {
    /// Speaks to a server of this process.
    pub fn new<S, B>(service: S) -> Client
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Client(Arc::new(move |request| {
            let answer = service.clone().oneshot(request);
            Box::pin(async move {
                Ok(answer
                    .await
                    .map_err(Into::into)?
                    .map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        }))
    }

    /// Speaks to a server elsewhere; nothing is sent yet.
    pub fn remote(remote: &Remote) -> Result<Client, Error> {
        let no_url = || Error::Url(remote.server.clone());
        let base: Uri = remote.server.parse().map_err(|_| no_url())?;
        let authority = base
            .authority()
            .filter(|_| base.scheme_str() == Some("https"))
            .ok_or_else(no_url)?
            .clone();
        let token = remote
            .token
            .as_ref()
            .map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        let token = token.transpose().map_err(|error| Error::Pem {
            what: "token",
            why: error.to_string(),
        })?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(SILENCE));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(remote)?)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Client(Arc::new(
            move |mut request: Request<Full<Bytes>>| {
                let (client, token) = (client.clone(), token.clone());
                let mut parts = uri::Parts::default();
                (parts.scheme, parts.authority, parts.path_and_query) = (
                    Some(uri::Scheme::HTTPS),
                    Some(authority.clone()),
                    request.uri().path_and_query().cloned(),
                );
                let uri = Uri::from_parts(parts);
                Box::pin(async move {
                    *request.uri_mut() = uri?;
                    if let Some(token) = token {
                        request.headers_mut().insert(header::AUTHORIZATION, token);
                    }
                    Ok(client
                        .request(request)
                        .await?
                        .map(|body| body.map_err(Into::into).boxed_unsync()))
                })
            },
        )))
    }

    /// Sends a request; completes when the answer's head is there.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, BoxError> {
        (self.0)(request.map(|body| Full::new(body.into()))).await
    }
}

fn pem<T: PemObject>(what: &'static str, text: &str) -> Result<Vec<T>, Error> {
    T::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Pem {
            what,
            why: error.to_string(),
        })
}

fn tls(remote: &Remote) -> Result<ClientConfig, Error> {
    let mut roots = remote.authority.as_ref().map(|_| RootCertStore::empty());
    if let (Some(roots), Some(authority)) = (&mut roots, &remote.authority) {
        for certificate in pem::<CertificateDer>("server's authority", authority)? {
            roots.add(certificate)?;
        }
    }
    let builder = crate::tls::client(roots)?;
    let Some((certificate, key)) = &remote.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| Error::Pem {
        what: "key",
        why: error.to_string(),
    })?;
    Ok(builder.with_client_auth_cert(pem("certificate", certificate)?, key)?)
}
