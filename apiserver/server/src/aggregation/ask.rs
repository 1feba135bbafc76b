//! Questions to the servers behind this one that it asks in its own name.
//!
//! Invariant: an answer has its time and its size; what it is not sure of is an error.
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/controllers/status/remote/remote_available_controller.go`.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use super::known::Backend;
use crate::{
    auth::{SYSTEM_MASTERS, User, front},
    core::Core,
    dial::{
        DialError, Transports,
        location::{Location, Scheme, Server, Via, authority},
    },
    services::{self, Unresolved},
};
use skiff_api::machinery::quote::GoQuoted;

/// As whom the aggregator asks.
pub fn aggregator() -> User {
    User::new("system:kube-aggregator", &[SYSTEM_MASTERS])
}

/// The largest answer that is read: documents of OpenAPI have some megabytes.
const LARGEST: usize = 64 << 20;
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Where a server is, and how to speak to it.
pub fn location(
    core: &Core,
    backend: &Backend,
    server: &Server,
    path: &str,
) -> Result<Location, Unresolved> {
    let (host, port) = services::resolve(core, &backend.namespace, &backend.name, backend.port)?;
    Ok(Location {
        scheme: Scheme::Https,
        host,
        port,
        path: path.to_owned(),
        query: String::new(),
        via: Via::Server(server.clone()),
    })
}

/// Why there is no answer.
#[derive(thiserror::Error, Debug)]
pub enum AskError {
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    #[error("failing or missing response from {url}: Get {quoted}: {source}", quoted = GoQuoted(.url))]
    Dial { url: String, source: DialError },
    #[error(
        "failing or missing response from {url}: Get {quoted}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        quoted = GoQuoted(.url)
    )]
    Late { url: String },
    #[error("failing or missing response from {url}: bad status from {url}: {code}")]
    Code { url: String, code: u16 },
    #[error("cannot read the response from {url}: {why}")]
    Body { url: String, why: String },
}

/// An answer.
pub struct Reply {
    pub url: String,
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

/// Who is asked, and with what.
#[derive(Clone)]
pub struct Asking {
    pub core: Arc<Core>,
    pub transports: Arc<Transports>,
    pub backend: Backend,
    pub server: Server,
}

impl Asking {
    /// GETs a path.
    pub async fn get(
        &self,
        path: &str,
        headers: &[(HeaderName, &str)],
        patience: Duration,
    ) -> Result<Reply, AskError> {
        let location = location(&self.core, &self.backend, &self.server, path)?;
        let url = format!("https://{}{path}", location.authority());
        let exchange = self.exchange(&location, &url, headers);
        match tokio::time::timeout(patience, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(AskError::Late { url }),
        }
    }

    async fn exchange(
        &self,
        location: &Location,
        url: &str,
        headers: &[(HeaderName, &str)],
    ) -> Result<Reply, AskError> {
        let body = |why: &dyn std::fmt::Display| AskError::Body {
            url: url.to_owned(),
            why: why.to_string(),
        };
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = location.target().parse().map_err(|error| body(&error))?;
        *request.headers_mut() = front::said(&aggregator()).map_err(|error| body(&error))?;
        let host = authority(&location.host, location.port);
        for (name, value) in headers.iter().chain(&[(header::HOST, host.as_str())]) {
            let value = HeaderValue::from_str(value).map_err(|error| body(&error))?;
            request.headers_mut().insert(name.clone(), value);
        }
        let sent = self.transports.send(location, request).await;
        let answer = sent.map_err(|source| AskError::Dial {
            url: url.to_owned(),
            source,
        })?;
        let (head, rest) = answer.into_parts();
        let read = Limited::new(rest, LARGEST).collect().await;
        Ok(Reply {
            url: url.to_owned(),
            code: head.status,
            headers: head.headers,
            bytes: read.map_err(|error| body(&error))?.to_bytes(),
        })
    }

    /// Whether it answers for a version of a group.
    pub async fn probe(&self, path: &str) -> Result<(), AskError> {
        let reply = self.get(path, &[], PATIENCE).await?;
        match reply.code.as_u16() {
            200..=299 => Ok(()),
            code => Err(AskError::Code {
                url: reply.url,
                code,
            }),
        }
    }
}
