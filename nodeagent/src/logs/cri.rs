//! The format of log files: `<time> <stream> <F|P> <content>`, one entry a line; `P` entries go on in the next.
//!
//! Invariant: what is not in the format is passed over, never guessed.
//! Follows `staging/src/k8s.io/cri-client/pkg/logs/logs.go` and the CRI logging design.

use jiff::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As it stands in the file, to the nanosecond.
    pub stamp: &'a str,
    pub at: Timestamp,
    pub stream: Stream,
    /// The line goes on in the next entry.
    pub partial: bool,
    pub content: &'a [u8],
}

impl Line<'_> {
    /// The content, with the newline that ended it.
    pub fn content_with_end(&self) -> Vec<u8> {
        let mut all = self.content.to_vec();
        if !self.partial {
            all.push(b'\n');
        }
        all
    }
}

/// Reads one entry, without its newline.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let stamp = std::str::from_utf8(parts.next()?).ok()?;
    let at = stamp.parse().ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let tags = parts.next()?;
    let partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Line {
        stamp,
        at,
        stream,
        partial,
        content: parts.next().unwrap_or_default(),
    })
}

/// All whole entries of `log`.
pub fn lines(log: &[u8]) -> impl Iterator<Item = Line<'_>> {
    log.split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| parse(line.strip_suffix(b"\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let log = b"2024-01-02T03:04:05.678901234Z stdout F hello world\n2024-01-02T03:04:06Z stderr P par\nrubbish\n2024-01-02T03:04:06Z stderr F \ncut off";
        let all: Vec<_> = lines(log).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(
            (all[0].stamp, all[0].content),
            ("2024-01-02T03:04:05.678901234Z", &b"hello world"[..])
        );
        assert_eq!(
            (all[1].stream, all[1].partial, all[1].content_with_end()),
            (Stream::Stderr, true, b"par".to_vec())
        );
        assert_eq!(all[2].content_with_end(), b"\n");
    }
}
