//! Texts for Warning headers, in the order in which they came up, each once.
//!
//! Invariant: all of them together are short; beyond that each is cut, and then no more are taken.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/filters/warning.go` and `NewWarningHeader` of `staging/src/k8s.io/apimachinery/pkg/util/net/http.go`.

use http::HeaderValue;
use parking_lot::Mutex;

/// Characters of all texts together before they are cut.
const TOTAL: usize = 4 * 1024;
/// Characters of one that is cut.
const ITEM: usize = 256;

#[derive(Default)]
pub struct Warnings(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// All that was said, whether it can be told in a header or not.
    texts: Vec<String>,
    cutting: bool,
}

impl Warnings {
    pub fn add(&self, text: impl Into<String>) {
        self.0.lock().add(text.into());
    }

    /// The values of the headers.
    pub fn headers(&self) -> Vec<HeaderValue> {
        self.0.lock().told().filter_map(header).collect()
    }
}

impl Told {
    fn add(&mut self, text: String) {
        let full = self.cutting && self.length() >= TOTAL;
        if text.is_empty() || full || self.texts.contains(&text) {
            return;
        }
        self.texts.push(text);
        self.cutting |= self.length() > TOTAL;
    }

    /// What a header takes of each text.
    fn told(&self) -> impl Iterator<Item = &str> {
        let cut = |text| if self.cutting { start(text) } else { text };
        let texts = self.texts.iter().map(move |text| cut(text.as_str()));
        texts.filter(|text| is_clean(text))
    }

    /// Characters of all that is told.
    fn length(&self) -> usize {
        self.told().map(|text| text.chars().count()).sum()
    }
}

/// The first [`ITEM`] characters.
fn start(text: &str) -> &str {
    let end = text.char_indices().nth(ITEM).map(|(end, _)| end);
    &text[..end.unwrap_or(text.len())]
}

/// What has control characters is told to nobody.
fn is_clean(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn header(text: &str) -> Option<HeaderValue> {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("299 - \"{escaped}\"").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[&str]) -> Vec<String> {
        let warnings = Warnings::default();
        texts.iter().for_each(|text| warnings.add(*text));
        let headers = warnings.headers();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.iter().map(text).collect()
    }

    #[test]
    fn texts_are_told_once_and_those_that_no_header_takes_are_not() {
        assert_eq!(
            told(&["a \"b\" \\", "", "two\nlines", "ü", "a \"b\" \\", "\u{7f}"]),
            ["299 - \"a \\\"b\\\" \\\\\"", "299 - \"ü\""]
        );
    }

    #[test]
    fn too_many_are_cut_and_then_no_more_are_taken() {
        let long = |c: char, count: usize| c.to_string().repeat(count);
        let (first, second) = (long('a', 4000), long('b', 97));
        assert_eq!(told(&[&first, &long('b', 96)])[0].len(), 4000 + 8);
        let cut = told(&[&first, &second, "c"]);
        let lengths: Vec<usize> = cut.iter().map(String::len).collect();
        assert_eq!(lengths, [256 + 8, 97 + 8, 1 + 8]);
        let many: Vec<String> = (0..40)
            .map(|i| format!("{i:02}{}", long('x', 300)))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        // sixteen of 256 are 4,096
        assert_eq!(told(&many).len(), 16);
    }
}
