//! The HTTP client: one server, one identity, connections kept while they are idle.
//! Invariant: an answer outside 200–299 is always an `Error::Status`, whatever its body; warnings of the server are printed once each.
//! Behaviour follows `staging/src/k8s.io/client-go/rest` (request, warnings, transport).

mod answer;
mod connect;
mod credential;
mod exec_plugin;
mod log;
mod pages;
mod pool;
mod proxy;
mod spdy;
mod version;
pub mod ws;

pub use answer::{Answer, generic, status_text};
pub use connect::{addresses, cause};
pub use pages::Pages;
pub use pool::Pool;

use crate::error::{Error, Problem, Result};
use crate::kubeconfig::Resolved;
use crate::kuberc::Policy;
use answer::{failure, is_text};
use bytes::Bytes;
use connect::Target;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::url::{UNRESERVED, query_value};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How requests are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long one request may take.
    pub timeout: Option<Duration>,
    /// How much to log, from 0 to 10.
    pub verbosity: i64,
    /// The same of single files.
    pub modules: crate::flags::Modules,
    /// The name in the `User-Agent`.
    pub program: String,
    /// The command line's verb, told to the server.
    pub command: String,
    /// Which programs may give credentials.
    pub policy: Policy,
    /// Standard input is read, so that no program may ask for anything there.
    pub stdin_in_use: bool,
    /// Nothing is asked of a server of another version than this program's.
    pub match_version: bool,
}

impl Options {
    /// Without anything that somebody asked for.
    pub fn new(policy: Policy) -> Options {
        Options {
            timeout: None,
            modules: Default::default(),
            verbosity: 0,
            program: String::new(),
            command: String::new(),
            policy,
            stdin_in_use: false,
            match_version: false,
        }
    }
}

/// What a request wants back.
pub const JSON: &str = "application/json";
/// Tables of the server's making, and plain JSON where it makes none.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

/// Tells the server which verb asks.
const COMMAND: HeaderName = HeaderName::from_static("kubectl-command");

struct Inner {
    target: Target,
    headers: HeaderMap,
    options: Options,
    idle: Pool<Full<Bytes>>,
    warned: RefCell<HashSet<String>>,
    /// That the server's version was asked for, or need not be.
    matched: Cell<bool>,
}

/// Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub method: Method,
    /// The path with its query, beginning with `/`.
    pub path: String,
    pub accept: &'a str,
    pub content_type: &'a str,
    pub body: Bytes,
    /// Of a path as a user wrote it, of which nothing is known.
    pub is_raw: bool,
}

impl<'a> Call<'a> {
    pub fn get(path: impl Into<String>) -> Self {
        Call {
            method: Method::GET,
            path: path.into(),
            accept: JSON,
            content_type: JSON,
            body: Bytes::new(),
            is_raw: false,
        }
    }
    pub fn with(method: Method, path: impl Into<String>, body: &Value) -> Self {
        Call {
            method,
            path: path.into(),
            accept: JSON,
            content_type: JSON,
            body: serde_json::to_vec(body).unwrap_or_default().into(),
            is_raw: false,
        }
    }
    /// GETs a path as a user wrote it.
    pub fn raw(path: impl Into<String>) -> Self {
        Call {
            is_raw: true,
            ..Call::get(path).accept("*/*")
        }
    }
    pub fn accept(mut self, accept: &'a str) -> Self {
        self.accept = accept;
        self
    }
    /// That the answer is not JSON.
    pub fn is_no_json(&self, why: &serde_json::Error) -> Error {
        Error::msg(format!(
            "the server's answer to {} {} is not JSON: {why}",
            self.method, self.path
        ))
    }
    pub fn content_type(mut self, kind: &'a str) -> Self {
        self.content_type = kind;
        self
    }
}

impl Client {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// Certificates or credentials that cannot be used.
    pub fn new(resolved: &Resolved, options: &Options) -> Result<Client> {
        let made = credential::headers(&resolved.credentials, resolved, options)?;
        let target = Target::new(resolved, made.certificate.as_ref())?;
        let mut headers = made.headers;
        let agent = format!(
            "{}/v1.36.2 ({}/{}) kubernetes/skiff",
            options.program,
            std::env::consts::OS,
            connect::architecture()
        );
        headers.insert(http::header::USER_AGENT, header(&agent)?);
        headers.insert(COMMAND, header(&options.command)?);
        Ok(Client(Rc::new(Inner {
            target,
            headers,
            options: options.clone(),
            idle: Pool::default(),
            warned: RefCell::default(),
            matched: Cell::new(!options.match_version),
        })))
    }

