//! A proxied request handed on, and its answer handed back.
//!
//! Invariant: what the answer says about places on the other side is told as places of the proxy.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go` and Go's `httputil.ReverseProxy`.

use axum::body::Body;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts,
};
use skiff_api::machinery::status::Status;

use super::{
    onward::{drop_hop_by_hop, host_of, onward, request},
    proxy::unreachable,
    rewrite::Rewriter,
    upgrade,
};
use crate::{
    audit::{AUDIT_ID, OwnId},
    context::{Answer, Context},
    dial::location::Location,
};

/// What this server says of all that it answers, beside what the other side says.
const UNCACHED: HeaderValue = HeaderValue::from_static("no-cache, private");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

pub async fn serve(ctx: &Context, mut location: Location, mut parts: Parts, body: Body) -> Answer {
    location.query = parts.uri.query().unwrap_or("").to_owned();
    if parts.extensions.get::<OwnId>().is_some() {
        parts.headers.remove(AUDIT_ID);
    }
    if let Some(answer) = upgrade::serve(ctx, &location, &mut parts, &HeaderMap::new()).await? {
        return Ok(answer);
    }
    if location.path.is_empty() && matches!(parts.method, Method::GET | Method::HEAD) {
        return with_slash(&parts);
    }
    let rewriter = Rewriter::new(&ctx.info, &location, host_of(&parts));
    let mut headers = onward(&parts);
    let uri = rewriter.forwarded_uri(&location.path);
    headers.insert(
        FORWARDED_URI,
        HeaderValue::from_str(&uri).map_err(Status::internal)?,
    );
    let answer = ctx
        .app
        .transports
        .send(&location, request(&parts.method, &location, headers, body)?)
        .await
        .map_err(unreachable)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(unreachable(
            "it switched to a protocol that it was not asked to speak",
        ));
    }
    let (mut head, body) = answer.into_parts();
    clean(&mut head.headers);
    head.headers.append(header::CACHE_CONTROL, UNCACHED);
    Ok(rewriter.response(Response::from_parts(head, Body::new(body))))
}

/// Of an answer's headers those go that are about the connection on the other side, or for browsers that asked there.
pub fn clean(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    for name in [
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
    ] {
        headers.remove(name);
    }
}

/// A page at the root of what is proxied has relative links: they hold below a slash alone.
fn with_slash(parts: &Parts) -> Answer {
    let query = parts
        .uri
        .query()
        .map_or(String::new(), |query| format!("?{query}"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let place = HeaderValue::from_str(&format!("{}/{query}", parts.uri.path()))
        .map_err(Status::internal)?;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, place);
    headers.insert(header::CACHE_CONTROL, UNCACHED);
    Ok(response)
}
