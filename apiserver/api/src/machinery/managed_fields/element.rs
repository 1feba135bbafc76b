//! One step of a path within an object: a field, an element of a list by its keys or its value, or by its place.
//!
//! Invariant: steps have a total order (fields, then keys, values, places), and numbers compare by what they amount to.
//! A step borrows from the object or the managed fields that it was read from.
//! Follows `sigs.k8s.io/structured-merge-diff/v6/fieldpath/{element,serialize-pe}.go` and `value/value.go`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write};

use serde_json::{Map, Value};

use crate::machinery::patch::go::GoValue;
use crate::machinery::quote::go_quote;
use crate::machinery::schema::to_json;

/// A step.
#[derive(Debug, Clone)]
pub enum PathElement<'a> {
    /// A field of a struct, a key of a map.
    Field(Cow<'a, str>),
    /// The element of a list whose key fields have these values; sorted by name.
    Key(Vec<(Cow<'a, str>, Cow<'a, Value>)>),
    /// The element of a set.
    Value(Cow<'a, Value>),
    /// The element at a place.
    Index(i64),
}

impl PartialEq for PathElement<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement<'_> {}

impl PartialOrd for PathElement<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathElement<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (PathElement::Field(a), PathElement::Field(b)) => a.cmp(b),
            (PathElement::Key(a), PathElement::Key(b)) => {
                for ((an, av), (bn, bv)) in a.iter().zip(b) {
                    let order = an.cmp(bn).then_with(|| compare(av, bv));
                    if order.is_ne() {
                        return order;
                    }
                }
                a.len().cmp(&b.len())
            }
            (PathElement::Value(a), PathElement::Value(b)) => compare(a, b),
            (PathElement::Index(a), PathElement::Index(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// A total order of values: numbers, texts, booleans, lists, maps, null.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => x
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&y.as_f64().unwrap_or_default()),
        },
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => x
            .iter()
            .zip(y)
            .map(|(x, y)| compare(x, y))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| x.len().cmp(&y.len())),
        (Value::Object(x), Value::Object(y)) => {
            let by_entry = |((xk, xv), (yk, yv)): ((&String, &Value), (&String, &Value))| {
                xk.cmp(yk).then_with(|| compare(xv, yv))
            };
            x.iter()
                .zip(y)
                .map(by_entry)
                .find(|o| o.is_ne())
                .unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Whether two values are the same; `1` and `1.0` are.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || ((x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64())
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .zip(y)
                    .all(|((xk, x), (yk, y))| xk == yk && equal(x, y))
        }
        _ => a == b,
    }
}

/// Why a key of `fieldsV1` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElementError {
    #[error("key must be 2 characters long:")]
    Short,
    #[error("missing colon: {0}")]
    Colon(String),
    #[error("{0}")]
    Content(String),
}

impl<'a> PathElement<'a> {
    fn rank(&self) -> u8 {
        match self {
            PathElement::Field(_) => 0,
            PathElement::Key(_) => 1,
            PathElement::Value(_) => 2,
            PathElement::Index(_) => 3,
        }
    }

