//! The last points of a container or a node, and what it uses between them.
//!
//! Invariant: points follow each other in time, and all are of one run. Follows `pkg/storage/{pod,types}.go` of sigs.k8s.io/metrics-server.

use jiff::Timestamp;

use super::{Point, Usage, WINDOW};

/// The points of a window, the oldest first: few.
#[derive(Debug, Default)]
pub struct Series(Vec<Point>);

impl Series {
    /// Takes a point. One that is not newer than the last says nothing; one of another run begins anew.
    pub fn add(&mut self, point: Point) {
        let restarted = |last: &Point| point.started >= last.at || point.cpu < last.cpu;
        match self.0.last() {
            Some(last) if restarted(last) => self.0.clear(),
            Some(last) if point.at <= last.at => return,
            _ => {}
        }
        self.0.push(point);
        // the first stays the youngest one that is a whole window away
        let is_away = |of: &Point| since(point.at, of.at) >= WINDOW;
        let away = self.0.iter().filter(|of| is_away(of)).count();
        self.0.drain(..away.saturating_sub(1));
    }

    /// Whether there are two points.
    pub fn is_measured(&self) -> bool {
        self.0.len() > 1
    }

    pub fn usage(&self) -> Option<Usage> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        let window = since(last.at, first.at);
        let nanos = window.as_nanos();
        if nanos == 0 {
            return None;
        }
        let rate = u128::from(last.cpu - first.cpu) * 1_000_000_000 / nanos;
        Some(Usage {
            at: last.at,
            window,
            cpu: u64::try_from(rate).unwrap_or(u64::MAX),
            memory: last.memory,
        })
    }
}

/// Nothing when the second is the later one.
fn since(now: Timestamp, then: Timestamp) -> std::time::Duration {
    let passed = now.duration_since(then);
    passed.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn rates() {
        let mut series = Series::default();
        // started, at, cpu in seconds: the rate in thousandths and the window
        #[rustfmt::skip]
        let cases: [(i64, i64, u64, Option<(u64, u64)>); 9] = [
            (0, 100, 10, None),
            (0, 105, 15, Some((1000, 5))),
            (0, 105, 20, Some((1000, 5))),
            (0, 110, 15, Some((500, 10))),
            (0, 115, 15, Some((333, 15))),
            (0, 120, 25, Some((666, 15))),
            (0, 200, 25, Some((0, 80))),
            (201, 205, 1, None),
            (201, 206, 2, Some((1000, 1))),
        ];
        for (started, second, cpu, wanted) in cases {
            series.add(Point {
                started: at(started),
                at: at(second),
                cpu: cpu * 1_000_000_000,
                memory: 1,
            });
            let found = series
                .usage()
                .map(|usage| (usage.cpu / 1_000_000, usage.window.as_secs()));
            assert_eq!(found, wanted, "{second}");
            assert_eq!(series.is_measured(), wanted.is_some());
        }
        series.add(Point {
            started: at(201),
            at: at(210),
            cpu: 0,
            memory: 1,
        });
        assert_eq!(series.usage(), None, "a counter that went back");
    }
}
