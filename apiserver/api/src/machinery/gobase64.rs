//! Base64 as Go's `encoding/base64` reads it (`StdEncoding`): line ends anywhere, and bits after the last byte are not looked at.
//!
//! Follows `decodeQuantum` of Go's `encoding/base64/base64.go`, by which byte it names of a text that is none.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The byte at which a text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {0}")]
pub struct Illegal(pub usize);

/// The bytes that `text` stands for.
pub fn decode(text: &str) -> Result<Vec<u8>, Illegal> {
    ENGINE
        .decode(text.replace(['\n', '\r'], ""))
        .map_err(|_| Illegal(fault(text.as_bytes())))
}

/// Where Go stops in a text that is no base64; its length where it is one.
fn fault(text: &[u8]) -> usize {
    let is_line_end = |at: usize| matches!(text.get(at), Some(b'\n' | b'\r'));
    let after_line_ends = |mut at: usize| {
        while is_line_end(at) {
            at += 1;
        }
        at
    };
    let (mut at, mut of_four) = (0, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\n' | b'\r' => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => of_four = (of_four + 1) % 4,
            b'=' if of_four == 2 => {
                at = after_line_ends(at + 1);
                match text.get(at) {
                    None => return text.len(),
                    Some(b'=') => return after_line_ends(at + 1),
                    Some(_) => return at - 1,
                }
            }
            b'=' if of_four == 3 => return after_line_ends(at + 1),
            _ => return at,
        }
        at += 1;
    }
    // what is left of four characters began there
    text.len() - of_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_it() {
        for (text, read) in [
            ("", Ok("")),
            ("YQ==", Ok("a")),
            ("YR==", Ok("a")),
            ("Y\nQ=\r\n=\n", Ok("a")),
            ("YWI=", Ok("ab")),
            ("YWJj", Ok("abc")),
            ("Y", Err(0)),
            ("YQ", Err(0)),
            ("YWJjYQ", Err(4)),
            ("YQ=", Err(3)),
            ("YQ=a", Err(2)),
            ("YQ===", Err(4)),
            ("YWI=a", Err(4)),
            ("=", Err(0)),
            ("Y===", Err(1)),
            ("YQ-_", Err(2)),
            ("not base64!", Err(3)),
            (" YQ==", Err(0)),
        ] {
            let read = read
                .map(|text: &str| text.as_bytes().to_vec())
                .map_err(Illegal);
            assert_eq!(decode(text), read, "{text:?}");
        }
    }
}
