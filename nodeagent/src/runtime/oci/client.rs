//! The agent's side of the conversation with a shim.
//!
//! Invariant: a shim that cannot be reached is an error that says so, never an answer.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd},
    net::{UnixStream, unix::pipe},
    sync::mpsc,
};

use super::{
    protocol::{self, Failure, Reply, Request},
    state::SandboxDir,
};
use crate::{
    outcome,
    runtime::{Error, ExecSpec, Reader, Streams, Writer},
};

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFound(id) => Self::NotFound(id),
            Failure::Start(text) => Self::Start(text),
            Failure::Unsupported { what, hint } => Self::Unsupported { what, hint },
            Failure::Failed { what, reason } => Self::Failed { what, reason },
        }
    }
}

fn lost(err: impl ToString) -> Error {
    Error::Failed {
        what: "speak with the sandbox's shim".into(),
        reason: err.to_string(),
    }
}

/// Sends a request; the connection is for what the shim answers.
pub async fn ask(dir: &SandboxDir, request: &Request) -> Result<UnixStream, Error> {
    let stream = protocol::connect(&dir.0, SandboxDir::SOCKET).map_err(lost)?;
    stream.set_nonblocking(true).map_err(lost)?;
    let stream = UnixStream::from_std(stream).map_err(lost)?;
    protocol::send(&stream, request, &[]).await.map_err(lost)?;
    Ok(stream)
}

/// The next answer. A failure that the shim reports is this call's error.
pub async fn next(stream: &UnixStream) -> Result<(Reply, Vec<OwnedFd>), Error> {
    match protocol::receive::<Reply>(stream).await {
        Ok(Some((Reply::Failed(failure), _))) => Err(failure.into()),
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(lost("it has closed the connection")),
        Err(err) => Err(lost(err)),
    }
}

/// Sends a request that is answered with `Done`.
pub async fn call(dir: &SandboxDir, request: &Request) -> Result<(), Error> {
    let stream = ask(dir, request).await?;
    match next(&stream).await? {
        (Reply::Done, _) => Ok(()),
        (other, _) => Err(lost(format!("an answer that does not fit: {other:?}"))),
    }
}

/// Sends an exec or attach request and makes streams of what comes back.
pub async fn open(
    dir: &SandboxDir,
    request: &Request,
    wanted: &ExecSpec,
) -> Result<Streams, Error> {
    let connection = ask(dir, request).await?;
    let (reply, fds) = next(&connection).await?;
    let Reply::Streams {
        stdin,
        stdout,
        stderr,
        terminal,
    } = reply
    else {
        return Err(lost(format!("an answer that does not fit: {reply:?}")));
    };
    let mut fds = fds.into_iter();
    let mut take = |there: bool| there.then(|| fds.next()).flatten();
    let (stdin, stdout, stderr, terminal) =
        (take(stdin), take(stdout), take(stderr), take(terminal));
    let exit = Box::pin(async move {
        match next(&connection).await? {
            (Reply::Exit(code), _) => Ok(code),
            (other, _) => Err(lost(format!("an answer that does not fit: {other:?}"))),
        }
    });
    let streams = assemble(stdin, stdout, stderr, terminal, wanted).map_err(lost)?;
    Ok(Streams { exit, ..streams })
}

fn assemble(
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    wanted: &ExecSpec,
) -> io::Result<Streams> {
    let reader = |fd: Option<OwnedFd>| {
        fd.map(|fd| pipe::Receiver::from_owned_fd(fd).map(|pipe| Box::pin(pipe) as Reader))
            .transpose()
    };
    let (mut out, mut err) = (reader(stdout)?, reader(stderr)?);
    let mut input: Option<Writer> = match stdin {
        Some(fd) => Some(Box::pin(ClosingPipe(Some(pipe::Sender::from_owned_fd(
            fd,
        )?)))),
        None => None,
    };
    let mut resize = None;
    if let Some(terminal) = terminal {
        if out.is_none() {
            out = Some(Box::pin(Terminal::new(terminal.try_clone()?)?));
        }
        if wanted.stdin {
            input = Some(Box::pin(Terminal::new(terminal.try_clone()?)?));
        }
        resize = Some(follow_size(terminal));
    }
    if !wanted.stdout {
        drain(out.take());
    }
    if !wanted.stderr {
        drain(err.take());
    }
    Ok(Streams {
        stdin: input,
        stdout: out,
        stderr: err,
        resize,
        exit: Box::pin(std::future::pending()),
    })
}

/// What nobody wants to read is read all the same: the process must not be stopped by a full or broken pipe.
fn drain(stream: Option<Reader>) {
    if let Some(mut stream) = stream {
        skiff_watching::task::spawn(async move {
            // The end is all that is waited for.
            outcome::may_be_broken_off(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
        });
    }
}

fn follow_size(terminal: OwnedFd) -> mpsc::Sender<(u16, u16)> {
    let (sender, mut sizes) = mpsc::channel(4);
    skiff_watching::task::spawn(async move {
        while let Some((columns, rows)) = sizes.recv().await {
            let size = libc::winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // SAFETY: the structure is what this request reads. A terminal that has gone needs no size.
            unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        }
    });
    sender
}

/// A pipe that is closed by `shutdown`, so that the process reads an end.
struct ClosingPipe(Option<pipe::Sender>);

impl AsyncWrite for ClosingPipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

/// The master of a terminal.
struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            match ready.try_io(|fd| {
                Ok(nix::unistd::read(
                    fd.get_ref(),
                    buffer.initialize_unfilled(),
                )?)
            }) {
                Ok(Ok(n)) => {
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                // How the end of a terminal looks.
                Ok(Err(err)) if err.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(err)) => return Poll::Ready(Err(err)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            match ready.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
                Ok(answer) => return Poll::Ready(answer),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
