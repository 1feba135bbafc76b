//! A body that holds something while it is sent: a place, a count, whatever is to be given back when an answer is through.
//!
//! Invariant: what is held goes with the body at the latest.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Until when something is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The body is dropped.
    Dropped,
    /// It has nothing more.
    Ended,
    /// It has nothing for now.
    Paused,
}

pub struct Held<T> {
    body: Body,
    held: Option<T>,
    until: Until,
}

impl<T> Held<T> {
    pub fn new(body: Body, held: T, until: Until) -> Held<T> {
        Held {
            body,
            held: Some(held),
            until,
        }
    }
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let over = match &frame {
            Poll::Ready(Some(Ok(_))) => false,
            Poll::Pending => self.until == Until::Paused,
            Poll::Ready(_) => self.until != Until::Dropped,
        };
        if over {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::{FutureExt, StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn what_is_held_goes_in_time() {
        // what is left of it: after a piece, when nothing more has come, at the end
        for (until, left) in [
            (Until::Dropped, [1, 1, 1]),
            (Until::Ended, [1, 1, 0]),
            (Until::Paused, [1, 0, 0]),
        ] {
            let (send, receive) = futures::channel::mpsc::unbounded::<&'static str>();
            let pieces = receive.map(Ok::<_, std::convert::Infallible>);
            let body = Body::from_stream(stream::iter([Ok("a")]).chain(pieces));
            let held = Arc::new(());
            let mut body = Held::new(body, held.clone(), until);
            let count = || Arc::strong_count(&held) - 1;
            assert!(body.frame().now_or_never().is_some());
            assert_eq!(count(), left[0]);
            assert!(body.frame().now_or_never().is_none());
            assert_eq!(count(), left[1]);
            drop(send);
            assert!(body.frame().now_or_never().unwrap().is_none());
            assert_eq!(count(), left[2]);
            drop(body);
            assert_eq!(count(), 0);
        }
    }
}
