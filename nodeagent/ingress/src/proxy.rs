//! One request on its way: to the endpoint that the table names, tried again elsewhere where that is safe, and its answer back.
//!
//! Invariant: a request is sent again only if nothing of it was sent, or if it has no body and a method that may be repeated, and never after a byte of an
//! answer went on. A request goes by the table that there was when it came, and is not disturbed by a new one.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use skiff_watching::outcome;
use tokio::time::Instant;

use super::{
    access::{AccessLog, Line},
    answer::Answer,
    endpoint::{Cause, Endpoint, Failure, Open, PAUSES, Pauses, Returned},
    headers::{self, Origin},
    listeners::{Asked, Listener, Listeners},
    sent::{Progress, Sent},
    table::{Table, clean, host_of},
    treatment::{Target, Treatment},
    tunnel,
    upstream::Upstream,
};

/// How long an endpoint may take for the head of its answer, from the last that was sent to it.
pub const ANSWER: Duration = Duration::from_secs(60);
/// How much is read of a request that is refused, and for how long.
const REST: (usize, Duration) = (1 << 20, Duration::from_secs(2));
/// How often a request is sent, at most.
const ATTEMPTS: usize = 3;

/// Where the rules of the table lead.
#[derive(Clone)]
pub struct Route {
    pub to: Arc<Upstream>,
    /// Whoever comes without TLS is sent to where there is.
    pub https_only: bool,
    /// Whose rule it is.
    pub of: Arc<str>,
}

/// Where one request goes.
struct Way {
    to: Arc<Upstream>,
    /// What a gateway's rule does with it.
    target: Option<Arc<Target>>,
}

impl Way {
    fn treatment(&self) -> Option<&Treatment> {
        match self.target.as_deref() {
            Some(Target::Send(_, treatment)) => Some(treatment),
            _ => None,
        }
    }
}

/// A connection that requests come by.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub client: SocketAddr,
    pub port: u16,
    /// The table of hosts and paths is asked, too, and not listeners alone.
    pub table: bool,
    pub origin: Origin,
}

impl Arrival {
    /// Of a client at a port of this node.
    pub fn new(client: SocketAddr, port: u16, tls: bool, table: bool) -> Self {
        let text = client.ip().to_canonical().to_string();
        let origin = Origin {
            // addresses are visible ASCII
            client: HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown")),
            port: port.into(),
            tls,
        };
        Arrival {
            client,
            port,
            table,
            origin,
        }
    }
}

/// Why a request has an answer of the proxy's own.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Text(StatusCode, &'static str),
    /// Elsewhere.
    Redirect(StatusCode, String),
}

/// See the module.
pub struct Proxy {
    pub routes: ArcSwap<Table<Route>>,
    /// Of gateways: they go before the table where they name the host, else after it.
    pub listeners: ArcSwap<Listeners<Arc<Target>>>,
    pub log: Option<Arc<AccessLog>>,
    /// See [`ANSWER`].
    pub patience: Duration,
    pub pauses: Pauses,
}

impl Proxy {
    pub fn new(log: Option<Arc<AccessLog>>) -> Self {
        Proxy {
            routes: ArcSwap::default(),
            listeners: ArcSwap::default(),
            log,
            patience: ANSWER,
            pauses: PAUSES,
        }
    }

    /// Answers a request, whatever comes of it.
    pub async fn handle(
        self: Arc<Self>,
        arrival: Arc<Arrival>,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let mut line = self.log.as_ref().map(|log| {
            let head = (request.method(), request.uri(), request.version());
            log.line(arrival.client.ip(), head, request.headers())
        });
        let answered = self.answer(&arrival, request, &mut line).await;
        let response = answered.unwrap_or_else(Refusal::response);
        if let Some(line) = &mut line {
            line.status = response.status();
        }
        Ok(match line {
            Some(line) => response.map(|body| body.logged(line)),
            None => response,
        })
    }

