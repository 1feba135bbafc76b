//! The one place where the node agent reads time, by the project's one clock.
//!
//! Invariant: no other file of this crate asks the system, so that the source of time can be changed here. What the kernel counts
//! (deadlines of sockets and processes) is an `Instant`, which no clock of a cluster moves.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_watching::clock::{Now, SystemClock};
pub use tokio::time::Instant;

/// The present moment.
pub fn now() -> Timestamp {
    SystemClock.now()
}

/// The present moment as the API writes it: whole seconds.
pub fn api_now() -> Time {
    Time(whole_seconds(now()))
}

/// `at` without its fraction of a second.
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Waits for `how_long`.
pub async fn sleep(how_long: Duration) {
    tokio::time::sleep(how_long).await;
}

/// Waits until `at`; returns at once when that is past.
pub async fn sleep_until(at: Timestamp) {
    sleep(until(at)).await;
}

/// How long until `at`; zero when past.
pub fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now())).unwrap_or(Duration::ZERO)
}

/// How long since `at`; zero when that is in the future.
pub fn since(at: Timestamp) -> Duration {
    Duration::try_from(now().duration_since(at)).unwrap_or(Duration::ZERO)
}

/// `at` moved on by `by`, or the end of time.
pub fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `None` when `what` is not done within `limit`.
pub async fn timeout<T>(limit: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, what).await.ok()
}

/// `1m20s` or `1.23s`, as Go prints so many milliseconds.
pub fn in_go(how_long: Duration) -> String {
    let millis = how_long.as_millis();
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (millis, minutes) {
        (0, _) => "0s".to_owned(),
        (1..1000, _) => format!("{millis}ms"),
        (_, 0) => format!("{seconds}s"),
        _ => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        for (millis, text) in [
            (0, "0s"),
            (12, "12ms"),
            (1000, "1s"),
            (1230, "1.23s"),
            (10_000, "10s"),
            (61_500, "1m1.5s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
        ] {
            assert_eq!(in_go(Duration::from_millis(millis)), text);
        }
    }
}
