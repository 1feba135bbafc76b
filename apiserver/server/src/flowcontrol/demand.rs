//! How many seats a level could have used lately, by which levels lend to each other.
//!
//! Follows `pkg/util/flowcontrol/fairqueuing/integrator.go` and `seatDemandStats` of `apf_controller.go` of `k8s.io/apiserver`.

use std::time::Duration;

/// How slowly what was needed once is forgotten: by half in five minutes of periods of ten seconds.
const SMOOTHING: f64 = 0.977;

/// The demand since the last period began, and what those before it left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    now: f64,
    seconds: f64,
    sum: f64,
    squares: f64,
    most: f64,
    pub seen: Seen,
}

/// What was seen until the last period ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// The most in the last period.
    pub most: usize,
    pub average: f64,
    pub deviation: f64,
    /// What may be needed, falling slowly.
    pub smoothed: f64,
}

impl Demand {
    /// It has been as it is for this long.
    pub fn pass(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.seconds += seconds;
        self.sum += self.now * seconds;
        self.squares += self.now * self.now * seconds;
    }

    pub fn set(&mut self, seats: usize) {
        self.now = seats as f64;
        self.most = self.most.max(self.now);
    }

    /// Ends a period.
    pub fn end(&mut self) -> Seen {
        self.seen.most = self.most as usize;
        if self.seconds > 0.0 {
            let average = self.sum / self.seconds;
            let deviation = (self.squares / self.seconds - average * average)
                .max(0.0)
                .sqrt();
            let envelope = average + deviation;
            let falling = SMOOTHING * self.seen.smoothed + (1.0 - SMOOTHING) * envelope;
            self.seen = Seen {
                average,
                deviation,
                smoothed: envelope.max(falling),
                ..self.seen
            };
        }
        *self = Demand {
            now: self.now,
            most: self.now,
            seen: self.seen,
            ..Demand::default()
        };
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_rises_at_once_and_falls_slowly() {
        let mut demand = Demand::default();
        demand.set(10);
        demand.pass(Duration::from_secs(5));
        demand.set(30);
        demand.pass(Duration::from_secs(5));
        demand.set(0);
        let seen = demand.end();
        assert_eq!((seen.most, seen.average, seen.deviation), (30, 20.0, 10.0));
        assert_eq!(seen.smoothed, 30.0);
        let mut seen = seen;
        for _ in 0..30 {
            demand.pass(Duration::from_secs(10));
            seen = demand.end();
        }
        assert_eq!((seen.most, seen.average), (0, 0.0));
        assert!((14.0..16.0).contains(&seen.smoothed), "{seen:?}");
        assert_eq!(demand.end(), seen, "no time has passed");
    }
}
