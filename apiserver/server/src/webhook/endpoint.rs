//! One server that is asked: its certificate's name, whom it must lead to, and the connections that rest until they are needed again.
//!
//! Invariant: a connection carries one request at a time, and is kept only when the answer was read to its end. HTTP/1.1, so that many requests spread over
//! what stands behind a service. Errors are worded as Go's client words them. Follows `staging/src/k8s.io/client-go/rest/request.go`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::time::Instant;

use super::answer;
use crate::{
    dial::{self, Behind, DialError, farewell::WithoutFarewell},
    services::Unresolved,
};
use skiff_api::machinery::quote::GoQuoted;

/// How long a connection may rest.
const REST: Duration = Duration::from_secs(90);
/// What is kept of connections at the most.
const MOST_RESTING: usize = 64;
/// Why there is no answer, in the words of Go's client.
#[derive(thiserror::Error, Debug)]
pub enum AskError {
    #[error("{method} {url}: context deadline exceeded", url = GoQuoted(.url))]
    Late { method: &'static str, url: String },
    #[error("{method} {url}: {why}", url = GoQuoted(.url))]
    Dial {
        method: &'static str,
        url: String,
        why: DialError,
    },
    #[error("{method} {url}: {why}", url = GoQuoted(.url))]
    Unresolved {
        method: &'static str,
        url: String,
        why: Unresolved,
    },
    #[error("failed to read token file {}: {error}", GoQuoted(&path.to_string_lossy()))]
    Token {
        path: std::path::PathBuf,
        error: std::io::Error,
    },
    #[error("parse request: {0}")]
    Request(#[from] http::Error),
    #[error("unexpected error when reading response body. Please retry. Original error: {0}")]
    Body(String),
    #[error("0-length response with status code: {code} and content type: {media}")]
    Empty { code: u16, media: String },
    /// The answer's code is no success.
    #[error("{why}")]
    Refused {
        code: StatusCode,
        /// It says after how many seconds to try again.
        later: bool,
        why: String,
    },
}

/// An answer, whatever its code.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The document of an answer that is a success.
    ///
    /// # Errors
    /// It is none, or empty.
    pub fn document(self) -> Result<Bytes, AskError> {
        let code = self.status.as_u16();
        match code {
            200..=206 if self.body.is_empty() => {
                let media = self.headers.get(header::CONTENT_TYPE);
                let media = media.and_then(|media| media.to_str().ok());
                Err(AskError::Empty {
                    code,
                    media: media.unwrap_or("application/json").into(),
                })
            }
            200..=206 => Ok(self.body),
            _ => Err(AskError::Refused {
                code: self.status,
                later: self.headers.contains_key(header::RETRY_AFTER),
                why: answer::refusal(self.status, &self.headers, &self.body),
            }),
        }
    }
}

/// Where a request goes, as it is told of, and as it is reached.
pub struct Target<'a> {
    pub url: &'a str,
    /// Host and port; asked for when a connection is opened.
    pub place: &'a (dyn Fn() -> Result<(String, u16), Unresolved> + Sync),
}

pub struct Endpoint {
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    behind: Option<Behind>,
    resting: Mutex<Vec<Resting>>,
}

struct Resting {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

impl Endpoint {
    pub fn new(
        name: ServerName<'static>,
        tls: Arc<ClientConfig>,
        behind: Option<Behind>,
    ) -> Endpoint {
        Endpoint {
            name,
            tls,
            behind,
            resting: Mutex::default(),
        }
    }

    /// Sends a request and gives the whole answer, which may be `longest` bytes long.
    ///
    /// # Errors
    /// There is none within `patience`, or a longer one.
    pub async fn call(
        &self,
        request: Request<Full<Bytes>>,
        target: &Target<'_>,
        patience: Duration,
        longest: usize,
    ) -> Result<Reply, AskError> {
        let begun = Instant::now();
        let method = go_method(&request);
        let answer = tokio::time::timeout(patience, self.exchange(method, request, target));
        let (head, sender) = answer.await.map_err(|_| AskError::Late {
            method,
            url: target.url.into(),
        })??;
        let (head, body) = head.into_parts();
        let left = patience.saturating_sub(begun.elapsed());
        let body = Limited::new(body, longest).collect();
        let body = match tokio::time::timeout(left, body).await {
            Err(_) => return Err(AskError::Body("context deadline exceeded".into())),
            Ok(Err(error)) => return Err(AskError::Body(error.to_string())),
            Ok(Ok(body)) => body.to_bytes(),
        };
        self.rest(sender);
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// The head of the answer, and the connection on which its body follows.
    async fn exchange(
        &self,
        method: &'static str,
        mut request: Request<Full<Bytes>>,
        target: &Target<'_>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), AskError> {
        let url = || target.url.to_string();
        let failed = |why: DialError| AskError::Dial {
            method,
            url: url(),
            why,
        };
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
        let (host, port) = (target.place)().map_err(|why| AskError::Unresolved {
            method,
            url: url(),
            why,
        })?;
        let mut sender = self.open(&host, port).await.map_err(failed)?;
        let answer = sender.send_request(request).await;
        Ok((answer.map_err(|error| failed(ended(error)))?, sender))
    }

    async fn open(&self, host: &str, port: u16) -> Result<SendRequest<Full<Bytes>>, DialError> {
        let tcp = dial::connect(host, port, self.behind.as_ref()).await?;
        let stream = dial::shake_hands(self.tls.clone(), self.name.clone(), tcp).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(WithoutFarewell(stream))).await?;
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

/// As Go's client begins its errors.
fn go_method(request: &Request<Full<Bytes>>) -> &'static str {
    match *request.method() {
        http::Method::GET => "Get",
        _ => "Post",
    }
}

/// What Go says when a connection ends before there is an answer.
fn ended(error: hyper::Error) -> DialError {
    match error.is_incomplete_message() {
        true => DialError::Ended,
        false => DialError::Http(error),
    }
}

/// The host and port of an `https` URL, as it is reached; `None` for what is none.
pub fn place_of(url: &Uri) -> Option<(String, u16)> {
    let host = url.host().filter(|_| url.scheme_str() == Some("https"))?;
    let bare = host.trim_matches(['[', ']']).to_string();
    Some((bare, url.port_u16().unwrap_or(443)))
}
