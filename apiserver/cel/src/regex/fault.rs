//! What is wrong with an expression, and the ends of text that all who read one hand on.
//!
//! Invariant: the words are Go's. Follows `regexp/syntax/parse.go` (`Error`, `ErrorCode`).

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {code}: `{part}`")]
pub struct SyntaxError {
    pub code: Code,
    /// The part of the expression.
    pub part: String,
}

impl SyntaxError {
    pub(super) fn new(code: Code, part: &str) -> SyntaxError {
        SyntaxError {
            code,
            part: part.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Code {
    #[error("invalid character class range")]
    CharRange,
    #[error("invalid escape sequence")]
    Escape,
    #[error("invalid named capture")]
    NamedCapture,
    #[error("invalid or unsupported Perl syntax")]
    PerlOp,
    #[error("invalid nested repetition operator")]
    RepeatOp,
    #[error("invalid repeat count")]
    RepeatSize,
    #[error("missing closing ]")]
    MissingBracket,
    #[error("missing closing )")]
    MissingParen,
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    #[error("unexpected )")]
    UnexpectedParen,
    #[error("expression nests too deeply")]
    NestingDepth,
    #[error("expression too large")]
    Large,
}

pub(super) type Rest<'t> = Result<&'t str, SyntaxError>;

pub(super) fn error<T>(code: Code, part: &str) -> Result<T, SyntaxError> {
    Err(SyntaxError::new(code, part))
}

/// What of `text` comes before `rest`, its end.
pub(super) fn before<'t>(text: &'t str, rest: &str) -> &'t str {
    &text[..text.len() - rest.len()]
}

/// The first letter and what follows it.
pub(super) fn split(text: &str) -> Option<(char, &str)> {
    let mut letters = text.chars();
    Some((letters.next()?, letters.as_str()))
}
