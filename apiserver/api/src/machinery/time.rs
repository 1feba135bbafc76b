//! Times as the API writes them: RFC 3339 in UTC, with seconds (`metav1.Time`) or microseconds (`metav1.MicroTime`).

use crate::machinery::problem::Problem;
use jiff::{Timestamp, fmt::strtime};

/// Reads RFC 3339. The error is in the words of Go's `time.Parse`.
pub fn parse(text: &str) -> Result<Timestamp, Problem> {
    // jiff takes more forms than RFC 3339 (a space for the T, no offset's colon): Go does not
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 20
        && bytes[10] == b'T'
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[13] == b':'
        && bytes[16] == b':';
    if shaped && let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    Err(Problem(go_error(text, false)))
}

/// Reads RFC 3339 with six digits of a second, no more and no fewer, as times that count microseconds are written.
pub fn parse_micros(text: &str) -> Result<Timestamp, Problem> {
    let digits = text.as_bytes().get(20..).unwrap_or_default();
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let pointed = text.as_bytes().get(19) == Some(&b'.') && digits.count() == 6;
    match parse(text) {
        Ok(at) if pointed => Ok(at),
        _ => Err(Problem(go_error(text, true))),
    }
}

/// Seconds since 1970 and the nanoseconds after them of a time in RFC 3339. That the API writes is read without its calendar being asked.
pub fn since_epoch(text: &str) -> Result<(i64, i32), Problem> {
    if let Some(known) = written(text.as_bytes()) {
        return Ok(known);
    }
    let at = parse(text)?;
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    // whole seconds go down, fractions up
    Ok(match nanos < 0 {
        true => (seconds - 1, nanos + 1_000_000_000),
        false => (seconds, nanos),
    })
}

/// What [`seconds`] and [`micros`] write, of a day that there is in each month.
fn written(text: &[u8]) -> Option<(i64, i32)> {
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let micros = match (text.len(), text.last()?) {
        (20, b'Z') => 0,
        (27, b'Z') if text[19] == b'.' => number(20, 26)?,
        _ => return None,
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_plain = (1..=12).contains(&month) && (1..=28).contains(&day);
    if !is_plain || year < 1 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // years that begin in March: the day that is not in all of them is the last one then
    let (year, month) = match month {
        3.. => (year, month - 3),
        _ => (year - 1, month + 9),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    const TO_1970: i64 = 719_468;
    let seconds = (days - TO_1970) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds, i32::try_from(micros * 1000).ok()?))
}

/// Go's layouts of the two forms, element by element: what stands there, and how long it is.
const DATE: [(&str, usize); 11] = [
    ("2006", 4),
    ("-", 1),
    ("01", 2),
    ("-", 1),
    ("02", 2),
    ("T", 1),
    ("15", 2),
    (":", 1),
    ("04", 2),
    (":", 1),
    ("05", 2),
];
const FRACTION: (&str, usize) = (".000000", 7);
const ZONE: (&str, usize) = ("Z07:00", 0);

/// Go names the element of the layout that did not fit and what was left of the text.
fn go_error(text: &str, with_micros: bool) -> String {
    let fraction = with_micros.then_some(FRACTION);
    let elements: Vec<_> = DATE.into_iter().chain(fraction).chain([ZONE]).collect();
    let mut at = 0;
    for (element, width) in &elements {
        let rest = text.get(at..).unwrap_or("");
        let all_digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        let fits = match *element {
            "-" | "T" | ":" => rest.starts_with(element),
            "Z07:00" => rest.starts_with('Z') || rest.starts_with(['+', '-']),
            ".000000" => {
                rest.starts_with(['.', ','])
                    && rest.len() >= *width
                    && all_digits(&rest.as_bytes()[1..*width])
            }
            _ => rest.len() >= *width && all_digits(&rest.as_bytes()[..*width]),
        };
        if !fits {
            let layout: String = elements.iter().map(|(element, _)| *element).collect();
            return format!(
                "parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"
            );
        }
        let number = || rest[..*width].parse().unwrap_or(0);
        let out = match *element {
            "01" => ("month", !(1..=12).contains(&number())),
            "15" => ("hour", number() > 23),
            "04" => ("minute", number() > 59),
            "05" => ("second", number() > 59),
            _ => ("", false),
        };
        if let (name, true) = out {
            return format!("parsing time {text:?}: {name} out of range");
        }
        at += width;
        // a fraction that the layout does not name belongs to the seconds
        if *element == "05"
            && !with_micros
            && text
                .get(at..)
                .is_some_and(|rest| rest.starts_with(['.', ',']))
        {
            let digits = text[at + 1..]
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
            at += if digits > 0 { digits + 1 } else { 0 };
        }
    }
    format!("parsing time {text:?}: day out of range")
}

/// `2026-01-02T03:04:05Z`.
pub fn seconds(at: Timestamp) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%SZ", at).unwrap_or_default()
}

/// `2026-01-02T03:04:05.123456Z`.
pub fn micros(at: Timestamp) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%S.%6fZ", at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_six_digits() {
        let wrong = |text: &str| parse_micros(text).unwrap_err().to_string();
        assert!(parse_micros("2026-01-02T03:04:05.123456Z").is_ok());
        assert!(parse_micros("2026-01-02T03:04:05.123456+01:00").is_ok());
        for (text, rest, element) in [
            ("2026-01-02T03:04:05Z", "Z", ".000000"),
            ("2026-01-02T03:04:05.123Z", ".123Z", ".000000"),
            ("2026-01-02T03:04:05.1234567Z", "7Z", "Z07:00"),
            ("soon", "soon", "2006"),
        ] {
            assert_eq!(
                wrong(text),
                format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {rest:?} as {element:?}"
                )
            );
        }
        assert_eq!(
            wrong("2026-13-02T03:04:05.123456Z"),
            "parsing time \"2026-13-02T03:04:05.123456Z\": month out of range"
        );
    }

    #[test]
    fn forms() {
        let at = parse("2026-01-02T05:04:05.1234567+02:00").unwrap();
        assert_eq!(seconds(at), "2026-01-02T03:04:05Z");
        assert_eq!(micros(at), "2026-01-02T03:04:05.123456Z");
        assert_eq!(
            parse("soon").unwrap_err(),
            r#"parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#
        );
        assert_eq!(
            parse("2026-01-02").unwrap_err(),
            r#"parsing time "2026-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#
        );
    }
}
