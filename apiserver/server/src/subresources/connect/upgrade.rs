//! Connections that are switched to another protocol (SPDY, WebSocket): bytes go through as they are, both ways.
//!
//! Invariant: the client is switched only when the other side has switched; when either side ends, the other one is ended.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go` (tryUpgrade).

use axum::body::Body;
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use skiff_api::machinery::status::Status;
use tokio::io::AsyncWriteExt;

use super::onward::{onward, request};
use crate::context::{Answer, Context};
use crate::dial::location::Location;

/// Whether a request asks for its connection to be switched.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.to_ascii_lowercase().contains("upgrade"))
    })
}

/// `None` when the request asks for no such thing. `said` are headers that go along.
pub async fn serve(
    ctx: &Context,
    location: &Location,
    parts: &mut Parts,
    said: &HeaderMap,
) -> Result<Option<Response<Body>>, Status> {
    if !is_upgrade(&parts.headers) {
        return Ok(None);
    }
    let client = parts.extensions.remove::<OnUpgrade>();
    let mut headers = onward(parts);
    headers.extend(said.clone());
    headers.insert(
        header::CONNECTION,
        http::HeaderValue::from_static("Upgrade"),
    );
    if let Some(protocol) = parts.headers.get(header::UPGRADE) {
        headers.insert(header::UPGRADE, protocol.clone());
    }
    // a WebSocket begins with a GET, SPDY with a POST; neither has a body
    let method = if parts.method == Method::HEAD {
        &Method::GET
    } else {
        &parts.method
    };
    let sent = ctx
        .app
        .transports
        .send(location, request(method, location, headers, Body::empty())?)
        .await;
    let answer =
        sent.map_err(|why| Status::internal_plain(format!("error dialing backend: {why}")))?;
    match answer.status() {
        StatusCode::SWITCHING_PROTOCOLS => switch(ctx, answer, client).map(Some),
        status if status.as_u16() < 400 => Err(Status::internal_plain(format!(
            "invalid upgrade response: status code {}",
            status.as_u16()
        ))),
        _ => {
            let (mut head, body) = answer.into_parts();
            head.headers.remove(header::TRANSFER_ENCODING);
            head.headers
                .insert(header::CONNECTION, http::HeaderValue::from_static("close"));
            Ok(Some(Response::from_parts(head, Body::new(body))))
        }
    }
}

/// Both sides have switched.
fn switch(ctx: &Context, answer: Response<Incoming>, client: Option<OnUpgrade>) -> Answer {
    let client = client.ok_or_else(|| Status::bad_request("the connection cannot be upgraded"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    carry(ctx, async move {
        let (backend, client) =
            futures::future::try_join(hyper::upgrade::on(answer), client).await?;
        let (mut from_backend, mut to_backend) = tokio::io::split(TokioIo::new(backend));
        let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
        let done = tokio::select! {
            done = tokio::io::copy(&mut from_backend, &mut to_client) => done,
            done = tokio::io::copy(&mut from_client, &mut to_backend) => done,
        };
        // whichever side is still there reads to its end; the other cannot be told
        let _ = futures::future::join(to_client.shutdown(), to_backend.shutdown()).await;
        done.map(drop)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    });
    Ok(response)
}

/// Carries on what goes over a switched connection, until it ends or the server stops.
pub fn carry<E: std::fmt::Display + Send + 'static>(
    ctx: &Context,
    what: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let (stopping, ending) = (ctx.app.stopping.clone(), ctx.trail.ending());
    skiff_watching::task::spawn(async move {
        tokio::select! {
            done = what => if let Err(error) = done { tracing::debug!(%error, "a stream ended") },
            () = stopping.cancelled() => {}
        }
        drop(ending);
    });
}
