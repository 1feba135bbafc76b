//! The way of a request: who asks, what for, may they, and then the verb.
//!
//! Invariant: nothing answers before authentication and authorization have passed.
//! Follows the handler chain of `staging/src/k8s.io/apiserver/pkg/server/config.go`.

use std::{convert::Infallible, net::Ipv4Addr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use skiff_api::machinery::quote::go_quote;
use skiff_api::machinery::status::Status;
use tokio::time::Instant;

use crate::{
    app::{App, InProcess},
    audit::{self, AUDIT_ID, Audit, Stage, Trail},
    auth::{self, User, pki::PeerCertificate},
    context::Context,
    delegate, discovery,
    emptied::Emptied,
    encoding::gzip,
    flowcontrol::{Asks, Place, Refused, patience},
    limits::{
        deadline,
        held::{Held, Until},
        inflight, panics, remainder,
    },
    metrics::{Answered, Labels},
    non_resource,
    request::{Query, RequestInfo},
    spent::{self, Spent},
    subresources::connect::Peer,
    verbs,
    write::Warnings,
};

/// Why a request got no verb's answer.
enum Refusal {
    Status(Status),
    /// Too many are being answered already.
    Full(Refused),
    /// Nobody knows who asks.
    Unauthenticated,
    /// Somebody must be told of it, and could not be.
    Untold,
    /// Whoever should say whether it may be could not be asked.
    Unknown(String),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Status(status)
    }
}

