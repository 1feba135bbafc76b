//! A client of one webhook: its place, whom it believes, and the connections that rest until they are needed again.
//!
//! Invariant: a connection carries one request at a time, and is kept only when the answer was read to its end. HTTP/1.1, so that many requests spread over
//! what stands behind a service. Follows `staging/src/k8s.io/apiserver/pkg/util/webhook/client.go` and `staging/src/k8s.io/client-go/rest/request.go`.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use skiff_api::machinery::read::Read;
use tokio::time::Instant;

use super::answer;
use crate::{
    core::Core,
    dial::{
        self, Behind, DialError,
        location::{authority, clean, escaped},
        trust::{self, TrustError},
    },
    services::{self, Unresolved},
};

/// How the server shows itself, in upstream's words.
const USER_AGENT: &str = "kube-apiserver-admission";
/// How long a connection may rest.
const REST: Duration = Duration::from_secs(90);
/// What is kept of connections at the most.
const MOST_RESTING: usize = 64;

/// A configuration of which no client can be made.
#[derive(thiserror::Error, Debug, Clone, PartialEq)]
pub enum ClientError {
    #[error("webhook configuration must have either service or URL")]
    Nowhere,
    #[error("Unparsable URL: {0}")]
    Url(String),
    #[error("illegal base64 data in caBundle")]
    Bundle,
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Why there is no answer, in the words of Go's client.
#[derive(thiserror::Error, Debug)]
pub enum PostError {
    #[error("Post {0:?}: context deadline exceeded")]
    Late(String),
    #[error("Post {url:?}: {why}")]
    Dial { url: String, why: DialError },
    #[error("Post {url:?}: {why}")]
    Unresolved { url: String, why: Unresolved },
    #[error("parse request: {0}")]
    Request(#[from] http::Error),
    #[error("unexpected error when reading response body. Please retry. Original error: {0}")]
    Body(String),
    #[error("0-length response with status code: {code} and content type: {media}")]
    Empty { code: u16, media: String },
    /// The webhook answered with a code that is no success.
    #[error("{0}")]
    Refused(String),
}

enum Place {
    Address(String, u16),
    Service {
        namespace: String,
        name: String,
        port: u16,
    },
}

pub struct Client {
    place: Place,
    /// Host and port as the URL shows them.
    authority: String,
    path: String,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    behind: Option<Behind>,
    resting: Mutex<Vec<Resting>>,
}

struct Resting {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

impl Client {
    /// A client of what a `clientConfig` names.
    ///
    /// # Errors
    /// It names nothing, or its authorities cannot be read.
    pub fn new(config: &Value, behind: Option<Behind>) -> Result<Client, ClientError> {
        let bundle = STANDARD
            .decode(config.text("caBundle"))
            .map_err(|_| ClientError::Bundle)?;
        let tls = Arc::new(trust::client(&bundle)?);
        let (place, shown, host, path) = match (config.some("service"), config.text_ptr("url")) {
            (Some(service), _) => of_service(service)?,
            (None, Some(url)) => of_url(url)?,
            (None, None) => return Err(ClientError::Nowhere),
        };
        let name = host.trim_matches(['[', ']']).to_string();
        Ok(Client {
            place,
            authority: shown,
            path: escaped(&clean(&path)),
            name: ServerName::try_from(name)
                .map_err(|error| ClientError::Url(error.to_string()))?,
            tls,
            behind,
            resting: Mutex::default(),
        })
    }

    /// Sends a document and gives the answer's, which may be `longest` bytes long.
    ///
    /// # Errors
    /// There is none within `patience`, or one that refuses.
    pub async fn post(
        &self,
        core: &Core,
        document: Bytes,
        patience: Duration,
        longest: usize,
    ) -> Result<Bytes, PostError> {
        let seconds = patience.as_millis().div_ceil(1000);
        let target = format!("{}?timeout={seconds}s", self.path);
        let url = format!("https://{}{target}", self.authority);
        let late = || PostError::Late(url.clone());
        let begun = Instant::now();
        let answer = tokio::time::timeout(patience, self.exchange(core, &url, &target, document));
        let (head, sender) = answer.await.map_err(|_| late())??;
        let (head, body) = head.into_parts();
        let left = patience.saturating_sub(begun.elapsed());
        let body = match tokio::time::timeout(left, Limited::new(body, longest).collect()).await {
            Err(_) => return Err(PostError::Body("context deadline exceeded".into())),
            Ok(Err(error)) => return Err(PostError::Body(error.to_string())),
            Ok(Ok(body)) => body.to_bytes(),
        };
        self.rest(sender);
        match head.status.as_u16() {
            200..=206 if body.is_empty() => {
                let media = head.headers.get(header::CONTENT_TYPE);
                let media = media.and_then(|media| media.to_str().ok());
                Err(PostError::Empty {
                    code: head.status.as_u16(),
                    media: media.unwrap_or("application/json").into(),
                })
            }
            200..=206 => Ok(body),
            _ => Err(PostError::Refused(answer::refusal(
                head.status,
                &head.headers,
                &body,
            ))),
        }
    }

