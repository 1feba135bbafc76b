//! A request's body on its way to an endpoint.
//!
//! Invariant: a piece is taken from the client when the endpoint has room for it; how many were taken, and whether that was all, is known to who waits.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// How far a request's body has come.
#[derive(Default)]
pub struct Progress {
    pieces: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    /// How many pieces were taken from the client.
    pub fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    /// Whether the client has sent all of it.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A request's body on its way to an endpoint.
pub enum Sent {
    Nothing,
    Body(Incoming, Arc<Progress>),
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Sent::Nothing => Poll::Ready(None),
            Sent::Body(body, progress) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                progress.pieces.fetch_add(1, Ordering::Relaxed);
                if frame.is_none() || body.is_end_stream() {
                    progress.ended.store(true, Ordering::Relaxed);
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Sent::Nothing => true,
            Sent::Body(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Sent::Nothing => SizeHint::with_exact(0),
            Sent::Body(body, _) => body.size_hint(),
        }
    }
}
