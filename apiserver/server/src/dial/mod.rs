//! Connections to nodes, pods and API servers behind this one: TCP, and TLS where the location says so.
//!
//! Invariant: the server's own certificate is shown to a node's own API and to nobody else. One connection a request of others: nothing that one
//! request left on it can be taken for another's.
//! Follows `pkg/kubelet/client/kubelet_client.go` (MakeTransport) and `pkg/controlplane/apiserver/config.go` (CreateProxyTransport, which
//! verifies no certificate); the errors are worded as Go's.

pub mod farewell;
pub mod location;
pub mod node;
pub mod trust;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use skiff_watching::tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use location::{Location, Scheme, Server, Via};

const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate chain and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Networks that lie behind one of this machine's interfaces. Others may lead to the same addresses: those of another cluster on the machine.
#[derive(Clone, Debug)]
pub struct Behind {
    pub interface: String,
    pub networks: Vec<IpNet>,
}

/// How the server speaks TLS, by whom it speaks to, and where its connections leave.
pub struct Transports {
    behind: Option<Behind>,
    node: Arc<ClientConfig>,
    unverified_node: Arc<ClientConfig>,
    anybody: Arc<ClientConfig>,
    /// Who the server is to API servers behind it.
    front: Identity,
}

impl Transports {
    /// Shows `identity` to nodes, whose certificates lead to `roots`, and `front` to API servers.
    pub fn new(
        roots: RootCertStore,
        (chain, key): Identity,
        front: Identity,
        behind: Option<Behind>,
    ) -> Result<Transports, rustls::Error> {
        let node =
            tls::client(Some(roots))?.with_client_auth_cert(chain.clone(), key.clone_key())?;
        Ok(Transports {
            behind,
            node: Arc::new(node),
            unverified_node: Arc::new(tls::client(None)?.with_client_auth_cert(chain, key)?),
            anybody: Arc::new(tls::client(None)?.with_no_client_auth()),
            front,
        })
    }

    /// How to speak to the API server `name`, whose certificate leads to the authorities in `bundle` (PEM), or the system's where it is empty;
    /// `None`: whose certificate is not verified.
    ///
    /// # Errors
    /// There is no certificate in the bundle.
    pub fn server(
        &self,
        bundle: Option<&[u8]>,
        name: ServerName<'static>,
    ) -> Result<Server, trust::TrustError> {
        let builder = match bundle {
            Some(bundle) => trust::believing(bundle)?,
            None => tls::client(None)?,
        };
        let (chain, key) = (self.front.0.clone(), self.front.1.clone_key());
        Ok(Server {
            config: Arc::new(builder.with_client_auth_cert(chain, key)?),
            name,
        })
    }

    /// What is shown to whom, and by which name the other side is verified.
    fn of(
        &self,
        location: &Location,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), DialError> {
        let config = match &location.via {
            Via::Node => &self.node,
            Via::UnverifiedNode => &self.unverified_node,
            Via::Anybody => &self.anybody,
            Via::Server(server) => return Ok((server.config.clone(), server.name.clone())),
        };
        let name = ServerName::try_from(location.host.clone())
            .map_err(|error| DialError::Tls(error.to_string()))?;
        Ok((config.clone(), name))
    }

    async fn dial(&self, location: &Location) -> Result<Box<dyn Stream>, DialError> {
        let late = |_| DialError::Timeout(location.authority());
        let tcp = tokio::time::timeout(
            PATIENCE,
            connect(&location.host, location.port, self.behind.as_ref()),
        )
        .await
        .map_err(late)??;
        if location.scheme == Scheme::Http {
            return Ok(Box::new(tcp));
        }
        let (config, name) = self.of(location)?;
        let shaken = tokio::time::timeout(PATIENCE, shake_hands(config, name, tcp)).await;
        Ok(Box::new(shaken.map_err(|_| DialError::HandshakeTimeout)??))
    }