    async fn answer(
        &self,
        arrival: &Arrival,
        mut request: Request<Incoming>,
        line: &mut Option<Line>,
    ) -> Result<Response<Answer>, Refusal> {
        let routed = self.route(arrival, &request).and_then(|way| {
            let first = way.to.pick(&[]);
            let first = first.ok_or_else(|| refuse(StatusCode::SERVICE_UNAVAILABLE))?;
            Ok((way, first))
        });
        let (way, endpoint) = match routed {
            Ok(routed) => routed,
            Err(refusal) => {
                read_rest(request).await;
                return Err(refusal);
            }
        };
        let http2 = endpoint.protocol.is_http2();
        let upgrade = headers::upgrade(request.headers())
            .filter(|_| !http2 && request.version() == Version::HTTP_11)
            .map(|_| hyper::upgrade::on(&mut request));
        let (mut head, body) = request.into_parts();
        let tls = endpoint.protocol.is_tls();
        if headers::forward(&mut head, &arrival.origin, http2, tls).is_err() {
            return Err(refuse(StatusCode::BAD_REQUEST));
        }
        let Some(treatment) = way.treatment() else {
            let sent = self.send(&way.to, endpoint, (head, body), self.patience, line);
            let (response, returned, open) = sent.await?;
            return answer(response, returned, open, upgrade, line);
        };
        if treatment.apply(&mut head).is_err() {
            return Err(refuse(StatusCode::BAD_REQUEST));
        }
        let until = treatment.limit.map(|limit| Instant::now() + limit);
        let patience = treatment.patience.unwrap_or(self.patience);
        let sent = self.send(&way.to, endpoint, (head, body), patience, line);
        let (response, returned, open) = match until {
            None => sent.await?,
            Some(until) => match tokio::time::timeout_at(until, sent).await {
                Ok(sent) => sent?,
                Err(_) => return Err(refuse(StatusCode::GATEWAY_TIMEOUT)),
            },
        };
        let mut response = answer(response, returned, open, upgrade, line)?;
        treatment.response.apply(response.headers_mut());
        Ok(match until {
            Some(until) => response.map(|body| body.until(until)),
            None => response,
        })
    }

    /// What the request is for.
    fn route(&self, arrival: &Arrival, request: &Request<Incoming>) -> Result<Way, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(refuse(StatusCode::METHOD_NOT_ALLOWED));
        }
        let authority = headers::authority(request.uri(), request.headers());
        let host = match authority {
            Some(authority) => host_of(authority),
            None if request.version() <= Version::HTTP_10
                && !request.headers().contains_key(header::HOST) =>
            {
                "".into()
            }
            None => return Err(refuse(StatusCode::BAD_REQUEST)),
        };
        let path = clean(request.uri().path());
        let listeners = self.listeners.load();
        let table = self.routes.load();
        if let Some((listener, names_it)) = listeners.find(arrival.port, &host)
            && (names_it || !arrival.table || !table.names(&host))
        {
            return at_listener(listener, arrival, (&host, &path), request);
        }
        let found = table.find(&host, &path).filter(|_| arrival.table);
        let route = found.ok_or_else(|| refuse(StatusCode::NOT_FOUND))?;
        if route.https_only && !arrival.origin.tls {
            let rest = request
                .uri()
                .path_and_query()
                .map_or("/", |rest| rest.as_str());
            let to = format!("https://{host}{rest}");
            return Err(Refusal::Redirect(StatusCode::PERMANENT_REDIRECT, to));
        }
        Ok(Way {
            to: route.to.clone(),
            target: None,
        })
    }

    /// Sends the request until an endpoint answers, or until it may not be sent again.
    async fn send(
        &self,
        upstream: &Upstream,
        first: Arc<Endpoint>,
        (head, body): (Parts, Incoming),
        patience: Duration,
        line: &mut Option<Line>,
    ) -> Result<(Response<Incoming>, Returned, Open), Refusal> {
        let (body, progress) = if body.is_end_stream() {
            (Sent::Nothing, None)
        } else {
            let progress = Arc::new(Progress::default());
            (Sent::Body(body, progress.clone()), Some(progress))
        };
        let repeatable = progress.is_none() && head.method.is_idempotent();
        let spare = repeatable.then(|| head.clone());
        let mut request = Request::from_parts(head, body);
        let mut tried = Vec::new();
        let mut endpoint = first;
        loop {
            if let Some(line) = line {
                line.endpoint = Some(endpoint.address);
            }
            let open = Open::new(endpoint.clone());
            let sent = self
                .exchange(&endpoint, request, progress.as_deref(), patience)
                .await?;
            let failure = match sent {
                Ok((response, returned)) => return Ok((response, returned, open)),
                Err(failure) => failure,
            };
            drop(open);
            let cause = &failure.cause;
            tracing::debug!(upstream = upstream.name, endpoint = %endpoint.address, %cause, "not answered");
            endpoint.avoid_after(cause, self.pauses);
            tried.push(endpoint.address);
            let refusal = refuse(status_of(cause));
            let again = again(failure, &spare).filter(|_| tried.len() < ATTEMPTS);
            let next = upstream
                .pick(&tried)
                .filter(|next| next.protocol == endpoint.protocol);
            match (again, next) {
                (Some(again), Some(next)) => (request, endpoint) = (again, next),
                _ => return Err(refusal),
            }
        }
    }

    /// Sends the request to one endpoint; gives up when neither side has said anything for too long.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: Request<Sent>,
        progress: Option<&Progress>,
        patience: Duration,
    ) -> Result<Result<(Response<Incoming>, Returned), Failure>, Refusal> {
        let mut sending = pin!(endpoint.send(request));
        let mut seen = 0;
        loop {
            if let Ok(sent) = tokio::time::timeout(patience, &mut sending).await {
                return Ok(sent);
            }
            let pieces = progress.map_or(0, Progress::pieces);
            if pieces == seen {
                let waits_for_client = progress.is_some_and(|progress| !progress.has_ended());
                return Err(refuse(if waits_for_client {
                    StatusCode::REQUEST_TIMEOUT
                } else {
                    StatusCode::GATEWAY_TIMEOUT
                }));
            }
            seen = pieces;
        }
    }
}

