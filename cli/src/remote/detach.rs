//! The keys that leave a session while what runs in the container goes on.
//! Invariant: what is typed comes through unchanged and in order, but for those keys in full.
//! Behaviour follows `github.com/moby/term` (`ToBytes`, `NewEscapeProxy`).

use crate::error::Problem;

/// Reads keys as they are written: `ctrl-p,ctrl-q`, `a`, `DEL`.
///
/// # Errors
/// A word that is no key.
pub fn keys(text: &str) -> Result<Vec<u8>, Problem> {
    text.split(',')
        .map(
            |key| match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
                ([one], _) => Ok(*one),
                (_, Some([letter @ b'a'..=b'z'])) => Ok(letter - b'a' + 1),
                (_, Some(b"@")) => Ok(0),
                (_, Some([sign @ b'['..=b'_'])) => Ok(sign - b'[' + 27),
                (b"DEL", _) => Ok(127),
                _ => Err(format!("Unknown character: '{key}'").into()),
            },
        )
        .collect()
}

/// Looks for the keys in what is typed.
pub struct Detach {
    keys: Vec<u8>,
    /// How many of them were typed so far, one after the other.
    typed: usize,
}

impl Detach {
    /// Without keys, nothing is looked for.
    pub fn at(keys: &[u8]) -> Detach {
        Detach {
            keys: keys.to_vec(),
            typed: 0,
        }
    }

    /// What of the piece goes on to the container; nothing if the keys were typed.
    pub fn pass(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(piece.len());
        for &key in piece {
            if self.keys.get(self.typed) == Some(&key) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return None;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.typed]);
            self.typed = 0;
            if self.keys.first() == Some(&key) {
                self.typed = 1;
            } else {
                out.push(key);
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        for (text, want) in [
            ("ctrl-p,ctrl-q", Ok(vec![16, 17])),
            ("a,DEL", Ok(vec![b'a', 127])),
            ("ctrl-@,ctrl-[,ctrl-_", Ok(vec![0, 27, 31])),
            ("ctrl-1", Err(Problem("Unknown character: 'ctrl-1'".into()))),
            ("", Err(Problem("Unknown character: ''".into()))),
        ] {
            assert_eq!(keys(text), want, "{text}");
        }
    }

    #[test]
    fn only_the_whole_sequence_leaves() {
        let mut d = Detach::at(&[16, 17]);
        assert_eq!(d.pass(b"ab"), Some(b"ab".to_vec()));
        assert_eq!(d.pass(&[b'x', 16]), Some(b"x".to_vec()));
        assert_eq!(d.pass(b"y"), Some(vec![16, b'y']));
        assert_eq!(d.pass(&[16, 16]), Some(vec![16]));
        assert_eq!(d.pass(&[17, b'z']), None);
        assert_eq!(Detach::at(&[]).pass(&[16, 17]), Some(vec![16, 17]));
    }
}
