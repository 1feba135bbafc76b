//! Watches: the events of a kind after a revision, as a stream of JSON lines or of frames.
//!
//! Invariant: events come in the order of their revisions, each once; an object that begins or ceases to match the selectors is ADDED or
//! DELETED; a watcher too slow for the ring is told `410 Expired` and ended. A watcher that takes nothing holds no more than a few pieces of its own.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/watch.go` and `.../storage/cacher`.

mod options;
mod rendering;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use skiff_api::{kinds::Kind, machinery::status::Status};
use skiff_storage::{Error, Event, EventKind, Object, Watch};
use tokio_util::sync::CancellationToken;

use self::{
    options::{Options, Start},
    rendering::{Rendering, slot},
};
use super::selection::Selection;
use crate::{
    context::{Answer, Context},
    conversion,
    encoding::json_of,
    metrics::Events,
    negotiate::{self, Offers},
    respond, stored,
};

/// Lines are copied together up to so many bytes: fewer, larger writes.
const PIECE: usize = 64 * 1024;
/// A line of so many bytes goes out by itself, as all watchers share it: one that nobody takes costs its watcher nothing.
const LARGE: usize = 8 * 1024;
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long before its end a watch has its last, so that whoever watches on misses little.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

type Objects = Box<dyn Iterator<Item = Arc<Object>> + Send + Sync>;

/// One watcher's way through the ring.
struct Stream {
    rendering: Rendering,
    selection: Selection,
    namespace: Option<String>,
    /// The one object that is watched, when the path or selector names it.
    watch: Watch,
    bookmarks: bool,
    deadline: tokio::time::Instant,
    next_bookmark: tokio::time::Instant,
    /// What there is and was not told yet, and what is said after it.
    initial: Option<Objects>,
    initial_end: Option<u64>,
    /// Events that are to be told next, and the line before them that did not fit.
    pending: VecDeque<Arc<Event>>,
    held: Option<Bytes>,
    columns_sent: bool,
    shared_slot: Option<u32>,
    ended: bool,
    /// Where what is sent is counted.
    told: Arc<Events>,
}