/// What a listener's rules say of a request.
fn at_listener(
    listener: &Listener<Arc<Target>>,
    arrival: &Arrival,
    (host, path): (&str, &str),
    request: &Request<Incoming>,
) -> Result<Way, Refusal> {
    let asked = Asked {
        path,
        query: request.uri().query().unwrap_or_default(),
        method: request.method(),
        headers: request.headers(),
    };
    let target = listener.find(host, &asked).ok_or(Refusal::Text(
        StatusCode::NOT_FOUND,
        "404 no route leads there\n",
    ))?;
    match &**target {
        Target::Redirect(to) => {
            let (port, tls) = (arrival.port, arrival.origin.tls);
            let location = to.location(host, port, tls, request.uri());
            Err(Refusal::Redirect(to.status, location))
        }
        Target::Send(shares, _) => {
            let to = shares.next();
            let to = to.ok_or_else(|| refuse(StatusCode::INTERNAL_SERVER_ERROR))?;
            Ok(Way {
                to,
                target: Some(target.clone()),
            })
        }
    }
}

/// Reads what is left of a request that is refused: a client that still sends would not see why, as the connection would be broken off.
async fn read_rest(request: Request<Incoming>) {
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let mut body = Limited::new(request.into_body(), REST.0);
    let read = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    // it is closed then, with or without a word
    outcome::may_be_broken_off(tokio::time::timeout(REST.1, read).await);
}

/// What may be sent again after a failure: what was not sent, or what may be repeated and was not answered at all.
fn again(failure: Failure, spare: &Option<Parts>) -> Option<Request<Sent>> {
    let silent = match &failure.cause {
        Cause::Connect(_) | Cause::ConnectTimeout => true,
        Cause::Http(error) => !error.is_parse() && !error.is_timeout() && !error.is_user(),
    };
    failure.request.or_else(|| {
        let spare = spare.clone().filter(|_| silent)?;
        Some(Request::from_parts(spare, Sent::Nothing))
    })
}

fn status_of(cause: &Cause) -> StatusCode {
    match cause {
        Cause::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
        Cause::Connect(_) | Cause::Http(_) => StatusCode::BAD_GATEWAY,
    }
}

/// The endpoint's answer as the client gets it.
fn answer(
    mut response: Response<Incoming>,
    returned: Returned,
    open: Open,
    upgrade: Option<OnUpgrade>,
    line: &mut Option<Line>,
) -> Result<Response<Answer>, Refusal> {
    *response.version_mut() = Version::HTTP_11;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::drop_own(response.headers_mut());
        return Ok(response.map(|body| Answer::of(body, returned, open)));
    }
    let Some(client) = upgrade else {
        return Err(refuse(StatusCode::BAD_GATEWAY));
    };
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let endpoint = hyper::upgrade::on(&mut response);
    let mut response = response.map(|_| Answer::text(""));
    headers::drop_own(response.headers_mut());
    if let Some(protocol) = protocol {
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if let Some(line) = line {
        line.status = response.status();
    }
    tunnel::join(client, endpoint, open, line.take());
    Ok(response)
}

fn refuse(status: StatusCode) -> Refusal {
    Refusal::Text(
        status,
        match status.as_u16() {
            400 => "400 bad request\n",
            404 => "404 no ingress leads there\n",
            405 => "405 method not allowed\n",
            500 => "500 the rule leads nowhere\n",
            408 => "408 the request did not come to its end\n",
            503 => "503 no endpoint is ready\n",
            504 => "504 the endpoint did not answer in time\n",
            _ => "502 the endpoint did not answer as it should\n",
        },
    )
}

impl Refusal {
    fn response(self) -> Response<Answer> {
        let (status, text, to) = match self {
            Refusal::Text(status, text) => (status, text, None),
            Refusal::Redirect(status, to) => {
                (status, "it is elsewhere\n", HeaderValue::try_from(to).ok())
            }
        };
        let mut response = Response::new(Answer::text(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        if let Some(to) = to {
            headers.insert(header::LOCATION, to);
        }
        response
    }
}
