//! Times as the API writes them: RFC 3339 in UTC, with seconds (`metav1.Time`) or microseconds (`metav1.MicroTime`).

use crate::machinery::problem::Problem;
use jiff::{Timestamp, fmt::strtime};

use super::gotime::{self, Layout};

/// Reads RFC 3339. The error is in the words of Go's `time.Parse`.
pub fn parse(text: &str) -> Result<Timestamp, Problem> {
    gotime::parse(text, Layout::Seconds)
}

/// Reads RFC 3339 with microseconds, as a MicroTime must have them.
pub fn parse_micros(text: &str) -> Result<Timestamp, Problem> {
    gotime::parse(text, Layout::Micros)
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
