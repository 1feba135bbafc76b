//! The tokens of a label selector.
//!
//! Invariant: every text has tokens (what is no symbol, blank or keyword is an identifier), the last of them [`Token::End`].
//! Follows upstream's `labels/selector.go` (Lexer).

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

const WORDS: [(&str, Token); 11] = [
    (")", Token::Close),
    (",", Token::Comma),
    ("!", Token::Not),
    ("==", Token::DoubleEquals),
    ("=", Token::Equals),
    (">", Token::Greater),
    ("in", Token::In),
    ("<", Token::Less),
    ("!=", Token::NotEquals),
    ("notin", Token::NotIn),
    ("(", Token::Open),
];

fn word(text: &str) -> Option<Token> {
    WORDS.iter().find(|(w, _)| *w == text).map(|(_, t)| *t)
}

fn symbol(b: u8) -> bool {
    matches!(b, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// All tokens with their text. A NUL ends the text, as upstream has it.
pub(super) fn tokens(text: &str) -> Vec<(Token, &str)> {
    let text = text.split('\0').next().unwrap_or_default();
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if blank(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        if symbol(bytes[at]) {
            at += if at + 2 <= bytes.len()
                && symbol(bytes[at + 1])
                && word(&text[at..at + 2]).is_some()
            {
                2
            } else {
                1
            };
        } else {
            at += bytes[at..]
                .iter()
                .position(|b| symbol(*b) || blank(*b))
                .unwrap_or(bytes.len() - at);
        }
        let literal = &text[start..at];
        found.push((word(literal).unwrap_or(Token::Identifier), literal));
    }
    found.push((Token::End, ""));
    found
}
