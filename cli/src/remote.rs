//! Streams between the server and the terminal: answers as they come, lines of JSON.
//! Invariant: nothing is held back: what has come is written before more is waited for.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/logs` and `client-go/tools/remotecommand`.

pub mod detach;
pub mod session;
pub mod terminal;

use crate::client::{Call, Client, klog};
use crate::error::{Error, Result};
use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::Instant;

/// The pieces of an answer's body.
pub struct Chunks(Incoming);

impl Chunks {
    pub fn new(response: Response<Incoming>) -> Self {
        Chunks(response.into_body())
    }
    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// A connection that broke.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(e)) if e.is_incomplete_message() => {
                    return Err(Error::msg("unexpected EOF"));
                }
                Some(Err(e)) => return Err(Error::msg(e.to_string())),
            }
        }
    }
}

/// Runs a whole verb that waits for the server; an interrupt ends it as it ends kubectl's, quietly and with status 1.
/// From then on the program is not ended by the signal itself: nothing may follow that waits.
///
/// # Errors
/// Those of the work.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Error::Exit(1)),
    }
}

/// Copies an answer to standard output.
///
/// # Errors
/// A connection that broke, an output that cannot be written.
pub async fn copy_body(response: Response<Incoming>) -> Result<()> {
    copy_body_after(response, 0).await.map(drop)
}

/// The same but for the first `skip` bytes; tells how many there were in all.
///
/// # Errors
/// As `copy_body`.
pub async fn copy_body_after(response: Response<Incoming>, skip: usize) -> Result<usize> {
    let mut chunks = Chunks::new(response);
    let mut seen = 0;
    while let Some(data) = chunks.next().await? {
        let skipped = skip.saturating_sub(seen).min(data.len());
        write_bytes(&data[skipped..])?;
        seen += data.len();
    }
    Ok(seen)
}

/// Writes bytes to standard output at once.
///
/// # Errors
/// A reader that went away ends the program quietly.
pub fn write_bytes(data: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Error::Exit(crate::out::BROKEN_PIPE))
        }
        other => other.map_err(Error::from),
    }
}

/// An answer of one JSON value a line.
pub struct JsonLines {
    chunks: Chunks,
    buffer: BytesMut,
    /// When the request's time is over.
    until: Option<Instant>,
    is_talkative: bool,
}

impl JsonLines {
    /// Follows what a call tells, for as long as a request may take.
    ///
    /// # Errors
    /// No connection, or an answer that is not a success.
    pub async fn of(client: &Client, call: &Call<'_>) -> Result<Self> {
        let until = client.timeout().map(|limit| Instant::now() + limit);
        Ok(JsonLines {
            chunks: Chunks::new(client.stream(call).await?),
            buffer: BytesMut::new(),
            until,
            is_talkative: client.verbosity() >= 5,
        })
    }

    /// What comes next; nothing at the end, and when the request's time is over, of which only the log tells.
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let Some(until) = self.until else {
            return self.chunks.next().await;
        };
        let in_time = tokio::time::timeout_at(until, self.chunks.next()).await;
        in_time.unwrap_or_else(|_| {
            if self.is_talkative {
                let text = "\"Unable to decode an event from the watch stream\" err=\"context deadline exceeded (Client.Timeout or context cancellation while reading body)\"";
                klog('I', "streamwatcher.go:123", text);
            }
            self.buffer.clear();
            Ok(None)
        })
    }

    /// The next value; nothing at the end.
    ///
    /// # Errors
    /// A connection that broke, a line that is no JSON.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|e| {
                    Error::msg(format!(
                        "unable to decode an event from the watch stream: {e}"
                    ))
                });
            }
            match self.chunk().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => self.buffer.extend_from_slice(b"\n"),
            }
        }
    }
}
