//! KYAML: YAML in flow style, every text quoted, every list and object in brackets, commas after each entry.
//! Invariant: the output is YAML of the same value, and begins with `---`.
//! Behaviour follows `sigs.k8s.io/yaml/kyaml` v1.6.0.

use super::order::{Order, Place};
use serde_json::Value;
use skiff_api::machinery::quote::is_printable;

/// One document.
pub fn write(value: &Value, order: Order) -> String {
    let mut out = String::from("---\n");
    node(&mut out, value, Place::root(order), 0);
    out.push('\n');
    out
}

/// Whether a YAML reader could take the bare word for something else than a text.
fn is_ambiguous(text: &str) -> bool {
    let lower = text.to_lowercase();
    let bare = text.replace('_', "");
    let date = || {
        let parts: Vec<&str> = text.split('-').collect();
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        matches!(parts.as_slice(), [y, m, d] if y.len() == 4 && digits(y, 4) && digits(m, 2) && digits(d, 2))
    };
    matches!(
        lower.as_str(),
        "" | "~" | "null" | "true" | "t" | "y" | "yes" | "on" | "false" | "f" | "n" | "no" | "off"
    ) || bare.parse::<f64>().is_ok()
        || is_integer(&bare)
        || date()
}

/// What Go's `strconv.ParseInt` takes with base 0.
fn is_integer(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']).to_lowercase();
    let of = |prefix: &str, base: u32| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|d| i64::from_str_radix(d, base).is_ok())
    };
    of("0x", 16) || of("0b", 2) || of("0o", 8) || of("0", 8) || digits.parse::<i64>().is_ok()
}

fn needs_quotes(text: &str) -> bool {
    let last = text.chars().count().saturating_sub(1);
    let fits = |(i, c): (usize, char)| {
        c.is_alphabetic()
            || c.is_numeric()
            || c == '_'
            || (i > 0 && i < last && matches!(c, '-' | '.' | '/'))
    };
    is_ambiguous(text) || !text.chars().enumerate().all(fits)
}

fn key(text: &str) -> String {
    if needs_quotes(text) {
        string(text, 0, true)
    } else {
        text.into()
    }
}

/// A quoted text; one of several lines is folded unless it must stay on one.
fn string(text: &str, depth: usize, compact: bool) -> String {
    let folded = text.contains('\n') && !compact;
    let mut out = String::from(if folded { "\"\\\n" } else { "\"" });
    for c in text.chars() {
        if folded && out.ends_with('\n') {
            indent(&mut out, depth);
            out.push(if c.is_whitespace() && c != '\n' {
                '\\'
            } else {
                ' '
            });
        }
        match c {
            '\n' if folded => out.push_str("\\n\\\n"),
            '\t' if !compact => out.push('\t'),
            c => escaped(&mut out, c),
        }
    }
    if folded {
        if !out.ends_with('\n') {
            out.push_str("\\\n");
        }
        indent(&mut out, depth);
    }
    out.push('"');
    out
}

fn escaped(out: &mut String, c: char) {
    const NAMED: &[(char, char)] = &[
        ('"', '"'),
        ('\\', '\\'),
        ('\x07', 'a'),
        ('\x08', 'b'),
        ('\x0c', 'f'),
        ('\n', 'n'),
        ('\r', 'r'),
        ('\t', 't'),
        ('\x0b', 'v'),
        ('\0', '0'),
        ('\x1b', 'e'),
        ('\u{85}', 'N'),
        ('\u{a0}', '_'),
        ('\u{2028}', 'L'),
        ('\u{2029}', 'P'),
    ];
    if let Some((_, name)) = NAMED.iter().find(|(of, _)| *of == c) {
        out.extend(['\\', *name]);
    } else if is_printable(c) {
        out.push(c);
    } else {
        out.push_str(&match c as u32 {
            code if code < 0x20 || code == 0x7f => format!("\\x{code:02x}"),
            code if code < 0x10000 => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        });
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', depth * 2));
}

fn node(out: &mut String, value: &Value, place: Place, depth: usize) {
    match value {
        Value::Object(m) if m.is_empty() => out.push_str("{}"),
        Value::Array(l) if l.is_empty() => out.push_str("[]"),
        Value::Object(m) => {
            out.push_str("{\n");
            for (k, v, place) in place.fields(m) {
                indent(out, depth + 1);
                out.push_str(&key(k));
                out.push_str(": ");
                node(out, v, place, depth + 1);
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push('}');
        }
        Value::Array(l) if l.iter().all(|v| v.is_object() || v.is_array()) => {
            out.push('[');
            for (i, v) in l.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                node(out, v, place.element(), depth);
            }
            out.push(']');
        }
        Value::Array(l) => {
            out.push_str("[\n");
            for v in l {
                indent(out, depth + 1);
                node(out, v, place.element(), depth + 1);
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push(']');
        }
        Value::String(s) => out.push_str(&string(s, depth + 1, false)),
        Value::Number(n) if n.is_f64() => {
            out.push_str(&super::json::float(n.as_f64().unwrap_or(0.0)))
        }
        v => out.push_str(&v.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_still_yaml() {
        let v = json!({"kind": "A", "apiVersion": "v1", "l": [{"a": 1}, {"b": []}], "s": ["x", "y\n z\n"], "yes": null});
        let text = write(&v, Order::Sorted);
        assert!(
            text.starts_with("---\n{\n  apiVersion: \"v1\",\n  kind: \"A\",\n"),
            "{text}"
        );
        assert_eq!(crate::yaml::read(&text).unwrap()[0].value, v);
    }

    #[test]
    fn texts_and_keys_are_quoted_as_upstream_quotes_them() {
        assert_eq!(
            string("a\n\tb\n  c\n\nd", 3, false),
            "\"\\\n       a\\n\\\n      \\\tb\\n\\\n      \\  c\\n\\\n       \\n\\\n       d\\\n      \""
        );
        assert_eq!(
            string("\ttab \u{1} é \u{a0} x\"\\'", 2, false),
            "\"\ttab \\x01 é \\_ x\\\"\\\\'\""
        );
        for (text, want) in [
            ("a.b/c-d", "a.b/c-d"),
            ("0x1", "\"0x1\""),
            ("1.5", "\"1.5\""),
            ("2020-01-01", "\"2020-01-01\""),
            ("-a", "\"-a\""),
            ("y", "\"y\""),
            ("é_1", "é_1"),
            ("a\nb", "\"a\\nb\""),
        ] {
            assert_eq!(key(text), want);
        }
    }
}
