//! A `#` in what a request asks for is a part of it, as Go reads it; who reads HTTP here would take it for the beginning of something that is the client's own. So
//! it is escaped before.
//!
//! Invariant: nothing but the first line of a request is touched, and that only when it has one.
//! Follows `ParseRequestURI` of Go's `net/url`, which knows of no fragments.

use tokio::io::ReadBuf;

/// The beginning of a request with what its first line has of `#` escaped; `None`: it has none.
fn escaped(head: &[u8]) -> Option<Vec<u8>> {
    let end = head.iter().position(|byte| *byte == b'\n');
    let (line, rest) = head.split_at(end.unwrap_or(head.len()));
    if !line.contains(&b'#') {
        return None;
    }
    let mut out = Vec::with_capacity(head.len() + 8);
    for byte in line {
        match byte {
            b'#' => out.extend(b"%23"),
            byte => out.push(*byte),
        }
    }
    out.extend(rest);
    Some(out)
}

/// What was read and is still to be handed on, as it has become longer.
#[derive(Default)]
pub struct Ahead(Vec<u8>);

impl Ahead {
    /// Hands on what is left; tells whether there was anything.
    pub fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let fits = self.0.len().min(buffer.remaining());
        buffer.put_slice(&self.0[..fits]);
        self.0.drain(..fits);
        true
    }

    /// Looks at what of a buffer is the beginning of a request, from `start`.
    pub fn escape(&mut self, buffer: &mut ReadBuf<'_>, start: usize) {
        if let Some(head) = escaped(&buffer.filled()[start..]) {
            buffer.set_filled(start);
            self.0 = head;
            self.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_first_lines_are_touched() {
        for (head, wanted) in [
            ("GET /a HTTP/1.1\r\nX: #\r\n\r\n", None),
            (
                "GET /a#b?c#d HTTP/1.1\r\nX: #\r\n\r\n#",
                Some("GET /a%23b?c%23d HTTP/1.1\r\nX: #\r\n\r\n#"),
            ),
            ("GET /#", Some("GET /%23")),
        ] {
            let found = escaped(head.as_bytes());
            assert_eq!(found, wanted.map(|text| text.as_bytes().to_vec()), "{head}");
        }
    }
}
