//! A request passed on to the server, and its answer passed back.
//! Invariant: what is between two hosts only (RFC 9110 7.6.1) is not passed on, but for what asks for another protocol.
//! Behaviour follows `UpgradeAwareHandler` of `staging/src/k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go`.

use super::{Body, plain};
use crate::client::{Client, Pool};
use crate::error::Problem;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::net::IpAddr;
use std::time::Duration;

/// Headers between two hosts, besides those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The server, and the connections to it.
pub struct Remote {
    client: Client,
    append_path: bool,
    keepalive: Option<Duration>,
    idle: Pool<Incoming>,
}

impl Remote {
    /// `append_path`: the path of the server's address comes before those of requests.
    pub fn new(client: Client, append_path: bool, keepalive: Option<Duration>) -> Remote {
        Remote {
            client,
            append_path,
            keepalive,
            idle: Pool::default(),
        }
    }

    pub async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: Option<IpAddr>,
    ) -> Response<Body> {
        let upgrade = upgrade_of(request.headers());
        let theirs = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let passed = self.pass(request, upgrade.as_ref(), peer).await;
        let mut response = match passed {
            Ok(response) => response,
            Err(why) => return plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{why}\n")),
        };
        match theirs.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
            Some(theirs) => join(theirs, hyper::upgrade::on(&mut response)),
            None => strip(response.headers_mut()),
        }
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        upgrade: Option<&HeaderValue>,
        peer: Option<IpAddr>,
    ) -> Result<Response<Incoming>, Problem> {
        let headers = request.headers_mut();
        strip(headers);
        if let Some(protocol) = upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, protocol.clone());
        }
        forwarded_for(headers, peer);
        self.client
            .introduce(headers)
            .map_err(|why| Problem(why.to_string()))?;
        if self.append_path {
            let whole = request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str());
            let uri = format!("{}{whole}", self.client.server_path()).parse();
            *request.uri_mut() =
                uri.map_err(|why: http::uri::InvalidUri| Problem(why.to_string()))?;
        }
        let sent = match upgrade {
            // a connection of its own: it does not speak HTTP afterwards
            Some(_) => {
                let mut sender = self.client.raw_connection(self.keepalive).await?;
                let sent = sender.send_request(request).await;
                sent.map(|response| (response, sender))
                    .map_err(|why| Problem(crate::client::cause(&why)))
            }
            None => self.idle.send(&self.client, request).await,
        };
        let (response, sender) = sent?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // ready once the answer has been passed back whole
            self.idle.keep_when_ready(sender);
        }
        Ok(response)
    }
}

/// The protocol that is asked for instead of HTTP.
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(header::CONNECTION).iter();
    let asks = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asks).cloned()
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named
        .into_iter()
        .for_each(|name| drop(headers.remove(name)));
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn forwarded_for(headers: &mut HeaderMap, peer: Option<IpAddr>) {
    const NAME: &str = "x-forwarded-for";
    let Some(peer) = peer else { return };
    let before = headers
        .get_all(NAME)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let all: Vec<String> = before.map(String::from).chain([peer.to_string()]).collect();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(NAME, value);
    }
}

/// Hands what one sends to the other, until both are done.
fn join(theirs: OnUpgrade, ours: OnUpgrade) {
    tokio::task::spawn_local(async move {
        let (Ok(theirs), Ok(ours)) = tokio::join!(theirs, ours) else {
            return;
        };
        let (mut theirs, mut ours) = (TokioIo::new(theirs), TokioIo::new(ours));
        if let Err(why) = tokio::io::copy_bidirectional(&mut theirs, &mut ours).await {
            tracing::debug!("a stream through the proxy ended: {why}");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_two_hosts_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Own, Upgrade"),
            ("x-own", "1"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
            ("accept", "a/b"),
            ("x-forwarded-for", "10.0.0.1"),
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        assert_eq!(upgrade_of(&headers).unwrap(), "websocket");
        strip(&mut headers);
        forwarded_for(&mut headers, Some([127, 0, 0, 1].into()));
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["accept: a/b", "x-forwarded-for: 10.0.0.1, 127.0.0.1"]
        );
        assert_eq!(upgrade_of(&headers), None);
    }
}
