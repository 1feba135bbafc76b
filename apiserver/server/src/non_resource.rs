//! Paths that are no resources: health, version, the index of paths, OpenAPI, keys for verifying tokens, metrics.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/server/{healthz,routes}`.

use axum::body::Body;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use skiff_api::machinery::{schema::to_ordered_json, status::Status};

use crate::{context::Context, discovery, openapi};

/// What `/version` tells: the API that is served, under the name of what serves it.
pub const GIT_VERSION: &str = concat!("v1.36.2+skiff-", env!("CARGO_PKG_VERSION"));

const HEALTH_CHECKS: [&str; 4] = ["ping", "log", "etcd", "poststarthook/rbac/bootstrap-roles"];

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
    match path.trim_end_matches('/') {
        "" => index(ctx),
        "/version" => indented(ctx, &version(), VERSION_ORDER),
        "/metrics" => crate::metrics::serve(ctx),
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
        trimmed => match trimmed
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((trimmed.trim_start_matches('/'), ""))
        {
            ("healthz" | "livez" | "readyz", check) => health(
                ctx,
                trimmed
                    .trim_start_matches('/')
                    .split('/')
                    .next()
                    .unwrap_or(""),
                check,
            ),
            ("openapi", which) => openapi::serve(ctx, which),
            _ => ctx.text(404, "404 page not found\n"),
        },
    }
}

/// The order of the fields of documents that are no objects of the API.
const VERSION_ORDER: &[&str] = &[
    "major",
    "minor",
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
];
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
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(String::from)
    .into();
    for (group, versions) in discovery::groups(&ctx.kinds) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    for check in HEALTH_CHECKS {
        paths.extend(["/healthz", "/livez", "/readyz"].map(|prefix| format!("{prefix}/{check}")));
    }
    paths.sort();
    debug_assert!(!ctx.kinds.all().is_empty());
    indented(ctx, &json!({"paths": paths}), &[])
}

fn health(ctx: &Context, endpoint: &str, check: &str) -> Response<Body> {
    if !check.is_empty() {
        return if HEALTH_CHECKS.contains(&check) {
            ctx.text(200, "ok")
        } else {
            ctx.text(404, "404 page not found\n")
        };
    }
    let stopping = ctx.app.stopping.is_cancelled();
    if endpoint == "readyz" && stopping {
        return ctx.text(
            500,
            "[-]shutdown failed: reason withheld\nreadyz check failed\n",
        );
    }
    if ctx.query.get("verbose").is_none() {
        return ctx.text(200, "ok");
    }
    let excluded: Vec<&str> = ctx.query.all("exclude").collect();
    let mut text = String::new();
    for name in HEALTH_CHECKS {
        text += &if excluded.contains(&name) {
            format!("[+]{name} excluded: ok\n")
        } else {
            format!("[+]{name} ok\n")
        };
    }
    ctx.text(200, format!("{text}{endpoint} check passed\n"))
}
