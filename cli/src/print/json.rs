//! JSON as Go's encoder writes it: four spaces deep, `<`, `>` and `&` escaped.
//! Invariant: keys are sorted, unless an order for them is given.
//! Behaviour follows `encoding/json` and `staging/src/k8s.io/cli-runtime/pkg/printers/json.go`.

use super::order::{Order, Place};
use serde_json::Value;

/// A float as Go writes it: shortest form, exponents only for very large or small ones.
pub fn float(f: f64) -> String {
    let magnitude = f.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{f:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let n: i32 = exponent.parse().unwrap_or(0);
        let sign = if n < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", n.abs());
    }
    format!("{f}")
}

fn escaped(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// A JSON string with Go's escapes; `html` also escapes `<`, `>` and `&`.
pub fn string(text: &str, html: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' if html => out += &escaped(c),
            '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => out += &escaped(c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// How to lay a value out.
#[derive(Clone, Copy, Default)]
pub struct Style {
    /// Spaces a level; 0 for all on one line.
    pub indent: usize,
    pub order: Order,
}

/// Writes a value.
pub fn write(value: &Value, style: Style) -> String {
    let mut writer = Writer {
        out: String::new(),
        indent: style.indent,
    };
    writer.node(value, Place::root(style.order), 0);
    writer.out
}

/// Four spaces a level, keys sorted, with the newline that ends it.
pub fn pretty(value: &Value) -> String {
    write(
        value,
        Style {
            indent: 4,
            order: Order::Sorted,
        },
    ) + "\n"
}

/// On one line.
pub fn compact(value: &Value) -> String {
    write(value, Style::default())
}

struct Writer {
    out: String,
    indent: usize,
}

impl Writer {
    fn newline(&mut self, depth: usize) {
        if self.indent > 0 {
            self.out.push('\n');
            self.out
                .extend(std::iter::repeat_n(' ', self.indent * depth));
        }
    }

    /// Between two entries, or before the first.
    fn entry(&mut self, at: usize, depth: usize) {
        if at > 0 {
            self.out.push(',');
        }
        self.newline(depth + 1);
    }

    fn node(&mut self, value: &Value, place: Place, depth: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Number(n) if n.is_f64() => self.out.push_str(&float(n.as_f64().unwrap_or(0.0))),
            Value::Number(n) => self.out.push_str(&n.to_string()),
            Value::String(s) => self.out.push_str(&string(s, true)),
            Value::Array(list) if list.is_empty() => self.out.push_str("[]"),
            Value::Object(map) if map.is_empty() => self.out.push_str("{}"),
            Value::Array(list) => {
                self.out.push('[');
                for (at, item) in list.iter().enumerate() {
                    self.entry(at, depth);
                    self.node(item, place.element(), depth + 1);
                }
                self.newline(depth);
                self.out.push(']');
            }
            Value::Object(map) => {
                self.out.push('{');
                for (at, (key, value, place)) in place.fields(map).into_iter().enumerate() {
                    self.entry(at, depth);
                    self.out.push_str(&string(key, true));
                    self.out.push_str(if self.indent > 0 { ": " } else { ":" });
                    self.node(value, place, depth + 1);
                }
                self.newline(depth);
                self.out.push('}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn laid_out_as_go_does() {
        let v = json!({"b": [1, 2.5], "a": "<x>", "kind": "K", "e": {}});
        assert_eq!(
            write(
                &v,
                Style {
                    indent: 2,
                    order: Order::Keys(&["kind"])
                }
            ),
            "{\n  \"kind\": \"K\",\n  \"a\": \"\\u003cx\\u003e\",\n  \"b\": [\n    1,\n    2.5\n  ],\n  \"e\": {}\n}"
        );
        assert_eq!(
            compact(&v),
            "{\"a\":\"\\u003cx\\u003e\",\"b\":[1,2.5],\"e\":{},\"kind\":\"K\"}"
        );
    }
}
