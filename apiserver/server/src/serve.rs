//! Listens: TLS, HTTP/1.1 and HTTP/2, upgrades, one task a connection.
//!
//! Invariant: a connection that dawdles in its handshake or idles holds nothing but itself; stopping lets running answers end, for a
//! time that is bounded.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{app::App, auth::pki::PeerCertificate};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long running answers have when the server stops.
const LINGER: Duration = Duration::from_secs(2);

/// Serves until `stop`; returns when all connections have ended or their time is up.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, app: Arc<App>, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = Arc::new(GracefulShutdown::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let (acceptor, app, watcher) = (acceptor.clone(), app.clone(), graceful.watcher());
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, acceptor, app, watcher).await {
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
    if let Some(graceful) = Arc::into_inner(graceful) {
        let _ = tokio::time::timeout(LINGER, graceful.shutdown()).await;
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, app: Arc<App>, watcher: hyper_util::server::graceful::Watcher) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let peer = PeerCertificate::from_chain(stream.get_ref().1.peer_certificates()).map(Arc::new);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        app.clone().handle(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000).keep_alive_interval(Duration::from_secs(30));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    watcher.watch(connection).await
}

/// Binds `address`; the error says who to ask when the port is taken.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
