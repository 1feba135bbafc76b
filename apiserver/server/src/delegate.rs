//! Requests that an API server behind this one answers: handed on in the name of whoever asks, and its answers handed back.
//!
//! Invariant: who asks is said by headers that count for nothing without this server's certificate for such; what proved it here goes no further. What
//! goes wrong on the way is told as text, as upstream tells it.
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/apiserver/handler_proxy.go` and
//! `staging/src/k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go`.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};

use crate::{
    aggregation::{self, Remote},
    auth::front,
    context::Context,
    dial::DialError,
    subresources::connect::{self, onward},
};

/// An answer to what a server has (`/apis/GROUP/VERSION`) is due so soon: clients ask all servers for that.
const DISCOVERY: Duration = Duration::from_secs(5);
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const REDIRECTED: &str = "the backend attempted to redirect this request, which is not permitted";

/// What goes wrong, as it is told.
fn failure(ctx: &Context, code: u16, why: impl std::fmt::Display) -> Response<Body> {
    let mut response = ctx.text(code, format!("{why}\n"));
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

pub async fn serve(ctx: &Context, remote: &Remote, mut parts: Parts, body: Body) -> Response<Body> {
    if !remote.available {
        return failure(ctx, 503, "service unavailable");
    }
    let server = match &remote.server {
        Ok(server) => server,
        Err(why) => return failure(ctx, 500, why),
    };
    let path = parts.uri.path().to_owned();
    let found = aggregation::location(&ctx.app.core, &remote.backend, server, &path);
    let mut location = match found {
        Ok(location) => location,
        Err(why) => {
            let (namespace, name) = (&remote.backend.namespace, &remote.backend.name);
            tracing::error!("error resolving {namespace}/{name}: {why}");
            return failure(ctx, 503, "service unavailable");
        }
    };
    location.query = parts.uri.query().unwrap_or("").to_owned();
    let said = match front::said(&ctx.asked.user) {
        Ok(said) => said,
        Err(why) => return failure(ctx, 503, why),
    };
    match connect::upgrade(ctx, &location, &mut parts, &said).await {
        Ok(Some(answer)) => return answer,
        Ok(None) => {}
        Err(status) => return failure(ctx, 503, status.message),
    }
    let mut headers = onward::onward(&parts);
    headers.remove(header::HOST);
    headers.extend(said);
    if let Ok(path) = HeaderValue::from_str(&path) {
        headers.insert(FORWARDED_URI, path);
    }
    let request = match onward::request(&parts.method, &location, headers, body) {
        Ok(request) => request,
        Err(status) => return failure(ctx, 503, status.message),
    };
    let sent = ctx.app.transports.send(&location, request);
    let is_discovery = !ctx.info.is_resource && path.trim_matches('/').split('/').count() == 3;
    let answer = match is_discovery {
        true => tokio::time::timeout(DISCOVERY, sent)
            .await
            .unwrap_or_else(|_| Err(DialError::Deadline)),
        false => sent.await,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return failure(ctx, 503, connect::unreachable(why).message),
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let why = "it switched to a protocol that it was not asked to speak";
        return failure(ctx, 503, connect::unreachable(why).message);
    }
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        return ctx.text(502, REDIRECTED);
    }
    let (mut head, body) = answer.into_parts();
    connect::clean(&mut head.headers);
    Response::from_parts(head, Body::new(body))
}