/// What Go's server says of a path that it cannot read, before anybody hears of the request.
fn unreadable() -> Response<Body> {
    let mut response = Response::new(Body::from("400 Bad Request"));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl App {
    /// Answers one request. Never fails: what goes wrong is a Status.
    pub async fn handle(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Infallible> {
        let received = Instant::now();
        let (mut parts, body) = request.into_parts();
        if !Query::is_escaped_well(parts.uri.path()) {
            return Ok(unreadable());
        }
        let audit_id = self.audit_id(&mut parts);
        let query = Query::read(parts.uri.query());
        let info = RequestInfo::read(&parts.method, parts.uri.path(), &query);
        let due = deadline::of(&info, &query, self.request_timeout);
        let expects = parts.headers.contains_key(header::EXPECT);
        let (body, loan) = remainder::lend(body, due.as_ref().ok().copied().flatten());
        // boxed: it is handed from one to the next, each of which would copy it
        let ctx = Box::new(Context {
            kinds: self.core.kinds.load_full(),
            app: self,
            asked: auth::Attributes::default(),
            info: Arc::new(info),
            query,
            headers: parts.headers.clone(),
            warnings: Warnings::default(),
            emptied: Emptied::default(),
            trail: Trail::default(),
        });
        let mut response = match due {
            Ok(due) => {
                let longest = ctx.app.request_timeout;
                let until = patience(received.into_std(), due.map(Instant::into_std), longest);
                let times = Times {
                    received,
                    due,
                    until,
                };
                within(times, ctx, parts, body).await
            }
            Err(status) => {
                drop(body);
                ctx.failure(&status)
            }
        };
        if let Some(loan) = loan {
            loan.discard(expects).await;
        }
        if let Some(id) = audit_id {
            response.headers_mut().entry(AUDIT_ID).or_insert(id);
        }
        Ok(gzip::pack(response))
    }

    /// The name of a request in what is told of it: the client's, or a new one, which what is behind this server sees, too. What this process asks
    /// of itself has one where somebody is told.
    fn audit_id(&self, parts: &mut http::request::Parts) -> Option<HeaderValue> {
        if self.audit.is_none() && parts.extensions.get::<InProcess>().is_some() {
            return None;
        }
        let given = parts.headers.get(AUDIT_ID).filter(|id| !id.is_empty());
        if let Some(given) = given {
            return Some(given.clone());
        }
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let id = HeaderValue::from_str(&id.to_string()).ok()?;
        parts.headers.insert(AUDIT_ID, id.clone());
        parts.extensions.insert(audit::OwnId);
        Some(id)
    }

    /// Begins to tell of a request; false: it was not taken.
    async fn tell(
        &self,
        audit: &Arc<Audit>,
        ctx: &mut Context,
        parts: &http::request::Parts,
        known: bool,
    ) -> bool {
        let peer = match parts.extensions.get::<InProcess>() {
            Some(_) => Some(Ipv4Addr::LOCALHOST.into()),
            None => parts.extensions.get::<Peer>().map(|peer| peer.0.ip()),
        };
        let uri = &parts.uri;
        ctx.trail = Trail::begin(
            audit,
            audit::Request {
                audit_id: ctx.header(AUDIT_ID.as_str()),
                uri: uri.path_and_query().map_or(uri.path(), |uri| uri.as_str()),
                user_agent: ctx.header("user-agent"),
                source_ips: audit::source_ips(&parts.headers, peer),
                received: self.core.clock.now(),
                asked: &ctx.asked,
                known,
            },
        );
        !known || ctx.trail.reach(Stage::RequestReceived).await
    }

    /// Authentication, impersonation, a place among the requests that are answered, authorization. Who may not has a place, too, until it is told.
    async fn admit(
        &self,
        ctx: &mut Context,
        parts: &http::request::Parts,
        (until, place, waited): (std::time::Instant, &mut Place, &mut Duration),
    ) -> Result<(), Refusal> {
        let in_process = parts.extensions.get::<InProcess>();
        let user = match in_process {
            Some(InProcess(user)) => Some(user.clone()),
            None => {
                let began = Instant::now();
                let user = self.identified(ctx, parts).await;
                let name = user.as_ref().map(|user| user.name.as_str());
                self.metrics.authenticated(name, began.elapsed());
                user
            }
        };
        let known = user.is_some();
        ctx.asked = asked(user.unwrap_or_default(), &ctx.info, &ctx.query);
        if let Some(audit) = &self.audit
            && !self.tell(audit, ctx, parts, known).await
        {
            return Err(Refusal::Untold);
        }
        if !known {
            return Err(Refusal::Unauthenticated);
        }
        let authorizers = &self.core.authorizers;
        if let Some(other) =
            auth::impersonate::impersonate(&parts.headers, &ctx.asked, authorizers).await?
        {
            ctx.asked.user = Arc::new(other);
            ctx.trail.impersonated(&ctx.asked.user);
        }
        // what this process asks of itself, it asks as often as it needs to
        if in_process.is_none() {
            let asks = Asks {
                user: &ctx.asked.user,
                info: &ctx.info,
                query: &ctx.query,
                until,
            };
            let began = Instant::now();
            let entered = self.places.enter(&asks).await;
            *waited = began.elapsed();
            *place = entered.map_err(Refusal::Full)?;
        }
        self.authorized(ctx, parts).await
    }

    /// Whether who asks may.
    async fn authorized(&self, ctx: &Context, parts: &http::request::Parts) -> Result<(), Refusal> {
        let began = Instant::now();
        let verdict = self.core.authorizers.decide(&ctx.asked).await;
        self.metrics.authorized(&verdict, began.elapsed());
        note_verdict(&ctx.trail, &verdict);
        if verdict.allowed() {
            return Ok(());
        }
        if let Some(error) = verdict.error() {
            // who could not be asked might have allowed it, or denied it
            tracing::error!("authorization of {}: {error}", parts.uri);
            return Err(Refusal::Unknown(error));
        }
        let refused = auth::authorize::forbidden(&ctx.asked, verdict.reason());
        if parts.extensions.get::<InProcess>().is_some() {
            // a part of this process lacks a right that it was written to have, or somebody took it away
            tracing::warn!("{}", refused.message);
        }
        Err(refused.into())
    }

    /// Who asks over the network; `None`: nobody who may.
    async fn identified(&self, ctx: &Context, parts: &http::request::Parts) -> Option<Arc<User>> {
        let peer = parts.extensions.get::<Arc<PeerCertificate>>();
        let identity = self
            .authenticator
            .identify(&ctx.info.path, &parts.headers, peer.map(|peer| &**peer))
            .await
            .ok()??;
        if let Some(until) = peer.and_then(|peer| peer.expires()) {
            let now = self.core.clock.now().as_second();
            self.metrics.certified(until - now);
        }
        identity
            .warnings
            .into_iter()
            .for_each(|text| ctx.warnings.add(text));
        Some(identity.user)
    }
}

/// When an answer is due, and until when its request may wait for a place.
#[derive(Clone, Copy)]
struct Times {
    received: Instant,
    due: Option<Instant>,
    until: std::time::Instant,
}

/// The answer, or that it did not come in time.
async fn within(
    times: Times,
    ctx: Box<Context>,
    parts: http::request::Parts,
    body: Body,
) -> Response<Body> {
    let labels = Labels::of(
        &ctx.kinds,
        &ctx.info,
        &parts.method,
        &ctx.query,
        &ctx.headers,
    );
    let app = ctx.app.clone();
    let what = (parts.method.clone(), parts.uri.clone());
    // boxed: what a verb needs is much, and neither the stack nor a connection that waits is to hold it
    let work = Box::pin(answered(times, ctx, parts, body, labels));
    let work = panics::caught(&what, work);
    let Some(due) = times.due else {
        let mut response = work.await;
        response.extensions_mut().insert(deadline::LongRunning);
        return response;
    };
    let in_time = tokio::time::timeout_at(due, work).await;
    in_time.unwrap_or_else(|_| {
        if let Some(labels) = labels {
            app.metrics.terminated(labels, 504);
        }
        deadline::answer()
    })
}

/// Admits, finds the verb, and keeps the request's place until its answer is sent. A write that has begun is carried on with to its end, whoever
/// still waits for it: what it took (addresses, budgets) must not be given back while it is stored after all.
async fn answered(
    times: Times,
    mut ctx: Box<Context>,
    parts: http::request::Parts,
    body: Body,
    labels: Option<Labels>,
) -> Response<Body> {
    let app = ctx.app.clone();
    let mut place = Place::default();
    let mut waited = Duration::ZERO;
    let turn = (times.until, &mut place, &mut waited);
    let admitted = app.admit(&mut ctx, &parts, turn).await;
    let detached = admitted.is_ok()
        && times.due.is_some()
        && inflight::is_mutating(&ctx.info)
        && parts.extensions.get::<InProcess>().is_none();
    let what = detached.then(|| (parts.method.clone(), parts.uri.clone()));
    let trail = ctx.trail.clone();
    let told = trail.is_on() && !matches!(admitted, Err(Refusal::Untold));
    let long = deadline::long_running(&ctx.info);
    let refused = matches!(admitted, Err(Refusal::Unauthenticated));
    let work = Box::pin(answered_to(
        ctx,
        admitted,
        parts,
        body,
        (labels, times.received, waited),
    ));
    let work = async move {
        let response = match told {
            true => audit::watched(trail, long, refused, work).await,
            false => work.await,
        };
        place.until_sent(response)
    };
    let Some(what) = what else {
        return work.await;
    };
    let work = async move { panics::caught(&what, work).await };
    let done = skiff_watching::task::spawn(work).await;
    done.unwrap_or_else(|error| panics::answer(&Default::default(), &error))
}

/// What the authorizers said, for the audit log.
fn note_verdict(trail: &Trail, verdict: &auth::Verdict) {
    const REASON: &str = "authorization.k8s.io/reason";
    let allowed = verdict.allowed();
    if !allowed && verdict.error().is_some() {
        return trail.note(REASON, "internal error");
    }
    let said = if allowed { "allow" } else { "forbid" };
    trail.note("authorization.k8s.io/decision", said);
    trail.note(REASON, verdict.reason());
}

fn internal(ctx: &Context, parts: &http::request::Parts, why: &str) -> Response<Body> {
    let uri = &parts.uri;
    let uri = go_quote(uri.path_and_query().map_or(uri.path(), |uri| uri.as_str()));
    ctx.text(500, format!("Internal Server Error: {uri}: {why}\n"))
}

async fn answered_to(
    ctx: Box<Context>,
    admitted: Result<(), Refusal>,
    parts: http::request::Parts,
    body: Body,
    (labels, received, waited): (Option<Labels>, Instant, Duration),
) -> Response<Body> {
    let app = ctx.app.clone();
    match admitted {
        Ok(()) => {}
        Err(Refusal::Status(status)) => {
            let mut response = ctx.failure(&status);
            let nosniff = HeaderValue::from_static("nosniff");
            let headers = response.headers_mut();
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
            return response;
        }
        Err(Refusal::Unauthenticated) => return ctx.failure(&Status::unauthorized()),
        Err(Refusal::Untold) => return internal(&ctx, &parts, "failed to store audit event"),
        Err(Refusal::Unknown(why)) => return internal(&ctx, &parts, &why),
        Err(Refusal::Full(refused)) => {
            if let Some(labels) = labels {
                let answered = Answered {
                    code: 429,
                    took: received.elapsed(),
                    waited,
                    sent: None,
                    read: None,
                };
                app.metrics.count(labels, &answered);
                app.metrics.terminated(labels, 429);
            }
            return too_many(&ctx, &refused);
        }
    }
    let Some(labels) = labels else {
        return dispatch(ctx, parts, body).await;
    };
    let (response, spent) = spent::noticing(dispatch(ctx, parts, body)).await;
    let Spent {
        waited: others,
        body,
    } = spent;
    let answered = Answered {
        code: response.status().as_u16(),
        took: received.elapsed(),
        waited: waited + others.get(),
        sent: response.body().size_hint().exact(),
        read: body.get(),
    };
    app.metrics.count(labels, &answered);
    // a watch goes on as long as its body does
    let streams = answered.sent.is_none();
    match app.metrics.begins(labels).filter(|_| streams) {
        Some(watch) => response.map(|body| Body::new(Held::new(body, watch, Until::Dropped))),
        None if streams => response.map(|body| app.metrics.while_sent(labels, body)),
        None => response,
    }
}

async fn dispatch(ctx: Box<Context>, parts: http::request::Parts, body: Body) -> Response<Body> {
    if let Some(known) = ctx.app.aggregation.delegating()
        && let Some(remote) = known.answers(&ctx.kinds, &ctx.info)
    {
        return Box::pin(delegate::serve(&ctx, remote, parts, body)).await;
    }
    if !ctx.info.is_resource {
        return match discovery::serve(&ctx) {
            Some(answer) => answer.unwrap_or_else(|status| ctx.failure(&status)),
            None => non_resource::serve(&ctx).await,
        };
    }
    match verbs::serve(ctx, parts, body).await {
        Ok(response) => response,
        Err((ctx, status)) => ctx.failure(&status),
    }
}

/// The answer to a request that found no place.
fn too_many(ctx: &Context, refused: &Refused) -> Response<Body> {
    let mut response = ctx.text(429, "Too many requests, please try again later.\n");
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, refused.after.into());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    refused.mark(headers);
    response
}

/// The request as authorizers see it.
fn asked(user: Arc<User>, info: &RequestInfo, query: &Query) -> auth::Attributes {
    auth::Attributes {
        user,
        verb: info.verb.clone(),
        resource_request: info.is_resource,
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        path: info.path.clone(),
        field_selector: query.text("fieldSelector").into(),
        label_selector: query.text("labelSelector").into(),
    }
}
