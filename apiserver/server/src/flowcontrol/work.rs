//! What a request takes: seats while it is answered, seats for a while after it, and the product of seats and time that fair queuing counts in.
//!
//! Invariant: seats are at least one. Follows `pkg/util/flowcontrol/request/{width,seat_seconds}.go` of `k8s.io/apiserver`.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub, SubAssign},
    time::Duration,
};

/// How long a request is taken to be answered before anybody knows.
pub const GUESSED: Duration = Duration::from_millis(3);

/// The seats of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// While it is answered.
    pub initial: usize,
    /// After it, for as long as `lingers`: watchers are told of what it wrote.
    pub last: usize,
    pub lingers: Duration,
}

impl Work {
    pub const ONE: Work = Work::seats(1);

    pub const fn seats(initial: usize) -> Work {
        Work {
            initial,
            last: 0,
            lingers: Duration::ZERO,
        }
    }

    /// The most seats that it holds at once; they are its own from its begin to its end.
    pub fn width(&self) -> usize {
        self.initial.max(self.last)
    }

    /// All of it, as far as it can be known before.
    pub fn total(&self) -> SeatSeconds {
        SeatSeconds::of(self.initial, GUESSED) + SeatSeconds::of(self.last, self.lingers)
    }

    /// The same work on no more than so many seats in its last part.
    pub fn narrowed(self, seats: usize) -> Work {
        if self.last <= seats || seats == 0 {
            return self;
        }
        let work = self.lingers.as_secs_f64() * self.last as f64;
        Work {
            last: seats,
            lingers: Duration::from_secs_f64(work / seats as f64),
            ..self
        }
    }
}

/// Seats by time, in hundred-millionths of a seat for a second. Wide enough to be counted on without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeatSeconds(i128);

const SCALE: i128 = 100_000_000;
const NANOS_A_UNIT: i128 = 1_000_000_000 / SCALE;

impl SeatSeconds {
    pub fn of(seats: usize, time: Duration) -> SeatSeconds {
        let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::from(i64::MAX));
        SeatSeconds(nanos * seats as i128 / NANOS_A_UNIT)
    }

    pub fn seconds(self) -> f64 {
        self.0 as f64 / SCALE as f64
    }

    /// The same for a share of a seat.
    pub fn rate(seats: f64, time: Duration) -> SeatSeconds {
        SeatSeconds((seats * time.as_secs_f64() * SCALE as f64).round() as i128)
    }
}

impl Add for SeatSeconds {
    type Output = SeatSeconds;
    fn add(self, other: SeatSeconds) -> SeatSeconds {
        SeatSeconds(self.0 + other.0)
    }
}

impl Sub for SeatSeconds {
    type Output = SeatSeconds;
    fn sub(self, other: SeatSeconds) -> SeatSeconds {
        SeatSeconds(self.0 - other.0)
    }
}

impl AddAssign for SeatSeconds {
    fn add_assign(&mut self, other: SeatSeconds) {
        self.0 += other.0;
    }
}

impl SubAssign for SeatSeconds {
    fn sub_assign(&mut self, other: SeatSeconds) {
        self.0 -= other.0;
    }
}

/// `12.00340000ss`.
impl fmt::Display for SeatSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, units) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let scale = SCALE.unsigned_abs();
        write!(f, "{sign}{}.{:08}ss", units / scale, units % scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seats_by_time() {
        let time = Duration::from_millis(30);
        assert_eq!(SeatSeconds::of(4, time).to_string(), "0.12000000ss");
        assert_eq!(SeatSeconds::rate(0.5, time).to_string(), "0.01500000ss");
        let less = SeatSeconds::default() - SeatSeconds::of(1, Duration::from_secs(2));
        assert_eq!(less.to_string(), "-2.00000000ss");
        let wide = Work {
            initial: 1,
            last: 8,
            lingers: Duration::from_millis(5),
        };
        assert_eq!(wide.width(), 8);
        let narrow = wide.narrowed(2);
        assert_eq!((narrow.last, narrow.lingers.as_millis()), (2, 20));
        assert_eq!(narrow.total(), wide.total());
        assert_eq!(wide.narrowed(8), wide);
        assert_eq!(Work::ONE.total().to_string(), "0.00300000ss");
    }
}
