//! An answer's body on its way to a client.
//!
//! Invariant: nothing is gathered; a piece is taken when the client has room for it. Whatever ends an answer (its end, a failure, a client that went away)
//! ends its place among the open requests and writes its line of the log.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{
    access::Line,
    endpoint::{Open, Returned},
};

/// For how long an answer may fall silent in its middle.
const SILENCE: Duration = Duration::from_secs(300);

/// Why an answer broke off in its middle.
#[derive(thiserror::Error, Debug)]
pub enum Broken {
    #[error("the endpoint broke off: {0}")]
    Endpoint(#[from] hyper::Error),
    #[error("the endpoint was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("its time was over")]
    Late,
}

enum Source {
    Text(Option<Bytes>),
    Endpoint {
        body: Incoming,
        returned: Returned,
        open: Open,
        silence: Option<Pin<Box<Sleep>>>,
    },
}

/// An answer's body on its way to a client.
pub struct Answer {
    source: Source,
    line: Option<Line>,
    /// When it is broken off.
    until: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    /// A text of the proxy's own.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Answer {
            source: Source::Text(Some(text).filter(|text| !text.is_empty())),
            line: None,
            until: None,
        }
    }

    /// What an endpoint says; its connection goes back when that was all.
    pub fn of(body: Incoming, returned: Returned, open: Open) -> Self {
        let silence = None;
        let mut source = Source::Endpoint {
            body,
            returned,
            open,
            silence,
        };
        source.settle();
        Answer {
            source,
            line: None,
            until: None,
        }
    }

    /// Is broken off if it has not ended then.
    pub fn until(mut self, until: Instant) -> Self {
        self.until = Some(Box::pin(tokio::time::sleep_until(until)));
        self
    }

    /// Has the line written when the answer has ended.
    pub fn logged(mut self, line: Line) -> Self {
        self.line = Some(line);
        self
    }
}

impl Source {
    /// Gives the connection back if there is nothing more to read.
    fn settle(&mut self) {
        if let Source::Endpoint {
            body,
            returned,
            open,
            ..
        } = self
            && body.is_end_stream()
        {
            open.give_back(returned.take());
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Endpoint {
                body,
                returned,
                open,
                silence,
            } => {
                let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                    let until = || Box::pin(tokio::time::sleep(SILENCE));
                    let silence = silence.get_or_insert_with(until);
                    ready!(silence.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(Broken::Silent)));
                };
                if let Some(silence) = silence {
                    silence.as_mut().reset(Instant::now() + SILENCE);
                }
                if frame.is_none() {
                    open.give_back(returned.take());
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::Endpoint)))
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = this.source.poll_next(cx) else {
            if let Some(until) = &mut this.until {
                ready!(until.as_mut().poll(cx));
                return Poll::Ready(Some(Err(Broken::Late)));
            }
            return Poll::Pending;
        };
        if let (Some(Ok(frame)), Some(line)) = (&frame, &mut this.line)
            && let Some(data) = frame.data_ref()
        {
            line.add(data.len());
        }
        this.source.settle();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_none(),
            Source::Endpoint { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Source::Endpoint { body, .. } => body.size_hint(),
        }
    }
}
