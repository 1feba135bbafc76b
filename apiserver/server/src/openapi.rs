//! OpenAPI documents.
use axum::body::Body;
use http::Response;
use crate::context::Context;
pub fn serve(ctx: &Context, _which: &str) -> Response<Body> { ctx.text(404, "404 page not found\n") }