    /// Sends a request there and gives the answer's head, its body to follow; a connection that is switched goes on with
    /// `hyper::upgrade::on`.
    pub async fn send(
        &self,
        location: &Location,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, DialError> {
        self.connect(location).await?.send(location, request).await
    }

    /// A connection that can be asked several times.
    pub async fn connect(&self, location: &Location) -> Result<Connection, DialError> {
        let stream = self.dial(location).await?;
        let (sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await?;
        skiff_watching::task::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to what is behind this server ended");
            }
        });
        Ok(Connection {
            sender,
            to: (location.host.clone(), location.port),
        })
    }
}

/// A connection to whoever is behind this server.
pub struct Connection {
    sender: http1::SendRequest<Body>,
    to: (String, u16),
}

impl Connection {
    /// Sends a request and gives the answer's head, its body to follow.
    ///
    /// # Errors
    /// The connection has ended, or leads elsewhere.
    pub async fn send(
        &mut self,
        location: &Location,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, DialError> {
        if (&self.to.0, self.to.1) != (&location.host, location.port) {
            return Err(DialError::Ended);
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// Why there is no answer, in Go's words.
#[derive(thiserror::Error, Debug)]
pub enum DialError {
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(String),
    #[error("dial tcp: lookup {0}: no such host")]
    NoHost(String),
    #[error("dial tcp {address}: connect: {}", go_words(.source))]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("context deadline exceeded")]
    Deadline,
    #[error("tls: {0}")]
    Tls(String),
    #[error("net/http: TLS handshake timeout")]
    HandshakeTimeout,
    /// Its certificate is not believed.
    #[error(transparent)]
    NotBelieved(#[from] trust::NotBelieved),
    #[error("remote error: tls: {0}")]
    Alert(String),
    #[error("http: server gave HTTP response to HTTPS client")]
    NoTls,
    #[error("EOF")]
    Ended,
    #[error("{}", root_cause(.0))]
    Http(#[from] hyper::Error),
}

/// TLS over a connection, with the server of this name.
///
/// # Errors
/// The server does not speak it, or is not believed.
pub async fn shake_hands(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, DialError> {
    let shaken = TlsConnector::from(config).connect(name, tcp).await;
    shaken.map_err(|error| match tls_error(&error) {
        Some(told) => told,
        None if error.kind() == io::ErrorKind::UnexpectedEof => DialError::Ended,
        None => DialError::Tls(error.to_string()),
    })
}

/// What went wrong in a handshake, where Go has words of its own for it.
fn tls_error(error: &io::Error) -> Option<DialError> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            let told: &trust::NotBelieved = other.0.downcast_ref()?;
            Some(DialError::NotBelieved(told.clone()))
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(DialError::NoTls),
        rustls::Error::AlertReceived(alert) => Some(DialError::Alert(go_alert(*alert))),
        _ => None,
    }
}

/// `handshake failure` of `HandshakeFailure`.
fn go_alert(alert: AlertDescription) -> String {
    let mut words = String::new();
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to an address or a name, which leaves by the interface that the address lies behind.
///
/// # Errors
/// The name is unknown, or nobody listens there.
pub async fn connect(
    host: &str,
    port: u16,
    behind: Option<&Behind>,
) -> Result<TcpStream, DialError> {
    let addresses: Vec<SocketAddr> = match host.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            let found = tokio::net::lookup_host((host, port)).await;
            found.map_err(|_| DialError::NoHost(host.into()))?.collect()
        }
    };
    let mut failure = DialError::NoHost(host.into());
    for address in addresses {
        match connect_to(address, behind).await {
            Ok(stream) => {
                // without it a connection is slower, and no less right
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(source) => failure = DialError::Connect { address, source },
        }
    }
    Err(failure)
}

async fn connect_to(address: SocketAddr, behind: Option<&Behind>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Some(behind) = behind.filter(|behind| {
        behind
            .networks
            .iter()
            .any(|network| network.contains(&address.ip()))
    }) {
        socket.bind_device(Some(behind.interface.as_bytes()))?;
    }
    socket.connect(address).await
}

fn go_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => "connection timed out".into(),
        io::ErrorKind::HostUnreachable => "no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        _ => error.to_string(),
    }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let of_http = error.downcast_ref::<hyper::Error>();
    if of_http.is_some_and(hyper::Error::is_incomplete_message) {
        return "EOF".into();
    }
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.downcast_ref::<io::Error>()
        .map_or_else(|| at.to_string(), go_words)
}
