//! Formats that are made of digits: dates, times, durations, and numbers with a check digit.
//!
//! Follows `strfmt/{date,time,duration}.go` and `internal/third_party/govalidator`.

use crate::machinery::gonum;

/// The number in two digits, and what follows.
fn two(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..2)?;
    let all = digits.bytes().all(|b| b.is_ascii_digit());
    Some((all.then(|| digits.parse().ok())??, &text[2..]))
}

/// `2006-01-02`.
pub fn is_date(text: &str) -> bool {
    let date = || {
        let (century, rest) = two(text)?;
        let (year, rest) = two(rest)?;
        let (month, rest) = two(rest.strip_prefix('-')?)?;
        let (day, rest) = two(rest.strip_prefix('-')?)?;
        let year = century * 100 + year;
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let last = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        Some(rest.is_empty() && (1..=last).contains(&day))
    };
    date().unwrap_or(false)
}

/// `2014-12-15T19:30:20.000Z`; what follows a second `T` is not looked at, as upstream does not.
pub fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    text.len() >= 4 && is_date(date) && is_time(time).unwrap_or(false)
}

/// `19:30:20.000z`, in small letters; any sign may stand before the fraction.
fn is_time(text: &str) -> Option<bool> {
    let (hour, rest) = two(text)?;
    let (minute, rest) = two(rest.strip_prefix(':')?)?;
    let (second, rest) = two(rest.strip_prefix(':')?)?;
    let is_zone = |zone: &str| {
        let offset = || {
            let (_, rest) = two(zone.strip_prefix(['+', '-'])?)?;
            let (_, rest) = two(rest.strip_prefix(':')?)?;
            Some(rest.is_empty())
        };
        zone == "z" || offset().unwrap_or(false)
    };
    let after_fraction = || {
        let sign = rest.chars().next().filter(|c| *c != '\n')?;
        let digits = &rest[sign.len_utf8()..];
        let zone = digits.trim_start_matches(|c: char| c.is_ascii_digit());
        // the offset begins with a sign, so it is never taken for digits
        (zone.len() < digits.len()).then_some(zone)
    };
    let zoned = is_zone(rest) || after_fraction().is_some_and(is_zone);
    Some(hour <= 23 && minute <= 59 && second <= 59 && zoned)
}

/// Names of units; the last of each is the beginning of others (`sec`, `seconds`).
const UNITS: [&[&str]; 8] = [
    &["ns", "nano"],
    &["us", "µs", "micro"],
    &["ms", "milli"],
    &["s", "sec"],
    &["m", "min"],
    &["h", "hr", "hour"],
    &["d", "day"],
    &["w", "wk", "week"],
];

/// A duration of Go, or a text in which some number has a unit (`3 days`).
pub fn is_duration(text: &str) -> bool {
    if gonum::duration(text).is_ok() {
        return true;
    }
    let mut found = false;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[at..];
        let end = |text: &str, is: fn(char) -> bool| text.find(|c| !is(c)).unwrap_or(text.len());
        let digits = end(rest, |c| c.is_ascii_digit());
        let spaces = end(&rest[digits..], |c| {
            matches!(c, ' ' | '\t' | '\n' | '\x0c' | '\r')
        });
        let from = digits + spaces;
        let letters = end(&rest[from..], |c| c.is_ascii_alphabetic() || c == 'µ');
        if letters > 0 {
            if rest[..digits].parse::<i64>().is_err() {
                return false;
            }
            let unit = rest[from..from + letters].to_lowercase();
            found |= UNITS.iter().any(|names| {
                names.contains(&unit.as_str())
                    || names.last().is_some_and(|last| unit.starts_with(last))
            });
        }
        rest = &rest[from + letters..];
    }
    found
}

/// What is left without white space and dashes.
fn compact(text: &str) -> Vec<u8> {
    let drop = |b: &u8| !matches!(b, b'\t' | b'\n' | 0x0c | b'\r' | b' ' | b'-');
    text.bytes().filter(drop).collect()
}

pub fn is_isbn10(text: &str) -> bool {
    let digits = compact(text);
    let Some((last, others)) = digits.split_last() else {
        return false;
    };
    let value = |b: u8| u32::from(b.wrapping_sub(b'0'));
    let check = if *last == b'X' { 10 } else { value(*last) };
    let sum = |digits: &[u8]| -> u32 { (1..).zip(digits).map(|(at, b)| at * value(*b)).sum() };
    others.len() == 9
        && others.iter().all(u8::is_ascii_digit)
        && (*last == b'X' || last.is_ascii_digit())
        && (sum(others) + 10 * check).is_multiple_of(11)
}

pub fn is_isbn13(text: &str) -> bool {
    let digits = compact(text);
    if digits.len() != 13 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let value = |b: u8| u32::from(b - b'0');
    let weighed = |(at, b): (usize, &u8)| value(*b) * if at % 2 == 0 { 1 } else { 3 };
    let sum: u32 = digits[..12].iter().enumerate().map(weighed).sum();
    value(digits[12]) == (10 - sum % 10) % 10
}

/// The number of a card of one of the known issuers, whatever stands between its digits.
pub fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_digit)
        .map(|b| b - b'0')
        .collect();
    let starts = |with: &[u8]| digits.starts_with(with);
    let issued = match digits.len() {
        13 => starts(&[4]),
        14 => (starts(&[3, 0]) && digits[2] <= 5) || starts(&[3, 6]) || starts(&[3, 8]),
        15 => starts(&[3, 4]) || starts(&[3, 7]) || starts(&[2, 1, 3, 1]) || starts(&[1, 8, 0, 0]),
        16 => {
            starts(&[4])
                || (digits[0] == 5 && (1..=5).contains(&digits[1]))
                || starts(&[6, 0, 1, 1])
                || starts(&[6, 5])
                || starts(&[3, 5])
        }
        _ => false,
    };
    let doubled = |(at, digit): (usize, &u8)| match (at % 2, *digit) {
        (0, digit) => u32::from(digit),
        (_, digit @ 0..5) => u32::from(digit) * 2,
        (_, digit) => u32::from(digit) * 2 - 9,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(doubled).sum();
    issued && sum.is_multiple_of(10)
}

/// A social security number of the United States, with both of its separators.
pub fn is_ssn(text: &str) -> bool {
    let is = |(at, b): (usize, u8)| match at {
        3 | 6 => matches!(b, b'-' | b' '),
        _ => b.is_ascii_digit(),
    };
    text.len() == 11 && text.bytes().enumerate().all(is)
}
