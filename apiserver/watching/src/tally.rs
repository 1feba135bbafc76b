//! Counting what happens often: counters and histograms that many count in at once, and how Prometheus reads them.
//!
//! Invariant: to count waits for nobody.
//! Follows Prometheus' text format and `staging/src/k8s.io/component-base/metrics`.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

/// A number that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper ends of the times that requests and writes take, in seconds.
pub const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// How many values lie below each of some bounds, and their sum.
pub struct Histogram {
    bounds: &'static [f64],
    /// One a bound, and one for what lies above all of them.
    counts: Box<[AtomicU64]>,
    /// In millionths: seconds to the microsecond, or bytes.
    sum: AtomicU64,
}

impl Histogram {
    /// `bounds`: sorted, and belonging to what is below them.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub fn observe(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let millionths = (value * 1e6) as u64;
        self.sum.fetch_add(millionths, Ordering::Relaxed);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Takes in what another of the same bounds has counted.
    pub fn add(&self, other: &Histogram) {
        for (count, more) in self.counts.iter().zip(&other.counts) {
            count.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let more = other.sum.load(Ordering::Relaxed);
        self.sum.fetch_add(more, Ordering::Relaxed);
    }

    /// Its lines; `labels` with commas between.
    pub fn text(&self, name: &str, labels: &str, out: &mut String) {
        let (comma, braced) = match labels.is_empty() {
            true => ("", String::new()),
            false => (",", format!("{{{labels}}}")),
        };
        let mut below = 0;
        // a string takes whatever is written to it
        for (at, count) in self.counts.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            let _ = match self.bounds.get(at) {
                Some(bound) => writeln!(
                    out,
                    "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}"
                ),
                None => writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {below}"),
            };
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(
            out,
            "{name}_sum{braced} {sum}\n{name}_count{braced} {below}"
        );
    }
}

/// What a metric is; lines of its values follow.
pub fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    *text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// A metric of one value.
pub fn single(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    value: impl std::fmt::Display,
) {
    family(text, name, kind, help);
    *text += &format!("{name} {value}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_below_their_bounds() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for value in [0.25, 0.5, 0.75, 3.0] {
            histogram.observe(value);
        }
        let mut text = String::new();
        histogram.text("a", "b=\"c\"", &mut text);
        assert_eq!(
            text,
            "a_bucket{b=\"c\",le=\"0.5\"} 2\na_bucket{b=\"c\",le=\"1\"} 3\na_bucket{b=\"c\",le=\"+Inf\"} 4\na_sum{b=\"c\"} 4.5\na_count{b=\"c\"} 4\n"
        );
        let mut bare = String::new();
        Histogram::new(&[1.0]).text("a", "", &mut bare);
        assert_eq!(
            bare,
            "a_bucket{le=\"1\"} 0\na_bucket{le=\"+Inf\"} 0\na_sum 0\na_count 0\n"
        );
    }
}
