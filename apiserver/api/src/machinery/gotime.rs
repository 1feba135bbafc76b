//! Times in the two forms that the API reads, taken and refused as Go's `time.Parse` does it.
//!
//! Invariant: what Go takes is taken (an hour of one digit, a comma before the fraction), what it refuses is refused in its words. Follows Go's
//! `time/format.go`, for the layouts `RFC3339` and `RFC3339Micro`.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::problem::Problem;
use crate::machinery::quote::GoTimeQuoted;

/// What a text must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Seconds, and any fraction of them.
    Seconds,
    /// Six digits of a fraction.
    Micros,
}

impl Layout {
    fn text(self) -> &'static str {
        match self {
            Layout::Seconds => "2006-01-02T15:04:05Z07:00",
            Layout::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// A text on its way through a layout.
struct Reader<'t> {
    layout: Layout,
    whole: &'t str,
    rest: &'t str,
}

/// What was wrong with an element: it does not look like one, or its number is none of these.
enum Wrong {
    Form,
    Range(&'static str),
}

type Read<T> = Result<T, Wrong>;

fn digit(text: &str, at: usize) -> Option<i64> {
    let byte = text.as_bytes().get(at)?;
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

fn within(number: i64, range: std::ops::Range<i64>, name: &'static str) -> Read<i64> {
    match range.contains(&number) {
        true => Ok(number),
        false => Err(Wrong::Range(name)),
    }
}

impl<'t> Reader<'t> {
    fn said(&self, message: &str) -> Problem {
        Problem(format!(
            "parsing time {}{message}",
            GoTimeQuoted(self.whole)
        ))
    }

    fn unlike(&self, rest: &str, element: &str) -> Problem {
        let layout = self.layout.text();
        self.said(&format!(
            " as {}: cannot parse {} as {}",
            GoTimeQuoted(layout),
            GoTimeQuoted(rest),
            GoTimeQuoted(element)
        ))
    }

    fn literal(&mut self, mark: &str) -> Result<(), Problem> {
        self.rest = self
            .rest
            .strip_prefix(mark)
            .ok_or_else(|| self.unlike(self.rest, mark))?;
        Ok(())
    }

    fn element<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Result<T, Problem> {
        let hold = self.rest;
        read(self).map_err(|wrong| match wrong {
            Wrong::Form => self.unlike(hold, name),
            Wrong::Range(what) => self.said(&format!(": {what} out of range")),
        })
    }

    /// Goes on behind so many bytes, which were digits and marks.
    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    fn year(&mut self) -> Read<i64> {
        let mut digits = (0..4).map(|at| digit(self.rest, at));
        let year = digits.try_fold(0, |sum, digit| Some(sum * 10 + digit?));
        let year = year.ok_or(Wrong::Form)?;
        self.skip(4);
        Ok(year)
    }

    /// A number of two digits, or of one where that is enough.
    fn number(&mut self, fixed: bool) -> Read<i64> {
        match (digit(self.rest, 0), digit(self.rest, 1)) {
            (Some(tens), Some(ones)) => {
                self.skip(2);
                Ok(tens * 10 + ones)
            }
            (Some(ones), None) if !fixed => {
                self.skip(1);
                Ok(ones)
            }
            _ => Err(Wrong::Form),
        }
    }

    /// Nanoseconds of a fraction of so many digits, with the mark before it.
    fn fraction(&mut self, digits: usize) -> Read<i64> {
        let text = self.rest.as_bytes();
        if text.len() < digits + 1 || !matches!(text[0], b'.' | b',') {
            return Err(Wrong::Form);
        }
        let mut nanos = 0;
        for at in 1..=digits.min(9) {
            nanos = nanos * 10 + digit(self.rest, at).ok_or(Wrong::Form)?;
        }
        if !text[..=digits].is_ascii() {
            return Err(Wrong::Form);
        }
        self.skip(digits + 1);
        Ok(nanos * 10i64.pow(9u32.saturating_sub(digits as u32)))
    }

    fn second(&mut self) -> Read<(i64, i64)> {
        let second = within(self.number(true)?, 0..60, "second")?;
        let has_more = self.rest.starts_with(['.', ',']) && digit(self.rest, 1).is_some();
        if self.layout == Layout::Micros || !has_more {
            return Ok((second, 0));
        }
        let digits = (1..).take_while(|at| digit(self.rest, *at).is_some());
        let count = digits.count();
        Ok((second, self.fraction(count)?))
    }

    /// Seconds east of Greenwich.
    fn zone(&mut self) -> Read<i64> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        if self.rest.len() < 6 || self.rest.as_bytes()[3] != b':' {
            return Err(Wrong::Form);
        }
        let two = |at: usize| Some(digit(self.rest, at)? * 10 + digit(self.rest, at + 1)?);
        let (hours, minutes) = (two(1), two(4));
        let sign = self.rest.as_bytes()[0];
        // people do write 24 hours and 60 minutes
        let hours = within(hours.ok_or(Wrong::Form)?, 0..25, "time zone offset hour")?;
        let minutes = within(
            minutes.ok_or(Wrong::Form)?,
            0..61,
            "time zone offset minute",
        )?;
        let offset = (hours * 60 + minutes) * 60;
        let offset = match sign {
            b'+' => offset,
            b'-' => -offset,
            _ => return Err(Wrong::Form),
        };
        self.skip(6);
        Ok(offset)
    }
}

/// Reads a text of this layout.
///
/// # Errors
/// In the words of Go.
pub fn parse(text: &str, layout: Layout) -> Result<Timestamp, Problem> {
    let at = TimeZone::UTC.to_timestamp(parse_civil(text, layout)?);
    at.map_err(|error| Problem(error.to_string()))
}

/// The same as a day and its time in UTC, to the last one of the year 9999.
///
/// # Errors
/// In the words of Go.
pub fn parse_civil(text: &str, layout: Layout) -> Result<DateTime, Problem> {
    let mut reader = Reader {
        layout,
        whole: text,
        rest: text,
    };
    let year = reader.element("2006", Reader::year)?;
    reader.literal("-")?;
    let month = reader.element("01", |r| within(r.number(true)?, 1..13, "month"))?;
    reader.literal("-")?;
    let day = reader.element("02", |r| r.number(true))?;
    reader.literal("T")?;
    let hour = reader.element("15", |r| within(r.number(false)?, 0..24, "hour"))?;
    reader.literal(":")?;
    let minute = reader.element("04", |r| within(r.number(true)?, 0..60, "minute"))?;
    reader.literal(":")?;
    let (second, mut nanos) = reader.element("05", Reader::second)?;
    if layout == Layout::Micros {
        nanos = reader.element(".000000", |r| r.fraction(6))?;
    }
    let offset = reader.element("Z07:00", Reader::zone)?;
    if !reader.rest.is_empty() {
        return Err(reader.said(&format!(": extra text: {}", GoTimeQuoted(reader.rest))));
    }
    let small = |number: i64| i8::try_from(number).unwrap_or(i8::MAX);
    let of_day = (small(hour), small(minute), small(second));
    let at = DateTime::new(
        i16::try_from(year).unwrap_or(i16::MAX),
        small(month),
        small(day),
        of_day.0,
        of_day.1,
        of_day.2,
        i32::try_from(nanos).unwrap_or(0),
    );
    let at = at.map_err(|_| reader.said(": day out of range"))?;
    at.checked_sub(jiff::SignedDuration::from_secs(offset))
        .map_err(|error| Problem(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, layout: Layout) -> String {
        match parse(text, layout) {
            Ok(at) => at.to_string(),
            Err(error) => error.0,
        }
    }

    #[test]
    fn what_go_takes_and_what_it_says_of_the_rest() {
        let unlike = |text: &str, layout: Layout, rest: &str, element: &str| {
            let layout = layout.text();
            format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
                .replace('é', r"\xc3\xa9")
        };
        use Layout::{Micros, Seconds};
        for (text, layout, wanted) in [
            ("2026-01-01T00:00:00Z", Seconds, "2026-01-01T00:00:00Z"),
            (
                "2026-01-01T00:00:00.1234567Z",
                Seconds,
                "2026-01-01T00:00:00.1234567Z",
            ),
            ("2026-01-01T00:00:00,5Z", Seconds, "2026-01-01T00:00:00.5Z"),
            ("2026-01-01T0:00:00Z", Seconds, "2026-01-01T00:00:00Z"),
            (
                "2026-01-01T00:00:00.123456+02:00",
                Micros,
                "2025-12-31T22:00:00.123456Z",
            ),
            ("2026-01-01T00:00:00+24:00", Seconds, "2025-12-31T00:00:00Z"),
            ("2024-02-29T00:00:00Z", Seconds, "2024-02-29T00:00:00Z"),
        ] {
            assert_eq!(read(text, layout), wanted, "{text}");
        }
        for (text, layout, rest, element) in [
            ("", Seconds, "", "2006"),
            ("x2026", Micros, "x2026", "2006"),
            ("2026-01-02", Seconds, "", "T"),
            ("2026-01-01 00:00:00Z", Seconds, " 00:00:00Z", "T"),
            ("2026-1-01T00:00:00Z", Seconds, "1-01T00:00:00Z", "01"),
            ("2026-01-01T00:00:00.123456", Seconds, "", "Z07:00"),
            ("2026-01-01T00:00:00Z", Micros, "Z", ".000000"),
            ("2026-01-01T00:00:00.123Z", Micros, ".123Z", ".000000"),
            ("2026-01-01T00:00:00.1234567Z", Micros, "7Z", "Z07:00"),
            ("2026-01-01T00:00:00*02:00", Seconds, "*02:00", "Z07:00"),
            ("2026-01-01T00:00:00.1234é7Z", Micros, ".1234é7Z", ".000000"),
        ] {
            assert_eq!(read(text, layout), unlike(text, layout, rest, element));
        }
        for (text, what) in [
            ("2026-13-01T00:00:00.1Z", "month out of range"),
            ("2026-01-01T25:00:00Z", "hour out of range"),
            ("2026-01-01T00:60:00Z", "minute out of range"),
            ("2026-01-01T00:00:60Z", "second out of range"),
            ("2026-02-30T00:00:00Z", "day out of range"),
            (
                "2026-01-01T00:00:00+25:00",
                "time zone offset hour out of range",
            ),
            ("2026-01-01T00:00:00Zx", "extra text: \"x\""),
        ] {
            assert_eq!(
                read(text, Layout::Seconds),
                format!("parsing time {text:?}: {what}")
            );
        }
    }
}
