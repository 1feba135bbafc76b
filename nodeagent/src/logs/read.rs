//! Reading a container's log: the end of it, what came since a moment, and what is still to come.
//!
//! Invariant: entries come out in the order in which they stand in the file, whole; a log that is being written is followed until its container has ended and all was read.
//! So many lines from the end are so many entries of the file: a long line is several. What is written while they are read is not among them.
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

use super::aside::rotated;
use super::cri::{self, Stream};
use crate::{outcome::IfThere, time};

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
    /// How many entries may still come, when the end of a log is read and not followed.
    entries: Option<u64>,
    /// The entry goes on a line that was begun already.
    in_line: bool,
}

impl<'a> Filter<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            left: options.limit_bytes,
            entries: options.tail.filter(|_| !options.follow),
            in_line: false,
        }
    }

    fn wants(&self, line: &cri::Line) -> bool {
        self.options
            .stream
            .is_none_or(|stream| stream == line.stream)
            && self.options.since.is_none_or(|since| line.at >= since)
    }

    /// Takes the next entry of the file.
    fn take(&mut self, line: &cri::Line, out: &mut BytesMut) {
        if let Some(entries) = &mut self.entries {
            *entries -= 1;
        }
        let in_line = std::mem::replace(&mut self.in_line, line.partial);
        if self.wants(line) {
            self.put(line, in_line, out);
        }
    }

    fn put(&mut self, line: &cri::Line, in_line: bool, out: &mut BytesMut) {
        let begin = out.len();
        if self.options.timestamps && !in_line {
            out.extend_from_slice(line.stamp.as_bytes());
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(&line.content_with_end());
        if let Some(left) = &mut self.left {
            let room = usize::try_from(*left).unwrap_or(usize::MAX);
            out.truncate(begin + room.min(out.len() - begin));
            *left -= (out.len() - begin) as u64;
        }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0) || self.entries == Some(0)
    }
}

