//! The text of an expression, its places, and the faults that were found in it.
//!
//! Invariant: a place is an offset in characters (not bytes); lines count from 1, columns from 0, as they are told with 1 added.
//! Faults print as upstream's `vendor/github.com/google/cel-go/common/{source,error,errors}.go` print them.

use std::fmt;

/// A text, cut into characters and lines once.
#[derive(Debug, Clone)]
pub struct Source {
    chars: Vec<char>,
    /// The offset at which each line begins.
    lines: Vec<u32>,
}

/// Where a fault is told when it has no place.
pub const NOWHERE: u32 = u32::MAX;

/// How many faults of one expression are told.
const MOST_ISSUES: usize = 100;
/// The longest line that is shown below a fault, in bytes.
const LONGEST_SNIPPET: usize = 16384;

impl Source {
    pub fn new(text: &str) -> Source {
        let chars: Vec<char> = text.chars().collect();
        let mut lines = vec![0];
        for (at, c) in chars.iter().enumerate() {
            if *c == '\n' {
                lines.push(at as u32 + 1);
            }
        }
        Source { chars, lines }
    }

    pub fn chars(&self) -> &[char] {
        &self.chars
    }

    /// The text between two offsets; what lies beyond the end is left out.
    pub fn slice(&self, from: usize, to: usize) -> String {
        let to = to.min(self.chars.len());
        self.chars.get(from..to).unwrap_or(&[]).iter().collect()
    }

    /// Line (from 1) and column (from 0) of an offset.
    fn place(&self, offset: u32) -> (i64, i64) {
        if offset == NOWHERE {
            return (-1, -1);
        }
        if self.chars.is_empty() {
            return (1, -1);
        }
        let line = self.lines.partition_point(|start| *start <= offset);
        (line as i64, i64::from(offset - self.lines[line - 1]))
    }

    /// What stands in a line, without its end. An empty text has no line.
    fn line(&self, line: i64) -> Option<String> {
        if line < 1 || self.chars.is_empty() {
            return None;
        }
        let start = *self.lines.get(line as usize - 1)? as usize;
        let end = match self.lines.get(line as usize) {
            Some(next) => *next as usize - 1,
            None => self.chars.len(),
        };
        Some(self.slice(start, end))
    }
}

/// One fault and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The offset in characters, or [`NOWHERE`].
    pub offset: u32,
    pub message: String,
}

/// Why a text is no expression of its environment: at least one fault. Prints as upstream does, places and lines included.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.shown())]
pub struct Issues {
    text: Source,
    list: Vec<Issue>,
    count: usize,
}

impl Issues {
    pub(crate) fn new(source: Source) -> Issues {
        Issues {
            text: source,
            list: Vec::new(),
            count: 0,
        }
    }

    pub(crate) fn push(&mut self, offset: u32, message: impl Into<String>) {
        self.count += 1;
        if self.count <= MOST_ISSUES {
            let message = message.into();
            self.list.push(Issue { offset, message });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The faults in the order in which they were found.
    pub fn list(&self) -> &[Issue] {
        &self.list
    }

    fn shown(&self) -> Shown<'_> {
        Shown(self)
    }
}

struct Shown<'a>(&'a Issues);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Issues {
            text: source,
            list,
            count,
        } = self.0;
        let mut sorted: Vec<&Issue> = list.iter().collect();
        sorted.sort_by_key(|issue| source.place(issue.offset));
        for (i, issue) in sorted.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            show(f, source, issue)?;
        }
        if *count > MOST_ISSUES {
            write!(f, "\n{} more errors were truncated", count - MOST_ISSUES)?;
        }
        Ok(())
    }
}

/// A fault, its line, and dots that lead to its column; wide characters get wide dots.
fn show(f: &mut fmt::Formatter<'_>, source: &Source, issue: &Issue) -> fmt::Result {
    let (line, column) = source.place(issue.offset);
    write!(f, "ERROR: <input>:{line}:{}: {}", column + 1, issue.message)?;
    let Some(snippet) = source.line(line) else {
        return Ok(());
    };
    if snippet.len() > LONGEST_SNIPPET {
        return Ok(());
    }
    let snippet = snippet.replace('\t', " ");
    write!(f, "\n | {snippet}\n | ")?;
    let mut chars = snippet.chars();
    for c in chars.by_ref().take(column.max(0) as usize) {
        f.write_str(if c.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
    }
    let wide = chars.next().is_some_and(|c| c.len_utf8() > 1);
    f.write_str(if wide { "\u{ff3e}" } else { "^" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_shown_with_their_lines() {
        let mut issues = Issues::new(Source::new("a +\n\té$"));
        issues.push(6, "second");
        issues.push(0, "first");
        issues.push(NOWHERE, "nowhere");
        assert_eq!(
            issues.to_string(),
            "ERROR: <input>:-1:0: nowhere\nERROR: <input>:1:1: first\n | a +\n | ^\nERROR: <input>:2:3: second\n |  é$\n | .\u{ff0e}^"
        );
        let mut empty = Issues::new(Source::new(""));
        empty.push(0, "nothing");
        assert_eq!(empty.to_string(), "ERROR: <input>:1:0: nothing");
    }
}
