//! One connection's state: what is asked on it, since when it waits for what, and how it is closed.
//!
//! Invariant: a connection is idle for 90 s at the most, its next request's head takes 32 s at the most, and an answer is taken within a minute or
//! two, unless it is a stream; watching costs one timer a connection, and a request four atomic operations.
//! The times are those of `staging/src/k8s.io/apiserver/pkg/server/secure_serving.go`; how it is closed is how Go's `net/http` does it
//! (closeWriteAndWait).

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep},
};

use super::held::Held;

/// How long a connection may wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub idle: Duration,
    pub head: Duration,
    /// How often a connection is looked after; an answer is counted among those of its time slice.
    pub slice: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            idle: Duration::from_secs(90),
            head: Duration::from_secs(32),
            slice: Duration::from_secs(30),
        }
    }
}

/// Answers older than so many slices, and no streams, are not being taken.
const SLICES: usize = 4;
/// How long a closed connection's unread rest is read, so that the client's machine does not throw the answer away for it.
const PARTING: Duration = Duration::from_millis(500);

/// Time as a number: milliseconds since this process first asked, and one.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

fn since(then: u64) -> Duration {
    Duration::from_millis(now().saturating_sub(then))
}

pub struct Connection {
    http2: bool,
    times: Times,
    /// Requests whose answers are not sent yet, by the slice in which they came; streams are taken out.
    active: [AtomicU32; SLICES],
    slice: AtomicU32,
    /// All requests whose answers are not sent yet.
    asked: AtomicU32,
    idle_since: AtomicU64,
    /// When the first byte of the next request came; 0: it has not.
    head_since: AtomicU64,
    switched: AtomicBool,
    end: Notify,
}

/// What is to be done with a connection.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Let it end.
    End,
    /// Cut it off.
    Cut(&'static str),
}

impl Connection {
    pub fn new(http2: bool, times: Times) -> Arc<Connection> {
        Arc::new(Connection {
            http2,
            times,
            active: Default::default(),
            slice: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            idle_since: AtomicU64::new(now()),
            head_since: AtomicU64::new(0),
            switched: AtomicBool::new(false),
            end: Notify::new(),
        })
    }

    /// A request has come.
    pub fn begin(self: &Arc<Connection>) -> Begun {
        self.head_since.store(0, Relaxed);
        self.asked.fetch_add(1, Relaxed);
        let slice = self.slice.load(Relaxed) as usize % SLICES;
        self.active[slice].fetch_add(1, Relaxed);
        Begun {
            connection: self.clone(),
            slice,
            long: AtomicBool::new(false),
        }
    }

    /// The connection speaks another protocol from now on, and is looked after by who speaks it.
    pub fn switched(&self) {
        self.switched.store(true, Relaxed);
    }

    /// The connection is to end after what it is about.
    pub fn end(&self) {
        self.end.notify_one();
    }

    fn heard(&self) {
        if self.asked.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(now(), Relaxed);
        }
    }

    /// Until there is something to be done.
    pub async fn watch(&self) -> Verdict {
        let mut wait = self.times.slice;
        loop {
            tokio::select! {
                () = self.end.notified() => return Verdict::End,
                () = tokio::time::sleep(wait) => {}
            }
            match self.look(wait) {
                Ok(next) => wait = next,
                Err(verdict) => return verdict,
            }
        }
    }

    /// How long until the next look, `waited` after the last one.
    fn look(&self, waited: Duration) -> Result<Duration, Verdict> {
        let Times {
            idle,
            head: longest_head,
            slice,
        } = self.times;
        if waited >= slice {
            let next = (self.slice.load(Relaxed) as usize + 1) % SLICES;
            if self.active[next].load(Relaxed) > 0 {
                return Err(Verdict::Cut("its answer was not taken in time"));
            }
            self.slice.store(next as u32, Relaxed);
        }
        if self.asked.load(Relaxed) > 0 {
            return Ok(slice);
        }
        let head = self.head_since.load(Relaxed);
        if head > 0 && !self.http2 {
            let left = longest_head.saturating_sub(since(head));
            return if left.is_zero() {
                Err(Verdict::Cut("the head of its request did not come in time"))
            } else {
                Ok(left.min(slice))
            };
        }
        let left = idle.saturating_sub(since(self.idle_since.load(Relaxed)));
        if left.is_zero() {
            Err(Verdict::End)
        } else {
            Ok(left.min(slice))
        }
    }
}

/// A request whose answer is not sent yet.
pub struct Begun {
    connection: Arc<Connection>,
    slice: usize,
    long: AtomicBool,
}

