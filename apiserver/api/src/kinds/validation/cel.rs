//! Expressions in CEL: the one place where what is written in an object would be compiled.
//!
//! Invariant: what can be said of an expression without compiling it is said here, in upstream's words; nothing is compiled yet, so an expression
//! that does not parse or has the wrong type is stored (`docs/differences.md`).
//! Follows `pkg/apis/admissionregistration/validation/validation.go` and `validateCELSelector` of `pkg/apis/resource/validation/validation.go`.

use crate::kinds::prelude::*;

/// The longest expression that selects devices, in bytes.
const LONGEST_SELECTOR: usize = 10 * 1024;
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// An expression that must be there; `missing` is what is said when it is not.
pub fn required(expression: &str, missing: &str, path: &Path, errors: &mut Errors) {
    if is_blank(expression) {
        errors.required(path, missing);
    }
}

/// An expression that selects devices.
pub fn selector(expression: &str, path: &Path, errors: &mut Errors) {
    if expression.len() > LONGEST_SELECTOR {
        errors.too_long(path, LONGEST_SELECTOR as i64);
    }
}

/// Nothing but blanks.
pub fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A name that expressions can refer to.
pub fn is_identifier(name: &str) -> bool {
    let letter = |b: u8| b == b'_' || b.is_ascii_alphabetic();
    let shape = name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || b.is_ascii_digit());
    shape && !RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_compiler() {
        for (name, good) in [
            ("a", true),
            ("_a1", true),
            ("1a", false),
            ("", false),
            ("a-b", false),
            ("in", false),
            ("namespace", false),
        ] {
            assert_eq!(is_identifier(name), good, "{name}");
        }
        let mut errors = Errors::default();
        let path = Path::new("e");
        required(" \n", "expression is not specified", &path, &mut errors);
        required("true", "", &path, &mut errors);
        selector(&"x".repeat(LONGEST_SELECTOR), &path, &mut errors);
        selector(&"x".repeat(LONGEST_SELECTOR + 1), &path, &mut errors);
        assert_eq!(
            errors.message(),
            "[e: Required value: expression is not specified, e: Too long: may not be more than 10240 bytes]"
        );
    }
}
