//! Paths that are no resources: health, version, the index of paths, OpenAPI, keys for verifying tokens, metrics.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/server/{healthz,routes}`.

use axum::body::Body;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use skiff_api::machinery::{schema::to_ordered_json, status::Status};

use crate::{
    context::Context,
    health::Endpoint,
    metrics, negotiate,
    openapi::{self, Found},
};

/// What `/version` tells: the API that is served, under the name of what serves it.
pub const GIT_VERSION: &str = concat!("v1.36.2+skiff-", env!("CARGO_PKG_VERSION"));

/// Documents that may be read, and nothing else be done with; what the rest answers, it answers to any method.
const READ_ONLY: [&str; 3] = [
    "/version",
    "/openid/v1/jwks",
    "/.well-known/openid-configuration",
];

pub async fn serve(ctx: &Context) -> Response<Body> {
    let path = ctx.info.path.as_str();
    if ctx.info.verb != "get" && READ_ONLY.contains(&path.trim_end_matches('/')) {
        return ctx.failure(&Status::method_not_allowed());
    }
    let made = match path {
        "/version" | "/.well-known/openid-configuration" => Some("application/json"),
        "/openid/v1/jwks" => Some("application/jwk-set+json"),
        _ => None,
    };
    if let Some(made) = made
        && let Err(status) = negotiate::route_of(&ctx.headers, &[made])
    {
        return ctx.failure(&status);
    }
    if path.starts_with("//") || matches!(path, "/metrics/" | "/index.html/") {
        return ctx.text(404, "404 page not found\n");
    }
    match path.trim_end_matches('/') {
        "" | "/index.html" => index(ctx),
        "/version" => indented(ctx, &version(), openapi::VERSION_FIELDS),
        "/metrics" => {
            let app = &ctx.app;
            let others = metrics::Others {
                places: &app.places,
                core: &app.core,
                admission: &app.writer.admission,
                audit: app.audit.as_deref(),
                known: &app.aggregation.known(),
            };
            let text = app.metrics.text(&others, &version());
            metrics(ctx, text)
        }
        "/openid/v1/jwks" => cacheable(
            ctx,
            &ctx.app.tokens.jwks(),
            KEYS_ORDER,
            "application/jwk-set+json",
        ),
        "/.well-known/openid-configuration" => {
            let configuration = ctx
                .app
                .tokens
                .openid_configuration(&ctx.app.external_address);
            cacheable(ctx, &configuration, CONFIGURATION_ORDER, "application/json")
        }
        _ => match path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((path.trim_start_matches('/'), ""))
        {
            ("metrics", "slis") => metrics(ctx, ctx.app.health.metrics()),
            ("openapi", _) => openapi(ctx, path.strip_prefix("/openapi/").unwrap_or("")),
            ("debug", which) => debug(ctx, which),
            _ => match health_of(path) {
                Some((endpoint, check)) => health(ctx, endpoint, check),
                None => ctx.text(404, "404 page not found\n"),
            },
        },
    }
}

fn metrics(ctx: &Context, text: String) -> Response<Body> {
    let media = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    ctx.finish(200, media, Body::from(text))
}

/// Which check is asked for, or all of an endpoint.
fn health_of(path: &str) -> Option<(Endpoint, Option<&str>)> {
    let path = path.strip_prefix('/')?;
    Endpoint::ALL.into_iter().find_map(|endpoint| {
        let rest = path.strip_prefix(endpoint.name())?;
        match rest.is_empty() {
            true => Some((endpoint, None)),
            false => Some((endpoint, Some(rest.strip_prefix('/')?))),
        }
    })
}

/// The order of the fields of documents that are no objects of the API.
const KEYS_ORDER: &[&str] = &[
    "keys", "use", "kty", "kid", "crv", "alg", "x", "y", "n", "e",
];
const CONFIGURATION_ORDER: &[&str] = &[
    "issuer",
    "jwks_uri",
    "response_types_supported",
    "subject_types_supported",
    "id_token_signing_alg_values_supported",
];

/// A document for people, which is always indented.
fn indented(ctx: &Context, value: &Value, order: &[&str]) -> Response<Body> {
    ctx.finish(
        200,
        "application/json",
        Body::from(to_ordered_json(value, order, true)),
    )
}

/// What those who verify tokens read, and may keep for an hour.
fn cacheable(
    ctx: &Context,
    value: &Value,
    order: &[&str],
    media_type: &'static str,
) -> Response<Body> {
    let mut response = ctx.finish(
        200,
        media_type,
        Body::from(to_ordered_json(value, order, false)),
    );
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=3600"),
    );
    response
}

pub fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
        "goVersion": "none", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}

