//! Places that outlive the handler: until an answer's body is sent, or a watch has told what there was.
//!
//! Follows what upstream does by not returning from a handler, and its watch initialization signals.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;

use super::{schema::Told, seats::Seats, watchers::Watcher};

/// An answer of no more than this is handed over in one piece.
const PIECE: u64 = 64 * 1024;
/// A watch whose client does not take what there is has its seats no longer than this.
const TELLING: Duration = Duration::from_secs(60);

/// A body that holds something while it is sent.
pub struct Held<T> {
    body: Body,
    held: Option<T>,
}

/// Keeps what is held until the answer has been sent: not at all for what is handed over in one piece, with the stream for what is not.
pub fn until_sent<T: Send + Unpin + 'static>(held: T, response: Response<Body>) -> Response<Body> {
    let size = response.body().size_hint().exact();
    if size.is_some_and(|size| size <= PIECE) {
        return response;
    }
    response.map(|body| {
        Body::new(Held {
            body,
            held: Some(held),
        })
    })
}

/// A watch's seats, and its being counted.
pub struct Watched {
    seats: Seats,
    watcher: Option<Watcher>,
    /// It begins with all that there is.
    all: bool,
}

impl Watched {
    pub fn new(seats: Seats, watcher: Option<Watcher>, all: bool) -> Watched {
        Watched {
            seats,
            watcher,
            all,
        }
    }

    pub fn told(&self) -> &Told {
        &self.seats.schema.told
    }

    /// Keeps the seats until the stream has nothing to tell for the first time, and the watch counted until it ends.
    pub fn until_told(self, response: Response<Body>) -> Response<Body> {
        let (seats, watcher) = (self.seats, self.watcher);
        if response.body().size_hint().exact().is_some() {
            // it is no stream but a refusal
            return response;
        }
        let telling = self.all.then(|| {
            let (telling, told) = oneshot::channel::<()>();
            skiff_watching::task::spawn(async move {
                // it has told, has ended, or its time is over
                if tokio::time::timeout(TELLING, told).await.is_err() {
                    tracing::debug!("a watch is not taken");
                }
                drop(seats);
            });
            telling
        });
        if telling.is_none() && watcher.is_none() {
            return response;
        }
        response.map(|body| {
            Body::new(Telling {
                body,
                telling,
                _watcher: watcher,
            })
        })
    }
}

struct Telling {
    body: Body,
    telling: Option<oneshot::Sender<()>>,
    _watcher: Option<Watcher>,
}

impl<T: Send + Unpin + 'static> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) {
            self.held = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl http_body::Body for Telling {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if !matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.telling = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
