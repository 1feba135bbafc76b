//! An admission webhook for tests, which answers as it is told and remembers what it was asked.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::https_server::HttpsServer;

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

pub struct Webhook {
    pub address: SocketAddr,
    /// The authority of its certificate, in PEM.
    pub authority: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    server: HttpsServer,
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
        let seen = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let taking = seen.clone();
        let server = HttpsServer::named(names, ip, move |asked| {
            let review: Value = serde_json::from_slice(&asked.body).unwrap();
            // what is no review is remembered whole
            let request = review.get("request").unwrap_or(&review).clone();
            let path = asked.path;
            taking.lock().push((path.clone(), request.clone()));
            match answer(&path, &request) {
                Reply::Raw(code, body) => Some((code, body)),
                Reply::Never => None,
                Reply::Response(mut response) => {
                    response["uid"] = request["uid"].clone();
                    let review = json!({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response});
                    Some((200, review.to_string().into_bytes()))
                }
            }
        });
        let server = server.await;
        Webhook {
            address: server.address,
            authority: server.authority.clone(),
            seen,
            server,
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
        self.server.connections()
    }
}
