//! The one place where the node agent reads or waits for time.
//!
//! Invariant: no other file of this crate calls `Timestamp::now` or `tokio::time` directly, so that the source of time can be changed here.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
pub use tokio::time::Instant;

/// The present moment.
pub fn now() -> Timestamp {
    Timestamp::now()
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
