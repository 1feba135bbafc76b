//! What names may look like: the rules for labels of DNS, keys, values, path segments, ports, addresses, and what to say when one is broken.
//!
//! Invariant: each check returns the messages of upstream to the letter, and an empty (unallocated) list for a good value;
//! nothing here compiles or runs a regular expression.
//! Follows upstream's `staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go` and `pkg/api/validate/content`.

mod dns;
pub mod ip;
mod keys;
mod numbers;
mod version;

pub use dns::*;
pub use keys::*;
pub use numbers::*;
pub use version::compare_versions;

/// Messages about one value; empty when it is good.
pub type Messages = Vec<String>;

/// "must be no more than N characters": what upstream's older checks say.
pub fn max_len_error(length: usize) -> String {
    format!("must be no more than {length} characters")
}

/// "must be no more than N bytes": what label keys and values say.
pub fn max_bytes_error(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

/// "must be non-empty".
pub fn empty_error() -> String {
    "must be non-empty".into()
}

/// "must be between LOW and HIGH, inclusive".
pub fn inclusive_range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A message with examples and the expression that stands for the rule.
pub fn regex_error(message: &str, expression: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{expression}')");
    }
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!(
        "{message} (e.g. {}regex used for validation is '{expression}')",
        examples.join(" or ")
    )
}

/// Whether `s` is one or more of `inner`, its first and last byte of `ends`.
fn bounded(s: &str, ends: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let b = s.as_bytes();
    match b {
        [] => false,
        [one] => ends(*one),
        [first, middle @ .., last] => {
            ends(*first) && ends(*last) && middle.iter().all(|c| inner(*c))
        }
    }
}
