//! The server's state and the way of a request through it: who asks, what for, may they, and then the verb.
//!
//! Invariant: nothing answers before authentication and authorization have passed.
//! Follows the handler chain of `staging/src/k8s.io/apiserver/pkg/server/config.go`.

use std::{convert::Infallible, sync::Arc};

use arc_swap::ArcSwap;
use axum::body::Body;
use http::{Request, Response, header};
use parking_lot::Mutex;
use skiff_api::{
    kinds::Registry,
    machinery::{clock::SharedClock, status::Status},
};
use skiff_storage::{Key, Object, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Chain,
    allocate::Allocator,
    auth::{
        self, Authorizer, Decision, Objects, User, authenticate::Authenticator,
        authorize::Authorizers, pki::PeerCertificate,
    },
    context::Context,
    discovery,
    limits::{
        deadline,
        inflight::{self, InFlight, Place},
        panics, remainder,
    },
    metrics::Labels,
    non_resource,
    request::{Query, RequestInfo},
    verbs,
};

/// Everything that requests share.
pub struct App {
    /// What is served now; replaced whole.
    pub kinds: ArcSwap<Registry>,
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub authenticator: Authenticator,
    pub authorizers: Authorizers,
    pub admission: Chain,
    pub allocator: Arc<Allocator>,
    pub tokens: Arc<auth::authenticate::service_account::Issuer>,
    pub transports: crate::subresources::connect::Transports,
    pub metrics: crate::metrics::Metrics,
    pub openapi: crate::openapi::Documents,
    /// Host and port under which the server says that it is reached from elsewhere.
    pub external_address: String,
    pub in_flight: InFlight,
    pub warns_of_no_effect: bool,
    /// `--request-timeout`.
    pub request_timeout: std::time::Duration,
    /// Ends watches and other long answers when the server stops.
    pub stopping: CancellationToken,
}

/// Who asks, for requests that do not come through the network: controllers and the scheduler of this process.
#[derive(Clone)]
pub struct InProcess(pub Arc<User>);

/// The store, as authentication and authorization read it.
pub struct StoredObjects(pub Arc<dyn Store>);

impl Objects for StoredObjects {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.get(&Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }
    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.0.snapshot(resource).range(namespace, None).collect()
    }
    fn version(&self, resource: &str) -> u64 {
        self.0.resource_revision(resource)
    }
}

/// Why a request got no verb's answer.
enum Refusal {
    Status(Status),
    /// Too many are being answered already.
    Full,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Status(status)
    }
}

impl App {
    /// Serves other kinds from now on; requests that have begun keep those that they know.
    pub fn serve(&self, change: impl Fn(&Registry) -> Registry) {
        self.kinds.rcu(|kinds| change(kinds));
    }

    /// Answers one request. Never fails: what goes wrong is a Status.
    pub async fn handle(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let query = Query::read(parts.uri.query());
        let info = RequestInfo::read(&parts.method, parts.uri.path(), &query);
        let due = deadline::of(&info, &query, self.request_timeout);
        let expects = parts.headers.contains_key(header::EXPECT);
        let (body, loan) = remainder::lend(body, due.as_ref().ok().copied().flatten());
        let kinds = self.kinds.load_full();
        let ctx = Context {
            app: self,
            kinds,
            user: Arc::default(),
            info,
            query,
            headers: parts.headers.clone(),
            warnings: Mutex::default(),
        };
        let response = match due {
            Ok(due) => within(due, ctx, parts, body).await,
            Err(status) => {
                drop(body);
                ctx.failure(&status)
            }
        };
        if let Some(loan) = loan {
            loan.discard(expects).await;
        }
        Ok(response)
    }

