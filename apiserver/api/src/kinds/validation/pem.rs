//! PEM as Go reads it: blocks one after another, whatever stands between them.
//!
//! Follows `encoding/pem`.

use base64::{Engine, prelude::BASE64_STANDARD};

/// One block.
pub struct Block<'t> {
    /// `CERTIFICATE`, …
    pub kind: &'t str,
    /// There are lines `Name: value` before the bytes.
    pub has_headers: bool,
    pub bytes: Vec<u8>,
    /// What follows.
    pub rest: &'t str,
}

impl Block<'_> {
    /// Whether the bytes are one sequence of DER, as a certificate is; no more of it is read.
    pub fn is_sequence(&self) -> bool {
        let (head, length) = match *self.bytes {
            [0x30, length @ 0..=0x7f, ..] => (2, length as usize),
            [0x30, 0x81, length, ..] => (3, length as usize),
            [0x30, 0x82, high, low, ..] => (4, usize::from(high) << 8 | usize::from(low)),
            _ => return false,
        };
        length > 0 && self.bytes.len() == head + length
    }
}

/// The next block that can be read.
pub fn next(text: &str) -> Option<Block<'_>> {
    let mut rest = text;
    loop {
        let (_, begun) = rest.split_once("-----BEGIN ")?;
        if let Some(block) = read(begun) {
            return Some(block);
        }
        rest = begun;
    }
}

fn read(begun: &str) -> Option<Block<'_>> {
    let (kind, body) = begun.split_once("-----")?;
    let end = format!("-----END {kind}-----");
    let (body, rest) = body.split_once(end.as_str())?;
    let (headers, letters): (Vec<&str>, Vec<&str>) = body
        .lines()
        .filter(|line| !line.trim().is_empty())
        .partition(|line| line.contains(':'));
    let letters: String = letters
        .iter()
        .flat_map(|line| line.split_whitespace())
        .collect();
    Some(Block {
        kind,
        has_headers: !headers.is_empty(),
        bytes: BASE64_STANDARD.decode(letters).ok()?,
        rest: rest.trim_start(),
    })
}