    /// A field.
    pub fn field(name: &'a str) -> PathElement<'a> {
        PathElement::Field(Cow::Borrowed(name))
    }

    /// Reads a key of `fieldsV1`: `f:name`, `k:{"name":"a"}`, `v:"a"`, `i:0`. Nothing for kinds that a later version may know.
    pub fn parse(text: &'a str) -> Result<Option<PathElement<'a>>, ElementError> {
        if text.len() < 2 {
            return Err(ElementError::Short);
        }
        if text.as_bytes()[1] != b':' {
            return Err(ElementError::Colon(text.into()));
        }
        let content = &text[2..];
        let wrong = |e: serde_json::Error| ElementError::Content(e.to_string());
        Ok(Some(match text.as_bytes()[0] {
            b'f' => PathElement::Field(Cow::Borrowed(content)),
            b'k' => {
                let map: Map<String, Value> = serde_json::from_str(content).map_err(wrong)?;
                PathElement::Key(
                    map.into_iter()
                        .map(|(k, v)| (Cow::Owned(k), Cow::Owned(v)))
                        .collect(),
                )
            }
            b'v' => PathElement::Value(Cow::Owned(serde_json::from_str(content).map_err(wrong)?)),
            b'i' => PathElement::Index(content.parse().map_err(|_| {
                ElementError::Content(format!(
                    "strconv.Atoi: parsing {}: invalid syntax",
                    go_quote(content)
                ))
            })?),
            _ => return Ok(None),
        }))
    }

    /// The key of `fieldsV1`.
    pub fn serialize(&self) -> String {
        match self {
            PathElement::Field(name) => {
                let mut out = String::with_capacity(name.len() + 2);
                out.push_str("f:");
                out.push_str(name);
                out
            }
            PathElement::Key(fields) => {
                let mut out = String::with_capacity(32);
                out.push_str("k:{");
                for (i, (name, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    json_text(&mut out, name);
                    out.push(':');
                    json(&mut out, value);
                }
                out.push('}');
                out
            }
            PathElement::Value(value) => {
                let mut out = String::from("v:");
                json(&mut out, value);
                out
            }
            PathElement::Index(at) => format!("i:{at}"),
        }
    }
}

/// JSON as Go writes it: `<`, `>` and `&` are escaped.
fn json(out: &mut String, value: &Value) {
    match value {
        Value::String(s) => json_text(out, s),
        // a float that is whole has no point
        Value::Number(_) => out.push_str(&String::from_utf8_lossy(&to_json(value, None))),
        other => out.push_str(&escaped(other.to_string())),
    }
}

fn json_text(out: &mut String, text: &str) {
    if text
        .bytes()
        .all(|b| (0x20..0x7f).contains(&b) && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&'))
    {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&escaped(Value::from(text).to_string()));
    }
}

fn escaped(json: String) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json;
    }
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

impl fmt::Display for PathElement<'_> {
    /// As messages name it: `.name`, `[name="a"]`, `[="a"]`, `[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(f, ".{name}"),
            PathElement::Key(fields) => {
                f.write_char('[')?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(
                        f,
                        "{}{name}={}",
                        if i > 0 { "," } else { "" },
                        Readable(value)
                    )?;
                }
                f.write_char(']')
            }
            PathElement::Value(value) => write!(f, "[={}]", Readable(value)),
            PathElement::Index(at) => write!(f, "[{at}]"),
        }
    }
}

/// A value as messages show it.
struct Readable<'a>(&'a Value);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::String(s) => f.write_str(&go_quote(s)),
            Value::Array(items) => {
                f.write_char('[')?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { "," } else { "" }, Readable(item))?;
                }
                f.write_char(']')
            }
            Value::Object(map) => map
                .iter()
                .try_for_each(|(k, v)| write!(f, "{k}={}", Readable(v))),
            scalar => write!(f, "{}", GoValue(scalar)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        for (text, readable) in [
            ("f:name", ".name"),
            ("f:", "."),
            ("f:a:b", ".a:b"),
            (r#"k:{"name":"a"}"#, r#"[name="a"]"#),
            (
                r#"k:{"containerPort":80,"protocol":"TCP"}"#,
                r#"[containerPort=80,protocol="TCP"]"#,
            ),
            (r#"k:{"a":"\u003cx\u003e\u0026"}"#, r#"[a="<x>&"]"#),
            (r#"v:"a""#, r#"[="a"]"#),
            ("v:1", "[=1]"),
            ("v:true", "[=true]"),
            ("i:3", "[3]"),
        ] {
            let element = PathElement::parse(text).unwrap().unwrap();
            assert_eq!(element.serialize(), text);
            assert_eq!(element.to_string(), readable);
        }
        assert_eq!(PathElement::parse("x:later").unwrap(), None);
        assert_eq!(
            PathElement::parse("f").unwrap_err().to_string(),
            "key must be 2 characters long:"
        );
        assert_eq!(
            PathElement::parse("name").unwrap_err().to_string(),
            "missing colon: name"
        );
        assert!(
            PathElement::parse("k:{").is_err()
                && PathElement::parse("i:x").is_err()
                && PathElement::parse("v:1 2").is_err()
        );
    }

    #[test]
    fn order() {
        let texts = [
            "f:a",
            "f:b",
            r#"k:{"port":80}"#,
            r#"k:{"port":443}"#,
            r#"k:{"port":443,"z":1}"#,
            "v:1",
            "v:1.5",
            r#"v:"a""#,
            "v:true",
            "i:0",
            "i:10",
        ];
        let elements: Vec<_> = texts
            .iter()
            .map(|t| PathElement::parse(t).unwrap().unwrap())
            .collect();
        assert!(elements.windows(2).all(|w| w[0] < w[1]), "{elements:?}");
        assert_eq!(
            PathElement::parse("v:1").unwrap(),
            PathElement::parse("v:1.0").unwrap()
        );
        let text = |element: &str| PathElement::parse(element).unwrap().unwrap().serialize();
        assert_eq!((&*text("v:1.0"), &*text("v:1.5")), ("v:1", "v:1.5"));
    }
}
