//! How long a request may take: a minute, or less when its sender says so; watches and streams as long as they like.
//!
//! Invariant: the time runs from the request's first line to its answer, its body's arrival included.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/filters/request_deadline.go`, `.../server/filters/{timeout,longrunning}.go`.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use skiff_api::machinery::{gonum, status::Status};
use tokio::time::Instant;

use crate::request::{Query, RequestInfo};

/// `--request-timeout`.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Marks an answer that is a stream.
#[derive(Clone, Copy)]
pub struct LongRunning;

/// Whether a request is a watch or a stream.
pub fn long_running(info: &RequestInfo) -> bool {
    matches!(info.verb.as_str(), "watch" | "proxy")
        || info.is_resource
            && matches!(
                info.subresource.as_str(),
                "attach" | "exec" | "proxy" | "log" | "portforward"
            )
}

/// When the answer is due; `None`: whenever.
pub fn of(info: &RequestInfo, query: &Query, longest: Duration) -> Result<Option<Instant>, Status> {
    if long_running(info) {
        return Ok(None);
    }
    let asked = match query.text("timeout") {
        "" => 0,
        text => gonum::duration(text).map_err(|why| {
            Status::bad_request(format!(
                "invalid timeout specified in the request URL - {why}"
            ))
        })?,
    };
    let asked = u64::try_from(asked)
        .ok()
        .filter(|nanos| *nanos > 0)
        .map(Duration::from_nanos);
    Ok(Some(
        Instant::now() + asked.map_or(longest, |asked| asked.min(longest)),
    ))
}

/// The answer to a request whose time is over.
pub fn exceeded() -> Status {
    Status::timeout("request did not complete within the allotted timeout", 0)
}

/// The same as an answer; upstream writes it as JSON whatever was asked for.
pub fn answer() -> Response<Body> {
    let mut response = Response::new(Body::from(exceeded().to_value().to_string() + "\n"));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(path: &str, query: &str) -> Result<Option<Duration>, String> {
        let query = Query::read(Some(query));
        let info = RequestInfo::read(&http::Method::GET, path, &query);
        let begun = Instant::now();
        of(&info, &query, LONGEST)
            .map(|due| due.map(|due| due.duration_since(begun)))
            .map_err(|status| status.message)
    }

    #[test]
    fn who_has_how_long() {
        let near = |found: Option<Duration>, seconds: u64| {
            found.is_some_and(|found| found.as_millis().abs_diff(u128::from(seconds) * 1000) < 500)
        };
        for (query, seconds) in [
            ("", 60),
            ("timeout=5s", 5),
            ("timeout=0", 60),
            ("timeout=-1s", 60),
            ("timeout=2562047h47m16.854775807s", 60),
        ] {
            assert!(
                near(due("/api/v1/pods", query).unwrap(), seconds),
                "{query}"
            );
        }
        for (path, query) in [
            ("/api/v1/pods", "watch=1"),
            ("/api/v1/watch/pods", ""),
            ("/api/v1/namespaces/a/pods/x/log", "timeout=nonsense"),
            ("/api/v1/namespaces/a/services/x/proxy/a", ""),
        ] {
            assert_eq!(due(path, query), Ok(None), "{path}");
        }
        assert_eq!(due("/version", "timeout=1"), Err("invalid timeout specified in the request URL - time: missing unit in duration \"1\"".into()));
    }
}
