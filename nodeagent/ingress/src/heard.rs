//! A connection to an endpoint, which breaks off when the other machine is silent.
//!
//! Invariant: what counts is whether the machine's kernel acknowledges what it was sent; for how long its program reads nothing, and the window is closed, is its
//! own affair. So it is asked of the kernel here (`tcp_info`) and not left to `TCP_USER_TIMEOUT`, which breaks off both. A connection on which nothing is
//! under way costs nothing.

use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use nix::libc;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// For how long an endpoint's machine may leave unacknowledged what was sent to it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(1);
/// How often it is looked while something is under way.
const LOOK: Duration = Duration::from_millis(250);

/// What the kernel knows of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sending {
    /// Something is sent that was not acknowledged: data, or the question whether a closed window is open again.
    waits: bool,
    /// Something is to be sent as soon as the other side has room.
    held: bool,
    /// Since the other machine said anything.
    quiet: Duration,
}

impl Sending {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        // SAFETY: it is plain data of the kernel's, for which zeros are fine; a kernel that knows less leaves them.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: both outlive the call, which writes no more than `length`.
        let read = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        if read != 0 {
            return Err(io::Error::last_os_error());
        }
        let quiet = info.tcpi_last_ack_recv.min(info.tcpi_last_data_recv);
        Ok(Sending {
            waits: info.tcpi_unacked > 0 || info.tcpi_probes > 0,
            held: info.tcpi_notsent_bytes > 0,
            quiet: Duration::from_millis(quiet.into()),
        })
    }
}

/// What is thought of the other machine.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// When it is looked next; `None`: nothing is under way.
    look: Option<Instant>,
    /// Since when something waits for it without a break, as far as was looked.
    waits_since: Option<Instant>,
}

impl Watch {
    /// Something is sent, where nothing was under way.
    fn begin(&mut self, now: Instant) {
        *self = Watch {
            look: Some(now + LOOK),
            waits_since: Some(now),
        };
    }

    /// Takes a look; whether it has been silent for too long.
    fn is_silent(&mut self, sending: Sending, now: Instant) -> bool {
        self.waits_since = sending.waits.then(|| self.waits_since.unwrap_or(now));
        self.look = (sending.waits || sending.held).then(|| now + LOOK);
        self.waits_since
            .is_some_and(|since| sending.quiet.min(now - since) >= UNACKNOWLEDGED)
    }
}

/// See the module.
pub struct Heard {
    stream: TcpStream,
    watch: Watch,
    sleep: Pin<Box<Sleep>>,
    /// Whom `sleep` wakes: nearly always who asks again, so that nothing has to be done.
    wakes: Option<Waker>,
}

impl Heard {
    pub fn new(stream: TcpStream) -> Self {
        Heard {
            stream,
            watch: Watch::default(),
            sleep: Box::pin(tokio::time::sleep(LOOK)),
            wakes: None,
        }
    }

    /// Ready when the other machine is silent.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while let Some(look) = self.watch.look {
            let again = (self.wakes.as_ref()).is_some_and(|waker| waker.will_wake(cx.waker()));
            if self.sleep.deadline() != look {
                self.sleep.as_mut().reset(look);
            } else if again && !self.sleep.is_elapsed() {
                return Poll::Pending;
            }
            if !again {
                self.wakes = Some(cx.waker().clone());
            }
            ready!(self.sleep.as_mut().poll(cx));
            match Sending::of(&self.stream) {
                Ok(sending) if !self.watch.is_silent(sending, Instant::now()) => {}
                Ok(_) => return Poll::Ready(io::ErrorKind::TimedOut.into()),
                Err(error) => return Poll::Ready(error),
            }
        }
        Poll::Pending
    }

    /// What came of waiting for the socket, or the end of patience.
    fn or_silence<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self.poll_silence(cx).map(Err),
            ready => ready,
        }
    }

    /// The same of writing.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let sent = matches!(polled, Poll::Ready(Ok(count)) if count > 0);
        if sent && self.watch.look.is_none() {
            self.watch.begin(Instant::now());
        }
        self.or_silence(cx, polled)
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.or_silence(cx, polled)
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked at after so many milliseconds: (when, waits, held, quiet, whether that is the end, and whether it is looked again).
    type Look = (u64, bool, bool, u64, bool, bool);

    #[test]
    fn when_it_is_given_up() {
        #[rustfmt::skip]
        let stories: [(&str, &[Look]); 6] = [
            ("acknowledged", &[(250, false, false, 200, false, false)]),
            ("never a word", &[(250, true, false, 9000, false, true), (999, true, false, 9749, false, true), (1000, true, false, 9750, true, true)]),
            ("it was quiet before, and answers", &[(250, true, false, 9000, false, true), (500, false, false, 10, false, false)]),
            ("always something under way, and always a word", &[(250, true, false, 1, false, true), (5000, true, true, 900, false, true)]),
            ("a closed window whose machine answers", &[(250, false, true, 200, false, true), (2000, true, true, 1700, false, true), (2250, false, true, 240, false, true), (9000, false, true, 6000, false, true)]),
            ("a closed window whose machine is gone", &[(250, false, true, 200, false, true), (2000, true, true, 1950, false, true), (3000, true, true, 2950, true, true)]),
        ];
        for (what, looks) in stories {
            let begun = Instant::now();
            let mut watch = Watch::default();
            watch.begin(begun);
            for &(at, waits, held, quiet, ends, again) in looks {
                let sending = Sending {
                    waits,
                    held,
                    quiet: Duration::from_millis(quiet),
                };
                let now = begun + Duration::from_millis(at);
                assert_eq!(watch.is_silent(sending, now), ends, "{what} at {at}");
                assert_eq!(watch.look, again.then(|| now + LOOK), "{what} at {at}");
            }
        }
    }
}
