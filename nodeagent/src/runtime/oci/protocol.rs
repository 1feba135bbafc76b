//! What agent and shim say to each other over the shim's Unix socket: frames of JSON, with file descriptors beside them.
//!
//! Invariant: one request a connection; a frame is a little-endian `u32` length and that many bytes, and the descriptors
//! of a frame travel with its first byte. Streams are passed as pipes or terminals, so that the shim copies nothing.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdStream,
    },
    path::Path,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

use crate::runtime::ExecSpec;

/// Longest frame that is believed, in bytes.
const MAX_FRAME: usize = 1 << 20;
/// Most descriptors in one frame.
const MAX_FDS: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make the container whose folder (`c/<id>`) the agent has filled.
    Create {
        id: String,
    },
    Start {
        id: String,
    },
    /// The stop signal, then KILL after `grace_ms`; answered when it has ended.
    Stop {
        id: String,
        grace_ms: u64,
    },
    /// Forget a container that has ended, and undo its cgroup. Its folders are the agent's.
    Remove {
        id: String,
    },
    Exec {
        id: String,
        exec: ExecSpec,
    },
    Attach {
        id: String,
        exec: ExecSpec,
    },
    /// The log file was renamed: write to a new one.
    ReopenLog {
        id: String,
    },
    /// Answer [`Reply::Event`] as things happen, until the connection ends.
    Events,
    /// Kill everything and end.
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Failed(Failure),
    /// The descriptors beside it: first stdin, stdout, stderr as far as they are marked here, then the terminal.
    Streams {
        stdin: bool,
        stdout: bool,
        stderr: bool,
        terminal: bool,
    },
    /// 128 + signal when a signal ended the process.
    Exit(i32),
    Event {
        container: String,
        event: Event,
    },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Event {
    Started,
    Exited,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Failure {
    NotFound(String),
    Start(String),
    Unsupported { what: String, hint: String },
    Failed { what: String, reason: String },
}

/// Connects to the socket `name` in `folder`; the folder may be deeper than a socket address is long.
pub fn connect(folder: &Path, name: &str) -> io::Result<StdStream> {
    let dir = std::fs::File::open(folder)?;
    StdStream::connect(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Binds the socket `name` in `folder`.
pub fn bind(folder: &Path, name: &str) -> io::Result<std::os::unix::net::UnixListener> {
    let dir = std::fs::File::open(folder)?;
    std::os::unix::net::UnixListener::bind(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Sends one frame.
pub async fn send<T: Serialize>(
    stream: &UnixStream,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let frame = encode(message)?;
    let mut sent = 0;
    while sent < frame.len() {
        stream.writable().await?;
        let fds = if sent == 0 { fds } else { &[] };
        match stream.try_io(Interest::WRITABLE, || {
            send_part(stream.as_raw_fd(), &frame[sent..], fds)
        }) {
            Ok(n) => sent += n,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// Receives one frame; `None` when the other side has closed.
pub async fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut fds = Vec::new();
    let mut header = [0u8; 4];
    if !fill(stream, &mut header, &mut fds).await? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut body = vec![0u8; length];
    if !fill(stream, &mut body, &mut fds).await? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((serde_json::from_slice(&body)?, fds)))
}

/// Sends one frame from a process that has no runtime.
pub fn send_blocking<T: Serialize>(
    stream: &StdStream,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let frame = encode(message)?;
    let mut sent = 0;
    while sent < frame.len() {
        let fds = if sent == 0 { fds } else { &[] };
        sent += send_part(stream.as_raw_fd(), &frame[sent..], fds)?;
    }
    Ok(())
}

fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0u8; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

fn send_part(socket: RawFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() {
        &control[..0]
    } else {
        &control[..]
    };
    Ok(sendmsg::<UnixAddr>(
        socket,
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?)
}

/// `false` when the stream ended before the first byte.
async fn fill(stream: &UnixStream, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut have = 0;
    while have < buffer.len() {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || {
            receive_part(stream.as_raw_fd(), &mut buffer[have..], fds)
        }) {
            Ok(0) if have == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
    Ok(true)
}

fn receive_part(socket: RawFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<UnixAddr>(
        socket,
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for this process; nobody else owns them.
            fds.extend(
                raw.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::fd::AsFd,
    };

    use super::*;

    #[tokio::test]
    async fn frames_and_descriptors_arrive() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let long = "x".repeat(300_000);
        let sending = skiff_watching::task::spawn(async move {
            send(&a, &Request::Start { id: "one".into() }, &[writer.as_fd()])
                .await
                .unwrap();
            send(&a, &Request::Start { id: long }, &[]).await.unwrap();
        });
        let (first, mut fds) = receive::<Request>(&b).await.unwrap().unwrap();
        assert!(matches!(first, Request::Start { id } if id == "one"));
        std::fs::File::from(fds.remove(0))
            .write_all(b"through")
            .unwrap();
        let (second, fds) = receive::<Request>(&b).await.unwrap().unwrap();
        assert!(matches!(second, Request::Start { id } if id.len() == 300_000) && fds.is_empty());
        sending.await.unwrap();
        assert!(receive::<Request>(&b).await.unwrap().is_none());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }
}
