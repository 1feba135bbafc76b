//! The server's state and the way of a request through it: who asks, what for, may they, and then the verb.
//!
//! Invariant: nothing answers before authentication and authorization have passed.
//! Follows the handler chain of `staging/src/k8s.io/apiserver/pkg/server/config.go`.

use std::{convert::Infallible, sync::Arc};

use axum::body::Body;
use http::{Request, Response};
use parking_lot::Mutex;
use skiff_api::machinery::{clock::SharedClock, status::Status};
use skiff_storage::{Key, Object, Store};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Chain,
    allocate::Allocator,
    auth::{self, Authorizer, Decision, Objects, User, authenticate::Authenticator, authorize::Authorizers, pki::PeerCertificate},
    context::Context,
    discovery, non_resource,
    request::{Query, RequestInfo},
    verbs,
};

/// Everything that requests share.
pub struct App {
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub authenticator: Authenticator,
    pub authorizers: Authorizers,
    pub admission: Chain,
    pub allocator: Arc<Allocator>,
    pub tokens: Arc<auth::authenticate::service_account::Issuer>,
    pub node_client: crate::subresources::node_proxy::NodeClient,
    pub metrics: crate::metrics::Metrics,
    /// Host and port under which the server says that it is reached from elsewhere.
    pub external_address: String,
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
        self.0.get(&Key { resource: resource.into(), namespace: namespace.into(), name: name.into() })
    }
    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.0.snapshot(resource).range(namespace, None).collect()
    }
    fn version(&self, resource: &str) -> u64 {
        self.0.resource_revision(resource)
    }
}

impl App {
    /// Answers one request. Never fails: what goes wrong is a Status.
    pub async fn handle(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let query = Query::read(parts.uri.query());
        let info = RequestInfo::read(&parts.method, parts.uri.path(), &query);
        let ctx = Context { app: self.clone(), user: Arc::default(), info, query, headers: parts.headers.clone(), warnings: Mutex::default() };
        let counted = ctx.info.clone();
        let response = match self.admit(ctx, &parts).await {
            Ok(ctx) => self.dispatch(ctx, parts, body).await,
            Err((ctx, status)) => ctx.failure(&status),
        };
        self.metrics.count(&counted, response.status().as_u16());
        Ok(response)
    }

    /// Authentication, impersonation, authorization.
    async fn admit(&self, mut ctx: Context, parts: &http::request::Parts) -> Result<Context, (Box<Context>, Status)> {
        let user = match parts.extensions.get::<InProcess>() {
            Some(InProcess(user)) => user.clone(),
            None => match self.authenticator.authenticate(&parts.headers, parts.extensions.get::<Arc<PeerCertificate>>().map(|peer| &**peer)).await {
                Ok(Some(user)) => Arc::new(user),
                Ok(None) | Err(_) => return Err((Box::new(ctx), Status::unauthorized())),
            },
        };
        ctx.user = user;
        match auth::impersonate::impersonate(&parts.headers, &attributes(&ctx), &self.authorizers) {
            Ok(Some(other)) => ctx.user = Arc::new(other),
            Ok(None) => {}
            Err(status) => return Err((Box::new(ctx), status)),
        }
        let attributes = attributes(&ctx);
        match self.authorizers.authorize(&attributes) {
            Decision::Allow(_) => Ok(ctx),
            decision => Err((Box::new(ctx), auth::authorize::forbidden(&attributes, decision.reason()))),
        }
    }

    async fn dispatch(self: &Arc<Self>, ctx: Context, parts: http::request::Parts, body: Body) -> Response<Body> {
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