/// Reads `log` into `sink`. `running` tells whether the container still writes.
pub async fn read(
    log: &Path,
    options: &Options,
    running: impl Fn() -> bool,
    sink: &Sink,
) -> std::io::Result<()> {
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
    let mut place = inode(log).await;
    while options.follow && !filter.is_full() && !sink.is_closed() {
        let alive = running();
        if is_another(log, place).await {
            // The log was set aside: what was still written to it before that is read from where it is now.
            if let (Some(aside), true) = (rotated(log)?.pop(), place.is_some()) {
                copy(&aside, offset, &mut filter, sink).await?;
            }
            (offset, place) = (0, inode(log).await);
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

/// Which file is at `path`; nothing when there is none.
async fn inode(path: &Path) -> Option<u64> {
    tokio::fs::metadata(path)
        .await
        .ok()
        .map(|metadata| std::os::unix::fs::MetadataExt::ino(&metadata))
}

/// Whether there is another file at `path` than before.
async fn is_another(path: &Path, before: Option<u64>) -> bool {
    let now = inode(path).await;
    now.is_some() && now != before
}

/// The files to read, and where in the first of them to begin.
async fn beginning(log: &Path, options: &Options) -> std::io::Result<(Vec<PathBuf>, u64)> {
    let mut files = vec![log.to_owned()];
    let Some(mut tail) = options.tail else {
        return Ok((files, 0));
    };
    let mut offset = last_entries(log, &mut tail).await?;
    for older in rotated(log)?.into_iter().rev() {
        if tail == 0 {
            break;
        }
        offset = last_entries(&older, &mut tail).await?;
        files.insert(0, older);
    }
    Ok((files, offset))
}

/// Where the last `tail` entries of a file begin; what it lacks is left in `tail`.
async fn last_entries(path: &Path, tail: &mut u64) -> std::io::Result<u64> {
    let Some(mut file) = File::open(path).await.if_there()? else {
        return Ok(0);
    };
    let mut position = file.metadata().await?.len();
    // The end of the entry before those that are wanted; an entry that is still being written is none.
    let mut ends = 0;
    while position > 0 {
        let length = position.min(CHUNK as u64);
        position -= length;
        file.seek(SeekFrom::Start(position)).await?;
        let mut chunk = vec![0; length as usize];
        file.read_exact(&mut chunk).await?;
        for (at, _) in chunk
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            ends += 1;
            if ends > *tail {
                *tail = 0;
                return Ok(position + at as u64 + 1);
            }
        }
    }
    *tail -= ends;
    Ok(0)
}

/// Sends what is whole in the file from `offset` on; answers how far that was.
async fn copy(
    path: &Path,
    offset: u64,
    filter: &mut Filter<'_>,
    sink: &Sink,
) -> std::io::Result<u64> {
    let Some(mut file) = File::open(path).await.if_there()? else {
        return Ok(offset);
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
        let whole = pending
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let mut out = BytesMut::new();
        for line in cri::lines(&pending[..whole]) {
            if !filter.is_full() {
                filter.take(&line, &mut out);
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
    use skiff_testing::With;
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
            (none().with(|o| o.tail = Some(1)), "four\n"),
            (none().with(|o| o.tail = Some(2)), "ee\nfour\n"),
            (none().with(|o| o.tail = Some(3)), "three\nfour\n"),
            (
                none().with(|o| o.tail = Some(99)),
                "one\ntwo\nthree\nfour\n",
            ),
            (none().with(|o| o.tail = Some(0)), ""),
            (none().with(|o| o.stream = Some(Stream::Stderr)), "two\n"),
            (none().with(|o| o.limit_bytes = Some(6)), "one\ntw"),
            (
                none().with(|o| o.since = Some("2024-01-01T00:00:04Z".parse().unwrap())),
                "four\n",
            ),
            (
                none().with(|o| {
                    o.timestamps = true;
                    o.tail = Some(2);
                }),
                "2024-01-01T00:00:03Z ee\n2024-01-01T00:00:04Z four\n",
            ),
            (
                none().with(|o| {
                    o.timestamps = true;
                    o.since = Some("2024-01-01T00:00:03Z".parse().unwrap());
                }),
                "ee\n2024-01-01T00:00:04Z four\n",
            ),
        ];
        for (options, expected) in table {
            assert_eq!(text(&log, options.clone()).await, expected, "{options:?}");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_log_that_grows_is_not_more_than_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        std::fs::write(&log, LOG).unwrap();
        let mut tail = 1;
        let offset = last_entries(&log, &mut tail).await.unwrap();
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        write!(
            file,
            "2024-01-01T00:00:05Z stdout F five\n2024-01-01T00:00:06Z stdout F six\n"
        )
        .unwrap();
        let (sink, mut pieces) = mpsc::channel(16);
        let options = Options::default().with(|o| o.tail = Some(1));
        let mut filter = Filter::new(&options);
        copy(&log, offset, &mut filter, &sink).await.unwrap();
        assert_eq!(&pieces.recv().await.unwrap().unwrap()[..], b"four\n");
        assert!(filter.is_full());
    }

    #[tokio::test]
    async fn the_tail_reaches_into_rotated_logs() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        std::fs::write(dir.path().join("0.log.20240101-000000"), LOG).unwrap();
        std::fs::write(&log, "2024-01-01T00:00:05Z stdout F five\n").unwrap();
        assert_eq!(
            text(&log, Options::default().with(|o| o.tail = Some(2))).await,
            "four\nfive\n"
        );
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
        let reader = skiff_watching::task::spawn(async move {
            let options = Options::default().with(|o| {
                o.follow = true;
                o.tail = Some(0);
            });
            read(&path, &options, || alive.load(Ordering::SeqCst), &sink).await
        });
        tokio::time::sleep(PAUSE).await;
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        write!(file, "2024-01-01T00:00:05Z stdout F ne").unwrap();
        writeln!(file, "w").unwrap();
        let piece = tokio::time::timeout(Duration::from_secs(5), pieces.recv())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(&piece[..], b"new\n");
        // The log is set aside with a line that was not read yet, and a new one begun.
        writeln!(file, "2024-01-01T00:00:06Z stdout F last of the old").unwrap();
        std::fs::rename(&log, dir.path().join("0.log.20240101-000000")).unwrap();
        std::fs::write(&log, "2024-01-01T00:00:07Z stdout F first of the new\n").unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"first of the new\n") {
            text.extend(
                tokio::time::timeout(Duration::from_secs(5), pieces.recv())
                    .await
                    .unwrap()
                    .unwrap()
                    .unwrap(),
            );
        }
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "last of the old\nfirst of the new\n"
        );
        running.store(false, Ordering::SeqCst);
        tokio::time::timeout(Duration::from_secs(5), reader)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}
