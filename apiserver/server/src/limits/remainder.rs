//! Bodies that arrive slowly, and what a handler leaves unread of one.
//!
//! Invariant: a body is read until the request's deadline and no longer; what the answer left unread is read and thrown away before the answer
//! goes out, so that a client that writes first and reads then comes to read it. How much and how long is bounded.
//! Go does the same with less (`net/http`'s maxPostHandlerReadBytes).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

/// How much is thrown away at the most, and how long.
const DISCARDED: usize = 256 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(10);

/// The body did not come within the request's time.
#[derive(thiserror::Error, Debug)]
#[error("the body did not arrive in time")]
pub struct Late;

/// What comes back of a body that was lent to a handler.
pub struct Loan(Arc<Mutex<Option<(Body, bool)>>>);

/// A body in a handler's hands; what is unread when it is dropped goes back.
struct Lent {
    body: Option<Body>,
    polled: bool,
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    back: Arc<Mutex<Option<(Body, bool)>>>,
}

/// Lends a body until `due`; an empty one is passed on as it is.
pub fn lend(body: Body, due: Option<Instant>) -> (Body, Option<Loan>) {
    if body.is_end_stream() {
        return (body, None);
    }
    let back = Arc::new(Mutex::new(None));
    let lent = Lent {
        body: Some(body),
        polled: false,
        due,
        timer: None,
        back: back.clone(),
    };
    (Body::new(lent), Some(Loan(back)))
}

impl Loan {
    /// Throws away what was not read. A client that waits for leave to send (`expects`) and did not get it has sent nothing.
    pub async fn discard(self, expects: bool) {
        self.discard_within(expects, DISCARDING).await;
    }

    async fn discard_within(self, expects: bool, time: Duration) {
        let Some((body, polled)) = self.0.lock().take() else {
            return;
        };
        if !expects || polled {
            // what is not read by then is cut off with the connection
            let _ = tokio::time::timeout(time, discard(body)).await;
        }
    }
}

async fn discard(mut body: Body) {
    let mut size = 0;
    while let Some(Ok(frame)) = body.frame().await {
        size += frame.data_ref().map_or(0, Bytes::len);
        if size > DISCARDED {
            return;
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.back.lock() = Some((body, self.polled));
        }
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        this.polled = true;
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if !matches!(frame, Some(Ok(_))) {
                    this.body = None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let Some(due) = this.due else {
                    return Poll::Pending;
                };
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
                std::task::ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(Late.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map(|body| body.size_hint())
            .unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

/// Whether a body's error says that it came too late.
pub fn is_late(error: &axum::Error) -> bool {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        if error.is::<Late>() {
            return true;
        }
        at = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn endless() -> Body {
        Body::from_stream(
            futures::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from_static(b"a"))])
                .chain(futures::stream::pending()),
        )
    }

    #[tokio::test]
    async fn a_slow_body_is_given_up() {
        let (time, begun) = (Duration::from_millis(100), Instant::now());
        let (mut body, loan) = lend(endless(), Some(begun + time));
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "a"
        );
        assert!(is_late(&body.frame().await.unwrap().unwrap_err()));
        assert!(begun.elapsed() >= time);
        drop(body);
        tokio::time::timeout(
            Duration::from_secs(5),
            loan.unwrap().discard_within(false, time),
        )
        .await
        .expect("and not waited for without end");
    }

    #[tokio::test]
    async fn what_is_left_is_read() {
        let (sender, receiver) =
            futures::channel::mpsc::unbounded::<Result<Bytes, std::convert::Infallible>>();
        let (body, loan) = lend(Body::from_stream(receiver), None);
        drop(body);
        for _ in 0..100 {
            sender
                .unbounded_send(Ok(Bytes::from_static(&[0; 1000])))
                .unwrap();
        }
        drop(sender.clone());
        let reading = skiff_watching::task::spawn(loan.unwrap().discard(false));
        drop(sender);
        reading.await.unwrap();
        let (none, loan) = lend(Body::empty(), None);
        assert!(none.is_end_stream() && loan.is_none());
    }

    #[tokio::test]
    async fn who_waits_for_leave_has_sent_nothing() {
        let (body, loan) = lend(endless(), None);
        drop(body);
        tokio::time::timeout(
            Duration::from_secs(5),
            loan.unwrap().discard_within(true, Duration::from_secs(60)),
        )
        .await
        .expect("at once");
    }
}
