//! OpenAPI documents.
use crate::context::Context;
use axum::body::Body;
use http::Response;
pub fn serve(ctx: &Context, _which: &str) -> Response<Body> {
    ctx.text(404, "404 page not found\n")
}
