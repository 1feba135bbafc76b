//! One endpoint of a service: its connections, kept for the next request, and how a request is sent to it.
//!
//! Invariant: a connection is used by one request at a time (HTTP/1.1) or by all (HTTP/2), and goes back only after the whole answer was read. A request of
//! which nothing was sent is given back, so that it may be sent elsewhere.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::{heard::Heard, sent::Sent};

/// How long making a connection may take. The kernel knocks again after a second each: one whose queue was full for a moment hears a later knock.
pub const CONNECT: Duration = Duration::from_millis(2500);
/// The same with TLS.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// From when on others go first while a connection is being made.
const SLOW: Duration = Duration::from_secs(1);
/// For how long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// How many of them are kept.
const MAX_IDLE: usize = 256;
/// For how long an endpoint comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// One that could not be reached.
    pub refused: Duration,
    /// One whose machine is silent: each request that tries it waits for long.
    pub silent: Duration,
}

/// What they are where nobody says otherwise.
pub const PAUSES: Pauses = Pauses {
    refused: Duration::from_secs(1),
    silent: Duration::from_secs(5),
};

/// Windows of HTTP/2, in bytes: of a stream, and of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http1,
    /// HTTP/2 from the first byte, without TLS.
    H2c,
    /// HTTP/1.1 over TLS; any certificate is taken.
    Https,
    /// HTTP/2 over TLS.
    H2,
}

impl Protocol {
    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::H2c | Protocol::H2)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Https | Protocol::H2)
    }
}

/// Why a request was not answered.
#[derive(thiserror::Error, Debug)]
pub enum Cause {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("cannot connect: no answer in time")]
    ConnectTimeout,
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

impl Cause {
    /// Whether the endpoint's machine does not even acknowledge what is sent to it.
    fn is_silence(&self) -> bool {
        use std::error::Error;
        let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        match self {
            Cause::ConnectTimeout => true,
            Cause::Connect(error) => timed_out(error),
            Cause::Http(error) => error
                .source()
                .and_then(|source| source.downcast_ref::<io::Error>())
                .is_some_and(timed_out),
        }
    }
}

/// A request that was not answered; itself, if nothing of it was sent.
pub struct Failure {
    pub cause: Cause,
    pub request: Option<Request<Sent>>,
}

/// A connection that is to go back when the answer was read.
pub type Returned = Option<http1::SendRequest<Sent>>;

struct Idle {
    since: Instant,
    sender: http1::SendRequest<Sent>,
}

/// See the module.
pub struct Endpoint {
    pub address: SocketAddr,
    pub protocol: Protocol,
    open: AtomicUsize,
    /// In milliseconds since [`START`].
    avoided_until: AtomicU64,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<http2::SendRequest<Sent>>>,
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn millis(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX)
}

/// One request to an endpoint, from its sending to the end of its answer.
pub struct Open(Arc<Endpoint>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Open {
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.open.fetch_add(1, Ordering::Relaxed);
        Open(endpoint)
    }

    /// Keeps the connection for the next request.
    pub fn give_back(&self, returned: Returned) {
        if let Some(sender) = returned.filter(|sender| !sender.is_closed()) {
            let mut idle = self.0.idle.lock();
            if idle.len() < MAX_IDLE {
                let since = Instant::now();
                idle.push(Idle { since, sender });
            }
        }
    }
}

