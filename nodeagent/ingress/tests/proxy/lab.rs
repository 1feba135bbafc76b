//! A proxy between real sockets: backends behind it, clients before it.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use skiff_ingress::{
    endpoint::Protocol,
    proxy::{Proxy, Route},
    serve::Door,
    table::{HostMatch, PathMatch, Table},
    upstream::{PortOf, Upstream, Upstreams},
};

pub const LIMIT: Duration = Duration::from_secs(60);
pub type Body = BoxBody<Bytes, hyper::Error>;

pub struct Lab {
    pub proxy: Arc<Proxy>,
    /// What is shown at the door with TLS.
    pub certificate: CertificateDer<'static>,
    pub upstreams: Upstreams,
    pub http: SocketAddr,
    pub https: SocketAddr,
    _stop: DropGuard,
}

fn port_of(name: &str, protocol: Protocol) -> PortOf {
    PortOf {
        service: format!("n/{name}").into(),
        port: 80,
        protocol,
    }
}

/// TLS for HTTP/2 and HTTP/1.1, with a certificate that nobody signed.
fn tls() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let certificate = CertificateDer::from_pem_slice(made.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let mut config = skiff_watching::tls::server(None)
        .unwrap()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(config), certificate)
}

impl Lab {
    pub async fn start() -> Lab {
        Self::with(Proxy::new(None)).await
    }

    pub async fn with(proxy: Proxy) -> Lab {
        let stop = CancellationToken::new();
        let (tls, certificate) = tls();
        let proxy = Arc::new(proxy);
        let port = async || TcpListener::bind("0.0.0.0:0").await.unwrap();
        let http = Door::new(vec![port().await], None).unwrap();
        let https = Door::new(vec![port().await], Some(tls)).unwrap();
        let at = |door: &Door| SocketAddr::from(([127, 0, 0, 1], door.port()));
        let lab = Lab {
            http: at(&http),
            https: at(&https),
            proxy: proxy.clone(),
            certificate,
            upstreams: Upstreams::default(),
            _stop: stop.clone().drop_guard(),
        };
        tokio::spawn(http.serve(proxy.clone(), stop.clone()));
        tokio::spawn(https.serve(proxy, stop));
        lab
    }

    /// Leads all requests to these.
    pub fn lead(&self, endpoints: &[SocketAddr], protocol: Protocol) -> Arc<Upstream> {
        let to = self.upstreams.get(port_of("s", protocol));
        to.set(endpoints, protocol);
        let mut table = Table::default();
        let of = "n/i".into();
        let route = Route {
            to: to.clone(),
            https_only: false,
            of,
        };
        table.add(HostMatch::Any, PathMatch::prefix("/"), route);
        self.proxy.routes.store(Arc::new(table));
        to
    }

    /// A request over a connection of its own.
    pub async fn ask(&self, request: Request<Full<Bytes>>) -> (http::response::Parts, String) {
        let mut sender = connect(self.http).await;
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head, String::from_utf8(body.into()).unwrap())
    }

    /// Bytes as they are; all that comes back until the proxy closes.
    pub async fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let read = stream.read_to_end(&mut said);
        tokio::time::timeout(LIMIT, read).await.unwrap().unwrap();
        String::from_utf8(said).unwrap()
    }
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", "h.example:8080");
    request.body(Full::default()).unwrap()
}

/// A connection of HTTP/1.1.
pub async fn connect<B>(to: SocketAddr) -> hyper::client::conn::http1::SendRequest<B>
where
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send>
        + Send
        + 'static,
{
    let stream = TcpStream::connect(to).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// A connection of HTTP/2.
pub async fn connect2<B>(to: SocketAddr) -> hyper::client::conn::http2::SendRequest<B>
where
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send>
        + Send
        + Unpin
        + 'static,
{
    let stream = TcpStream::connect(to).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

/// All that an answer says.
pub async fn body_of(answer: Response<Incoming>) -> Bytes {
    answer.into_body().collect().await.unwrap().to_bytes()
}

pub fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A backend that answers by a function, until the guard goes: then it takes no more connections, and closes those it has.
pub async fn backend<F, R>(answer: F) -> (SocketAddr, DropGuard)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let ended = stop.clone();
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ended.cancelled() => return,
            };
            let (stream, _) = accepted.unwrap();
            let (answer, ended) = (answer.clone(), ended.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let http = auto::Builder::new(TokioExecutor::new());
                let mut connection = std::pin::pin!(
                    http.serve_connection_with_upgrades(TokioIo::new(stream), service)
                );
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = ended.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
            });
        }
    });
    (at, stop.drop_guard())
}

/// A backend that reads what comes, and says these bytes to each first piece of it; it closes then, if it is to.
pub async fn says(text: &'static [u8], closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 8192];
                let _ = stream.read(&mut bytes).await;
                let _ = stream.write_all(text).await;
                while !closes && stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    at
}

/// An address at which nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Waits until it holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waiting).await.is_ok(), "{what}");
}
