//! SPDY/3.1, as far as kubectl and its kin speak it: many streams in one connection, with compressed headers.
//!
//! Invariant: one task reads and one writes; a stream that nobody reads any more is reset, not waited for; when the connection
//! ends, all of its streams do.
//! Follows the SPDY protocol, draft 3.1. Flow control is left out in both directions, as `moby/spdystream` on the other side does.

use std::io;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Io;
use frames::Frame;
use streams::Streams;

mod frames;
mod headers;
mod read;
mod streams;
#[cfg(test)]
pub mod tests;

pub use streams::{Outlet, Stream};

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("headers cannot be unpacked: {0}")]
    Headers(String),
    #[error("frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("the other side speaks version {0} of SPDY")]
    Version(u16),
}

/// Bytes of a control frame, at most.
pub const MAX_CONTROL: usize = 1 << 20;

/// Headers of a stream; names are in lower case.
pub type Headers = Vec<(String, String)>;

/// A connection that is being served; dropping it (and all outlets of its streams) closes it.
pub struct Connection {
    opened: mpsc::Receiver<Stream>,
    _reader: AbortOnDropHandle<()>,
}

impl Connection {
    /// The next stream that the other side opens; `None` when it has closed the connection.
    pub async fn recv(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }
}

/// Serves the connection.
pub fn serve(io: impl Io) -> Connection {
    let (streams, opened) = mpsc::channel(16);
    let (_, reader) = run(io, Streams::new(), streams);
    Connection {
        opened,
        _reader: reader,
    }
}

/// The side that opens streams; dropping it (and all outlets of its streams) closes the connection.
pub struct Opener {
    frames: mpsc::Sender<Frame>,
    streams: Streams,
    /// The next stream's number; held while a stream is told, because numbers must grow on the line.
    next: tokio::sync::Mutex<u32>,
    _reader: AbortOnDropHandle<()>,
}

impl Opener {
    /// Begins a connection of which the other side serves the streams.
    pub fn new(io: impl Io) -> Self {
        let streams = Streams::new();
        // the other side has nothing to open here: what it tries is reset
        let (nobody, _) = mpsc::channel(1);
        let (frames, reader) = run(io, streams.clone(), nobody);
        Self {
            frames,
            streams,
            next: tokio::sync::Mutex::new(1),
            _reader: reader,
        }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn open(&self, headers: Headers) -> io::Result<Stream> {
        let mut next = self.next.lock().await;
        let id = *next;
        *next += 2;
        let stream = self.streams.add(id, headers.clone(), &self.frames)?;
        stream.out.frame(Frame::Open { id, headers }).await?;
        Ok(stream)
    }
}

/// Reads and writes the connection in tasks of their own: where frames are given in, and what ends the reading.
fn run(
    io: impl Io,
    streams: Streams,
    opened: mpsc::Sender<Stream>,
) -> (mpsc::Sender<Frame>, AbortOnDropHandle<()>) {
    let (read, write) = tokio::io::split(io);
    let (frames, outgoing) = mpsc::channel(64);
    skiff_watching::task::spawn(async move {
        if let Err(error) = frames::write(write, outgoing).await {
            tracing::debug!(%error, "spdy connection not written any more");
        }
    });
    let answers = frames.clone();
    let reader = skiff_watching::task::spawn(async move {
        let ended = read::all(read, answers, opened, &streams).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "spdy connection not read any more");
        }
        streams.end();
    });
    (frames, AbortOnDropHandle::new(reader))
}