impl Begun {
    /// Its answer is a stream, which may be taken as slowly as its client likes.
    pub fn takes_long(&self) {
        if !self.long.swap(true, Relaxed) {
            self.connection.active[self.slice].fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !*self.long.get_mut() {
            self.connection.active[self.slice].fetch_sub(1, Relaxed);
        }
        self.connection.idle_since.store(now(), Relaxed);
        self.connection.asked.fetch_sub(1, Relaxed);
    }
}

/// A body that tells its connection when it has been sent.
pub type Counted = Held<Begun>;

/// A stream that notices when its client begins to speak, and that parts politely: after its last word it hears the other side out.
pub struct Polite<S> {
    stream: S,
    connection: Arc<Connection>,
    parting: Option<Pin<Box<Sleep>>>,
}

impl<S> Polite<S> {
    pub fn new(stream: S, connection: Arc<Connection>) -> Polite<S> {
        Polite {
            stream,
            connection,
            parting: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Polite<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.heard();
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Polite<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.parting.is_none() {
            std::task::ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if this.connection.switched.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let parting = this
            .parting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(PARTING)));
        loop {
            if parting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut rest = [0; 4096];
            let mut rest = ReadBuf::new(&mut rest);
            match std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, &mut rest)) {
                Ok(()) if !rest.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{super::held::Until, *};

    /// A hundred times faster.
    fn fast(http2: bool) -> Arc<Connection> {
        let whole = Times::default();
        Connection::new(
            http2,
            Times {
                idle: whole.idle / 100,
                head: whole.head / 100,
                slice: whole.slice / 100,
            },
        )
    }

    /// What comes of it, and after how many seconds of a clock that is not fast.
    async fn verdict_after(connection: &Arc<Connection>) -> (Verdict, u128) {
        let begun = Instant::now();
        (connection.watch().await, begun.elapsed().as_millis() / 10)
    }

    #[tokio::test]
    async fn who_waits_for_what() {
        let (verdict, seconds) = verdict_after(&fast(false)).await;
        assert!(verdict == Verdict::End && seconds >= 89, "idle: {seconds}");
        let slow = fast(false);
        slow.heard();
        let (verdict, seconds) = verdict_after(&slow).await;
        assert!(
            verdict == Verdict::Cut("the head of its request did not come in time")
                && (31..89).contains(&seconds),
            "{seconds}"
        );
        let pinging = fast(true);
        pinging.heard();
        let (verdict, seconds) = verdict_after(&pinging).await;
        assert!(
            verdict == Verdict::End && seconds >= 89,
            "frames of HTTP/2 are no head: {seconds}"
        );
        let ended = fast(true);
        ended.end();
        let (verdict, seconds) = verdict_after(&ended).await;
        assert!(verdict == Verdict::End && seconds < 30, "{seconds}");
    }

    #[tokio::test]
    async fn answers_are_taken_or_the_connection_goes() {
        let connection = fast(false);
        let _answer = Counted::new(Body::empty(), connection.begin(), Until::Dropped);
        let (verdict, seconds) = verdict_after(&connection).await;
        assert_eq!(verdict, Verdict::Cut("its answer was not taken in time"));
        assert!(seconds >= 60, "{seconds}");
        let connection = fast(false);
        let stream = connection.begin();
        stream.takes_long();
        assert!(
            tokio::time::timeout(Duration::from_secs(3), connection.watch())
                .await
                .is_err(),
            "a watch goes on"
        );
        drop(stream);
        assert_eq!(connection.watch().await, Verdict::End);
    }

    #[tokio::test]
    async fn a_long_row_of_requests_is_no_slow_one() {
        let connection = fast(false);
        let asking = async {
            for _ in 0..300 {
                let begun = connection.begin();
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(begun);
            }
        };
        tokio::select! {
            () = asking => {}
            verdict = connection.watch() => panic!("{verdict:?}"),
        }
    }

    #[tokio::test]
    async fn parting_hears_the_other_side_out() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut polite = Polite::new(ours, fast(false));
        let talking = skiff_watching::task::spawn(async move {
            theirs.write_all(&[7; 1000]).await.unwrap();
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).await.unwrap();
            heard
        });
        polite.write_all(b"no").await.unwrap();
        polite.shutdown().await.unwrap();
        drop(polite);
        assert_eq!(talking.await.unwrap(), b"no");
        let (ours, _theirs) = tokio::io::duplex(16);
        let begun = Instant::now();
        Polite::new(ours, fast(false)).shutdown().await.unwrap();
        assert!(
            begun.elapsed() >= PARTING && begun.elapsed() < 10 * PARTING,
            "but not for ever"
        );
    }
}
