//! An answer on its way out: its code, its object, and when it begins and ends.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/filters/audit.go`.

use std::panic::AssertUnwindSafe;

use super::{
    event::{Level, Stage},
    trail::Trail,
};
use crate::{encoding::Encoding, limits::panics};
use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Response, StatusCode, header, response::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// Marks an answer that is an object of the API, in the encoding that was asked for.
#[derive(Clone, Copy)]
pub struct Negotiated;

/// An answer that may be a Status is looked at up to this size.
const LARGEST_STATUS: u64 = 64 * 1024;

/// Tells of the stages of a request that `work` answers. One that is `refused` since nobody knows who asks was not told of before, and has one stage.
pub async fn watched(
    trail: Trail,
    long_running: bool,
    refused: bool,
    work: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    let mut open = Open(Some(trail.clone()));
    let response = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let said = panics::said(&*panic).to_owned();
            panicked(&trail, &said).await;
            std::panic::resume_unwind(panic);
        }
    };
    let response = described(&trail, response).await;
    if refused {
        open.0 = None;
        trail.reach(Stage::ResponseStarted).await;
        return response;
    }
    if !long_running {
        trail.reach(Stage::ResponseComplete).await;
        return response;
    }
    trail.reach(Stage::ResponseStarted).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // whoever copies its streams tells of their end
        open.0 = None;
        return response;
    }
    response.map(|body| {
        let frames = body.into_data_stream().map(move |frame| {
            let _held = &open;
            frame
        });
        Body::from_stream(frames)
    })
}

/// A request that is not through. Dropped without an answer, it was given up: its time was over, or its client is gone.
struct Open(Option<Trail>);

impl Drop for Open {
    fn drop(&mut self) {
        let Some(trail) = &self.0 else { return };
        if !trail.is_answered() {
            let message =
                "Timeout: request did not complete within requested timeout - context canceled";
            let status = json!({"status": "Failure", "reason": "Timeout", "message": message, "details": {}});
            trail.answered(504, Some(status), None);
        }
        drop(trail.ending());
    }
}

async fn panicked(trail: &Trail, said: &str) {
    let message = format!("APIServer panic'd: {said}");
    let status = json!({"status": "Failure", "reason": "InternalError", "message": message});
    trail.answered(500, Some(status), None);
    trail.reach(Stage::Panic).await;
}

/// Notes an answer's code, and its object where that is told of.
async fn described(trail: &Trail, mut response: Response<Body>) -> Response<Body> {
    let code = response.status().as_u16();
    let negotiated = response.extensions_mut().remove::<Negotiated>().is_some();
    let is_small = |response: &Response<Body>| {
        let size = response.body().size_hint().exact();
        size.is_some_and(|size| size <= LARGEST_STATUS)
    };
    if !negotiated || !trail.wants(Level::RequestResponse) && !is_small(&response) {
        trail.answered(code, None, None);
        return response;
    }
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(whole) => {
            let bytes = whole.to_bytes();
            note(trail, code, &head, &bytes);
            Response::from_parts(head, Body::from(bytes))
        }
        Err(error) => {
            trail.answered(code, None, None);
            let failed = futures::stream::iter([Err::<Bytes, _>(error)]);
            Response::from_parts(head, Body::from_stream(failed))
        }
    }
}

fn note(trail: &Trail, code: u16, head: &Parts, bytes: &[u8]) {
    let media = head.headers.get(header::CONTENT_TYPE);
    let media = media.and_then(|media| media.to_str().ok());
    // that of the discovery document says of what it is, too
    let encoding = media.and_then(|media| Encoding::of(media.split(';').next()?));
    let json = encoding.and_then(|encoding| encoding.answered(bytes));
    let status = json.as_deref().filter(|json| begins_a_status(json));
    let status = status.and_then(|json| serde_json::from_slice::<Value>(json).ok());
    trail.answered(code, status, json.as_deref());
}

fn begins_a_status(json: &[u8]) -> bool {
    const BEGINNING: &[u8] = br#"{"kind":"Status","apiVersion":"v1","#;
    let letters = json.iter().filter(|byte| !byte.is_ascii_whitespace());
    letters.take(BEGINNING.len()).eq(BEGINNING)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use skiff_api::machinery::clock;

    use super::*;
    use crate::{
        audit::{Audit, Options, Request},
        auth::Attributes,
    };

    /// The stages and codes that are told of a request for this path.
    async fn told(long_running: bool, work: impl Future<Output = Response<Body>>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let (policy, log) = (folder.path().join("policy"), folder.path().join("log"));
        let rules = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]});
        std::fs::write(&policy, rules.to_string()).unwrap();
        let mut options = Options {
            policy_file: Some(policy),
            ..Options::default()
        };
        options.log.path = log.display().to_string();
        let audit = Arc::new(Audit::open(&options, clock::system()).unwrap().unwrap());
        let request = Request {
            audit_id: "one",
            uri: "/version",
            user_agent: "",
            source_ips: Vec::new(),
            received: clock::system().now(),
            asked: &Attributes::default(),
            known: true,
        };
        let trail = Trail::begin(&audit, request);
        let watching = watched(trail, long_running, false, work);
        let patience = std::time::Duration::from_millis(50);
        // dropped, its answer is given up
        drop(tokio::time::timeout(patience, AssertUnwindSafe(watching).catch_unwind()).await);
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines()
            .map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                let code = &event["responseStatus"]["code"];
                format!("{} {code}", event["stage"].as_str().unwrap())
            })
            .collect()
    }

    #[tokio::test]
    async fn ends() {
        let answered = async { Response::new(Body::from("x")) };
        assert_eq!(told(false, answered).await, ["ResponseComplete 200"]);
        let streamed = async { Response::new(Body::from("x")) };
        let stages = ["ResponseStarted 200", "ResponseComplete 200"];
        assert_eq!(told(true, streamed).await, stages);
        let broken = async { panic!("as if") };
        assert_eq!(told(false, broken).await, ["Panic 500"]);
        let late = std::future::pending();
        assert_eq!(told(false, late).await, ["ResponseComplete 504"]);
    }
}
