//! Times as the API writes them: RFC 3339 in UTC, with seconds (`metav1.Time`) or microseconds (`metav1.MicroTime`).

use crate::machinery::problem::Problem;
use jiff::{Timestamp, civil::DateTime, tz::Offset};
use std::borrow::Cow;

use super::gotime::{self, Layout};

/// Go's zero time, the beginning of the year 1.
const ZERO: DateTime = DateTime::constant(1, 1, 1, 0, 0, 0, 0);

/// The same in seconds since 1970.
const ZERO_SINCE: i64 = -62_135_596_800;

/// Reads RFC 3339. The error is in the words of Go's `time.Parse`.
pub fn parse(text: &str) -> Result<Timestamp, Problem> {
    gotime::parse(text, Layout::Seconds)
}

/// Seconds since 1970 and the nanoseconds after them of a time in RFC 3339. That the API writes is read without its calendar being asked.
pub fn since_epoch(text: &str) -> Result<(i64, i32), Problem> {
    if let Some(known) = written(text.as_bytes()) {
        return Ok(known);
    }
    let at = match text.strip_prefix('-') {
        Some(early) => format!("-00{}", early.trim_end_matches('Z'))
            .parse()
            .map_err(|error: jiff::Error| Problem(error.to_string()))?,
        None => gotime::parse_civil(text, Layout::Seconds)?,
    };
    let since = at.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
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
    written_as(Layout::Seconds, Offset::UTC.to_datetime(at))
}

/// `2026-01-02T03:04:05.123456Z`.
pub fn micros(at: Timestamp) -> String {
    written_as(Layout::Micros, Offset::UTC.to_datetime(at))
}

/// What [`seconds`] would write of a text, if that is no time that Go has none for: the zero time is null there.
pub fn seconds_of(text: &str) -> Result<Option<Cow<'_, str>>, Problem> {
    rewritten(text, Layout::Seconds)
}

/// The same of [`micros`].
pub fn micros_of(text: &str) -> Result<Option<Cow<'_, str>>, Problem> {
    rewritten(text, Layout::Micros)
}

fn rewritten(text: &str, layout: Layout) -> Result<Option<Cow<'_, str>>, Problem> {
    let length = match layout {
        Layout::Seconds => 20,
        Layout::Micros => 27,
    };
    // most are as the API once wrote them
    if text.len() == length
        && let Some((since, _)) = written(text.as_bytes())
        && since > ZERO_SINCE
    {
        return Ok(Some(Cow::Borrowed(text)));
    }
    let at = gotime::parse_civil(text, layout)?;
    Ok((at != ZERO).then(|| Cow::Owned(written_as(layout, at))))
}

/// In this layout, with the year first, to which Go gives four digits beside its sign. What is less than a second, or a microsecond, is left out.
fn written_as(layout: Layout, at: DateTime) -> String {
    let mut text = String::with_capacity(28);
    if at.year() < 0 {
        text.push('-');
    }
    let mut part = |number: u32, digits: u32, mark: char| {
        for place in (0..digits).rev() {
            let digit = number / 10_u32.pow(place) % 10;
            text.push(char::from_digit(digit, 10).unwrap_or('0'));
        }
        text.push(mark);
    };
    part(at.year().unsigned_abs().into(), 4, '-');
    part(at.month().unsigned_abs().into(), 2, '-');
    part(at.day().unsigned_abs().into(), 2, 'T');
    part(at.hour().unsigned_abs().into(), 2, ':');
    part(at.minute().unsigned_abs().into(), 2, ':');
    let second = at.second().unsigned_abs().into();
    match layout {
        Layout::Seconds => part(second, 2, 'Z'),
        Layout::Micros => {
            part(second, 2, '.');
            part(at.subsec_nanosecond().unsigned_abs() / 1000, 6, 'Z');
        }
    }
    text
}

/// A time that is written so in JSON, for readers that know none outside of what a [`Timestamp`] holds: a year before 0, which Go writes with four
/// digits and does not read, with six; the last two days of the year 9999 as the last time that there is. `None`: as it is.
pub fn within_timestamps(text: &str) -> Option<String> {
    const LAST: &str = "9999-12-30T22:00:00";
    match text.strip_prefix('-') {
        Some(early) => Some(format!("-00{early}")),
        None => (text > LAST && text.starts_with("9999")).then(|| format!("{LAST}Z")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, written, since) in [
            (
                "0000-01-01T00:00:00+01:00",
                "-0001-12-31T23:00:00Z",
                -62_167_222_800,
            ),
            (
                "0000-06-01T00:00:00Z",
                "0000-06-01T00:00:00Z",
                -62_154_086_400,
            ),
            (
                "9999-12-31T23:59:59Z",
                "9999-12-31T23:59:59Z",
                253_402_300_799,
            ),
        ] {
            assert_eq!(seconds_of(text).unwrap().unwrap(), written);
            assert_eq!(since_epoch(written).unwrap(), (since, 0));
            let within = within_timestamps(written);
            let read: Timestamp = within.as_deref().unwrap_or(written).parse().unwrap();
            assert!(read.as_second() <= since);
        }
        for (text, as_seconds) in [
            ("0001-01-01T01:00:00+01:00", None),
            ("0001-01-01T00:00:00Z", None),
            ("0001-01-01T00:00:01Z", Some("0001-01-01T00:00:01Z")),
            ("2024-02-29T23:59:59Z", Some("2024-02-29T23:59:59Z")),
            ("2024-01-31T00:00:00.9Z", Some("2024-01-31T00:00:00Z")),
            ("2024-01-31T00:00:00.123456Z", Some("2024-01-31T00:00:00Z")),
        ] {
            assert_eq!(seconds_of(text).unwrap().as_deref(), as_seconds, "{text}");
        }
        assert_eq!(
            micros_of("2024-01-28T00:00:00.000001Z").unwrap().as_deref(),
            Some("2024-01-28T00:00:00.000001Z")
        );
        assert!(seconds_of("2024-02-30T00:00:00Z").is_err());
        assert_eq!(micros_of("0001-01-01T00:00:00.000000Z").unwrap(), None);
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
