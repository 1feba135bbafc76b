//! SPDY/3.1, as far as kubectl and its kin speak it: many streams in one connection, with compressed headers.
//!
//! Invariant: one task reads and one writes; a stream that nobody reads any more is reset, not waited for; when the connection
//! ends, all of its streams do.
//! Follows the SPDY protocol, draft 3.1. Flow control is left out in both directions, as `moby/spdystream` on the other side does.

use std::{collections::HashMap, io, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::Io;
use crate::outcome;
use headers::{Packer, Unpacker};

mod headers;

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

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;
const MAX_CONTROL: usize = 1 << 20;
/// How much of a frame of data is handed on at once, in bytes.
const PIECE: usize = 64 << 10;
/// `CANCEL`: whoever opened the stream is not to go on.
const CANCEL: u32 = 5;

/// Headers of a stream; names are in lower case.
pub type Headers = Vec<(String, String)>;

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

    async fn frame(&self, frame: Frame) -> io::Result<()> {
        self.frames
            .send(frame)
            .await
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[derive(Debug)]
enum Frame {
    Open { id: u32, headers: Headers },
    Reply { id: u32 },
    Data { id: u32, fin: bool, data: Bytes },
    Reset { id: u32, code: u32 },
    Ping { id: u32 },
}

/// The streams of a connection by their number; `None` when the connection is over.
#[derive(Clone)]
struct Streams(Arc<Mutex<Option<HashMap<u32, Open>>>>);

/// A stream of which at least one direction is open.
struct Open {
    /// Where bytes that come in go to, until the other side closes its half.
    inbound: Option<mpsc::Sender<Bytes>>,
    /// Whether this side may still send.
    outbound: bool,
    reset: CancellationToken,
}

impl Streams {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(HashMap::new()))))
    }

    /// Adds a stream.
    ///
    /// # Errors
    /// The connection is over.
    fn add(&self, id: u32, headers: Headers, frames: &mpsc::Sender<Frame>) -> io::Result<Stream> {
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

    fn inbound(&self, id: u32) -> Option<mpsc::Sender<Bytes>> {
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
    fn closed_there(&self, id: u32) {
        self.change(id, |open| open.inbound = None);
    }

    /// One of the sides has ended the stream in both directions.
    fn reset(&self, id: u32) {
        self.change(id, |open| {
            (open.inbound, open.outbound) = (None, false);
            open.reset.cancel();
        });
    }

    /// The connection is over, and with it each stream.
    fn end(&self) {
        let streams = self.0.lock().take();
        streams
            .into_iter()
            .flat_map(HashMap::into_values)
            .for_each(|open| open.reset.cancel());
    }
}

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
        if let Err(error) = write_frames(write, outgoing).await {
            tracing::debug!(%error, "spdy connection not written any more");
        }
    });
    let answers = frames.clone();
    let reader = skiff_watching::task::spawn(async move {
        let ended = read_frames(read, answers, opened, &streams).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "spdy connection not read any more");
        }
        streams.end();
    });
    (frames, AbortOnDropHandle::new(reader))
}

async fn write_frames(
    mut io: impl tokio::io::AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Frame>,
) -> Result<(), Error> {
    let mut packer = Packer::new()?;
    while let Some(frame) = frames.recv().await {
        let mut out = BytesMut::new();
        encode(frame, &mut packer, &mut out)?;
        while let Ok(frame) = frames.try_recv() {
            encode(frame, &mut packer, &mut out)?;
            if out.len() > 64 * 1024 {
                break;
            }
        }
        io.write_all(&out).await?;
        io.flush().await?;
    }
    io.shutdown().await?;
    Ok(())
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, body: &[u8]) {
    out.put_u16(0x8003);
    out.put_u16(kind);
    out.put_u32((u32::from(flags) << 24) | body.len() as u32);
    out.put_slice(body);
}

fn encode(frame: Frame, packer: &mut Packer, out: &mut BytesMut) -> Result<(), Error> {
    match frame {
        Frame::Open { id, headers } => {
            let mut body = BytesMut::new();
            body.put_u32(id);
            // no stream that it belongs to, no priority
            body.put_u32(0);
            body.put_u16(0);
            body.put_slice(&packer.pack(&headers)?);
            control(out, SYN_STREAM, 0, &body);
        }
        Frame::Reply { id } => {
            let mut body = BytesMut::new();
            body.put_u32(id);
            body.put_slice(&packer.pack(&Vec::new())?);
            control(out, SYN_REPLY, 0, &body);
        }
        Frame::Data { id, fin, data } => {
            out.put_u32(id);
            out.put_u32((u32::from(if fin { FIN } else { 0 }) << 24) | data.len() as u32);
            out.put_slice(&data);
        }
        Frame::Reset { id, code } => {
            let mut body = BytesMut::new();
            body.put_u32(id);
            body.put_u32(code);
            control(out, RST_STREAM, 0, &body);
        }
        Frame::Ping { id } => control(out, PING, 0, &id.to_be_bytes()),
    }
    Ok(())
}

