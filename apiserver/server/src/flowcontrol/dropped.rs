//! How long who was refused is asked to stay away: a second, and twice as long each time as many are refused in spite of it.
//!
//! Follows `pkg/util/flowcontrol/dropped_requests_tracker.go` of `k8s.io/apiserver`.

use std::collections::VecDeque;

const LONGEST: u64 = 32;

/// What a level refused of late. Seconds are those since any fixed moment.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Seconds and how many were refused in each, without the present one.
    history: VecDeque<(u64, u64)>,
    second: u64,
    count: u64,
    /// One more than this is asked for.
    more: u64,
    raised: Option<u64>,
}

impl Dropped {
    /// One is refused in this second; answers how long it is to stay away, in seconds.
    pub fn note(&mut self, second: u64) -> u64 {
        if self.count > 0 && self.second == second {
            self.count += 1;
            return self.after();
        }
        if self.count > 0 {
            self.history.push_back((self.second, self.count));
        }
        (self.second, self.count) = (second, 1);
        let kept = (2 * self.after()).min(LONGEST);
        self.history.retain(|(then, _)| second - then <= kept);
        self.adapt(second);
        self.after()
    }

    fn after(&self) -> u64 {
        self.more + 1
    }

    fn adapt(&mut self, second: u64) {
        let after = self.after();
        let lately = self
            .history
            .iter()
            .filter(|(then, _)| second - then <= after);
        let refused: u64 = lately.map(|(_, count)| count).sum();
        let may_rise = self.raised.is_none_or(|raised| second - raised >= after);
        if may_rise && refused >= 3 * after {
            self.more = (2 * after).min(LONGEST) - 1;
            self.raised = Some(second);
        } else if refused < after {
            self.more = self.more.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_are_refused_the_longer_they_stay_away() {
        let mut dropped = Dropped::default();
        let mut said = Vec::new();
        for second in 100..112 {
            for _ in 0..100 {
                dropped.note(second);
            }
            said.push(dropped.after());
        }
        assert_eq!(said, [1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8]);
        // and less again when few come
        let fewer: Vec<u64> = (0..9).map(|n| dropped.note(200 + 50 * n)).collect();
        assert_eq!(fewer, [7, 6, 5, 4, 3, 2, 1, 1, 1]);
    }
}
