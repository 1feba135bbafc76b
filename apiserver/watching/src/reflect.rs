//! List and watch of one collection, told to a sink: the bottom of every cache.
//!
//! Invariant: the sink sees a complete list first, then every change in the server's order; after an expired watch it sees a complete
//! list again. A broken connection resumes where it was. Follows k8s.io/client-go/tools/cache/reflector.go.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use skiff_api::machinery::url::query_value;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Page, from_client},
    client::{Body, BoxError},
    clock::{Clock, since},
    error::Error,
    status::Status,
};

/// Seconds after which the server ends a watch; below the five minutes after which proxies lose patience.
const WATCH_SECONDS: u32 = 290;
/// How many objects a page of the first list has: bounds the memory that decoding takes.
const PAGE: usize = 500;
/// A watch that lasts less than this and tells nothing is not begun again at once.
const SHORT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// What is done with what a reflector sees: objects' texts, so that this file is compiled once for all kinds.
///
/// What a sink cannot read it sets aside; that never ends the watch.
pub trait Sink: Send {
    /// A list begins, and with it all that an earlier one that broke off had shown.
    fn begin(&mut self);
    /// An object of the list.
    fn listed(&mut self, object: &str);
    /// The list is complete at `resource_version`: what was not in it is gone.
    fn complete(&mut self, resource_version: &str);
    /// The object was added or changed. Gives its resource version, if it can be read.
    fn applied(&mut self, object: &str) -> Option<String>;
    /// The object was deleted; this is its last state. Gives its resource version, if it can be read.
    fn deleted(&mut self, object: &str) -> Option<String>;
    /// Everything up to `resource_version` has been told.
    fn reached(&mut self, resource_version: &str);
}

/// What to list and watch.
pub struct Source {
    /// The collection's path.
    pub path: String,
    /// What the query begins with: `fieldSelector=…&`, or nothing.
    pub query: String,
    /// `Accept` headers of the list and the watch; `None` for plain JSON.
    pub accept: Option<(&'static str, &'static str)>,
}

/// Runs until `stop`; failures are retried for ever, later and later.
pub async fn reflect(
    api: Api,
    clock: Clock,
    source: Source,
    mut sink: Box<dyn Sink>,
    stop: CancellationToken,
) {
    let mut version: Option<String> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let turn = async {
            match &version {
                None => list(&api, &source, &mut *sink).await.map(Some),
                Some(from) => watch(&api, &clock, &source, from.clone(), &mut *sink).await,
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

async fn list(api: &Api, source: &Source, sink: &mut dyn Sink) -> Result<String, Error> {
    sink.begin();
    let mut token = String::new();
    loop {
        let mut path = format!("{}?{}limit={PAGE}", source.path, source.query);
        if !token.is_empty() {
            path.push_str("&continue=");
            path.push_str(&query_value(&token));
        }
        let text = api
            .send(
                Method::GET,
                &path,
                None,
                source.accept.map(|a| a.0),
                Vec::new(),
            )
            .await?;
        let page = Page::of(&path, &text)?;
        page.items().for_each(|item| sink.listed(item));
        token = page.metadata.continue_token.unwrap_or_default();
        if token.is_empty() {
            let version = page.metadata.resource_version.unwrap_or_default();
            sink.complete(&version);
            return Ok(version);
        }
    }
}

/// One line of a watch.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The resource version of an object that could not be read otherwise.
fn version_of(object: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        resource_version: String,
    }
    #[derive(Deserialize)]
    struct Object {
        metadata: Meta,
    }
    serde_json::from_str::<Object>(object)
        .ok()
        .map(|object| object.metadata.resource_version)
}

/// Follows changes until the server ends the watch; the version to go on from, or `None` when the list must be read anew.
///
/// A watch that ends at once, with nothing told, is an error: it must not be begun again without a pause.
async fn watch(
    api: &Api,
    clock: &Clock,
    source: &Source,
    mut version: String,
    sink: &mut dyn Sink,
) -> Result<Option<String>, Error> {
    let (started, mut told) = (clock.now(), false);
    let ended = |version: String, told: bool| match told || since(started, clock.now()) >= SHORT {
        true => Ok(Some(version)),
        false => Err(Error::Failed(format!(
            "very short watch of {}: it ended in less than a second, and with nothing received",
            source.path
        ))),
    };
    let path = format!(
        "{}?{}watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}",
        source.path, source.query
    );
    let request = api.request(
        Method::GET,
        &path,
        None,
        source.accept.map(|a| a.1),
        Vec::new(),
    )?;
    let mut lines = Lines::of(api.exchange(request, &path).await?.into_body());
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return ended(version, told),
            Err(error) => {
                tracing::debug!(path = source.path, error = %from_client(&path, error), "watch broke off");
                return ended(version, told);
            }
        };
        told = true;
        let event: Event = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(source) => {
                return Err(Error::Decode {
                    what: path,
                    source: source.into(),
                });
            }
        };
        let object = event.object.get();
        let seen = match event.kind {
            "ADDED" | "MODIFIED" => sink.applied(object),
            "DELETED" => sink.deleted(object),
            "BOOKMARK" => {
                let seen = version_of(object);
                seen.iter().for_each(|version| sink.reached(version));
                seen
            }
            _ => {
                let status =
                    serde_json::from_str::<Status>(object).map_err(|source| Error::Decode {
                        what: path,
                        source: source.into(),
                    })?;
                let refused = Error::Refused(Box::new(status));
                return if refused.is_expired() {
                    Ok(None)
                } else {
                    Err(refused)
                };
            }
        };
        if let Some(seen) = seen.or_else(|| version_of(object)) {
            version = seen;
        }
    }
}

/// The lines of a body.
struct Lines {
    body: Body,
    held: Vec<u8>,
    /// How much of `held` was given away already.
    given: usize,
}

impl Lines {
    fn of(body: Body) -> Lines {
        Lines {
            body,
            held: Vec::new(),
            given: 0,
        }
    }

    /// The next line without its end; `None` past the last whole one.
    async fn next(&mut self) -> Result<Option<&[u8]>, BoxError> {
        let mut searched = self.given;
        loop {
            if let Some(end) = self.held[searched..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|at| searched + at)
            {
                let start = std::mem::replace(&mut self.given, end + 1);
                return Ok(Some(&self.held[start..end]));
            }
            self.held.drain(..std::mem::take(&mut self.given));
            if self.held.is_empty() {
                // what a large event took is not kept while nothing happens
                self.held = Vec::new();
            }
            searched = self.held.len();
            match self.body.frame().await.transpose()? {
                None => return Ok(None),
                Some(frame) => frame
                    .data_ref()
                    .into_iter()
                    .for_each(|data| self.held.extend_from_slice(data)),
            }
        }
    }
}