    /// The head of the answer, and the connection on which its body follows.
    async fn exchange(
        &self,
        core: &Core,
        url: &str,
        target: &str,
        document: Bytes,
    ) -> Result<(Response<hyper::body::Incoming>, SendRequest<Full<Bytes>>), PostError> {
        let failed = |why: DialError| PostError::Dial {
            url: url.into(),
            why,
        };
        let mut request = self.request(target, document)?;
        while let Some(mut sender) = self.rested() {
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, sender)),
                Err(mut error) => match error.take_message() {
                    // the other side ended it while it rested
                    Some(unsent) => request = unsent,
                    None => return Err(failed(ended(error.into_error()))),
                },
            }
        }
        let (host, port) = match &self.place {
            Place::Address(host, port) => (host.clone(), *port),
            Place::Service {
                namespace,
                name,
                port,
            } => services::resolve(core, namespace, name, *port).map_err(|why| {
                PostError::Unresolved {
                    url: url.into(),
                    why,
                }
            })?,
        };
        let mut sender = self.open(&host, port).await.map_err(failed)?;
        let answer = sender.send_request(request).await;
        Ok((answer.map_err(|error| failed(ended(error)))?, sender))
    }

    fn request(&self, target: &str, document: Bytes) -> http::Result<Request<Full<Bytes>>> {
        Request::post(target)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(document))
    }

    async fn open(&self, host: &str, port: u16) -> Result<SendRequest<Full<Bytes>>, DialError> {
        let tcp = dial::connect(host, port, self.behind.as_ref()).await?;
        let stream = dial::shake_hands(self.tls.clone(), self.name.clone(), tcp).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        skiff_watching::task::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a webhook ended");
            }
        });
        Ok(sender)
    }

    /// A connection that rests and still stands; those that rested too long are ended.
    fn rested(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut resting = self.resting.lock();
        resting.retain(|one| !one.sender.is_closed() && one.since.elapsed() < REST);
        resting.pop().map(|one| one.sender)
    }

    fn rest(&self, sender: SendRequest<Full<Bytes>>) {
        let mut resting = self.resting.lock();
        if !sender.is_closed() && resting.len() < MOST_RESTING {
            let since = Instant::now();
            resting.push(Resting { sender, since });
        }
    }
}

/// Where it is, host and port as the URL shows them, the name that its certificate is to bear, and the path.
type Placed = (Place, String, String, String);

fn of_service(service: &Value) -> Result<Placed, ClientError> {
    let (name, namespace) = (service.text("name"), service.text("namespace"));
    let port = match service.int("port") {
        0 => 443,
        port => {
            u16::try_from(port).map_err(|_| ClientError::Url(format!("invalid port {port}")))?
        }
    };
    let host = format!("{name}.{namespace}.svc");
    let place = Place::Service {
        namespace: namespace.into(),
        name: name.into(),
        port,
    };
    let shown = authority(&host, port);
    Ok((place, shown, host, service.text("path").into()))
}

fn of_url(text: &str) -> Result<Placed, ClientError> {
    let url: http::Uri = text
        .parse()
        .map_err(|error| ClientError::Url(format!("{error}")))?;
    let shown = url.authority().ok_or(ClientError::Nowhere)?;
    let host = url.host().unwrap_or("").to_string();
    let bare = host.trim_matches(['[', ']']).to_string();
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
    Ok((
        Place::Address(bare, url.port_u16().unwrap_or(443)),
        shown.to_string(),
        host,
        path.into_owned(),
    ))
}

/// What Go says when a connection ends before there is an answer.
fn ended(error: hyper::Error) -> DialError {
    match error.is_incomplete_message() {
        true => DialError::Ended,
        false => DialError::Http(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places() {
        let service = |path: Value| json!({"service": {"name": "s", "namespace": "n", "port": 8443, "path": path}});
        for (config, wanted) in [
            (json!({"url": "https://a.b"}), "https://a.b/"),
            (json!({"url": "https://a.b:1/x/y/"}), "https://a.b:1/x/y"),
            (
                json!({"url": "https://[::1]:1/a%20b"}),
                "https://[::1]:1/a%20b",
            ),
            (service(Value::Null), "https://s.n.svc:8443/"),
            (service(json!("/validate")), "https://s.n.svc:8443/validate"),
        ] {
            let client = Client::new(&config, None).unwrap();
            assert_eq!(
                format!("https://{}{}", client.authority, client.path),
                wanted
            );
        }
        assert_eq!(
            Client::new(&json!({}), None).err(),
            Some(ClientError::Nowhere)
        );
        let bundle = json!({"url": "https://a", "caBundle": "eA=="});
        assert_eq!(
            Client::new(&bundle, None)
                .err()
                .map(|why| why.to_string())
                .as_deref(),
            Some("unable to load root certificates: unable to parse bytes as PEM block")
        );
    }
}
