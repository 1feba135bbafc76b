//! A container's log file in the CRI's format: `<time> <stream> <F|P> <line>`.
//!
//! Invariant: every byte that the container wrote is in the file once, in order within its stream; lines longer than
//! the limit are split, all parts but the last marked P, and so is a last line that the container did not end.
//! Follows containerd's `internal/cri/io/logger.go`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

/// Longest content of one entry, in bytes (containerd's `max_container_log_line_size`).
const MAX_LINE: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The file, and what has come of lines that are not whole yet.
pub struct Log {
    path: PathBuf,
    file: File,
    pending: [Vec<u8>; 2],
}

impl Log {
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: open(&path)?,
            path,
            pending: Default::default(),
        })
    }

    /// Goes on in a new file at the same path, after the old one was renamed.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        Ok(())
    }

    /// Writes what is whole of `bytes`, all with the time `now`.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: jiff::Timestamp) -> io::Result<()> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let pending = &mut self.pending[stream as usize];
        let head = head(stream, now);
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let (content, whole) = match part.split_last() {
                Some((b'\n', content)) => (content, true),
                _ => (part, false),
            };
            pending.extend_from_slice(content);
            while pending.len() > MAX_LINE {
                entry(&mut out, &head, b'P', &pending[..MAX_LINE]);
                pending.drain(..MAX_LINE);
            }
            if whole {
                entry(&mut out, &head, b'F', pending);
                pending.clear();
            }
        }
        self.file.write_all(&out)
    }

    /// The stream has ended: what is left is a part of a line.
    pub fn end(&mut self, stream: Stream, now: jiff::Timestamp) -> io::Result<()> {
        let left = std::mem::take(&mut self.pending[stream as usize]);
        let mut out = Vec::with_capacity(left.len() + 64);
        if !left.is_empty() {
            entry(&mut out, &head(stream, now), b'P', &left);
        }
        self.file.write_all(&out)
    }
}

/// What an entry begins with.
fn head(stream: Stream, now: jiff::Timestamp) -> String {
    format!(
        "{now:.9} {} ",
        if stream == Stream::Stdout {
            "stdout"
        } else {
            "stderr"
        }
    )
}

fn entry(out: &mut Vec<u8>, head: &str, tag: u8, content: &[u8]) {
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&[tag, b' ']);
    out.extend_from_slice(content);
    out.push(b'\n');
}

fn open(path: &PathBuf) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let now: jiff::Timestamp = "2026-01-02T03:04:05.000000789Z".parse().unwrap();
        let mut log = Log::open(path.clone()).unwrap();
        log.write(Stream::Stdout, b"one\ntw", now).unwrap();
        log.write(Stream::Stderr, b"err\n", now).unwrap();
        log.write(Stream::Stdout, b"o\n\nthree", now).unwrap();
        log.end(Stream::Stdout, now).unwrap();
        log.end(Stream::Stderr, now).unwrap();
        let head = "2026-01-02T03:04:05.000000789Z";
        let wanted = [
            "stdout F one",
            "stderr F err",
            "stdout F two",
            "stdout F ",
            "stdout P three",
        ]
        .map(|line| format!("{head} {line}\n"))
        .concat();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted);
    }

    #[test]
    fn long_lines_are_split_and_rotation_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut log = Log::open(path.clone()).unwrap();
        let long = [b"x".repeat(2 * MAX_LINE + 5), b"\n".to_vec()].concat();
        long.chunks(1_000)
            .for_each(|chunk| log.write(Stream::Stdout, chunk, now).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let entries: Vec<(String, usize)> = text
            .lines()
            .map(|line| (line[38..39].to_owned(), line.len() - 40))
            .collect();
        assert_eq!(
            entries,
            [
                ("P".into(), MAX_LINE),
                ("P".into(), MAX_LINE),
                ("F".into(), 5)
            ]
        );
        std::fs::rename(&path, folder.path().join("0.log.old")).unwrap();
        log.reopen().unwrap();
        log.write(Stream::Stdout, b"new\n", now).unwrap();
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .ends_with("stdout F new\n")
        );
    }
}
