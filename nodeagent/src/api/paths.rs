//! How a path may end: a slash after a service's path says nothing more, and one that a tree's path lacks is asked for.
//!
//! Invariant: nothing is answered at one end of a path that is not answered at the other, but by sending the client there.
//! Follows `tokenizePath` of go-restful, by which upstream routes its services, and `ServeMux` of Go's `net/http` before it.

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};

/// Paths as upstream registers them.
pub trait Paths<S> {
    /// A service, which answers with and without a slash at the end of its path.
    fn service(self, path: &str, handler: MethodRouter<S>) -> Self;

    /// The top of a tree: `path` ends with a slash, and whoever leaves it out is sent there.
    fn tree(self, path: &str, handler: MethodRouter<S>) -> Self;
}

impl<S: Clone + Send + Sync + 'static> Paths<S> for Router<S> {
    fn service(self, path: &str, handler: MethodRouter<S>) -> Self {
        self.route(path, handler.clone())
            .route(&format!("{path}/"), handler)
    }

    fn tree(self, path: &str, handler: MethodRouter<S>) -> Self {
        self.route(path.trim_end_matches('/'), any(to_the_slash))
            .route(path, handler)
    }
}

async fn to_the_slash(request: Request) -> Response {
    let place = with_slash(request.uri());
    let status = StatusCode::TEMPORARY_REDIRECT;
    let mut response = match *request.method() {
        Method::GET => page(&place).into_response(),
        _ => ().into_response(),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if *request.method() == Method::HEAD || *request.method() == Method::GET {
        let html = header::HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, html);
    }
    if let Ok(place) = place.try_into() {
        headers.insert(header::LOCATION, place);
    }
    response
}

/// The same place with a slash at its end, and what is asked of it.
fn with_slash(uri: &Uri) -> String {
    match uri.query() {
        Some(query) => format!("{}/?{query}", uri.path()),
        None => format!("{}/", uri.path()),
    }
}

/// What Go writes for people who are sent elsewhere.
fn page(place: &str) -> String {
    let escaped = place
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;");
    format!("<a href=\"{escaped}\">Temporary Redirect</a>.\n\n")
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn answer(method: &str, path: &str) -> (u16, Option<String>, String) {
        let router: Router = Router::new()
            .service("/pods", get(async || "pods"))
            .tree("/runningpods/", get(async || "running"));
        let request = Request::builder().method(method).uri(path);
        let response = router
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let place = response.headers().get(header::LOCATION);
        let place = place.map(|place| place.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, place, String::from_utf8(body.to_vec()).unwrap())
    }

    /// What Go's `net/http` and go-restful were seen to answer.
    #[tokio::test]
    async fn a_slash_at_the_end_says_nothing_more_or_is_asked_for() {
        for path in ["/pods", "/pods/"] {
            assert_eq!(answer("GET", path).await, (200, None, "pods".into()));
        }
        let there = (200, None, "running".into());
        assert_eq!(answer("GET", "/runningpods/").await, there);
        let page = |place| format!("<a href=\"{place}\">Temporary Redirect</a>.\n\n");
        for (method, path, place, body) in [
            (
                "GET",
                "/runningpods",
                "/runningpods/",
                page("/runningpods/"),
            ),
            (
                "GET",
                "/runningpods?a=1&b=2",
                "/runningpods/?a=1&b=2",
                page("/runningpods/?a=1&amp;b=2"),
            ),
            ("POST", "/runningpods", "/runningpods/", String::new()),
        ] {
            let sent = (307, Some(place.to_owned()), body);
            assert_eq!(answer(method, path).await, sent, "{method} {path}");
        }
        assert_eq!(answer("GET", "/runningpods/x").await.0, 404);
    }
}
