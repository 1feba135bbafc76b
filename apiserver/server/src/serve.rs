//! Listens: TLS, HTTP/1.1 and HTTP/2, upgrades, one task a connection.
//!
//! Invariant: a connection that dawdles (in its handshake, in a request's head, in taking an answer, or idle) holds nothing but itself, and for a
//! bounded time; one that is closed with something unread is closed so that its client still gets the answer; stopping lets running answers
//! end, for a time that is bounded; a HEAD is answered with headers alone.
//! Follows `staging/src/k8s.io/apiserver/pkg/server/secure_serving.go` for times and limits.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::App,
    auth::pki::PeerCertificate,
    limits::{
        connection::{Connection, Counted, Polite, Times, Verdict},
        deadline,
        held::Until,
    },
    subresources::connect::Peer,
};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long running answers have when the server stops.
const LINGER: Duration = Duration::from_secs(2);
/// How long a connection that is to end has for what it is about.
const ENDING: Duration = Duration::from_secs(5);
/// Streams of one HTTP/2 connection at once.
const STREAMS: u32 = 100;
/// What the head of an HTTP/2 request may hold; HTTP/1.1's bound is hyper's own, of the same order.
const HEAD: u32 = 256 * 1024;

/// Serves until `stop`; returns when all connections have ended or their time is up.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    app: Arc<App>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let (acceptor, app, stop) = (acceptor.clone(), app.clone(), stop.clone());
                connections.spawn(async move {
                    if let Err(error) = connection(stream, from, acceptor, app, stop).await {
                        tracing::debug!(%from, %error, "a connection ended");
                    }
                });
            }
            Err(error) => {
                // out of file descriptors: what is open may close meanwhile
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    // those that are not through by then are cut off
    let _ = tokio::time::timeout(LINGER, connections.wait()).await;
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    app: Arc<App>,
    stop: CancellationToken,
) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let handshake = async {
        let accepted = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
        Ok::<_, Error>(accepted)
    };
    let failed = &app.metrics.handshakes_failed;
    let stream = handshake.await.inspect_err(|_| failed.add(1))?;
    let tls = stream.get_ref().1;
    let peer = PeerCertificate::from_chain(tls.peer_certificates()).map(Arc::new);
    let state = Connection::new(tls.alpn_protocol() == Some(b"h2"), Times::default());
    let service = service_fn({
        let state = state.clone();
        move |request: Request<Incoming>| {
            answer(
                request.map(Body::new),
                from,
                peer.clone(),
                app.clone(),
                state.clone(),
            )
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .keep_alive_interval(Duration::from_secs(30));
    let stream = Polite::new(stream, state.clone());
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        done = serving.as_mut() => return done,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            return serving.await;
        }
        verdict = state.watch() => if let Verdict::Cut(why) = verdict {
            return Err(why.into());
        },
    }
    serving.as_mut().graceful_shutdown();
    tokio::time::timeout(ENDING, serving).await?
}

async fn answer(
    mut request: Request<Body>,
    from: SocketAddr,
    peer: Option<Arc<PeerCertificate>>,
    app: Arc<App>,
    state: Arc<Connection>,
) -> Result<Response<Counted>, std::convert::Infallible> {
    let begun = state.begin();
    let http2 = request.version() == Version::HTTP_2;
    let head = request.method() == Method::HEAD;
    request.extensions_mut().insert(Peer(from));
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    let mut response = app.handle(request).await?;
    if response
        .extensions_mut()
        .remove::<deadline::LongRunning>()
        .is_some()
    {
        begun.takes_long();
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        state.switched();
    }
    if http2 && response.status() == StatusCode::UNAUTHORIZED {
        // HTTP/2 is dear: who is nobody gets one answer a connection, as with HTTP/1.1 without keep-alive
        state.end();
    }
    if head && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response = without_body(response);
    }
    Ok(response.map(|body| Counted::new(body, begun, Until::Dropped)))
}

/// The answer to a HEAD: what a GET would have been told of its body, and nothing of that. HTTP/1.1 leaves a body out by itself, HTTP/2 does not.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length {
        let told = parts.headers.entry(header::CONTENT_LENGTH);
        told.or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}

/// Binds `address`; the error says who to ask when the port is taken.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
