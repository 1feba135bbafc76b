//! Sets of completion indexes, as a Job's status writes them: `0-2,4`.
//!
//! Invariant: pure; runs of two or more are joined, as upstream does it; a set takes room for its runs, not for its indexes, of which a Job may have two
//! thousand million. Follows pkg/controller/job/indexed_job_utils.go (orderedIntervals).

use std::collections::BTreeMap;

/// Indexes in order: where each run begins, and its last. No two runs touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(BTreeMap<i32, i32>);

impl Indexes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, index: &i32) -> bool {
        self.0
            .range(..=index)
            .next_back()
            .is_some_and(|(_, last)| last >= index)
    }

    /// Whether it was new.
    pub fn insert(&mut self, index: i32) -> bool {
        let new = !self.contains(&index);
        if new {
            self.insert_run(index, index);
        }
        new
    }

    fn insert_run(&mut self, mut first: i32, mut last: i32) {
        let touching = self
            .0
            .range(..=last.saturating_add(1))
            .rev()
            .take_while(|(_, end)| **end >= first.saturating_sub(1));
        let touching: Vec<(i32, i32)> = touching.map(|(begin, end)| (*begin, *end)).collect();
        for (begin, end) in touching {
            self.0.remove(&begin);
            (first, last) = (first.min(begin), last.max(end));
        }
        self.0.insert(first, last);
    }

    /// Takes in all of another set.
    pub fn unite(&mut self, other: &Indexes) {
        other
            .0
            .iter()
            .for_each(|(first, last)| self.insert_run(*first, *last));
    }

    /// How many are in both.
    pub fn in_common(&self, other: &Indexes) -> i32 {
        let with = |first: &i32, last: &i32| {
            let theirs = other
                .0
                .range(..=last)
                .rev()
                .take_while(|(_, end)| *end >= first);
            theirs
                .map(|(begin, end)| run(*first.max(begin), *last.min(end)))
                .sum::<i64>()
        };
        count(self.0.iter().map(|(first, last)| with(first, last)).sum())
    }

    /// Those below `completions` that are not in it, in order.
    pub fn missing(&self, completions: i32) -> impl Iterator<Item = i32> {
        let ends = self
            .0
            .iter()
            .map(|(first, last)| (*first, i64::from(*last) + 1))
            .chain([(completions, i64::from(completions))]);
        let mut from = 0;
        ends.flat_map(move |(first, next)| {
            let gap = from..i64::from(first.min(completions));
            from = next.max(from);
            gap
        })
        .filter_map(|index| i32::try_from(index).ok())
    }
}

impl Extend<i32> for Indexes {
    fn extend<I: IntoIterator<Item = i32>>(&mut self, all: I) {
        for index in all {
            self.insert(index);
        }
    }
}

impl FromIterator<i32> for Indexes {
    fn from_iter<I: IntoIterator<Item = i32>>(all: I) -> Indexes {
        let mut indexes = Indexes::default();
        indexes.extend(all);
        indexes
    }
}

fn run(first: i32, last: i32) -> i64 {
    i64::from(last) - i64::from(first) + 1
}

fn count(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Reads `0-2,4`; what is not below `completions`, or no number, is left out.
pub fn parse(text: &str, completions: i32) -> Indexes {
    let mut indexes = Indexes::default();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else {
            continue;
        };
        let last = last.min(completions.saturating_sub(1));
        if first <= last {
            indexes.insert_run(first, last);
        }
    }
    indexes
}

/// Writes `0-2,4`; two neighbours are written `4,5`.
pub fn format(indexes: &Indexes) -> String {
    let runs = indexes
        .0
        .iter()
        .map(|(first, last)| match run(*first, *last) {
            1 => first.to_string(),
            2 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
    runs.collect::<Vec<_>>().join(",")
}

/// How many, as the API counts.
pub fn total(indexes: &Indexes) -> i32 {
    count(
        indexes
            .0
            .iter()
            .map(|(first, last)| run(*first, *last))
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["", "3", "0,1", "0-2", "0-2,4", "0,1,3,7-9"] {
            assert_eq!(format(&parse(text, 100)), text);
        }
        assert_eq!(format(&parse("0-5,x,7", 4)), "0-3");
        assert_eq!(format(&parse("5,0-3,4", 100)), "0-5");
    }

    #[test]
    fn as_many_as_there_are_numbers() {
        let all = parse("0-2147483646", i32::MAX);
        assert_eq!(
            (total(&all), format(&all), all.missing(i32::MAX).next()),
            (i32::MAX, "0-2147483646".into(), None)
        );
        let mut some = parse("0-2000000000,2000000002", i32::MAX);
        assert_eq!(
            some.missing(i32::MAX).take(3).collect::<Vec<_>>(),
            [2_000_000_001, 2_000_000_003, 2_000_000_004]
        );
        assert_eq!(some.in_common(&all), 2_000_000_002);
        some.unite(&all);
        assert_eq!(some, all);
    }

    #[test]
    fn it_is_a_set() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..300 {
            let mut some = || {
                (0..random.random_range(0..20))
                    .map(|_| random.random_range(0..30))
                    .collect::<Vec<i32>>()
            };
            let (one, other) = (some(), some());
            let (a, b): (BTreeSet<i32>, BTreeSet<i32>) = (
                one.iter().copied().collect(),
                other.iter().copied().collect(),
            );
            let (mut x, y): (Indexes, Indexes) =
                (one.into_iter().collect(), other.into_iter().collect());
            assert_eq!(total(&x) as usize, a.len());
            assert!((0..31).all(|index| x.contains(&index) == a.contains(&index)));
            assert_eq!(x.in_common(&y) as usize, a.intersection(&b).count());
            assert_eq!(
                x.missing(25).collect::<Vec<_>>(),
                (0..25)
                    .filter(|index| !a.contains(index))
                    .collect::<Vec<_>>()
            );
            x.unite(&y);
            assert_eq!(x, a.union(&b).copied().collect());
        }
    }
}
