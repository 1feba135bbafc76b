//! The doors: the ports that clients come to, and their connections.
//!
//! Invariant: a connection that does nothing is closed in its time; when the proxy ends, requests that are open are answered for a moment longer.

use std::{net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use futures::future::join_all;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use skiff_watching::outcome;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{either::Either, sync::CancellationToken};

use super::proxy::{Arrival, Proxy};

/// For how long a client may be silent before a request's head is whole, the first one's or a later one's.
const SILENCE: Duration = Duration::from_secs(60);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Silence after which the kernel asks whether a client is still there, in seconds; and how often, and how many times.
const PROBE: (u32, u32, u32) = (60, 15, 4);
/// Windows of HTTP/2, in bytes: of a stream, and of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// For how long open requests may go on when the proxy ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// A port with what is behind it.
pub struct Door {
    /// One of each family by which it is reached.
    listeners: Vec<TcpListener>,
    port: u16,
    tls: Option<TlsAcceptor>,
    table: bool,
}

impl Door {
    /// Where somebody listens already, at one port; with TLS if its configuration is given.
    pub fn new(
        listeners: Vec<TcpListener>,
        tls: Option<Arc<ServerConfig>>,
    ) -> std::io::Result<Door> {
        let first = listeners.first();
        let first = first.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        Ok(Door {
            port: first.local_addr()?.port(),
            listeners,
            tls: tls.map(TlsAcceptor::from),
            table: true,
        })
    }

    /// For listeners alone: the table of hosts and paths is not asked here.
    pub fn without_table(self) -> Door {
        Door {
            table: false,
            ..self
        }
    }

    /// Where it is, if the kernel has picked the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Takes connections until `stop`.
    pub async fn serve(self, proxy: Arc<Proxy>, stop: CancellationToken) {
        let open = GracefulShutdown::new();
        let door = Arc::new(Connections::new(proxy, self.port, self.table));
        let (tls, stop) = (&self.tls, &stop);
        let accepting = self.listeners.into_iter();
        join_all(accepting.map(|listener| accept(listener, &door, tls.as_ref(), &open, stop)))
            .await;
        outcome::may_be_broken_off(tokio::time::timeout(FAREWELL, open.shutdown()).await);
    }
}

/// Takes connections of one family until `stop`.
async fn accept(
    listener: TcpListener,
    door: &Arc<Connections>,
    tls: Option<&TlsAcceptor>,
    open: &GracefulShutdown,
    stop: &CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let (door, tls, watcher) = (door.clone(), tls.cloned(), open.watcher());
                skiff_watching::task::spawn(async move {
                    door.take(stream, client, tls, watcher).await;
                });
            }
            // one that went away before it was taken, or no more files for now
            Err(error) => {
                tracing::debug!(%error, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

struct Connections {
    proxy: Arc<Proxy>,
    port: u16,
    table: bool,
    http: auto::Builder<TokioExecutor>,
}

impl Connections {
    fn new(proxy: Arc<Proxy>, port: u16, table: bool) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(SILENCE);
        http.http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        Connections {
            proxy,
            port,
            table,
            http,
        }
    }

    async fn take(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        tls: Option<TlsAcceptor>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        // without these it would be slower, or closed later
        outcome::is_a_favour("send small pieces at once", stream.set_nodelay(true));
        outcome::is_a_favour("notice clients that are gone", probed(&stream));
        let arrival = Arrival::new(client, self.port, tls.is_some(), self.table);
        let arrival = Arc::new(arrival);
        // what says nothing at all has not even a first head to be waited for
        if !matches!(
            tokio::time::timeout(SILENCE, stream.readable()).await,
            Ok(Ok(()))
        ) {
            return;
        }
        let stream = match tls {
            None => Either::Left(stream),
            Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => Either::Right(Box::new(stream)),
                Ok(Err(error)) => return tracing::debug!(%error, %client, "no TLS"),
                Err(_) => return,
            },
        };
        let service = service_fn(|request| self.proxy.clone().handle(arrival.clone(), request));
        let connection = self
            .http
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, %client, "a client's connection ended");
        }
    }
}

fn probed(stream: &TcpStream) -> nix::Result<()> {
    let (idle, interval, count) = PROBE;
    let socket = stream.as_fd();
    setsockopt(&socket, sockopt::KeepAlive, &true)?;
    setsockopt(&socket, sockopt::TcpKeepIdle, &idle)?;
    setsockopt(&socket, sockopt::TcpKeepInterval, &interval)?;
    setsockopt(&socket, sockopt::TcpKeepCount, &count)
}
