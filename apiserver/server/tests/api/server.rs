//! A server of its own for one test, and requests to it.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use skiff_server::{App, Config, Data, InProcess, Running, auth::User};

pub struct Server {
    pub app: Arc<App>,
    running: Running,
    _folder: tempfile::TempDir,
}

pub struct Answer {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub warnings: Vec<String>,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or("").into()
    }

    /// It is this code, else the answer is shown.
    #[track_caller]
    pub fn is(self, code: u16) -> Answer {
        assert_eq!(self.code, code, "{}", self.text());
        self
    }
}

impl Server {
    pub async fn start() -> Server {
        Server::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(Data::Memory, folder.path().join("pki"));
        change(&mut config);
        let running = skiff_server::start(config).await.unwrap();
        Server {
            app: running.app.clone(),
            running,
            _folder: folder,
        }
    }

    /// Ends it, and closes its store.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// A request of an administrator's with these headers.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let user = User::new("admin", &["system:masters", "system:authenticated"]);
        self.request(method, path, headers, body, Some(user)).await
    }

    /// A request by who shows this token.
    pub async fn send_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("content-type", "application/json")];
        if !token.is_empty() {
            headers.push(("authorization", &bearer));
        }
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.request(method, path, &headers, body, None).await
    }

    /// `user` asks in process; `None`: whoever the headers say.
    async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        user: Option<User>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.into())).unwrap();
        if let Some(user) = user {
            request.extensions_mut().insert(InProcess(Arc::new(user)));
        }
        let response = self.app.clone().handle(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let warnings = parts
            .headers
            .get_all("warning")
            .iter()
            .filter_map(|text| Some(text.to_str().ok()?.to_string()))
            .collect();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            warnings,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{path}: {}",
                answer.text()
            );
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// Waits until nothing is there.
    pub async fn until_gone(&self, path: &str) {
        self.until(path, |answer| answer.code == 404).await;
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// A new object.
    pub async fn make(&self, path: &str, object: &Value) -> Answer {
        self.post(path, object).await.is(201)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "PUT",
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    /// A patch; `kind` is `merge`, `strategic-merge` or `json`.
    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        let media = match kind {
            "json" => "application/json-patch+json".to_string(),
            kind => format!("application/{kind}-patch+json"),
        };
        self.send("PATCH", path, &[("content-type", &media)], body.to_string())
            .await
    }

    pub async fn apply(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "PATCH",
            &format!("{path}?fieldManager=test&force=true"),
            &[("content-type", "application/apply-patch+yaml")],
            body.to_string(),
        )
        .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }
}
