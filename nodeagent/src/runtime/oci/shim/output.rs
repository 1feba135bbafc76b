//! Where a container's output goes: into its log, and to everybody who is attached.
//!
//! Invariant: the log comes first; a client that does not read is cut off, and never holds up the container.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, unix::AsyncFd},
    net::unix::pipe,
    sync::{Notify, mpsc},
    task::spawn_local,
};

use super::log::{Log, Stream};
use crate::runtime::oci::state::now;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks kept for a client that is slow.
const BACKLOG: usize = 256;

pub struct Output {
    log: RefCell<Log>,
    clients: RefCell<Vec<(Stream, mpsc::Sender<Bytes>)>>,
    open: Cell<usize>,
    drained: Notify,
}

impl Output {
    pub fn new(log: Log) -> Rc<Self> {
        Rc::new(Self {
            log: RefCell::new(log),
            clients: RefCell::default(),
            open: Cell::new(0),
            drained: Notify::new(),
        })
    }

    pub fn reopen_log(&self) -> io::Result<()> {
        self.log.borrow_mut().reopen()
    }

    /// Reads a pipe until its end, in the background.
    pub fn pump(self: &Rc<Self>, stream: Stream, from: OwnedFd) -> io::Result<()> {
        let mut pipe = pipe::Receiver::from_owned_fd(from)?;
        let output = Rc::clone(self);
        self.open.set(self.open.get() + 1);
        spawn_local(async move {
            let mut buffer = vec![0u8; CHUNK];
            while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
                output.take(stream, &buffer[..n]);
            }
            output.end(stream);
        });
        Ok(())
    }

    /// Reads a terminal until nobody has it open any more, in the background.
    pub fn pump_terminal(self: &Rc<Self>, master: OwnedFd) -> io::Result<()> {
        // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
        let terminal = unsafe { AsyncFd::register(master) }?;
        let output = Rc::clone(self);
        self.open.set(self.open.get() + 1);
        spawn_local(async move {
            let mut buffer = vec![0u8; CHUNK];
            while let Ok(mut ready) = terminal.readable().await {
                match ready.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), &mut buffer)?)) {
                    Ok(Ok(n @ 1..)) => output.take(Stream::Stdout, &buffer[..n]),
                    Err(_would_block) => {}
                    // EIO is how the end of a terminal looks.
                    Ok(_) => break,
                }
            }
            output.end(Stream::Stdout);
        });
        Ok(())
    }

    /// Returns when all streams have ended.
    pub async fn drained(&self) {
        while self.open.get() > 0 {
            self.drained.notified().await;
        }
    }

    /// A pipe that gets what the container writes from now on.
    pub fn attach(&self, stream: Stream) -> io::Result<OwnedFd> {
        let (reader, writer) = io::pipe()?;
        if self.open.get() == 0 {
            return Ok(reader.into()); // at its end already
        }
        let mut pipe = pipe::Sender::from_owned_fd(writer.into())?;
        let (sender, mut chunks) = mpsc::channel::<Bytes>(BACKLOG);
        self.clients.borrow_mut().push((stream, sender));
        spawn_local(async move {
            while let Some(chunk) = chunks.recv().await {
                if pipe.write_all(&chunk).await.is_err() {
                    return; // the client has gone
                }
            }
        });
        Ok(reader.into())
    }

    fn take(&self, stream: Stream, bytes: &[u8]) {
        if let Err(err) = self.log.borrow_mut().write(stream, bytes, now()) {
            eprintln!("cannot write the container's log: {err}");
        }
        let mut clients = self.clients.borrow_mut();
        if !clients.is_empty() {
            let chunk = Bytes::copy_from_slice(bytes);
            clients.retain(|(of, sender)| *of != stream || sender.try_send(chunk.clone()).is_ok());
        }
    }

    fn end(&self, stream: Stream) {
        if let Err(err) = self.log.borrow_mut().end(stream, now()) {
            eprintln!("cannot write the container's log: {err}");
        }
        self.clients.borrow_mut().retain(|(of, _)| *of != stream);
        self.open.set(self.open.get() - 1);
        self.drained.notify_waiters();
    }
}

/// Makes reads and writes return instead of waiting. The flag is shared by all descriptors of the same open file.
pub fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain calls on a descriptor that we own.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: as above.
    match flags >= 0
        && unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) } == 0
    {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}
