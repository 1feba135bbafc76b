//! Frames, and the writing of them.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{Error, Headers, headers::Packer};

pub const SYN_STREAM: u16 = 1;
pub const SYN_REPLY: u16 = 2;
pub const RST_STREAM: u16 = 3;
pub const PING: u16 = 6;
pub const GOAWAY: u16 = 7;
pub const FIN: u8 = 1;
/// How much of a frame of data is handed on at once, in bytes.
pub const PIECE: usize = 64 << 10;
/// `CANCEL`: whoever opened the stream is not to go on.
pub const CANCEL: u32 = 5;

/// A frame that is to be sent.
#[derive(Debug)]
pub enum Frame {
    Open { id: u32, headers: Headers },
    Reply { id: u32 },
    Data { id: u32, fin: bool, data: Bytes },
    Reset { id: u32, code: u32 },
    Ping { id: u32 },
}

/// Writes frames as they come, until nobody gives any more in.
pub async fn write(
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

pub fn control(out: &mut BytesMut, kind: u16, flags: u8, body: &[u8]) {
    out.put_u16(0x8003);
    out.put_u16(kind);
    out.put_u32((u32::from(flags) << 24) | body.len() as u32);
    out.put_slice(body);
}

pub fn encode(frame: Frame, packer: &mut Packer, out: &mut BytesMut) -> Result<(), Error> {
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
