//! The streams of a connection: what comes in on them, where bytes are given in, and which directions are open.
//!
//! Invariant: a stream is known until both of its directions are closed, or one of the sides has reset it.

use std::{collections::HashMap, io, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Headers,
    frames::{CANCEL, Frame},
};

/// A stream that one of the sides opened.
pub struct Stream {
    pub id: u32,
    pub headers: Headers,
    /// What comes in; ends when the other side closes its half.
    pub inbound: mpsc::Receiver<Bytes>,
    pub out: Outlet,
}

impl Stream {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Where bytes of one stream are given in.
#[derive(Clone)]
pub struct Outlet {
    id: u32,
    frames: mpsc::Sender<Frame>,
    streams: Streams,
    reset: CancellationToken,
}

impl Outlet {
    /// Sends; an error when the connection is gone or the stream was reset.
    pub async fn send(&self, data: Bytes) -> io::Result<()> {
        if self.reset.is_cancelled() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.frame(Frame::Data {
            id: self.id,
            fin: false,
            data,
        })
        .await
    }

    /// Waits until the other side has ended the stream in both directions, or the connection is over.
    pub async fn gone(&self) {
        self.reset.cancelled().await;
    }

    /// Closes this side's half.
    pub async fn close(&self) -> io::Result<()> {
        self.streams.change(self.id, |open| open.outbound = false);
        self.frame(Frame::Data {
            id: self.id,
            fin: true,
            data: Bytes::new(),
        })
        .await
    }

    /// Ends the stream in both directions.
    pub async fn reset(&self) -> io::Result<()> {
        self.streams.reset(self.id);
        self.frame(Frame::Reset {
            id: self.id,
            code: CANCEL,
        })
        .await
    }

    pub async fn frame(&self, frame: Frame) -> io::Result<()> {
        self.frames
            .send(frame)
            .await
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The streams of a connection by their number; `None` when the connection is over.
#[derive(Clone)]
pub struct Streams(Arc<Mutex<Option<HashMap<u32, Open>>>>);

/// A stream of which at least one direction is open.
struct Open {
    /// Where bytes that come in go to, until the other side closes its half.
    inbound: Option<mpsc::Sender<Bytes>>,
    /// Whether this side may still send.
    outbound: bool,
    reset: CancellationToken,
}

impl Streams {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(HashMap::new()))))
    }

    /// Adds a stream.
    ///
    /// # Errors
    /// The connection is over.
    pub fn add(
        &self,
        id: u32,
        headers: Headers,
        frames: &mpsc::Sender<Frame>,
    ) -> io::Result<Stream> {
        let (sender, inbound) = mpsc::channel(256);
        let reset = CancellationToken::new();
        let open = Open {
            inbound: Some(sender),
            outbound: true,
            reset: reset.clone(),
        };
        match self.0.lock().as_mut() {
            Some(streams) => _ = streams.insert(id, open),
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        let out = Outlet {
            id,
            frames: frames.clone(),
            streams: self.clone(),
            reset,
        };
        Ok(Stream {
            id,
            headers,
            inbound,
            out,
        })
    }

    pub fn inbound(&self, id: u32) -> Option<mpsc::Sender<Bytes>> {
        self.0.lock().as_ref()?.get(&id)?.inbound.clone()
    }

    /// Changes a stream, and forgets it when neither direction is open any more.
    fn change(&self, id: u32, change: impl FnOnce(&mut Open)) {
        if let Some(streams) = self.0.lock().as_mut()
            && let Some(open) = streams.get_mut(&id)
        {
            change(open);
            if open.inbound.is_none() && !open.outbound {
                streams.remove(&id);
            }
        }
    }

    /// The other side has closed its half.
    pub fn closed_there(&self, id: u32) {
        self.change(id, |open| open.inbound = None);
    }

    /// One of the sides has ended the stream in both directions.
    pub fn reset(&self, id: u32) {
        self.change(id, |open| {
            (open.inbound, open.outbound) = (None, false);
            open.reset.cancel();
        });
    }

    /// The connection is over, and with it each stream.
    pub fn end(&self) {
        let streams = self.0.lock().take();
        streams
            .into_iter()
            .flat_map(HashMap::into_values)
            .for_each(|open| open.reset.cancel());
    }
}