async fn read_frames(
    mut io: impl tokio::io::AsyncRead + Unpin,
    frames: mpsc::Sender<Frame>,
    opened: mpsc::Sender<Stream>,
    streams: &Streams,
) -> Result<(), Error> {
    let mut unpacker = Unpacker::new();
    loop {
        let mut head = [0u8; 8];
        match io.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        };
        let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let (flags, length) = (
            head[4],
            u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize,
        );
        let is_control = word >> 31 == 1;
        if is_control && length > MAX_CONTROL {
            return Err(Error::TooLarge(length));
        }
        if is_control {
            let body = whole(&mut io, length).await?;
            let version = (word >> 16) as u16 & 0x7fff;
            if version != 3 {
                return Err(Error::Version(version));
            }
            match (word & 0xffff) as u16 {
                SYN_STREAM => begun(&mut unpacker, flags, body, &frames, &opened, streams).await?,
                // the state of the headers goes on from block to block, whatever they say
                SYN_REPLY => answered(&mut unpacker, flags, body, streams)?,
                RST_STREAM if body.len() >= 4 => streams.reset(id(&body)),
                PING if body.len() >= 4 => _ = frames.send(Frame::Ping { id: id(&body) }).await,
                GOAWAY => return Ok(()),
                _ => {}
            }
            continue;
        }
        let mut rest = length;
        while rest > 0 {
            let piece = piece(&mut io, rest).await?;
            rest -= piece.len();
            data(word, piece, &frames, streams).await;
        }
        if flags & FIN != 0 {
            streams.closed_there(word);
        }
    }
}

/// The next of `length` bytes, as many as have come in up to [`PIECE`]: what a frame says of its length takes no memory.
async fn piece(io: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(length.min(PIECE));
    match io.take(length as u64).read_buf(&mut piece).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(piece.freeze()),
    }
}

