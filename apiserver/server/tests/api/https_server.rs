//! A server for tests: HTTPS on the loopback, with an authority of its own, which answers as it is told.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use skiff_api::machinery::clock;
use skiff_server::auth::pki::{Authority, San, tls};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// What it is asked.
pub struct Asked {
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A code and a body; `None`: there is never an answer.
pub type Reply = Option<(u16, Vec<u8>)>;

type Answer = dyn Fn(Asked) -> Reply + Send + Sync;

pub struct HttpsServer {
    pub address: SocketAddr,
    /// The authority of its certificate, in PEM.
    pub authority: String,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpsServer {
    pub async fn start(answer: impl Fn(Asked) -> Reply + Send + Sync + 'static) -> HttpsServer {
        HttpsServer::named(&["127.0.0.1"], [127, 0, 0, 1].into(), answer).await
    }

    /// One whose certificate bears these names.
    pub async fn named(
        names: &[&str],
        ip: std::net::IpAddr,
        answer: impl Fn(Asked) -> Reply + Send + Sync + 'static,
    ) -> HttpsServer {
        let (authority, _) = Authority::generate(clock::system()).unwrap();
        let sans: Vec<San> = names.iter().map(|name| San::of(name)).collect();
        let issued = authority.serving("webhook", &[], &sans).unwrap();
        let acceptor = TlsAcceptor::from(tls::server_config(&issued, None).unwrap());
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counting = connections.clone();
        let answer: Arc<Answer> = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                counting.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| {
                        let answer = answer.clone();
                        async move { Ok::<_, Infallible>(answered(request, &*answer).await) }
                    });
                    // a client that goes away ends it
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        HttpsServer {
            address,
            authority: authority.certificate_pem().into(),
            connections,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answered(request: Request<Incoming>, answer: &Answer) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let asked = Asked {
        path: head.uri.path().to_string(),
        query: head.uri.query().unwrap_or("").to_string(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    let Some((code, body)) = answer(asked) else {
        return std::future::pending().await;
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code.try_into().unwrap();
    response
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    response
}
