//! What libyaml says of text that is no YAML, in the words that Go gives it. Runs on the error path only.

use serde::Deserialize;

/// Longer text is not asked about: libyaml takes a time that grows with the square.
const LONGEST: usize = 64 * 1024;
/// Nor is what is nested deeper than this, counted over all its bytes: for each of them libyaml looks at all brackets that are open.
const DEAREST: usize = 2 << 20;

/// How the parser's own mistakes begin: Go counts their lines from 0, those of the scanner from 1, and names the first line neither way.
const PARSER: [&str; 11] = [
    "did not find expected <document start>",
    "did not find expected <stream-start>",
    "did not find expected node content",
    "did not find expected '-' indicator",
    "did not find expected key",
    "did not find expected ',' or ']'",
    "did not find expected ',' or '}'",
    "found duplicate %YAML directive",
    "found duplicate %TAG directive",
    "found incompatible YAML document",
    "found undefined tag handle",
];

/// `None` when it finds no mistake, or is not asked.
pub fn libyaml(text: &str) -> Option<String> {
    if text.len() > LONGEST || nesting(text) > DEAREST {
        return None;
    }
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        // a value that is thrown away: aliases cannot fill memory
        if let Err(error) = serde::de::IgnoredAny::deserialize(document) {
            let line = error.location().map(|at| at.line());
            let full = error.to_string();
            let places = [" at line ", " at position "];
            let begins = places.iter().filter_map(|place| full.find(place)).min();
            let what = &full[..begins.unwrap_or(full.len())];
            let what = what.split(", while ").next().unwrap_or(what);
            if what == "unknown anchor" {
                let anchor = alias(text, error.location()?.index())?;
                return Some(format!("yaml: unknown anchor '{anchor}' referenced"));
            }
            if what.contains("duplicate entry") || what.contains("limit exceeded") {
                return None;
            }
            return Some(match line {
                Some(number)
                    if number > 1 && PARSER.iter().any(|begin| what.starts_with(begin)) =>
                {
                    format!("yaml: line {}: {what}", number - 1)
                }
                Some(number) if number > 1 => format!("yaml: line {number}: {what}"),
                _ => format!("yaml: {what}"),
            });
        }
    }
    None
}

/// What it says of lines that are indented by tabs, which other readers may let pass.
pub fn of_tabs(text: &str) -> Option<String> {
    let by_tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    text.lines().any(by_tab).then(|| libyaml(text)).flatten()
}

/// The name that the alias at a place, in bytes, refers to.
fn alias(text: &str, at: usize) -> Option<&str> {
    let rest = text.get(at..)?.strip_prefix('*')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    Some(&rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())])
}

/// The brackets that may be open at a byte, for all bytes together.
fn nesting(text: &str) -> usize {
    let (mut open, mut all) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        all += open;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_begin_no_line() {
        assert_eq!(
            of_tabs("\ta: b").as_deref(),
            Some("yaml: found character that cannot start any token")
        );
        assert_eq!(
            of_tabs("a: |\n  \tb\n").as_deref(),
            Some("yaml: line 2: found a tab character where an indentation space is expected")
        );
        assert_eq!(of_tabs("a: |\n  x\n  \tb\n"), None);
        assert_eq!(of_tabs("a: b\tc\n"), None);
    }

    #[test]
    fn what_would_take_long_is_not_asked() {
        assert!(libyaml("a: {{").is_some());
        assert_eq!(libyaml(&format!("a: {}", "{".repeat(60_000))), None);
        assert_eq!(libyaml(&"[{".repeat(2000)), None);
        let flat = format!("a: [{}]\nb: {{", "x, ".repeat(20_000));
        assert!(libyaml(&flat).is_some());
    }
}