fn index(ctx: &Context) -> Response<Body> {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(String::from)
    .into();
    for group in ctx.app.aggregation.known().groups(&ctx.kinds) {
        let name = group.name;
        paths.push(format!("/apis/{name}"));
        let versions = group.versions.iter();
        paths.extend(versions.map(|version| format!("/apis/{name}/{version}")));
    }
    for endpoint in Endpoint::ALL {
        let names = ctx.app.health.names(endpoint);
        paths.extend(names.map(|name| format!("/{}/{name}", endpoint.name())));
    }
    paths.sort();
    debug_assert!(!ctx.kinds.all().is_empty());
    indented(ctx, &json!({"paths": paths}), &[])
}

fn openapi(ctx: &Context, which: &str) -> Response<Body> {
    let known = ctx.app.aggregation.known();
    let found = ctx
        .app
        .openapi
        .find(&ctx.kinds, &known, which, &ctx.headers);
    let (document, media) = match found {
        Found::Nothing => return ctx.text(404, "404 page not found\n"),
        Found::Unknown => return bare(ctx, 404),
        Found::NotAcceptable => {
            let mut response = bare(ctx, 406);
            vary(&mut response);
            return response;
        }
        // what its text looks like is its type
        Found::Index(document) => {
            return ctx.finish(200, "text/plain; charset=utf-8", Body::from(document.bytes));
        }
        Found::Document(document, media) => (document, media),
    };
    let path = which.strip_prefix("v3/");
    let given = ctx.query.text("hash");
    let elsewhere = path.filter(|_| !given.is_empty() && given != document.tag);
    let tag = format!("\"{}\"", document.tag);
    let mut response = if elsewhere.is_some() {
        ctx.finish(301, media, Body::empty())
    } else if is_known(ctx, &tag) {
        ctx.finish(304, media, Body::empty())
    } else {
        ctx.finish(200, media, Body::from(document.bytes))
    };
    vary(&mut response);
    let headers = response.headers_mut();
    let mut tell = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    tell(header::ETAG, &tag);
    if let Some(path) = elsewhere {
        tell(header::LOCATION, &openapi::address(path, &document.tag));
    } else if path.is_some() && !given.is_empty() {
        tell(header::CACHE_CONTROL, "public, immutable");
        let year = jiff::SignedDuration::from_hours(365 * 24);
        if let Ok(expires) = ctx.app.core.now().checked_add(year) {
            let text = expires.strftime("%a, %d %b %Y %H:%M:%S UTC");
            tell(header::EXPIRES, &text.to_string());
        }
    }
    response
}

/// An answer of a code alone.
fn bare(ctx: &Context, code: u16) -> Response<Body> {
    let mut response = ctx.finish(code, "text/plain", Body::empty());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

fn vary(response: &mut Response<Body>) {
    let accept = HeaderValue::from_static("Accept");
    response.headers_mut().insert(header::VARY, accept);
}

/// Whether the client has what bears this tag.
fn is_known(ctx: &Context, tag: &str) -> bool {
    let given = ctx.header(header::IF_NONE_MATCH.as_str());
    given
        .split(',')
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == tag || one == "*")
}

/// What is shown of priority and fairness to whoever looks into the server.
fn debug(ctx: &Context, which: &str) -> Response<Body> {
    let which = which.strip_prefix("api_priority_and_fairness/");
    let fair = which.and_then(|which| Some((which, ctx.app.places.fair()?)));
    let details = !ctx.query.text("includeRequestDetails").is_empty();
    let dump = fair.and_then(|(which, fair)| fair.dump(which, details, ctx.app.core.now()));
    match dump {
        Some(text) => ctx.text(200, text),
        None => ctx.text(404, "404 page not found\n"),
    }
}

fn health(ctx: &Context, endpoint: Endpoint, check: Option<&str>) -> Response<Body> {
    let health = &ctx.app.health;
    if let Some(check) = check {
        return match health.one(endpoint, check) {
            Some(Ok(())) => ctx.text(200, "ok"),
            Some(Err(why)) => ctx.text(500, format!("internal server error: {why}\n")),
            None => ctx.text(404, "404 page not found\n"),
        };
    }
    let excluded: Vec<&str> = ctx.query.all("exclude").collect();
    let report = health.report(endpoint, &excluded);
    let (lines, name) = (report.lines, endpoint.name());
    let mut response = match report.well {
        false => ctx.text(500, format!("{lines}{name} check failed\n")),
        true if ctx.query.get("verbose").is_none() => ctx.text(200, "ok"),
        true => ctx.text(200, format!("{lines}{name} check passed\n")),
    };
    let nosniff = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