    /// Authentication, a place among the requests in flight, impersonation, authorization.
    async fn admit(
        &self,
        ctx: &mut Context,
        parts: &http::request::Parts,
    ) -> Result<Place, Refusal> {
        let (user, place) = match parts.extensions.get::<InProcess>() {
            // what this process asks of itself, it asks as often as it needs to
            Some(InProcess(user)) => (user.clone(), Place::default()),
            None => {
                let peer = parts
                    .extensions
                    .get::<Arc<PeerCertificate>>()
                    .map(|peer| &**peer);
                let Ok(Some(identity)) = self.authenticator.identify(&parts.headers, peer) else {
                    return Err(Status::unauthorized().into());
                };
                identity
                    .warnings
                    .into_iter()
                    .for_each(|text| ctx.warn(text));
                let user = identity.user;
                let place = match deadline::long_running(&ctx.info) {
                    true => Place::default(),
                    false => self
                        .in_flight
                        .enter(&ctx.info, &user)
                        .ok_or(Refusal::Full)?,
                };
                (user, place)
            }
        };
        ctx.user = user;
        if let Some(other) =
            auth::impersonate::impersonate(&parts.headers, &attributes(ctx), &self.authorizers)?
        {
            ctx.user = Arc::new(other);
        }
        let attributes = attributes(ctx);
        match self.authorizers.authorize(&attributes) {
            Decision::Allow(_) => Ok(place),
            decision => {
                let refused = auth::authorize::forbidden(&attributes, decision.reason());
                if parts.extensions.get::<InProcess>().is_some() {
                    // a part of this process lacks a right that it was written to have, or somebody took it away
                    tracing::warn!("{}", refused.message);
                }
                Err(refused.into())
            }
        }
    }
}

/// The answer, or that it did not come in time. A write that has begun is carried on with to its end, whoever still waits for it: what it took
/// (addresses, budgets) must not be given back while it is stored after all.
async fn within(
    due: Option<Instant>,
    ctx: Context,
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
    let detached = due.is_some()
        && inflight::is_mutating(&ctx.info)
        && parts.extensions.get::<InProcess>().is_none();
    // boxed: what a verb needs is much, and neither the stack nor a connection that waits is to hold it
    let work = Box::pin(answered(ctx, parts, body, labels));
    let work = async move { panics::caught(&what, work).await };
    let Some(due) = due else {
        let mut response = work.await;
        response.extensions_mut().insert(deadline::LongRunning);
        return response;
    };
    let in_time = match detached {
        true => tokio::time::timeout_at(due, skiff_watching::task::spawn(work))
            .await
            .map(|done| done.unwrap_or_else(|error| panics::answer(&Default::default(), &error))),
        false => tokio::time::timeout_at(due, work).await,
    };
    in_time.unwrap_or_else(|_| {
        if let Some(labels) = labels {
            app.metrics.terminated(labels, 504);
        }
        deadline::answer()
    })
}

/// Admits, finds the verb, and keeps the request's place until its answer is sent.
async fn answered(
    mut ctx: Context,
    parts: http::request::Parts,
    body: Body,
    labels: Option<Labels>,
) -> Response<Body> {
    let app = ctx.app.clone();
    let place = match app.admit(&mut ctx, &parts).await {
        Ok(place) => place,
        Err(Refusal::Status(status)) => return ctx.failure(&status),
        Err(Refusal::Full) => {
            if let Some(labels) = labels {
                app.metrics.count(labels, 429);
                app.metrics.terminated(labels, 429);
            }
            return inflight::too_many(&ctx);
        }
    };
    let response = dispatch(ctx, parts, body).await;
    if let Some(labels) = labels {
        app.metrics.count(labels, response.status().as_u16());
    }
    place.until_sent(response)
}

async fn dispatch(ctx: Context, parts: http::request::Parts, body: Body) -> Response<Body> {
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

/// The request as authorizers see it.
pub fn attributes(ctx: &Context) -> auth::Attributes {
    let info = &ctx.info;
    auth::Attributes {
        user: ctx.user.clone(),
        verb: info.verb.clone(),
        resource_request: info.is_resource,
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        path: info.path.clone(),
        field_selector: ctx.query.text("fieldSelector").into(),
        label_selector: ctx.query.text("labelSelector").into(),
    }
}
