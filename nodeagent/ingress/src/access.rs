//! The access log: one line a request, in the combined format, with the endpoint and how long it took at its end.
//!
//! Invariant: a request never waits for the disk; lines are gathered and written each second, or sooner when they are many. What cannot be written is dropped,
//! and told of once. The file is put aside when it is large, and one such is kept.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use parking_lot::Mutex;
use skiff_watching::clock::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// At this size the file is put aside.
const MAX_SIZE: u64 = 100 << 20;
/// This much is written at once, without waiting for the second to end.
const ENOUGH: usize = 64 << 10;
/// What a disk that does not keep up may leave waiting; more is dropped.
const TOO_MUCH: usize = 8 << 20;

#[derive(Default)]
struct Waiting {
    text: String,
    /// The second that `stamp` is of.
    second: i64,
    stamp: String,
    dropped: u64,
}

/// Where lines go; none are made where there is none.
pub struct AccessLog {
    waiting: Mutex<Waiting>,
    enough: Notify,
    clock: Clock,
}

/// A request's line, which is written when this is dropped.
pub struct Line {
    log: Arc<AccessLog>,
    begun: Instant,
    client: IpAddr,
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    pub status: StatusCode,
    pub endpoint: Option<SocketAddr>,
    bytes: u64,
}

impl Line {
    /// Counts bytes of the answer's body.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.log.write(self);
    }
}

/// A client's text, so that it cannot make lines of its own.
fn quoted(text: &mut String, value: Option<&HeaderValue>) {
    let Some(value) = value else {
        text.push_str("\"-\"");
        return;
    };
    text.push('"');
    for byte in value.as_bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                // a String takes whatever is written into it
                let _ = write!(text, "\\x{byte:02X}");
            }
            byte => text.push(char::from(*byte)),
        }
    }
    text.push('"');
}

impl AccessLog {
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(AccessLog {
            waiting: Mutex::default(),
            enough: Notify::new(),
            clock,
        })
    }

    /// Begins a request's line.
    pub fn line(
        self: &Arc<Self>,
        client: IpAddr,
        head: (&Method, &Uri, Version),
        headers: &HeaderMap,
    ) -> Line {
        let header = |name| headers.get(name).cloned();
        Line {
            log: self.clone(),
            begun: Instant::now(),
            client,
            method: head.0.clone(),
            uri: head.1.clone(),
            version: head.2,
            host: header(header::HOST),
            referer: header(header::REFERER),
            agent: header(header::USER_AGENT),
            status: StatusCode::BAD_GATEWAY,
            endpoint: None,
            bytes: 0,
        }
    }

    fn write(&self, line: &Line) {
        let now = self.clock.now();
        let mut waiting = self.waiting.lock();
        if waiting.text.len() > TOO_MUCH {
            waiting.dropped += 1;
            return;
        }
        if waiting.second != now.as_second() || waiting.stamp.is_empty() {
            waiting.second = now.as_second();
            waiting.stamp = now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        }
        let Waiting { text, stamp, .. } = &mut *waiting;
        let path = line.uri.path_and_query().map_or("*", |path| path.as_str());
        // a String takes whatever is written into it
        let _ = write!(
            text,
            "{} - - [{stamp}] \"{} {path} {:?}\" {} {} ",
            line.client,
            line.method,
            line.version,
            line.status.as_u16(),
            line.bytes,
        );
        quoted(text, line.referer.as_ref());
        text.push(' ');
        quoted(text, line.agent.as_ref());
        text.push(' ');
        match (&line.host, line.uri.authority()) {
            (None, Some(authority)) => quoted(
                text,
                HeaderValue::from_str(authority.as_str()).ok().as_ref(),
            ),
            (host, _) => quoted(text, host.as_ref()),
        }
        let took = line.begun.elapsed().as_secs_f64();
        let _ = match line.endpoint {
            Some(endpoint) => writeln!(text, " {endpoint} {took:.3}"),
            None => writeln!(text, " - {took:.3}"),
        };
        let enough = text.len() > ENOUGH;
        drop(waiting);
        if enough {
            self.enough.notify_one();
        }
    }

    /// Writes what waits into the file, until `stop`, and then the rest.
    pub async fn run(self: Arc<Self>, path: PathBuf, stop: CancellationToken) {
        let mut told = false;
        while !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = self.enough.notified() => {}
                () = stop.cancelled() => {}
            }
            let (text, dropped) = {
                let mut waiting = self.waiting.lock();
                let dropped = std::mem::take(&mut waiting.dropped);
                (std::mem::take(&mut waiting.text), dropped)
            };
            if dropped > 0 {
                tracing::warn!("the access log does not keep up: {dropped} lines were dropped");
            }
            if text.is_empty() {
                continue;
            }
            let to = path.clone();
            let written = tokio::task::spawn_blocking(move || append(&to, &text)).await;
            match written.map_err(std::io::Error::other).flatten() {
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!(%error, path = %path.display(), "the access log cannot be written");
                }
                Err(_) => {}
                Ok(()) => told = false,
            }
        }
    }
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = OpenOptions::new();
    open.create(true).append(true).mode(0o600);
    let mut file: File = match open.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            open.open(path)?
        }
        other => other?,
    };
    if file.metadata()?.len() > MAX_SIZE {
        std::fs::rename(path, path.with_extension("log.1"))?;
        file = open.open(path)?;
    }
    file.write_all(text.as_bytes())
}
