//! The reading of frames.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{
    Error, MAX_CONTROL,
    frames::{CANCEL, FIN, Frame, GOAWAY, PIECE, PING, RST_STREAM, SYN_REPLY, SYN_STREAM},
    headers::Unpacker,
    streams::{Stream, Streams},
};
use crate::outcome;

/// Reads frames until the connection ends. What is answered to them goes to `frames`, streams that the other side opens to `opened`.
pub async fn all(
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

/// The number that a frame begins with.
pub fn id(body: &[u8]) -> u32 {
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
