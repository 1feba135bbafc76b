//! A server of its own for one test, its users, and requests to it in process or over TLS.

use std::{net::SocketAddr, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use skiff_server::{Config, Data, Running};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub const ADMIN: &str = "admin-token";

pub struct Server {
    pub running: Running,
    _folder: tempfile::TempDir,
}

pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or("").into()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// It is this code, else the answer is shown.
    #[track_caller]
    pub fn is(self, code: u16) -> Answer {
        assert_eq!(self.code, code, "{}", self.text());
        self
    }
}

impl Server {
    /// The user `NAME` has the token `NAME-token`; `admin` is of `system:masters`.
    pub async fn start(users: &[&str]) -> Server {
        Server::with(users, |_| {}).await
    }

    pub async fn with(users: &[&str], change: impl FnOnce(&mut Config)) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens.csv");
        let lines: String = users
            .iter()
            .map(|name| format!("{name}-token,{name},u-{name}\n"))
            .collect();
        std::fs::write(
            &tokens,
            format!("{ADMIN},admin,u-admin,system:masters\n{lines}"),
        )
        .unwrap();
        let mut config = Config::new(Data::Memory, folder.path().join("pki"));
        config.token_file = Some(tokens);
        change(&mut config);
        Server {
            running: skiff_server::start(config).await.unwrap(),
            _folder: folder,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    /// A request with this bearer token (empty: none) and these headers, in process.
    pub async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .running
            .app
            .clone()
            .handle(request.body(Body::from(body.into())).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(token, "GET", path, &[], "").await
    }

    /// A new object, made by an administrator.
    pub async fn make(&self, path: &str, object: &Value) -> Answer {
        self.post(ADMIN, path, object).await.is(201)
    }

    /// A merge patch of an administrator's.
    pub async fn merge(&self, path: &str, patch: &Value) -> Answer {
        let media = [("content-type", "application/merge-patch+json")];
        self.send(ADMIN, "PATCH", path, &media, patch.to_string())
            .await
    }

    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(
            token,
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    /// Gives a user these rules in `default`, as `verbs resources [names]`.
    pub async fn grant(&self, user: &str, rules: &[&str]) {
        let list = |text: &str| text.split(',').map(Value::from).collect::<Vec<_>>();
        let rules: Vec<Value> = rules
            .iter()
            .map(|rule| {
                let words: Vec<&str> = rule.split(' ').collect();
                let mut rule = json!({"verbs": list(words[0]), "resources": list(words[1]), "apiGroups": ["*"]});
                if let Some(names) = words.get(2) {
                    rule["resourceNames"] = list(names).into();
                }
                rule
            })
            .collect();
        let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
        self.make(
            &format!("{base}/roles"),
            &json!({"metadata": {"name": user}, "rules": rules}),
        )
        .await;
        let binding = json!({"metadata": {"name": user}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]});
        self.make(&format!("{base}/rolebindings"), &binding).await;
    }

    /// A TLS connection, without a client's certificate, that speaks HTTP/1.1.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(&[b"http/1.1"]).await
    }

    pub async fn connect_as(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let roots =
            skiff_server::auth::pki::tls::roots(self.running.pki.serving_ca.as_bytes()).unwrap();
        let mut config = skiff_watching::tls::client(Some(roots))
            .unwrap()
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(self.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap()
    }
}
