//! List and watch of one collection, told to a sink: the bottom of every cache.
//!
//! Invariant: the sink sees a complete list first, then every change in the server's order; after an expired watch it sees a complete
//! list again. A broken connection resumes where it was. Follows k8s.io/client-go/tools/cache/reflector.go.

use std::time::Duration;

use futures::TryStreamExt;
use http::Method;
use kube::core::WatchEvent;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Page, from_client},
    clock::Clock,
    error::Error,
};

/// Seconds after which the server ends a watch; below the five minutes after which proxies lose patience.
const WATCH_SECONDS: u32 = 290;
/// How many objects a page of the first list has: bounds the memory that decoding takes.
const PAGE: usize = 500;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// What is done with what a reflector sees.
pub trait Sink<K>: Send {
    /// This is all there is, at `resource_version`.
    fn replace(&mut self, objects: Vec<K>, resource_version: &str);
    /// The object was added or changed.
    fn apply(&mut self, object: K);
    /// The object was deleted; this is its last state.
    fn delete(&mut self, object: K);
    /// Everything up to `resource_version` has been told.
    fn reached(&mut self, resource_version: &str);
    /// The resource version of an object of this kind.
    fn version(object: &K) -> Option<&str>;
}

/// What to list and watch.
pub struct Source {
    /// The collection's path.
    pub path: String,
    /// `Accept` headers of the list and the watch; `None` for plain JSON.
    pub accept: Option<(&'static str, &'static str)>,
}

/// Runs until `stop`; failures are retried for ever, later and later.
pub async fn reflect<K, S>(api: Api, clock: Clock, source: Source, mut sink: S, stop: CancellationToken)
where
    K: DeserializeOwned + Clone + Send + 'static,
    S: Sink<K>,
{
    let mut version: Option<String> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let turn = async {
            match &version {
                None => list(&api, &source, &mut sink).await.map(Some),
                Some(from) => watch(&api, &source, from.clone(), &mut sink).await,
            }
        };
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = turn => outcome,
        };
        match outcome {
            Ok(next) => {
                version = next;
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                if error.is_expired() {
                    version = None;
                } else {
                    tracing::debug!(path = source.path, %error, "list or watch failed");
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = clock.sleep(pause) => {}
                }
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

async fn list<K, S>(api: &Api, source: &Source, sink: &mut S) -> Result<String, Error>
where
    K: DeserializeOwned,
    S: Sink<K>,
{
    let mut objects = Vec::new();
    let mut token = String::new();
    loop {
        let mut path = format!("{}?limit={PAGE}", source.path);
        if !token.is_empty() {
            path.push_str("&continue=");
            path.extend(token.bytes().map(escaped));
        }
        let text = api.send(Method::GET, &path, None, source.accept.map(|a| a.0), Vec::new()).await?;
        let page: Page<K> = serde_json::from_str(&text).map_err(|e| Error::Decode { what: path.clone(), source: e })?;
        objects.extend(page.items);
        token = page.metadata.continue_token.unwrap_or_default();
        if token.is_empty() {
            let version = page.metadata.resource_version.unwrap_or_default();
            sink.replace(objects, &version);
            return Ok(version);
        }
    }
}

/// One byte of a query value, percent-encoded when it must be.
fn escaped(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// Follows changes until the server ends the watch; the version to go on from, or `None` when the list must be read anew.
async fn watch<K, S>(api: &Api, source: &Source, mut version: String, sink: &mut S) -> Result<Option<String>, Error>
where
    K: DeserializeOwned + Clone + Send + 'static,
    S: Sink<K>,
{
    let path = format!("{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}", source.path);
    let request = Api::request(Method::GET, &path, None, source.accept.map(|a| a.1), Vec::new())?;
    let events = api.client().request_events::<K>(request).await.map_err(|e| from_client(&path, e))?;
    let mut events = std::pin::pin!(events);
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(Some(version)),
            Err(error) => match from_client(&path, error) {
                expired if expired.is_expired() => return Ok(None),
                other => {
                    tracing::debug!(path = source.path, error = %other, "watch broke off");
                    return Ok(Some(version));
                }
            },
        };
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                remember(&mut version, S::version(&object));
                sink.apply(object);
            }
            WatchEvent::Deleted(object) => {
                remember(&mut version, S::version(&object));
                sink.delete(object);
            }
            WatchEvent::Bookmark(mark) => {
                version = mark.metadata.resource_version;
                sink.reached(&version);
            }
            WatchEvent::Error(status) => {
                let refused = Error::Refused(status);
                return if refused.is_expired() { Ok(None) } else { Err(refused) };
            }
        }
    }
}

fn remember(version: &mut String, seen: Option<&str>) {
    if let Some(seen) = seen {
        version.clear();
        version.push_str(seen);
    }
}
