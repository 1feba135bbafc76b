//! How long an answer is of which nobody knows that when it begins: its frames are counted as they are sent.
//!
//! Invariant: each such answer is counted once, when it is through or given up, with what was sent of it.
//! Follows `ResponseWriterDelegator` of `staging/src/k8s.io/apiserver/pkg/endpoints/metrics/metrics.go`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Labels, Requests};

/// A body whose frames are counted.
pub struct Sent {
    body: Body,
    requests: Arc<Requests>,
    labels: Labels,
    bytes: u64,
}

impl Sent {
    pub(super) fn new(body: Body, requests: Arc<Requests>, labels: Labels) -> Sent {
        Sent {
            body,
            requests,
            labels,
            bytes: 0,
        }
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
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

impl Drop for Sent {
    fn drop(&mut self) {
        self.requests.sent(self.labels, self.bytes);
    }
}
