//! A request as it goes on: what of it stays on this side, and what is said besides.
//!
//! Invariant: headers that are about one connection alone, and those that prove who asks, stay here.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go` and Go's `httputil.ReverseProxy`.

use std::net::SocketAddr;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, request::Parts};
use skiff_api::machinery::status::Status;

use crate::{
    auth::{authenticate, front, impersonate},
    dial::location::Location,
};

/// Who sends a request, by the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Headers about one connection.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

pub fn request(
    method: &Method,
    location: &Location,
    headers: HeaderMap,
    body: Body,
) -> Result<Request<Body>, Status> {
    let mut request = Request::builder()
        .method(method.clone())
        .uri(location.target())
        .body(body)
        .map_err(Status::internal)?;
    *request.headers_mut() = headers;
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::from_str(&location.authority()).map_err(Status::internal)?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}

/// The Host that a client asked for.
pub fn host_of(parts: &Parts) -> &str {
    let header = parts
        .headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    header
        .or_else(|| parts.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or("")
}

/// The headers that go on.
pub fn onward(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    authenticate::strip_credentials(&mut headers);
    let speaks_for = |name: &HeaderName| impersonate::is_header(name) || front::is_header(name);
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| speaks_for(name))
        .cloned()
        .collect();
    dropped.iter().for_each(|name| drop(headers.remove(name)));
    let trailers = headers
        .get_all(header::TE)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.contains("trailers")));
    drop_hop_by_hop(&mut headers);
    for name in [
        header::TE,
        header::EXPECT,
        header::CONTENT_LENGTH,
        HeaderName::from_static("http2-settings"),
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Ok(host) = HeaderValue::from_str(host_of(parts)) {
        headers.insert(header::HOST, host);
    }
    if let Some(Peer(from)) = parts.extensions.get::<Peer>() {
        let before = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned);
        let chain: Vec<String> = before
            .chain([from.ip().to_canonical().to_string()])
            .collect();
        if let Ok(value) = HeaderValue::from_str(&chain.join(", ")) {
            headers.insert(FORWARDED_FOR, value);
        }
    }
    headers
}

pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    named
        .iter()
        .for_each(|name| drop(headers.remove(name.as_str())));
    HOP_BY_HOP
        .iter()
        .for_each(|name| drop(headers.remove(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on() {
        let mut request = Request::builder()
            .uri("/x")
            .header("host", "api:6443")
            .body(())
            .unwrap();
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("impersonate-user", "root"),
            ("impersonate-extra-scopes", "all"),
            ("x-remote-user", "root"),
            ("x-remote-extra-a", "b"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers, deflate"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("accept", "text/html"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
            .extensions_mut()
            .insert(Peer("[::ffff:10.0.0.9]:1".parse().unwrap()));
        let (parts, ()) = request.into_parts();
        let mut kept: Vec<String> = onward(&parts)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        kept.sort();
        assert_eq!(
            kept,
            [
                "accept: text/html",
                "cookie: a=b",
                "host: api:6443",
                "te: trailers",
                "x-forwarded-for: 1.2.3.4, 10.0.0.9"
            ]
        );
    }
}
