//! What a verb has at hand while it answers one request, and how answers are made.
//!
//! Invariant: every answer of the API passes here, so that encoding, warnings and headers are the same everywhere.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use skiff_api::{
    kinds::Registry,
    machinery::{
        field::{Errors, Path},
        object_meta,
        schema::Node,
        status::Status,
    },
};
use skiff_storage::Text;

use crate::{
    app::App,
    audit::{Negotiated, Trail},
    auth,
    emptied::Emptied,
    encoding::{List, gzip},
    negotiate::{self, Accept, Offers},
    request::{Query, RequestInfo},
    write::{Call, Options, Warnings},
};

pub type Answer = Result<Response<Body>, Status>;

/// One request on its way.
pub struct Context {
    pub app: Arc<App>,
    /// The kinds as they were when the request came.
    pub kinds: Arc<Registry>,
    /// Who asks, and for what.
    pub asked: auth::Attributes,
    pub info: Arc<RequestInfo>,
    pub query: Query,
    pub headers: HeaderMap,
    pub warnings: Warnings,
    /// What its body gave that holds nothing.
    pub emptied: Emptied,
    /// What is told of the request.
    pub trail: Trail,
}

impl Context {
    pub fn warn(&self, text: impl Into<String>) {
        self.warnings.add(text);
    }

    /// The request as a write, whose parameters are those of `kind` (`CreateOptions`).
    pub fn call(&self, kind: &str) -> Result<Call<'_>, Status> {
        self.call_after(kind, Errors::default())
    }

    /// The same, where something is wrong with parameters that only this kind has.
    pub fn call_after(&self, kind: &str, mut errors: Errors) -> Result<Call<'_>, Status> {
        let manager = self.query.text("fieldManager");
        object_meta::field_manager(manager, &Path::new("fieldManager"), &mut errors);
        let dry: Vec<&str> = self.query.all("dryRun").collect();
        let dry_run = !dry.is_empty();
        if dry.iter().any(|value| *value != "All") {
            errors.not_supported(&Path::new("dryRun"), dry, &["All"]);
        }
        let given = self.query.text("fieldValidation");
        if !matches!(given, "" | "Ignore" | "Warn" | "Strict") {
            errors.not_supported(
                &Path::new("fieldValidation"),
                given,
                &["", "Ignore", "Strict", "Warn"],
            );
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", &errors));
        }
        Ok(self.call_with(Options {
            dry_run,
            field_manager: self.field_manager(),
            force: self.query.flag("force"),
            given: (manager.into(), given.into()),
            admitted: false,
        }))
    }

    /// The request as a write with options that stand elsewhere than in its query.
    pub fn call_with(&self, options: Options) -> Call<'_> {
        Call {
            writer: &self.app.writer,
            kinds: &self.kinds,
            asked: &self.asked,
            options,
            warnings: &self.warnings,
            emptied: &self.emptied,
            trail: &self.trail,
            conversions: Default::default(),
            charged: Default::default(),
        }
    }

    /// The name under which a write's fields are managed: the parameter, else the first part of the User-Agent.
    fn field_manager(&self) -> String {
        match self.query.text("fieldManager") {
            "" => {
                let agent = self
                    .headers
                    .get(header::USER_AGENT)
                    .and_then(|v| v.to_str().ok())
                    .unwrap_or("");
                let name = agent.split('/').next().unwrap_or("");
                let name: String = name.chars().take(128).collect();
                if name.is_empty() {
                    "unknown".into()
                } else {
                    name
                }
            }
            given => given.into(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// Whether a person asked (curl, a browser, `?pretty`): indented JSON.
    pub fn wants_pretty(&self, accept: &Accept) -> bool {
        if accept.pretty {
            return true;
        }
        if self.query.get("pretty").is_some() {
            return self.query.flag("pretty");
        }
        let agent = self.header("user-agent");
        agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0")
    }

    /// A stored object, whose type is at `node`.
    pub fn stored(&self, code: u16, accept: &Accept, object: &Text, node: Node) -> Answer {
        let encoded = accept
            .encoding
            .stored(object, node, self.wants_pretty(accept))?;
        Ok(self.encoded(code, accept, Body::from(encoded)))
    }

    /// A list of stored objects; `None`: it cannot be sent as they are stored.
    pub async fn list(&self, accept: &Accept, list: List<'_>) -> Result<Option<Answer>, Status> {
        let body = accept
            .encoding
            .list(list, self.wants_pretty(accept))
            .await?;
        Ok(body.map(|body| Ok(self.encoded(200, accept, body))))
    }

    /// A document in the order of the fields of the kind that it says it is.
    pub fn value(&self, code: u16, accept: &Accept, value: &Value) -> Answer {
        let encoded = accept.encoding.document(value, self.wants_pretty(accept))?;
        Ok(self.encoded(code, accept, Body::from(encoded)))
    }

    /// A document that is encoded already.
    pub fn written(&self, accept: &Accept, document: Vec<u8>) -> Response<Body> {
        self.encoded(200, accept, Body::from(document))
    }

    pub fn failure(&self, status: &Status) -> Response<Body> {
        let accept = negotiate::accept(&self.headers, Offers::PLAIN).unwrap_or(Accept {
            pretty: true,
            ..Accept::JSON
        });
        let mut response = match self.value(status.code, &accept, &status.to_value()) {
            Ok(response) => response,
            Err(_) => self.finish(500, "text/plain", Body::empty()),
        };
        if let Some(seconds) = status
            .details
            .as_ref()
            .map(|d| d.retry_after_seconds)
            .filter(|s| *s > 0)
        {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }

    pub fn text(&self, code: u16, text: impl Into<String>) -> Response<Body> {
        let mut response = self.finish(code, "text/plain; charset=utf-8", Body::from(text.into()));
        // Go's `http.Error` says so
        if code >= 400 {
            let nosniff = HeaderValue::from_static("nosniff");
            let headers = response.headers_mut();
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        }
        response
    }

    /// An answer that is an object of the API.
    fn encoded(&self, code: u16, accept: &Accept, body: Body) -> Response<Body> {
        let mut response = self.finish(code, accept.encoding.media_type(), body);
        gzip::mark(&mut response, &self.headers);
        if self.trail.is_on() {
            response.extensions_mut().insert(Negotiated);
        }
        response
    }

    pub fn finish(&self, code: u16, media_type: &'static str, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        for warning in self.warnings.headers() {
            headers.append(header::WARNING, warning);
        }
        response
    }
}
