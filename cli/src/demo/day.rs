//! The day as a table: what happens when, and how many customers come.
//!
//! Invariant: times are shares of the day's length, so that a short day is the same day.

use std::time::Duration;

/// Something that befalls the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The process of a till is killed.
    Kill,
    /// The pod of a till is deleted.
    Delete,
    /// A new version comes.
    Update,
    /// A node is cut off, and comes back.
    Cut,
}

/// When each act begins. Those before it end first, however long they take.
const ACTS: [(f64, Act); 7] = [
    (0.28, Act::Kill),
    (0.33, Act::Delete),
    (0.38, Act::Update),
    (0.47, Act::Kill),
    (0.51, Act::Delete),
    (0.55, Act::Kill),
    (0.58, Act::Cut),
];

/// The crowd comes between these two, and goes between the others.
const COMES: (f64, f64) = (0.06, 0.14);
const GOES: (f64, f64) = (0.68, 0.74);
/// How much fewer come when there is no crowd.
pub const TENTH: f64 = 0.1;

/// A day of this length, with so many requests a second at its height.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    pub length: Duration,
    pub peak: f64,
}

impl Day {
    fn at(&self, share: f64) -> Duration {
        self.length.mul_f64(share)
    }

    /// When what happens.
    pub fn acts(&self) -> impl Iterator<Item = (Duration, Act)> + '_ {
        ACTS.iter().map(|(share, act)| (self.at(*share), *act))
    }

    /// When the crowd begins to come.
    pub fn comes(&self) -> Duration {
        self.at(COMES.0)
    }

    /// When the crowd has gone.
    pub fn gone(&self) -> Duration {
        self.at(GOES.1)
    }

    /// For how long a node is cut off, at least.
    pub fn cut(&self) -> Duration {
        self.at(0.08)
    }

    /// Requests a second at a time of the day: it swells tenfold, stays, and leaves.
    pub fn rate(&self, at: Duration) -> f64 {
        let share = at.as_secs_f64() / self.length.as_secs_f64().max(f64::EPSILON);
        let up = smooth((share - COMES.0) / (COMES.1 - COMES.0));
        let down = smooth((share - GOES.0) / (GOES.1 - GOES.0));
        self.peak * (TENTH + (1.0 - TENTH) * (up - down))
    }
}

/// From 0 to 1 without a corner.
fn smooth(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Day {
        Day {
            length: Duration::from_secs(100),
            peak: 200.0,
        }
    }

    #[test]
    fn the_crowd_swells_tenfold_and_leaves() {
        let day = day();
        for (second, wanted) in [
            (0.0, 20.0),
            (6.0, 20.0),
            (10.0, 110.0),
            (14.0, 200.0),
            (50.0, 200.0),
            (71.0, 110.0),
            (74.0, 20.0),
            (300.0, 20.0),
        ] {
            let rate = day.rate(Duration::from_secs_f64(second));
            assert!((rate - wanted).abs() < 1e-6, "{second}: {rate}");
        }
        assert_eq!(day.comes(), Duration::from_secs(6));
        assert_eq!(day.gone(), Duration::from_secs(74));
    }

    #[test]
    fn acts_are_in_order_while_the_crowd_is_there() {
        let day = day();
        let times: Vec<Duration> = day.acts().map(|(at, _)| at).collect();
        assert!(times.is_sorted());
        let crowded = |at: &Duration| day.rate(*at) > 0.99 * day.peak;
        assert!(times.iter().all(crowded), "{times:?}");
        assert!(day.acts().any(|(_, act)| act == Act::Update));
    }
}
