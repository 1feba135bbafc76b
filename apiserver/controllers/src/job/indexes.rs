//! Sets of completion indexes, as a Job's status writes them: `0-2,4`.
//!
//! Invariant: pure; runs of two or more are joined, as upstream does it. Follows pkg/controller/job/indexed_job_utils.go.

use std::{collections::BTreeSet, fmt::Write};

/// Indexes in order.
pub type Indexes = BTreeSet<i32>;

/// Reads `0-2,4`; what is not below `completions`, or no number, is left out.
pub fn parse(text: &str, completions: i32) -> Indexes {
    let mut indexes = Indexes::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { continue };
        indexes.extend((first..=last.min(completions - 1)).take_while(|i| *i < completions));
    }
    indexes
}

/// Writes `0-2,4`; two neighbours are written `4,5`.
pub fn format(indexes: &Indexes) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let mut text = String::new();
    for (first, last) in runs {
        let comma = if text.is_empty() { "" } else { "," };
        // writing to a String cannot fail
        let _ = match last - first {
            0 => write!(text, "{comma}{first}"),
            1 => write!(text, "{comma}{first},{last}"),
            _ => write!(text, "{comma}{first}-{last}"),
        };
    }
    text
}

/// How many, as the API counts.
pub fn total(indexes: &Indexes) -> i32 {
    i32::try_from(indexes.len()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["", "3", "0,1", "0-2", "0-2,4", "0,1,3,7-9"] {
            assert_eq!(format(&parse(text, 100)), text);
        }
        assert_eq!(format(&parse("0-5,x,7", 4)), "0-3");
    }
}
