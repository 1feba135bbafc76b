//! What a plain scalar means: null, boolean, number, timestamp or text.
//! Invariant: the reader and the writer ask the same function, so a text that would be read as something else is always quoted.
//! Behaviour follows `go.yaml.in/yaml/v2` `resolve.go`.

use serde_json::{Number, Value};

/// The meaning of a plain scalar.
#[derive(Debug, PartialEq)]
pub enum Meaning {
    Null,
    Bool(bool),
    Number(Number),
    /// `.inf`, `.nan`: numbers that JSON has not.
    Odd,
    /// Read as text, but written in quotes.
    Timestamp,
    /// `<<`
    Merge,
    Text,
}

impl Meaning {
    /// The tag, without its `!!`, that says the same.
    pub fn tag(&self) -> &'static str {
        match self {
            Meaning::Null => "null",
            Meaning::Bool(_) => "bool",
            Meaning::Number(n) if n.is_f64() => "float",
            Meaning::Number(_) => "int",
            Meaning::Odd => "float",
            Meaning::Timestamp => "timestamp",
            Meaning::Merge => "merge",
            Meaning::Text => "str",
        }
    }
}

/// Resolves a plain scalar.
pub fn resolve(text: &str) -> Meaning {
    let first = match text.bytes().next() {
        None => return Meaning::Null,
        Some(b) => b,
    };
    match first {
        b'+'
        | b'-'
        | b'0'..=b'9'
        | b'.'
        | b'y'
        | b'Y'
        | b'n'
        | b'N'
        | b't'
        | b'T'
        | b'f'
        | b'F'
        | b'o'
        | b'O'
        | b'~'
        | b'<' => {}
        _ => return Meaning::Text,
    }
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Meaning::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Meaning::Bool(false);
        }
        "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return Meaning::Odd,
        "<<" => return Meaning::Merge,
        _ => {}
    }
    match first {
        b'.' => float(text),
        b'+' | b'-' | b'0'..=b'9' => number(text),
        _ => Meaning::Text,
    }
}

fn number(text: &str) -> Meaning {
    if is_timestamp(text) {
        return Meaning::Timestamp;
    }
    let plain = text.replace('_', "");
    if let Some(n) = integer(&plain) {
        return Meaning::Number(n);
    }
    float(&plain)
}

fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(d) = lower.strip_prefix("0x") {
        (16, d)
    } else if let Some(d) = lower.strip_prefix("0b") {
        (2, d)
    } else if let Some(d) = lower.strip_prefix("0o") {
        (8, d)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        if value <= 1 << 63 {
            Some(Number::from((value as i64).wrapping_neg()))
        } else {
            None
        }
    } else {
        Some(Number::from(value))
    }
}

fn float(text: &str) -> Meaning {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let shaped = body.bytes().any(|b| b.is_ascii_digit())
        && body
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && !body.starts_with(['e', 'E']);
    match (shaped, text.parse::<f64>()) {
        (true, Ok(f)) => as_json(f).map_or(Meaning::Odd, Meaning::Number),
        _ => Meaning::Text,
    }
}

/// Go makes JSON of YAML before anybody reads it, and JSON's text of a whole number (`2.0`, `1e3`) is that of an integer.
fn as_json(f: f64) -> Option<Number> {
    const WHOLE: f64 = 18_446_744_073_709_551_615.0;
    match f == f.trunc() {
        true if (0.0..WHOLE).contains(&f) => Some(Number::from(f as u64)),
        true if f < 0.0 && f > i64::MIN as f64 => Some(Number::from(f as i64)),
        _ => Number::from_f64(f),
    }
}

/// Dates as `2001-12-14` and times as `2001-12-14T21:59:43.1Z`.
fn is_timestamp(text: &str) -> bool {
    let b = text.as_bytes();
    let digits =
        |r: std::ops::Range<usize>| b.get(r).is_some_and(|s| s.iter().all(u8::is_ascii_digit));
    if b.len() < 8 || !digits(0..4) || b[4] != b'-' {
        return false;
    }
    let rest = &text[5..];
    let Some((month, rest)) = rest.split_once('-') else {
        return false;
    };
    if month.is_empty() || month.len() > 2 || !month.bytes().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let day_end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (day, time) = rest.split_at(day_end);
    if day.is_empty() || day.len() > 2 {
        return false;
    }
    let (m, d): (u32, u32) = (month.parse().unwrap_or(0), day.parse().unwrap_or(0));
    if !(1..=12).contains(&m) || !(1..=31).contains(&d) {
        return false;
    }
    if time.is_empty() {
        return month.len() == 2 && day.len() == 2;
    }
    let Some(clock) = time.strip_prefix(['T', 't', ' ']) else {
        return false;
    };
    let parts: Vec<&str> = clock.splitn(3, ':').collect();
    parts.len() == 3
        && parts[0].bytes().all(|c| c.is_ascii_digit())
        && parts[1].bytes().all(|c| c.is_ascii_digit())
        && parts[2].bytes().next().is_some_and(|c| c.is_ascii_digit())
}

/// Whether YAML 1.1 readers would take the text for a number in base 60, such as `1:30`.
pub fn is_base60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = body.split(':');
    let head = parts.next().unwrap_or("");
    if !head.starts_with(|c: char| c.is_ascii_digit())
        || !head.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let sixty = |p: &str| {
        !p.is_empty()
            && p.len() <= 2
            && p.bytes().all(|b| b.is_ascii_digit())
            && (p.len() == 1 || p.as_bytes()[0] <= b'5')
    };
    let last_ok = match last.split_once('.') {
        Some((a, b)) => sixty(a) && b.bytes().all(|c| c.is_ascii_digit() || c == b'_'),
        None => sixty(last),
    };
    middle.iter().all(|p| sixty(p)) && last_ok
}

/// The JSON value of a plain scalar.
pub fn value(text: &str) -> Value {
    match resolve(text) {
        Meaning::Null => Value::Null,
        Meaning::Bool(b) => Value::Bool(b),
        Meaning::Number(n) => Value::Number(n),
        Meaning::Odd | Meaning::Timestamp | Meaning::Merge | Meaning::Text => {
            Value::String(text.to_string())
        }
    }
}

/// A mapping's key that is a plain scalar: a number or a boolean becomes its text.
pub fn key(text: &str) -> String {
    match value(text) {
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null => "null".into(),
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars() {
        for (text, want) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("12", json!(12)),
            ("-7", json!(-7)),
            ("0x1f", json!(31)),
            ("0644", json!(420)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000)),
            ("-2.0", json!(-2)),
            ("1e30", json!(1e30)),
            ("1.2.3", json!("1.2.3")),
            ("100m", json!("100m")),
            ("2026-01-02", json!("2026-01-02")),
            ("abc", json!("abc")),
            ("-", json!("-")),
            ("0b", json!("0b")),
        ] {
            assert_eq!(value(text), want, "{text}");
        }
        assert!(
            is_base60("1:30")
                && is_base60("12:59:01")
                && !is_base60("1:75")
                && !is_base60("a:1")
                && !is_base60("1")
        );
    }
}
