//! Where controllers get the time from: the project's one clock, with sleep added to it.
//!
//! Invariant: nothing else in this crate asks the system for the time or sleeps, so that a cluster's clock can be virtual.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
pub use skiff_api::machinery::clock::{Clock as Now, SharedClock, SystemClock};

/// A source of time that can also wake a sleeper.
pub trait TimeSource: Now {
    /// Completes when `now()` has reached `deadline`.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()>;
}

/// A cheap handle to the time source.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(Arc::new(SystemClock))
    }

    /// A clock made of something else, such as a virtual one.
    pub fn from_source(source: impl TimeSource) -> Self {
        Self(Arc::new(source))
    }

    /// The same time for those who only ask what it is.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// The present moment as the API writes it, in whole seconds.
    pub fn time(&self) -> Time {
        Time(whole_seconds(self.now()))
    }

    /// Waits until `deadline`.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        self.0.sleep_until(deadline).await
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(after(self.now(), duration)).await
    }
}

impl Now for Clock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl TimeSource for SystemClock {
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let left = until(self.now(), deadline);
        Box::pin(tokio::time::sleep(left))
    }
}

/// `time + duration`, at most the end of time.
pub fn after(time: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|d| time.checked_add(d).ok())
        .unwrap_or(Timestamp::MAX)
}

/// How long from `now` until `then`; zero when it has passed.
pub fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// How long since `then`; zero when it lies ahead.
pub fn since(now: Timestamp, then: Timestamp) -> Duration {
    until(then, now)
}

/// The moment without its fraction of a second, as `metav1.Time` is written.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
