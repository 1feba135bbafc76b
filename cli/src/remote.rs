//! Streams between the server and the terminal: answers as they come, lines of JSON.
//! Invariant: nothing is held back: what has come is written before more is waited for.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/logs` and `client-go/tools/remotecommand`.

pub mod detach;
pub mod session;
pub mod terminal;

use crate::error::{Error, Result};
use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

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
    let mut chunks = Chunks::new(response);
    while let Some(data) = chunks.next().await? {
        write_bytes(&data)?;
    }
    Ok(())
}

/// Writes bytes to standard output at once.
///
/// # Errors
/// A reader that went away ends the program quietly.
pub fn write_bytes(data: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::Exit(141)),
        other => other.map_err(Error::from),
    }
}

/// An answer of one JSON value a line.
pub struct JsonLines {
    chunks: Chunks,
    buffer: BytesMut,
}

impl JsonLines {
    pub fn new(response: Response<Incoming>) -> Self {
        JsonLines {
            chunks: Chunks::new(response),
            buffer: BytesMut::new(),
        }
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
            match self.chunks.next().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => self.buffer.extend_from_slice(b"\n"),
            }
        }
    }
}
