//! A webhook for tests: HTTPS on the loopback, which answers as it is told and remembers what it was asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_api::machinery::clock;
use skiff_server::auth::pki::{Authority, San, tls};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

pub enum Reply {
    /// `response` of a review that is right otherwise; the uid is put in.
    Response(Value),
    /// The whole answer.
    Raw(u16, Vec<u8>),
    Never,
}

impl Reply {
    pub fn allowed() -> Reply {
        Reply::Response(json!({"allowed": true}))
    }

    pub fn patch(patch: &Value) -> Reply {
        let patch = STANDARD.encode(patch.to_string());
        Reply::Response(json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
    }
}

type Answer = dyn Fn(&str, &Value) -> Reply + Send + Sync;

pub struct Webhook {
    pub address: SocketAddr,
    /// The authority of its certificate, in PEM.
    pub authority: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhook {
    /// One that answers a path and a `request` so.
    pub async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Webhook {
        Webhook::named(&["127.0.0.1"], [127, 0, 0, 1].into(), answer).await
    }

    pub async fn named(
        names: &[&str],
        ip: std::net::IpAddr,
        answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static,
    ) -> Webhook {
        let (authority, _) = Authority::generate(clock::system()).unwrap();
        let sans: Vec<San> = names.iter().map(|name| San::of(name)).collect();
        let issued = authority.serving("webhook", &[], &sans).unwrap();
        let acceptor = TlsAcceptor::from(tls::server_config(&issued, None).unwrap());
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (taking, counting) = (seen.clone(), connections.clone());
        let answer: Arc<Answer> = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, answer) = (acceptor.clone(), taking.clone(), answer.clone());
                counting.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| {
                        let (seen, answer) = (seen.clone(), answer.clone());
                        async move { Ok::<_, Infallible>(answered(request, &seen, &*answer).await) }
                    });
                    // a client that goes away ends it
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Webhook {
            address,
            authority: authority.certificate_pem().into(),
            seen,
            connections,
            task,
        }
    }

    /// A `clientConfig` that leads here.
    pub fn config(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": STANDARD.encode(&self.authority)})
    }

    /// What it was asked: each `request`, with the path.
    pub fn seen(&self) -> Vec<(String, Value)> {
        self.seen.lock().clone()
    }

    /// The same, forgotten with that.
    pub fn taken(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.seen.lock())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answered(
    request: Request<Incoming>,
    seen: &Mutex<Vec<(String, Value)>>,
    answer: &Answer,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    // what is no review is remembered whole
    let asked = review.get("request").unwrap_or(&review).clone();
    seen.lock().push((path.clone(), asked.clone()));
    let (code, body) = match answer(&path, &asked) {
        Reply::Raw(code, body) => (code, body),
        Reply::Never => std::future::pending().await,
        Reply::Response(mut response) => {
            response["uid"] = asked["uid"].clone();
            let review = json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response});
            (200, review.to_string().into_bytes())
        }
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code.try_into().unwrap();
    response
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    response
}
