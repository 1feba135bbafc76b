//! What the day's requests came to: a histogram of latencies, and a ledger with a line a second.
//!
//! Invariant: a request is counted once, in the second in which it ended; nothing that failed is told as a latency.

use std::{collections::BTreeMap, time::Duration};

/// Steps an octave: what is told of a latency is at most 3 % off.
const STEPS: f64 = 24.0;

/// Latencies, by steps that grow with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    counts: BTreeMap<u16, u64>,
    count: u64,
}

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        let micros = latency.as_secs_f64() * 1e6;
        let step = (micros.max(1.0).log2() * STEPS).floor();
        *self.counts.entry(step as u16).or_default() += 1;
        self.count += 1;
    }

    /// Milliseconds that a share of all (0 to 1) did not exceed; nothing of nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let (step, _) = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        })?;
        // the middle of the step
        Some(2_f64.powf((f64::from(*step) + 0.5) / STEPS) / 1e3)
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    Answered(Duration),
    /// What went wrong, in few words. `cut`: it went by the node that was cut off at that time.
    Failed {
        why: String,
        cut: bool,
    },
}

/// What ended within a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    pub answered: u64,
    pub failed: u64,
    pub failed_by_cut: u64,
    pub latencies: Histogram,
}

/// The whole day.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub seconds: Vec<Second>,
    /// All seconds as one.
    pub whole: Second,
    /// How often what went wrong.
    pub why: BTreeMap<String, u64>,
    /// Answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
}

impl Ledger {
    /// A request ended, so long after the day began.
    pub fn note(&mut self, at: Duration, ended: Ended) {
        let place = at.as_secs() as usize;
        if self.seconds.len() <= place {
            self.seconds.resize(place + 1, Second::default());
        }
        for sum in [&mut self.seconds[place], &mut self.whole] {
            sum.add(&ended);
        }
        if let Ended::Failed { why, .. } = ended {
            *self.why.entry(why).or_default() += 1;
        }
    }
}

impl Second {
    fn add(&mut self, ended: &Ended) {
        match ended {
            Ended::Answered(latency) => {
                self.answered += 1;
                self.latencies.add(*latency);
            }
            Ended::Failed { cut, .. } => {
                self.failed += u64::from(!cut);
                self.failed_by_cut += u64::from(*cut);
            }
        }
    }

    pub fn requests(&self) -> u64 {
        self.answered + self.failed + self.failed_by_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|n| histogram.add(Duration::from_micros(n * 100)));
        for (share, wanted) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 0.1)] {
            let found = histogram.quantile(share).unwrap();
            assert!(
                (found / wanted - 1.0_f64).abs() < 0.03,
                "{share}: {found} for {wanted}"
            );
        }
    }

    #[test]
    fn each_request_is_counted_once() {
        let mut ledger = Ledger::default();
        let failed = |cut| Ended::Failed {
            why: "502".into(),
            cut,
        };
        ledger.note(
            Duration::from_millis(100),
            Ended::Answered(Duration::from_millis(2)),
        );
        ledger.note(Duration::from_millis(2100), failed(false));
        ledger.note(Duration::from_millis(2200), failed(true));
        let requests: Vec<u64> = ledger.seconds.iter().map(Second::requests).collect();
        assert_eq!(requests, [1, 0, 2]);
        let whole = &ledger.whole;
        assert_eq!(
            (whole.answered, whole.failed, whole.failed_by_cut),
            (1, 1, 1)
        );
        assert_eq!(whole.latencies, ledger.seconds[0].latencies);
        assert_eq!(ledger.why["502"], 2);
    }
}
