//! Upgrading a request to one of the stream protocols.
//!
//! Invariant: a request that asks for no protocol that is spoken here is refused before anything is started.
//! Follows `httpstream.Handshake` and RFC 6455.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header},
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

/// The upgraded connection.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// `X-Stream-Protocol-Version`.
const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// What a request wants to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Spdy,
    WebSocket,
}

/// What the request wants to become; `None` when it wants to stay what it is.
pub fn kind(headers: &HeaderMap) -> Option<Kind> {
    let has = |name: HeaderName, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains(word))
    };
    if !has(header::CONNECTION, "upgrade") {
        return None;
    }
    match () {
        () if has(header::UPGRADE, "websocket") => Some(Kind::WebSocket),
        () if has(header::UPGRADE, "spdy/3.1") => Some(Kind::Spdy),
        () => None,
    }
}

/// The protocols that the client offers, in its order.
fn offered(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .filter(|protocol| !protocol.is_empty())
        .collect()
}

/// The first protocol of the client's that is among `spoken`. A client that offers none gets the last, which is the oldest.
pub fn choose<'a>(
    kind: Kind,
    headers: &HeaderMap,
    spoken: &[&'a str],
) -> Result<&'a str, Box<Response<Body>>> {
    let name = match kind {
        Kind::Spdy => PROTOCOL,
        Kind::WebSocket => header::SEC_WEBSOCKET_PROTOCOL,
    };
    let offered = offered(headers, &name);
    let chosen = offered
        .iter()
        .find_map(|wanted| spoken.iter().find(|spoken| *spoken == wanted));
    match (chosen, offered.is_empty(), spoken.last()) {
        (Some(chosen), _, _) => Ok(chosen),
        (None, true, Some(oldest)) => Ok(oldest),
        _ => {
            let mut refusal = Response::new(Body::from(format!(
                "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
                offered.join(" "),
                spoken.join(" ")
            )));
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            for protocol in spoken {
                if let Ok(value) = HeaderValue::from_str(protocol) {
                    refusal.headers_mut().append(ACCEPTED, value);
                }
            }
            Err(Box::new(refusal))
        }
    }
}

/// Answers 101 and hands the connection to `serve` once it is upgraded, until `stop`.
pub fn upgrade<F>(
    kind: Kind,
    protocol: &str,
    mut request: Request<Body>,
    stop: CancellationToken,
    serve: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade");
    response = match kind {
        Kind::Spdy => response
            .header(header::UPGRADE, "SPDY/3.1")
            .header(PROTOCOL, protocol),
        Kind::WebSocket => {
            let key = request
                .headers()
                .get(header::SEC_WEBSOCKET_KEY)
                .map(|key| derive_accept_key(key.as_bytes()))
                .unwrap_or_default();
            let response = response
                .header(header::UPGRADE, "websocket")
                .header(header::SEC_WEBSOCKET_ACCEPT, key);
            if request
                .headers()
                .contains_key(header::SEC_WEBSOCKET_PROTOCOL)
            {
                response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
            } else {
                response
            }
        }
    };
    let upgraded = hyper::upgrade::on(&mut request);
    skiff_watching::task::spawn(async move {
        match upgraded.await {
            Ok(connection) => tokio::select! {
                () = serve(TokioIo::new(connection)) => {}
                () = stop.cancelled() => {}
            },
            Err(error) => tracing::debug!(%error, "connection not upgraded"),
        }
    });
    response.body(Body::empty()).unwrap_or_else(|error| {
        tracing::warn!(%error, "upgrade not answered");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn negotiation() {
        let spoken = ["v4", "v3", "v1"];
        assert_eq!(
            kind(&headers(&[
                ("connection", "Upgrade"),
                ("upgrade", "SPDY/3.1")
            ])),
            Some(Kind::Spdy)
        );
        assert_eq!(
            kind(&headers(&[
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "websocket")
            ])),
            Some(Kind::WebSocket)
        );
        assert_eq!(kind(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(
            choose(
                Kind::Spdy,
                &headers(&[("x-stream-protocol-version", "v9, v3")]),
                &spoken
            )
            .unwrap(),
            "v3"
        );
        assert_eq!(
            choose(Kind::WebSocket, &headers(&[]), &spoken).unwrap(),
            "v1"
        );
        assert_eq!(
            choose(
                Kind::WebSocket,
                &headers(&[("sec-websocket-protocol", "v9")]),
                &spoken
            )
            .unwrap_err()
            .status(),
            403
        );
    }
}
