//! A handler that panics: its request is answered with 500, and nobody else notices.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/server/filters/wrap.go` for the answer's text.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use axum::body::Body;
use futures::FutureExt;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};

/// A request, as the log names it.
pub type Request = (Method, Uri);

/// The answer of `work`, or that it broke off.
pub async fn caught(what: &Request, work: impl Future<Output = Response<Body>>) -> Response<Body> {
    // the state that handlers share is behind locks that do not poison, and changed in one step
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => answer(what, &*panic),
    }
}

/// What a panic says of itself.
pub fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("")
}

pub fn answer(what: &Request, panic: &(dyn Any + Send)) -> Response<Body> {
    let said = said(panic);
    tracing::error!(method = %what.0, uri = %what.1, panic = said, "a request caused a panic");
    let mut response = Response::new(Body::from(
        "This request caused apiserver to panic. Look in the logs for details.\n",
    ));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let response = caught(&Default::default(), async { panic!("as if") }).await;
        assert_eq!(response.status(), 500);
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            text,
            "This request caused apiserver to panic. Look in the logs for details.\n"
        );
    }
}
