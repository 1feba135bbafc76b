//! Quantities: `100m`, `64Mi`, `1e3`.
//! Invariant: a sum is shown in the notation of its parts, and exactly.
//! Behaviour follows `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go`.

/// How a quantity was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Notation {
    Binary,
    #[default]
    Decimal,
    Exponent,
}

const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] = [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// The value as a float; nothing for what is no quantity.
pub fn parse(text: &str) -> Option<f64> {
    parse_nano(text).map(|(n, _)| n as f64 / 1e9)
}

/// The value in billionths, and its notation.
pub fn parse_nano(text: &str) -> Option<(i128, Notation)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if !number.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole = whole.trim_start_matches(['+', '-']);
    let scale = |factor_num: i128, factor_den: i128| -> Option<i128> {
        let digits = format!("{whole}{fraction}");
        let base: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let value = base.checked_mul(factor_num)?.checked_mul(1_000_000_000)?;
        let den = factor_den.checked_mul(10i128.checked_pow(fraction.len() as u32)?)?;
        let up = (value + den - 1).div_euclid(den);
        Some(if negative { -up } else { up })
    };
    if let Some((_, bits)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Some((scale(1 << bits, 1)?, Notation::Binary));
    }
    let power = |e: i32| if e >= 0 { scale(10i128.checked_pow(e as u32)?, 1) } else { scale(1, 10i128.checked_pow(e.unsigned_abs())?) };
    if let Some((_, e)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Some((power(*e)?, Notation::Decimal));
    }
    let e: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((power(e)?, Notation::Exponent))
}

/// Writes billionths in the shortest form of a notation.
pub fn format(nano: i128, notation: Notation) -> String {
    if nano == 0 {
        return "0".into();
    }
    const UNIT: i128 = 1_000_000_000;
    if notation == Notation::Binary && nano % UNIT == 0 && (nano / UNIT).abs() >= 1024 {
        let value = nano / UNIT;
        for (suffix, bits) in BINARY.iter().rev() {
            if value % (1i128 << bits) == 0 {
                return format!("{}{suffix}", value >> bits);
            }
        }
        return value.to_string();
    }
    for (suffix, e) in DECIMAL.iter().rev() {
        let size = 10i128.pow((e + 9) as u32);
        if nano % size == 0 {
            return match notation {
                Notation::Exponent if *e != 0 => format!("{}e{e}", nano / size),
                _ => format!("{}{suffix}", nano / size),
            };
        }
    }
    nano.to_string()
}

/// The canonical text of a quantity; what is none stays as it is.
pub fn canonical(text: &str) -> String {
    parse_nano(text).map_or_else(|| text.into(), |(n, notation)| format(n, notation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, want) in [
            ("100m", "100m"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1024Ki", "1Mi"),
            ("64Mi", "64Mi"),
            ("1500Mi", "1500Mi"),
            ("0", "0"),
            ("1e3", "1e3"),
            ("2000", "2k"),
            ("0.5Gi", "512Mi"),
            ("-1", "-1"),
            ("x", "x"),
        ] {
            assert_eq!(canonical(text), want, "{text}");
        }
        assert_eq!(parse("abc"), None);
    }
}
