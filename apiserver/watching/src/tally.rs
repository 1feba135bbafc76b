//! Counting what happens often: counters and histograms that many count in at once, and how Prometheus reads them.
//!
//! Invariant: to count waits for nobody.
//! Follows Prometheus' text format and `staging/src/k8s.io/component-base/metrics`.

pub mod process;

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use skiff_api::machinery::gonum::float_text;

/// A part of a program that counts, and tells what.
pub trait Part: Send + Sync {
    /// Adds its families.
    fn tell(&self, text: &mut String);
}

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

/// Upper ends that grow by a factor each.
pub const fn exponential<const N: usize>(first: f64, factor: f64) -> [f64; N] {
    let (mut bounds, mut at, mut bound) = ([0.0; N], 0, first);
    while at < N {
        bounds[at] = bound;
        bound *= factor;
        at += 1;
    }
    bounds
}

/// A number that goes up and down: the last that was said.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A sum of floating point numbers, kept as its bits.
#[derive(Default)]
struct Sum(AtomicU64);

impl Sum {
    fn add(&self, value: f64) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let sum = (f64::from_bits(seen) + value).to_bits();
            let (done, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.0.compare_exchange_weak(seen, sum, done, failed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// How many values lie below each of some bounds, and their sum.
pub struct Histogram {
    bounds: &'static [f64],
    /// One a bound, and one for what lies above all of them.
    counts: Box<[AtomicU64]>,
    sum: Sum,
}

impl Histogram {
    /// `bounds`: sorted, and belonging to what is below them.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: Sum::default(),
        }
    }

    pub fn observe(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.add(value);
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
        self.sum.add(other.sum.get());
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
                    "{name}_bucket{{{labels}{comma}le=\"{}\"}} {below}",
                    float_text(*bound)
                ),
                None => writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {below}"),
            };
        }
        let sum = float_text(self.sum.get());
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
    fn sums_are_as_exact_as_what_is_added() {
        let histogram = Histogram::new(&[1.0]);
        for _ in 0..1000 {
            histogram.observe(2e-7);
        }
        let other = Histogram::new(&[1.0]);
        other.add(&histogram);
        let sum = other.sum.get();
        assert!((sum - 2e-4).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn bounds_are_written_as_go_writes_them() {
        const BOUNDS: &[f64] = &exponential::<3>(1e-5, 1e6);
        let mut text = String::new();
        Histogram::new(BOUNDS).text("a", "", &mut text);
        let bounds: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        assert_eq!(bounds, ["1e-05", "10", "1e+07", "+Inf"]);
    }

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
