//! Numbers across their types, and how Go writes floats.
//!
//! Follows upstream's `vendor/github.com/google/cel-go/common/types/{compare,overflow}.go`.

use super::Value;
use std::cmp::Ordering;

/// Beyond it an `i64` ends.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;
/// Beyond it a `u64` ends.
const TWO_64: f64 = 18_446_744_073_709_551_616.0;

/// How two values are ordered as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Ordered(Ordering),
    /// One of them is not a number (NaN).
    Unordered,
    /// One of them is of another type.
    NoNumbers,
}

impl From<Option<Ordering>> for Compared {
    fn from(order: Option<Ordering>) -> Compared {
        order.map_or(Compared::Unordered, Compared::Ordered)
    }
}

pub fn compare(a: &Value<'_>, b: &Value<'_>) -> Compared {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Compared::Ordered(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Compared::Ordered(a.cmp(b)),
        (Value::Int(a), Value::Uint(b)) => Compared::Ordered(int_uint(*a, *b)),
        (Value::Uint(a), Value::Int(b)) => Compared::Ordered(int_uint(*b, *a).reverse()),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b).into(),
        (Value::Double(a), Value::Int(b)) => double_int(*a, *b).into(),
        (Value::Int(a), Value::Double(b)) => double_int(*b, *a).map(Ordering::reverse).into(),
        (Value::Double(a), Value::Uint(b)) => double_uint(*a, *b).into(),
        (Value::Uint(a), Value::Double(b)) => double_uint(*b, *a).map(Ordering::reverse).into(),
        _ => Compared::NoNumbers,
    }
}

fn int_uint(a: i64, b: u64) -> Ordering {
    i128::from(a).cmp(&i128::from(b))
}

fn double_int(a: f64, b: i64) -> Option<Ordering> {
    if a < -TWO_63 {
        Some(Ordering::Less)
    } else if a > TWO_63 {
        Some(Ordering::Greater)
    } else {
        a.partial_cmp(&(b as f64))
    }
}

fn double_uint(a: f64, b: u64) -> Option<Ordering> {
    if a < 0.0 {
        Some(Ordering::Less)
    } else if a > TWO_64 {
        Some(Ordering::Greater)
    } else {
        a.partial_cmp(&(b as f64))
    }
}

/// The int that a double is, if it is one.
pub fn whole(value: f64) -> Option<i64> {
    let found = to_int(value)?;
    (found as f64 == value).then_some(found)
}

/// A double without its fraction, where it is in range.
pub fn to_int(value: f64) -> Option<i64> {
    (value > -TWO_63 && value < TWO_63).then_some(value as i64)
}

/// The same unsigned.
pub fn to_uint(value: f64) -> Option<u64> {
    (0.0..TWO_64).contains(&value).then_some(value as u64)
}

/// As Go's `%g` writes it: the fewest digits, with an exponent from 6 digits before the point on, and from 4 noughts behind it on.
pub fn shortest(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        return with_exponent(mantissa, exponent);
    }
    plain(value)
}

/// Without an exponent, in the fewest digits.
pub fn plain(value: f64) -> String {
    format!("{value}")
}

/// `1.5e+06`: an exponent has a sign and two digits.
pub fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
