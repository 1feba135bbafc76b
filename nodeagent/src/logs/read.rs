//! Reading a container's log: the end of it, what came since a moment, and what is still to come.
//!
//! Invariant: entries come out in the order in which they stand in the file, whole; a log that is being written is followed until its container has ended and all was read.
//! Follows `staging/src/k8s.io/cri-client/pkg/logs/logs.go`.

use std::{
    io::SeekFrom,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::mpsc,
};

use super::{
    cri::{self, Stream},
    rotate::rotated,
};
use crate::time;

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub follow: bool,
    pub timestamps: bool,
    pub since: Option<Timestamp>,
    /// So many lines from the end.
    pub tail: Option<u64>,
    pub limit_bytes: Option<u64>,
    /// One stream only.
    pub stream: Option<Stream>,
}

/// Where the pieces of a log go; reading ends when nobody takes them any more.
pub type Sink = mpsc::Sender<std::io::Result<Bytes>>;

/// How often a log that is followed is looked at again.
const PAUSE: Duration = Duration::from_millis(50);
const CHUNK: usize = 64 * 1024;

/// Turns entries into what is asked for, and counts the bytes.
struct Filter<'a> {
    options: &'a Options,
    left: Option<u64>,
    /// The entry goes on a line that was begun already.
    in_line: bool,
}

impl<'a> Filter<'a> {
    fn new(options: &'a Options) -> Self {
        Self { options, left: options.limit_bytes, in_line: false }
    }

    fn wants(&self, line: &cri::Line) -> bool {
        self.options.stream.is_none_or(|stream| stream == line.stream) && self.options.since.is_none_or(|since| line.at >= since)
    }

    fn put(&mut self, line: &cri::Line, out: &mut BytesMut) {
        let begin = out.len();
        if self.options.timestamps && !self.in_line {
            out.extend_from_slice(line.stamp.as_bytes());
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(&line.content_with_end());
        self.in_line = line.partial;
        if let Some(left) = &mut self.left {
            let room = usize::try_from(*left).unwrap_or(usize::MAX);
            out.truncate(begin + room.min(out.len() - begin));
            *left -= (out.len() - begin) as u64;
        }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }
}

/// Reads `log` into `sink`. `running` tells whether the container still writes.
pub async fn read(log: &Path, options: &Options, running: impl Fn() -> bool, sink: &Sink) -> std::io::Result<()> {
    if options.tail == Some(0) && !options.follow {
        return Ok(());
    }
    let mut filter = Filter::new(options);
    let (files, mut offset) = beginning(log, options).await?;
    for (index, path) in files.iter().enumerate() {
        let start = if index == 0 { offset } else { 0 };
        offset = copy(path, start, &mut filter, sink).await?;
        if filter.is_full() || sink.is_closed() {
            return Ok(());
        }
    }
    while options.follow && !filter.is_full() && !sink.is_closed() {
        let alive = running();
        if tokio::fs::metadata(log).await.is_ok_and(|metadata| metadata.len() < offset) {
            offset = 0;
        }
        let read = copy(log, offset, &mut filter, sink).await?;
        if read == offset {
            if !alive {
                break;
            }
            tokio::select! {
                () = time::sleep(PAUSE) => {}
                () = sink.closed() => break,
            }
        }
        offset = read;
    }
    Ok(())
}

/// The files to read, and where in the first of them to begin.
async fn beginning(log: &Path, options: &Options) -> std::io::Result<(Vec<PathBuf>, u64)> {
    let mut files = vec![log.to_owned()];
    let Some(mut tail) = options.tail else {
        return Ok((files, 0));
    };
    let mut offset = last_lines(log, &mut tail, options.stream).await?;
    for older in rotated(log)?.into_iter().rev() {
        if tail == 0 {
            break;
        }
        offset = last_lines(&older, &mut tail, options.stream).await?;
        files.insert(0, older);
    }
    Ok((files, offset))
}

/// Where the last `tail` lines of a file begin; what it lacks is left in `tail`.
async fn last_lines(path: &Path, tail: &mut u64, stream: Option<Stream>) -> std::io::Result<u64> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let size = file.metadata().await?.len();
    if *tail == 0 {
        return Ok(size);
    }
    let (mut position, mut kept) = (size, Vec::new());
    while position > 0 {
        let length = position.min(CHUNK as u64);
        position -= length;
        file.seek(SeekFrom::Start(position)).await?;
        let mut chunk = vec![0; length as usize];
        file.read_exact(&mut chunk).await?;
        chunk.append(&mut kept);
        kept = chunk;
        let starts = line_starts(&kept, position == 0, stream);
        if starts.len() as u64 >= *tail {
            let start = starts[starts.len() - *tail as usize];
            *tail = 0;
            return Ok(position + start as u64);
        }
        if position == 0 {
            *tail -= starts.len() as u64;
        }
    }
    Ok(0)
}