impl Endpoint {
    pub fn new(address: SocketAddr, protocol: Protocol) -> Self {
        Endpoint {
            address,
            protocol,
            open: AtomicUsize::new(0),
            avoided_until: AtomicU64::new(0),
            idle: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// How many requests are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets others go first for a while after a failure that says something of the endpoint, not of one connection alone.
    pub fn avoid_after(&self, cause: &Cause, pauses: Pauses) {
        let pause = if cause.is_silence() {
            // all connections to it lead nowhere
            self.idle.lock().clear();
            self.forget_shared();
            pauses.silent
        } else if matches!(cause, Cause::Http(_)) {
            return;
        } else {
            pauses.refused
        };
        self.avoid(pause);
    }

    fn avoid(&self, pause: Duration) {
        let until = millis(Instant::now() + pause);
        self.avoided_until.fetch_max(until, Ordering::Relaxed);
    }

    pub fn is_avoided(&self) -> bool {
        let until = self.avoided_until.load(Ordering::Relaxed);
        until != 0 && millis(Instant::now()) < until
    }

    /// Closes connections that nobody has used for long, and forgets those that the other side closed.
    pub fn close_idle(&self) {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.retain(|one| {
            !one.sender.is_closed() && now.saturating_duration_since(one.since) < IDLE
        });
    }

    fn take_idle(&self) -> Option<http1::SendRequest<Sent>> {
        let mut idle = self.idle.lock();
        loop {
            let one = idle.pop()?;
            if !one.sender.is_closed() {
                return Some(one.sender);
            }
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(
        &self,
        request: Request<Sent>,
    ) -> Result<(Response<Incoming>, Returned), Failure> {
        if self.protocol.is_http2() {
            self.send2(request).await.map(|answer| (answer, None))
        } else {
            self.send1(request).await
        }
    }

    async fn send1(
        &self,
        mut request: Request<Sent>,
    ) -> Result<(Response<Incoming>, Returned), Failure> {
        loop {
            let kept = self.take_idle();
            let was_kept = kept.is_some();
            let made = match kept {
                Some(sender) => Ok(sender),
                None => self.connect1().await,
            };
            let mut sender = match made {
                Ok(sender) => sender,
                Err(cause) => {
                    let request = Some(request);
                    return Err(Failure { cause, request });
                }
            };
            if was_kept && sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, Some(sender))),
                Err(mut error) => match error.take_message() {
                    // the other side closed it while it was kept
                    Some(unsent) if was_kept => request = unsent,
                    unsent => {
                        let cause = Cause::Http(error.into_error());
                        let request = unsent;
                        return Err(Failure { cause, request });
                    }
                },
            }
        }
    }

    async fn send2(&self, mut request: Request<Sent>) -> Result<Response<Incoming>, Failure> {
        loop {
            let kept = self.shared.lock().clone();
            let kept = kept.filter(|sender| !sender.is_closed());
            let was_kept = kept.is_some();
            let made = match kept {
                Some(sender) => Ok(sender),
                None => self.connect2().await,
            };
            let mut sender = match made {
                Ok(sender) => sender,
                Err(cause) => {
                    let request = Some(request);
                    return Err(Failure { cause, request });
                }
            };
            if let Err(error) = sender.ready().await {
                self.forget_shared();
                if was_kept {
                    continue;
                }
                let cause = Cause::Http(error);
                let request = Some(request);
                return Err(Failure { cause, request });
            }
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_kept => {
                        self.forget_shared();
                        request = unsent;
                    }
                    unsent => {
                        let cause = Cause::Http(error.into_error());
                        let request = unsent;
                        return Err(Failure { cause, request });
                    }
                },
            }
        }
    }

    /// Lets the next request make a new connection; those that are on this one stay there.
    fn forget_shared(&self) {
        *self.shared.lock() = None;
    }

    async fn connect1(&self) -> Result<http1::SendRequest<Sent>, Cause> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) = http1::handshake(stream).await?;
        skiff_watching::task::spawn(async move { ended(connection.with_upgrades().await) });
        Ok(sender)
    }

    async fn connect2(&self) -> Result<http2::SendRequest<Sent>, Cause> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .handshake(stream)
            .await?;
        skiff_watching::task::spawn(async move { ended(connection.await) });
        *self.shared.lock() = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> Result<Stream, Cause> {
        match tokio::time::timeout(HANDSHAKE, self.stream()).await {
            Ok(made) => made,
            Err(_) => Err(Cause::ConnectTimeout),
        }
    }

    async fn stream(&self) -> Result<Stream, Cause> {
        let stream = Heard::new(self.reach().await?);
        if !self.protocol.is_tls() {
            return Ok(Either::Left(stream));
        }
        let config = tls(self.protocol.is_http2());
        let config = config.map_err(|error| Cause::Connect(io::Error::other(error)))?;
        let connector = tokio_rustls::TlsConnector::from(config);
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = connector.connect(name, stream).await;
        Ok(Either::Right(Box::new(stream.map_err(Cause::Connect)?)))
    }

    /// A connection to the endpoint's machine.
    async fn reach(&self) -> Result<TcpStream, Cause> {
        let mut made = pin!(TcpStream::connect(self.address));
        let soon = tokio::time::timeout(SLOW, &mut made).await;
        let stream = match soon {
            Ok(made) => made,
            Err(_) => {
                self.avoid(PAUSES.refused);
                let late = tokio::time::timeout(CONNECT - SLOW, made).await;
                late.map_err(|_| Cause::ConnectTimeout)?
            }
        };
        let stream = stream.map_err(Cause::Connect)?;
        stream.set_nodelay(true).map_err(Cause::Connect)?;
        Ok(stream)
    }
}

type Stream = Either<Heard, Box<tokio_rustls::client::TlsStream<Heard>>>;

/// Pods' certificates are their own affair: no authority that is known here signs them.
fn tls(http2: bool) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = skiff_watching::tls::client(None)?.with_no_client_auth();
    let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn ended(how: hyper::Result<()>) {
    if let Err(error) = how {
        tracing::debug!(%error, "a connection to an endpoint ended");
    }
}
