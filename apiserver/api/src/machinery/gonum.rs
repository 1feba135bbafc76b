//! Numbers and durations as Go reads them from text, with the texts of Go's errors.
//!
//! Invariant: whatever the text, an answer or an error; nothing overflows. Follows Go's `strconv.ParseInt`, `strconv.ParseUint` and
//! `time.ParseDuration`.

use crate::machinery::problem::{Problem, problem};
use crate::machinery::quote::{GoQuoted, GoTimeQuoted};
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

fn why(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

/// `strconv.Atoi`.
pub fn atoi(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|error| {
        problem!(
            "strconv.Atoi: parsing {text}: {}",
            why(&error),
            text = GoQuoted(&text)
        )
    })
}

/// `strconv.ParseInt(text, 10, 64)`.
pub fn int64(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|error| {
        problem!(
            "strconv.ParseInt: parsing {text}: {}",
            why(&error),
            text = GoQuoted(&text)
        )
    })
}

/// `strconv.ParseInt(text, 0, …)` of as many bits as `T` has: a number of any base that Go's literals have, `0x1f`, `0b1`, `017`, `1_000`.
pub fn literal<T: TryFrom<i128>>(text: &str) -> Result<T, Problem> {
    let fail = |why: &str| {
        problem!(
            "strconv.ParseInt: parsing {text}: {why}",
            text = GoQuoted(&text)
        )
    };
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits, prefixed) = match rest.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &rest[2..], true),
        [b'0', b'o' | b'O', _, ..] => (8, &rest[2..], true),
        [b'0', b'b' | b'B', _, ..] => (2, &rest[2..], true),
        [b'0', _, ..] => (8, rest, false),
        _ => (10, rest, false),
    };
    let parted =
        digits.contains("__") || digits.ends_with('_') || (digits.starts_with('_') && !prefixed);
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if parted || digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(fail("invalid syntax"));
    }
    let number = i128::from_str_radix(&digits, base).ok();
    let number = number.and_then(|number| T::try_from(sign * number).ok());
    number.ok_or_else(|| fail("value out of range"))
}

/// `strconv.ParseUint(text, 10, 64)`, which takes no sign.
pub fn uint64(text: &str) -> Result<u64, Problem> {
    uint(text)
}

/// The same of 16 bits.
pub fn uint16(text: &str) -> Result<u16, Problem> {
    uint(text)
}

fn uint<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, Problem> {
    let why = match text.parse() {
        Ok(number) if !text.starts_with('+') => return Ok(number),
        Ok(_) => "invalid syntax",
        Err(error) => why(&error),
    };
    Err(problem!(
        "strconv.ParseUint: parsing {text}: {why}",
        text = GoQuoted(&text)
    ))
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// `time.ParseDuration`: nanoseconds of `300ms`, `-1.5h`, `2h45m`.
pub fn duration(text: &str) -> Result<i64, Problem> {
    let invalid = || problem!("time: invalid duration {}", GoTimeQuoted(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number = &rest[..end];
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(invalid());
        }
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = &rest[..end];
        if unit.is_empty() {
            return Err(problem!(
                "time: missing unit in duration {}",
                GoTimeQuoted(text)
            ));
        }
        let (_, scale) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| {
                problem!(
                    "time: unknown unit {} in duration {}",
                    GoTimeQuoted(unit),
                    GoTimeQuoted(text)
                )
            })?;
        rest = &rest[end..];
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        let part = if fraction.is_empty() {
            0.0
        } else {
            format!("0.{fraction}")
                .parse::<f64>()
                .map_err(|_| invalid())?
                * *scale as f64
        };
        let nanos = whole
            .checked_mul(*scale)
            .and_then(|nanos| nanos.checked_add(part as u64));
        total = nanos
            .and_then(|nanos| total.checked_add(nanos))
            .filter(|total| *total <= 1 << 63)
            .ok_or_else(invalid)?;
    }
    match negative {
        true => Ok((total as i64).wrapping_neg()),
        false => i64::try_from(total).map_err(|_| invalid()),
    }
}

/// A number in the fewest digits, with an exponent of two digits from a million on and below 1e-4, as `strconv.FormatFloat(value, 'g', -1, 64)` has it.
pub fn float_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let magnitude = value.abs();
    if value.is_nan() || magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// As Go's `time.Duration` prints itself.