impl Stream {
    fn in_scope(&self, object: &Object) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| &*object.key.namespace == namespace)
    }

    /// The events that this watcher may be told of, their objects in the version that is watched.
    async fn shown(&self, events: Vec<Arc<Event>>) -> Result<Vec<Arc<Event>>, Status> {
        let Rendering { kind, app, .. } = &self.rendering;
        if kind.converter().is_none() {
            return Ok(events);
        }
        let events: Vec<_> = events
            .into_iter()
            .filter(|event| self.in_scope(&event.object))
            .collect();
        // what was before is looked at by who selects
        let before = |event: &Event| match self.selection.is_everything() {
            true => None,
            false => event.previous.clone(),
        };
        let objects = events
            .iter()
            .flat_map(|event| [Some(event.object.clone()), before(event)])
            .flatten()
            .collect();
        let mut objects = conversion::all_shown(&app.core, kind, objects)
            .await?
            .into_iter();
        let shown = events.iter().filter_map(|event| {
            let object = objects.next()?;
            let had = before(event);
            let previous = had.as_ref().and_then(|_| objects.next());
            // what is as it was shares what others were sent
            let same = Arc::ptr_eq(&object, &event.object)
                && had.as_ref().map(Arc::as_ptr) == previous.as_ref().map(Arc::as_ptr);
            Some(match same {
                true => event.clone(),
                false => Arc::new(Event::new(event.kind, object, previous)),
            })
        });
        Ok(shown.collect())
    }

    /// What the event is to this watcher.
    fn view<'e>(&self, event: &'e Event) -> Option<(&'static str, &'e Object)> {
        if !self.in_scope(&event.object) {
            return None;
        }
        if self.selection.is_everything() {
            let what = match event.kind {
                EventKind::Added => "ADDED",
                EventKind::Modified => "MODIFIED",
                EventKind::Deleted => "DELETED",
            };
            return Some((what, &event.object));
        }
        let now = event.kind != EventKind::Deleted && self.selection.matches(&event.object);
        let before = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.selection.matches(previous));
        match (before, now) {
            (false, true) => Some(("ADDED", &event.object)),
            (true, true) => Some(("MODIFIED", &event.object)),
            (true, false) => Some(("DELETED", &event.object)),
            (false, false) => None,
        }
    }

    /// What this watcher is told of an event. An object that cannot be read is an error, never an event less.
    fn line(&mut self, event: &Event) -> Result<Option<Bytes>, Status> {
        let Some((what, object)) = self.view(event) else {
            return Ok(None);
        };
        // an object that no longer matches is shown as it was, under the revision of the change
        let shown;
        let object = match (what, &event.previous) {
            ("DELETED", Some(previous)) if event.kind != EventKind::Deleted => {
                shown = with_revision(previous, event.revision)?;
                &shown
            }
            _ => object,
        };
        let plain = self.selection.is_everything()
            || std::ptr::eq(object, &*event.object) && event_word(event.kind) == what;
        let line = match self.shared_slot.filter(|_| plain) {
            Some(slot) => event.rendered(slot, || self.rendering.line(what, object, false))?,
            None => self.rendering.line(what, object, !self.columns_sent)?,
        };
        self.columns_sent = true;
        self.told.sent(line.len());
        Ok(Some(line))
    }

    /// A piece of what is pending; `None` when all of it has been told.
    fn next_pending(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.len() < PIECE {
            let next = match self.held.take() {
                Some(line) => Some(line),
                None => match self.pending.pop_front() {
                    Some(event) => self.line(&event).unwrap_or_else(|status| {
                        // As upstream: the client lists again.
                        self.ended = true;
                        self.pending.clear();
                        self.rendering.failure(&status)
                    }),
                    None => break,
                },
            };
            match next {
                None => {}
                Some(line) if line.len() < LARGE => out.extend_from_slice(&line),
                Some(line) if out.is_empty() => return Some(line),
                Some(line) => {
                    self.held = Some(line);
                    break;
                }
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// A piece of what there is, never all of it in memory; `None` when it has been told.
    fn next_initial(&mut self) -> Option<Bytes> {
        let initial = self.initial.as_mut()?;
        let mut out = BytesMut::new();
        while out.len() < PIECE {
            let Some(object) = initial.next() else {
                self.initial = None;
                if let Some(revision) = self.initial_end.take() {
                    out.extend(self.bookmark(revision, true).into_iter().flatten());
                }
                break;
            };
            if !self.selection.matches(&object) {
                continue;
            }
            let line = self.rendering.first(&object, !self.columns_sent);
            self.columns_sent = true;
            match line {
                Ok(line) => {
                    self.told.sent(line.len());
                    out.extend_from_slice(&line);
                }
                Err(status) => {
                    self.ended = true;
                    out.extend(self.rendering.failure(&status).into_iter().flatten());
                    break;
                }
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// A bookmark, or what ends the watch.
    fn bookmark(&mut self, revision: u64, initial_end: bool) -> Option<Bytes> {
        let line = (self.rendering).bookmark(revision, initial_end, !self.columns_sent);
        self.columns_sent = true;
        match line {
            Ok(line) => Some(line),
            Err(status) => {
                self.ended = true;
                self.rendering.failure(&status)
            }
        }
    }

    /// The next piece of the body; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(piece) = self.next_initial() {
            return Some(piece);
        }
        loop {
            if let Some(piece) = self.next_pending() {
                return Some(piece);
            }
            let bookmark = self.bookmarks.then_some(self.next_bookmark);
            let wake = bookmark.map_or(self.deadline, |at| at.min(self.deadline));
            let batch = tokio::select! {
                batch = self.watch.next_batch() => batch,
                () = tokio::time::sleep_until(wake) => {
                    if tokio::time::Instant::now() >= self.deadline {
                        self.ended = true;
                        return None;
                    }
                    let now = tokio::time::Instant::now();
                    self.next_bookmark = next_bookmark(now, self.deadline);
                    return self.bookmark(self.watch.revision(), false);
                }
            };
            match batch {
                Ok(events) => match self.shown(events).await {
                    Ok(events) => self.pending = events.into(),
                    Err(status) => {
                        self.ended = true;
                        return self.rendering.failure(&status);
                    }
                },
                Err(error) => {
                    self.ended = true;
                    return match error {
                        Error::Compacted { asked, oldest } => {
                            self.rendering.failure(&too_old(asked, oldest))
                        }
                        _ => None,
                    };
                }
            }
        }
    }
}

fn event_word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "ADDED",
        EventKind::Modified => "MODIFIED",
        EventKind::Deleted => "DELETED",
    }
}

fn with_revision(object: &Object, revision: u64) -> Result<Object, Status> {
    let mut value = stored::value(object)?;
    value["metadata"]["resourceVersion"] = revision.to_string().into();
    Ok(Object::new(
        object.key.clone(),
        revision,
        Bytes::from(json_of(&value)),
        object.attributes().clone(),
    ))
}

fn too_old(asked: u64, oldest: u64) -> Status {
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}

/// Where a watch begins, and what it tells first.
struct Beginning {
    after: u64,
    initial: Option<Objects>,
    /// What tells that all of it was told.
    end: Option<u64>,
}

impl Beginning {
    async fn of(
        ctx: &Context,
        kind: &Arc<Kind>,
        options: &Options,
        namespace: Option<&str>,
    ) -> Result<Beginning, Status> {
        let store = &ctx.app.core.store;
        let nothing = |after| Beginning {
            after,
            initial: None,
            end: None,
        };
        match options.from {
            Start::Now => return Ok(nothing(store.revision())),
            Start::After(revision) => return Ok(nothing(revision)),
            Start::State => {}
        }
        let snapshot = store.snapshot(&stored::resource_of(kind));
        let range = snapshot.range(namespace, None);
        let initial: Objects = match kind.converter() {
            None => Box::new(range),
            Some(_) => {
                let shown = conversion::all_shown(&ctx.app.core, kind, range.collect()).await?;
                Box::new(shown.into_iter())
            }
        };
        Ok(Beginning {
            after: snapshot.revision(),
            initial: Some(initial),
            end: options.initial_end.then_some(snapshot.revision()),
        })
    }
}

/// When the bookmark after this moment is due.
fn next_bookmark(
    now: tokio::time::Instant,
    deadline: tokio::time::Instant,
) -> tokio::time::Instant {
    let regular = now + BOOKMARK_PERIOD;
    match deadline.checked_sub(BEFORE_THE_END) {
        Some(last) if last > now => regular.min(last),
        _ => regular,
    }
}

/// What a stream tells until the server stops.
fn body(stream: Stream, stopping: CancellationToken) -> Body {
    let pieces = futures::stream::unfold(stream, move |mut stream| {
        let stopping = stopping.clone();
        async move {
            let piece = tokio::select! {
                piece = stream.next() => piece?,
                () = stopping.cancelled() => return None,
            };
            Some((Ok::<_, std::convert::Infallible>(piece), stream))
        }
    });
    Body::from_stream(pieces)
}

pub async fn serve(ctx: &Context, kind: &Arc<Kind>) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::stream(kind))?;
    let media_type = (accept.encoding.stream_type())
        .ok_or_else(|| Status::internal("a watch in an encoding that has no streams"))?;
    let options = Options::of(ctx)?;
    let mut selection = Selection::of(ctx, kind)?;
    if !ctx.info.name_in_path().is_empty() {
        selection.fields = skiff_api::machinery::selector::FieldSelector::one(
            "metadata.name",
            ctx.info.name_in_path(),
        );
    }
    let rendering = Rendering {
        kind: kind.clone(),
        encoding: accept.encoding,
        form: accept.form,
        include: respond::IncludeObject::of(ctx)?,
        app: ctx.app.clone(),
    };
    let namespace = Some(ctx.info.namespace.clone())
        .filter(|namespace| kind.namespaced && !namespace.is_empty());
    let resource = stored::resource_of(kind);
    let store = &ctx.app.core.store;

    let fails = |status: &Status| {
        let failure = rendering.failure(status);
        ctx.finish(
            200,
            media_type,
            failure.map_or_else(Body::empty, Body::from),
        )
    };
    let fresh = store.wait_for(options.at_least, Duration::from_secs(3));
    if fresh.await.is_err() {
        return Ok(fails(&respond::too_large_revision(
            options.at_least,
            store.revision(),
        )));
    }
    let begins = Beginning::of(ctx, kind, &options, namespace.as_deref()).await?;
    let watch = match store.watch_some(
        &resource,
        begins.after,
        selection.interest(kind, namespace.as_deref()),
    ) {
        Ok(watch) => watch,
        Err(Error::Compacted { asked, oldest }) => {
            return Ok(fails(&too_old(asked, oldest)));
        }
        Err(error) => return Err(Status::internal(error)),
    };
    let now = tokio::time::Instant::now();
    let deadline = now + options.timeout;
    let shared_slot = slot(kind, accept.encoding, accept.form);
    let stream = Stream {
        rendering,
        selection,
        namespace,
        watch,
        bookmarks: options.bookmarks,
        deadline,
        next_bookmark: next_bookmark(now, deadline),
        initial: begins.initial,
        initial_end: begins.end,
        pending: VecDeque::new(),
        held: None,
        columns_sent: false,
        shared_slot,
        ended: false,
        told: ctx.app.metrics.events(kind),
    };
    let body = body(stream, ctx.app.stopping.clone());
    Ok(ctx.finish(200, media_type, body))
}
