//! The account that `up` gives of itself: what was done, how long it took, what is next.

use std::time::Instant;

/// Prints steps as they end.
pub struct Story {
    begun: Instant,
    last: Instant,
}

impl Story {
    pub fn begin() -> Story {
        let now = Instant::now();
        Story {
            begun: now,
            last: now,
        }
    }

    /// A step is done.
    pub fn step(&mut self, what: impl std::fmt::Display) {
        let now = Instant::now();
        tellln!(
            "  {what:<58} {:>7.0} ms",
            (now - self.last).as_secs_f64() * 1e3
        );
        self.last = now;
    }

    /// Milliseconds since the beginning.
    pub fn total(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1e3
    }
}