    /// How many different warnings the server has sent.
    pub fn warnings(&self) -> usize {
        self.0.warned.borrow().len()
    }

    /// `host:port` as the kubeconfig writes it.
    #[allow(clippy::misnamed_getters, reason = "kubeconfigs call it host")]
    pub fn host(&self) -> &str {
        &self.0.target.authority
    }

    /// The server's address, with its path.
    pub fn server(&self) -> String {
        self.0.target.url("")
    }

    /// The path of the server's address, which comes before all others; empty for none.
    pub fn server_path(&self) -> &str {
        &self.0.target.prefix
    }

    /// Puts into somebody else's request which server it is for, and who asks where it does not say so itself.
    ///
    /// # Errors
    /// An address that cannot be sent.
    pub fn introduce(&self, headers: &mut HeaderMap) -> Result<()> {
        let is_ours = |name: &HeaderName| !headers.contains_key(name) && *name != COMMAND;
        let own = self.0.headers.iter().filter(|(name, _)| is_ours(name));
        let own: Vec<_> = own
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        headers.extend(own);
        headers.insert(http::header::HOST, header(&self.0.target.authority)?);
        Ok(())
    }

    /// A connection of its own, for requests that are made elsewhere.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn raw_connection<B>(
        &self,
        keepalive: Option<Duration>,
    ) -> Result<SendRequest<B>, Problem>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let io = self.0.target.connect_with(keepalive).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|e| Problem(e.to_string()))?;
        tokio::task::spawn_local(async move {
            // whoever sent the request is told of the failure, too
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>> {
        let uri = format!("{}{}", self.0.target.prefix, call.path);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .body(Full::new(call.body.clone()))
            .map_err(|e| Error::msg(e.to_string()))?;
        let headers = request.headers_mut();
        headers.extend(self.0.headers.clone());
        headers.insert(http::header::HOST, header(&self.0.target.authority)?);
        headers.insert(http::header::ACCEPT, header(call.accept)?);
        if !call.body.is_empty() {
            headers.insert(http::header::CONTENT_TYPE, header(call.content_type)?);
        }
        Ok(request)
    }

    /// Sends, on an idle connection if there is one that still works.
    async fn exchange(
        &self,
        call: &Call<'_>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>)> {
        if !self.0.matched.replace(true) {
            version::check(self.0.idle.send(self, self.request(&version::call())?)).await?;
        }
        let request = self.request(call)?;
        self.log_request(call, request.headers());
        let sent = self.0.idle.send(self, request).await;
        sent.map_err(|why| self.failed(call, why.into()))
    }

    /// That nothing could be sent.
    fn failed(&self, call: &Call<'_>, cause: String) -> Error {
        Error::Connection {
            verb: verb_of(&call.method),
            url: self.0.target.url(&call.path),
            cause,
        }
    }

    /// Sends a request and gives the answer as it begins, whatever it is.
    ///
    /// # Errors
    /// No connection.
    pub async fn begun(&self, call: &Call<'_>) -> Result<Response<Incoming>> {
        let started = Instant::now();
        let (response, _sender) = self.limited(call, self.exchange(call)).await?;
        self.log(call, &status_text(&response), response.headers(), started);
        self.warn(response.headers());
        Ok(response)
    }

    /// Sends a request and gives the answer as it begins; its status is checked.
    ///
    /// # Errors
    /// No connection, or an answer that is not a success.
    pub async fn stream(&self, call: &Call<'_>) -> Result<Response<Incoming>> {
        let response = self.begun(call).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, is_text) = (response.status(), is_text(response.headers()));
        let body = self.limited(call, self.collect(call, response)).await?;
        let answer = Answer {
            status,
            is_text,
            body,
        };
        Err(failure(call, &answer))
    }

    async fn collect(&self, call: &Call<'_>, response: Response<Incoming>) -> Result<Bytes> {
        let collected = response.into_body().collect().await;
        collected
            .map(|whole| whole.to_bytes())
            .map_err(|why| self.failed(call, connect::cause(&why)))
    }

    async fn limited<T>(
        &self,
        call: &Call<'_>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(limit) = self.0.options.timeout else {
            return work.await;
        };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let cause =
                "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
                    .to_string();
            Err(self.failed(call, cause))
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// No connection, or an answer that is not a success.
    pub async fn bytes(&self, call: &Call<'_>) -> Result<Bytes> {
        let answer = self.answer(call).await?;
        if answer.status.is_success() {
            Ok(answer.body)
        } else {
            Err(failure(call, &answer))
        }
    }

    /// Sends a request and reads the whole answer, whatever it is.
    ///
    /// # Errors
    /// No connection.
    pub async fn answer(&self, call: &Call<'_>) -> Result<Answer> {
        let started = Instant::now();
        let work = async {
            let (response, sender) = self.exchange(call).await?;
            let (status, told) = (response.status(), status_text(&response));
            self.warn(response.headers());
            let headers = response.headers().clone();
            let body = self.collect(call, response).await?;
            Ok((status, told, headers, body, sender))
        };
        let (status, told, headers, body, sender) = self.limited(call, work).await?;
        self.0.idle.keep(sender);
        self.log(call, &told, &headers, started);
        self.log_body(call, &body);
        Ok(Answer {
            status,
            is_text: is_text(&headers),
            body,
        })
    }

    /// Sends a request and reads the answer as JSON.
    ///
    /// # Errors
    /// As `bytes`, and an answer that is not JSON.
    pub async fn json(&self, call: &Call<'_>) -> Result<Value> {
        let body = self.bytes(call).await?;
        serde_json::from_slice(&body).map_err(|why| call.is_no_json(&why))
    }

    /// How long one request may take, if that is limited.
    pub fn timeout(&self) -> Option<Duration> {
        self.0.options.timeout
    }

    /// How long an answer about the whole server may take, as requests for it say.
    pub fn patience(&self) -> String {
        const UNLESS_SAID: Duration = Duration::from_secs(32);
        let limit = self.timeout().unwrap_or(UNLESS_SAID);
        skiff_api::machinery::gonum::duration_text(limit.as_nanos() as i64)
    }

    /// How much to log, from 0 to 10.
    pub fn verbosity(&self) -> i64 {
        self.0.options.verbosity
    }

    fn warn(&self, headers: &HeaderMap) {
        for value in headers.get_all(http::header::WARNING) {
            let Some(text) = warning_text(value.to_str().unwrap_or("")) else {
                continue;
            };
            if self.0.warned.borrow_mut().insert(text.clone()) {
                eprintln!("Warning: {text}");
            }
        }
    }
}

