//! Ages and points in time as kubectl prints them.
//! Invariant: time that cannot be read shows as `<unknown>`, never as an age.
//! Behaviour follows `staging/src/k8s.io/apimachinery/pkg/util/duration/duration.go`.

use jiff::Timestamp;
use serde_json::Value;
use skiff_api::machinery::clock;

/// Seconds as `5s`, `3m20s`, `2d4h`, `1y12d`.
pub fn human(seconds: i64) -> String {
    skiff_api::kinds::human_duration(jiff::SignedDuration::from_secs(seconds))
}

/// The time of a value, if it holds one.
pub fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// How long ago that was.
pub fn since(value: &Value) -> String {
    time(value).map_or_else(
        || "<unknown>".into(),
        |t| human(now().as_second() - t.as_second()),
    )
}

/// The time as `Mon, 02 Jan 2006 15:04:05 +0000`, in the user's time zone.
pub fn date(value: &Value) -> String {
    match time(value) {
        Some(t) => t
            .to_zoned(zone())
            .strftime("%a, %d %b %Y %H:%M:%S %z")
            .to_string(),
        None => "Mon, 01 Jan 0001 00:00:00 +0000".into(),
    }
}

/// Now, as Go's `log` writes it before a line.
pub fn log_time() -> String {
    let now = now().to_zoned(zone());
    now.strftime("%Y/%m/%d %H:%M:%S").to_string()
}

fn zone() -> jiff::tz::TimeZone {
    match std::env::var("TZ") {
        Ok(tz) if tz.is_empty() || tz == "UTC" => jiff::tz::TimeZone::UTC,
        Ok(tz) => jiff::tz::TimeZone::get(&tz).unwrap_or(jiff::tz::TimeZone::UTC),
        Err(_) => jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC),
    }
}

/// The present.
pub fn now() -> Timestamp {
    clock::system().now()
}

/// The present as the API writes it.
pub fn rfc3339() -> String {
    now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds as Go prints a duration: `1m30s`, `0s`.
pub fn go_duration(seconds: i64) -> String {
    let (h, m, s) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, m) => format!("{m}m{s}s"),
        (h, m) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ages() {
        for (seconds, want) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (599, "9m59s"),
            (600, "10m"),
            (10799, "179m"),
            (10800, "3h"),
            (11000, "3h3m"),
            (30000, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (86400 * 10, "10d"),
            (86400 * 365 * 2, "2y"),
            (86400 * 800, "2y70d"),
            (86400 * 365 * 9, "9y"),
        ] {
            assert_eq!(human(seconds), want, "{seconds}");
        }
        assert_eq!(since(&json!(null)), "<unknown>");
        assert_eq!(go_duration(90), "1m30s");
    }
}