/// The next `length` bytes.
async fn whole(io: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut body = Vec::new();
    match io.take(length as u64).read_to_end(&mut body).await? {
        read if read == length => Ok(body.into()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn id(body: &[u8]) -> u32 {
    u32::from_be_bytes([body[0], body[1], body[2], body[3]]) & 0x7fff_ffff
}

async fn data(id: u32, body: Bytes, frames: &mpsc::Sender<Frame>, streams: &Streams) {
    let refused = match streams.inbound(id) {
        Some(stream) => stream.send(body).await.is_err(),
        None => false,
    };
    if refused {
        streams.reset(id);
        outcome::nobody_may_wait(frames.send(Frame::Reset { id, code: CANCEL }).await);
    }
}

async fn begun(
    unpacker: &mut Unpacker,
    flags: u8,
    mut body: Bytes,
    frames: &mpsc::Sender<Frame>,
    opened: &mpsc::Sender<Stream>,
    streams: &Streams,
) -> Result<(), Error> {
    if body.len() < 10 {
        return Err(Error::Headers("frame too short".to_owned()));
    }
    let id = body.get_u32() & 0x7fff_ffff;
    body.advance(6);
    let headers = unpacker.unpack(&body)?;
    let stream = streams.add(id, headers, frames)?;
    if flags & FIN != 0 {
        streams.closed_there(id);
    }
    let reply = if opened.send(stream).await.is_ok() {
        Frame::Reply { id }
    } else {
        streams.reset(id);
        Frame::Reset { id, code: CANCEL }
    };
    frames
        .send(reply)
        .await
        .map_err(|_| Error::Io(io::ErrorKind::BrokenPipe.into()))
}

fn answered(
    unpacker: &mut Unpacker,
    flags: u8,
    mut body: Bytes,
    streams: &Streams,
) -> Result<(), Error> {
    if body.len() < 4 {
        return Err(Error::Headers("frame too short".to_owned()));
    }
    let id = body.get_u32() & 0x7fff_ffff;
    unpacker.unpack(&body)?;
    if flags & FIN != 0 {
        streams.closed_there(id);
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The other side of a connection, for tests: opens streams and reads frames.
    pub struct Client<I> {
        pub io: I,
        packer: Packer,
    }

    /// A frame as the client sees it.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Seen {
        Reply(u32),
        Data(u32, bool, Vec<u8>),
        Other(u16),
    }

    impl<I: Io> Client<I> {
        pub fn new(io: I) -> Self {
            Self {
                io,
                packer: Packer::new().unwrap(),
            }
        }

        pub async fn open(&mut self, id: u32, headers: &[(&str, &str)]) {
            let headers = owned(headers);
            let mut out = BytesMut::new();
            encode(Frame::Open { id, headers }, &mut self.packer, &mut out).unwrap();
            self.io.write_all(&out).await.unwrap();
        }

        pub async fn send(&mut self, id: u32, data: &[u8], fin: bool) {
            let mut out = BytesMut::new();
            encode(
                Frame::Data {
                    id,
                    fin,
                    data: Bytes::copy_from_slice(data),
                },
                &mut self.packer,
                &mut out,
            )
            .unwrap();
            self.io.write_all(&out).await.unwrap();
        }

        pub async fn next(&mut self) -> Option<Seen> {
            let mut head = [0u8; 8];
            self.io.read_exact(&mut head).await.ok()?;
            let word = u32::from_be_bytes(head[..4].try_into().unwrap());
            let mut body = vec![0; u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize];
            self.io.read_exact(&mut body).await.ok()?;
            Some(match word >> 31 {
                0 => Seen::Data(word, head[4] & FIN != 0, body),
                _ if word as u16 == SYN_REPLY => Seen::Reply(id(&body)),
                _ => Seen::Other(word as u16),
            })
        }
    }

    fn owned(headers: &[(&str, &str)]) -> Headers {
        let headers = headers.iter();
        headers
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[tokio::test]
    async fn both_sides_of_a_connection_understand_each_other() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut served = serve(far);
        let opener = Opener::new(near);
        for word in ["one", "two"] {
            let mut here = opener.open(owned(&[("streamtype", word)])).await.unwrap();
            let mut there = served.recv().await.unwrap();
            assert_eq!(
                (there.header("streamtype"), there.id),
                (Some(word), here.id)
            );
            here.out.send(Bytes::from_static(b"there")).await.unwrap();
            here.out.close().await.unwrap();
            assert_eq!(there.inbound.recv().await.unwrap(), "there");
            assert!(there.inbound.recv().await.is_none());
            // what is closed in one direction goes on in the other
            there.out.send(Bytes::from_static(b"back")).await.unwrap();
            assert_eq!(here.inbound.recv().await.unwrap(), "back");
            there.out.close().await.unwrap();
            assert!(here.inbound.recv().await.is_none());
        }
        // what was reset takes nothing more, and whoever waits for it learns so
        let here = opener.open(Headers::new()).await.unwrap();
        let there = served.recv().await.unwrap();
        here.out.close().await.unwrap();
        here.out.reset().await.unwrap();
        there.out.gone().await;
        there
            .out
            .send(Bytes::from_static(b"late"))
            .await
            .unwrap_err();
        let mut left = opener.open(Headers::new()).await.unwrap();
        drop((served, there));
        assert!(left.inbound.recv().await.is_none());
        let refused = async {
            while opener.open(Headers::new()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(10);
        crate::time::timeout(patience, refused).await.unwrap();
    }

    #[tokio::test]
    async fn streams_open_carry_and_close() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut streams = serve(far);
        let mut client = Client::new(near);
        client
            .open(1, &[("streamtype", "data"), ("port", "80")])
            .await;
        client
            .open(3, &[("streamtype", "error"), ("port", "80")])
            .await;
        let mut first = streams.recv().await.unwrap();
        let second = streams.recv().await.unwrap();
        assert_eq!(
            (first.header("streamtype"), second.header("streamtype")),
            (Some("data"), Some("error"))
        );
        assert_eq!(
            [client.next().await, client.next().await],
            [Some(Seen::Reply(1)), Some(Seen::Reply(3))]
        );
        client.send(1, b"hello", false).await;
        client.send(1, b"", true).await;
        assert_eq!(first.inbound.recv().await.unwrap(), "hello");
        assert!(first.inbound.recv().await.is_none());
        first.out.send(Bytes::from_static(b"back")).await.unwrap();
        first.out.close().await.unwrap();
        assert_eq!(
            client.next().await,
            Some(Seen::Data(1, false, b"back".to_vec()))
        );
        assert_eq!(client.next().await, Some(Seen::Data(1, true, Vec::new())));
        drop(client);
        assert!(streams.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_frame_takes_the_memory_of_what_came_in_of_it() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut streams = serve(far);
        let mut client = Client::new(near);
        client.open(1, &[("streamtype", "stdin")]).await;
        let mut first = streams.recv().await.unwrap();
        // the frame says that 16 MiB come
        let begun = [0, 0, 0, 1, FIN, 0xff, 0xff, 0xff, b'h', b'i'];
        client.io.write_all(&begun).await.unwrap();
        let piece = first.inbound.recv().await.unwrap();
        assert_eq!(piece, "hi");
        // what ends in the middle of a frame is over
        drop(client);
        assert!(first.inbound.recv().await.is_none());
        assert!(streams.recv().await.is_none());
    }
}