pub fn duration_text(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".into();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let (seconds, rest) = (all / 1_000_000_000, all % 1_000_000_000);
    let fraction = |value: u64, digits: usize| {
        let text = format!("{value:0digits$}");
        let trimmed = text.trim_end_matches('0');
        if trimmed.is_empty() {
            String::new()
        } else {
            format!(".{trimmed}")
        }
    };
    if seconds == 0 {
        return match rest {
            0..1_000 => format!("{sign}{rest}ns"),
            1_000..1_000_000 => format!("{sign}{}{}µs", rest / 1_000, fraction(rest % 1_000, 3)),
            _ => format!(
                "{sign}{}{}ms",
                rest / 1_000_000,
                fraction(rest % 1_000_000, 6)
            ),
        };
    }
    let (hours, minutes, left) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let last = format!("{left}{}s", fraction(rest, 9));
    match (hours, minutes) {
        (0, 0) => format!("{sign}{last}"),
        (0, _) => format!("{sign}{minutes}m{last}"),
        _ => format!("{sign}{hours}h{minutes}m{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `strconv.ParseInt` with base 0.
    #[test]
    fn numbers_have_the_bases_of_go() {
        for (text, number) in [
            ("0", 0),
            ("-0x1F", -31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("1_000", 1000),
            ("0x_f", 15),
            ("+7", 7),
            ("-2147483648", i32::MIN),
        ] {
            assert_eq!(literal::<i32>(text).unwrap(), number, "{text}");
        }
        for text in ["", "-", "+-1", "08", "1__0", "_1", "1_", "0x", "1e3", "1.0"] {
            let told = literal::<i64>(text).unwrap_err().to_string();
            let says = format!("strconv.ParseInt: parsing \"{text}\": invalid syntax");
            assert_eq!(told, says);
        }
        let told = literal::<i32>("2147483648").unwrap_err().to_string();
        assert!(told.ends_with("value out of range"), "{told}");
        assert!(literal::<i64>("9223372036854775808").is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!(int64("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(int64("+7"), Ok(7));
        for (text, why) in [
            ("", "invalid syntax"),
            ("x", "invalid syntax"),
            ("1.5", "invalid syntax"),
            ("9223372036854775808", "value out of range"),
        ] {
            assert_eq!(
                int64(text).unwrap_err().to_string(),
                format!("strconv.ParseInt: parsing {text:?}: {why}")
            );
        }
        assert_eq!(atoi("-5"), Ok(-5));
        assert_eq!(
            atoi("x").unwrap_err().to_string(),
            "strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(uint16("65535"), Ok(u16::MAX));
        assert_eq!(
            uint16("65536").unwrap_err().to_string(),
            "strconv.ParseUint: parsing \"65536\": value out of range"
        );
        assert_eq!(uint64("18446744073709551615"), Ok(u64::MAX));
        for (text, why) in [
            ("", "invalid syntax"),
            ("-1", "invalid syntax"),
            ("+1", "invalid syntax"),
            ("18446744073709551616", "value out of range"),
        ] {
            assert_eq!(
                uint64(text).unwrap_err().to_string(),
                format!("strconv.ParseUint: parsing {text:?}: {why}")
            );
        }
    }

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("0", 0),
            ("1s", 1_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            (".5ms", 500_000),
            ("1µs", 1_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("1", "time: missing unit in duration \"1\""),
            ("1x", "time: unknown unit \"x\" in duration \"1x\""),
            (".s", "time: invalid duration \".s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            (
                "9223372036854775808ns",
                "time: invalid duration \"9223372036854775808ns\"",
            ),
            (
                "99999999999999999999h",
                "time: invalid duration \"99999999999999999999h\"",
            ),
        ] {
            assert_eq!(duration(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn durations_print_as_gos() {
        for (nanos, wanted) in [
            (0, "0s"),
            (1_500_000_000, "1.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (-90_000_000_000, "-1m30s"),
            (2_000, "2µs"),
            (1_500_000, "1.5ms"),
        ] {
            assert_eq!(duration_text(nanos), wanted);
        }
    }
}