/// One line of the log on standard error; `severity` is `I`, `W` or `E`.
pub fn klog(severity: char, place: &str, text: &str) {
    let now = crate::print::age::now().to_zoned(jiff::tz::TimeZone::system());
    eprintln!(
        "{severity}{} {:>7} {place}] {text}",
        now.strftime("%m%d %H:%M:%S%.6f"),
        std::process::id()
    );
}

/// Tells that somebody who came could not be let in, and waits: one failure, of which many come at once, ends no command that listens.
pub async fn not_accepted(why: &std::io::Error) {
    klog(
        'E',
        "server.go:3477",
        &format!("Accept error: {why}; retrying in 50ms"),
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn header(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| {
        Error::msg(format!(
            "{text} cannot be sent in a header",
            text = GoQuoted(&text)
        ))
    })
}

fn verb_of(method: &Method) -> String {
    let text = method.as_str();
    format!("{}{}", &text[..1], text[1..].to_lowercase())
}

/// The text of a `299` warning header.
fn warning_text(value: &str) -> Option<String> {
    let rest = value.trim().strip_prefix("299 ")?;
    let (_agent, quoted) = rest.split_once(' ')?;
    let body = quoted.trim().strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '"' => break,
            c => out.push(c),
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Escapes a path's segment.
pub fn segment(text: &str) -> String {
    const KEPT: &AsciiSet = &UNRESERVED
        .remove(b':')
        .remove(b'@')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b'=');
    utf8_percent_encode(text, KEPT).to_string()
}

/// A query (`?a=b&c=d`) of these parameters; none for an empty list.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let parts: Vec<String> = pairs
        .iter()
        .map(|(k, v)| format!("{}={}", query_value(k), query_value(v)))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_read() {
        assert_eq!(
            warning_text(r#"299 - "a \"b\" c""#).as_deref(),
            Some("a \"b\" c")
        );
        assert_eq!(warning_text(r#"199 - "a""#), None);
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(
            query(&[("labelSelector", "a in (b,c),d=e"), ("x", "1")]),
            "?labelSelector=a%20in%20%28b%2Cc%29%2Cd%3De&x=1"
        );
        assert_eq!(segment("system:node/a"), "system:node%2Fa");
    }
}