/// Where lines begin in `data`: an entry begins one unless the entry of the same stream before it was partial.
fn line_starts(data: &[u8], whole: bool, stream: Option<Stream>) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = if whole { 0 } else { data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |end| end + 1) };
    let mut in_line = [false, false];
    while let Some(end) = data[at..].iter().position(|byte| *byte == b'\n') {
        if let Some(line) = cri::parse(&data[at..at + end]).filter(|line| stream.is_none_or(|stream| stream == line.stream)) {
            let open = &mut in_line[usize::from(line.stream == Stream::Stderr)];
            if !*open {
                starts.push(at);
            }
            *open = line.partial;
        }
        at += end + 1;
    }
    starts
}

/// Sends what is whole in the file from `offset` on; answers how far that was.
async fn copy(path: &Path, offset: u64, filter: &mut Filter<'_>, sink: &Sink) -> std::io::Result<u64> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(offset),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset)).await?;
    let (mut done, mut pending) = (offset, Vec::new());
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer).await?;
        if count == 0 {
            return Ok(done);
        }
        pending.extend_from_slice(&buffer[..count]);
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut out = BytesMut::new();
        for line in cri::lines(&pending[..whole]) {
            if filter.wants(&line) && !filter.is_full() {
                filter.put(&line, &mut out);
            }
        }
        pending.drain(..whole);
        done += whole as u64;
        if !out.is_empty() && sink.send(Ok(out.freeze())).await.is_err() {
            return Ok(done);
        }
        if filter.is_full() {
            return Ok(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    const LOG: &str = "2024-01-01T00:00:00.000000001Z stdout F one\n2024-01-01T00:00:01Z stderr F two\n2024-01-01T00:00:02Z stdout P thr\n2024-01-01T00:00:03Z stdout F ee\n2024-01-01T00:00:04Z stdout F four\n";

    async fn text(log: &Path, options: Options) -> String {
        let (sink, mut pieces) = mpsc::channel(16);
        read(log, &options, || false, &sink).await.unwrap();
        drop(sink);
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn options_select() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        std::fs::write(&log, LOG).unwrap();
        let none = Options::default;
        let table = [
            (none(), "one\ntwo\nthree\nfour\n"),
            (Options { tail: Some(2), ..none() }, "three\nfour\n"),
            (Options { tail: Some(99), ..none() }, "one\ntwo\nthree\nfour\n"),
            (Options { tail: Some(0), ..none() }, ""),
            (Options { stream: Some(Stream::Stderr), ..none() }, "two\n"),
            (Options { stream: Some(Stream::Stderr), tail: Some(1), ..none() }, "two\n"),
            (Options { limit_bytes: Some(6), ..none() }, "one\ntw"),
            (Options { since: Some("2024-01-01T00:00:04Z".parse().unwrap()), ..none() }, "four\n"),
            (Options { timestamps: true, tail: Some(2), ..none() }, "2024-01-01T00:00:02Z three\n2024-01-01T00:00:04Z four\n"),
        ];
        for (options, expected) in table {
            assert_eq!(text(&log, options.clone()).await, expected, "{options:?}");
        }
    }

    #[tokio::test]
    async fn the_tail_reaches_into_rotated_logs() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        std::fs::write(dir.path().join("0.log.20240101-000000"), LOG).unwrap();
        std::fs::write(&log, "2024-01-01T00:00:05Z stdout F five\n").unwrap();
        assert_eq!(text(&log, Options { tail: Some(2), ..Default::default() }).await, "four\nfive\n");
        assert_eq!(text(&log, Options::default()).await, "five\n");
    }

    #[tokio::test]
    async fn a_log_is_followed_until_its_container_ends() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        std::fs::write(&log, LOG).unwrap();
        let running = Arc::new(AtomicBool::new(true));
        let (sink, mut pieces) = mpsc::channel(16);
        let (path, alive) = (log.clone(), running.clone());
        let reader = tokio::spawn(async move {
            let options = Options { follow: true, tail: Some(0), ..Default::default() };
            read(&path, &options, || alive.load(Ordering::SeqCst), &sink).await
        });
        tokio::time::sleep(PAUSE).await;
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        write!(file, "2024-01-01T00:00:05Z stdout F ne").unwrap();
        writeln!(file, "w").unwrap();
        let piece = tokio::time::timeout(Duration::from_secs(5), pieces.recv()).await.unwrap().unwrap().unwrap();
        assert_eq!(&piece[..], b"new\n");
        running.store(false, Ordering::SeqCst);
        tokio::time::timeout(Duration::from_secs(5), reader).await.unwrap().unwrap().unwrap();
    }
}
