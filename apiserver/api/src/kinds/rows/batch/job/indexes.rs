//! Lists of indexes as Jobs write them: `0-2,5`. Follows `pkg/apis/batch/validation/validation.go` (validateIndexesFormat).
//!
//! Invariant: intervals rise and lie below the number of completions.

use crate::machinery::problem::{Problem, problem};
use crate::machinery::quote::GoQuoted;
/// One interval, both ends in it.
type Interval = (i64, i64);

fn interval(text: &str, completions: i64) -> Result<Interval, Problem> {
    let parts: Vec<&str> = text.split('-').collect();
    if parts.len() > 2 {
        return Err(problem!(
            "the fragment {text} violates the requirement that an index interval can have at most two parts separated by '-'",
            text = GoQuoted(&text)
        ));
    }
    let index = |text: &str| -> Result<i64, Problem> {
        let number: i64 = text.parse().map_err(|_| {
            problem!(
                "cannot convert string to integer for index: {text}",
                text = GoQuoted(&text)
            )
        })?;
        if number >= completions {
            Err(problem!("too large index: {text}", text = GoQuoted(&text)))
        } else {
            Ok(number)
        }
    };
    let first = index(parts[0])?;
    let Some(last) = parts.get(1) else {
        return Ok((first, first));
    };
    let last = index(last)?;
    if first >= last {
        return Err(problem!(
            "non-increasing order, previous: {first}, current: {last}"
        ));
    }
    Ok((first, last))
}

/// How many indexes a list names.
pub fn count(list: &str, completions: i64) -> Result<i64, Problem> {
    let (mut total, mut previous) = (0, None);
    for text in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = interval(text, completions)?;
        if let Some(previous) = previous.filter(|previous| *previous >= first) {
            return Err(problem!(
                "non-increasing order, previous: {previous}, current: {first}"
            ));
        }
        total += last - first + 1;
        previous = Some(last);
    }
    Ok(total)
}

/// The first index that two lists have both; intervals that cannot be read are left out.
pub fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let read = |list: &str| {
        list.split(',')
            .filter_map(|text| interval(text, completions).ok())
            .collect::<Vec<_>>()
    };
    let (completed, failed) = (read(completed), read(failed));
    let (mut c, mut f) = (0, 0);
    while let (Some(done), Some(lost)) = (completed.get(c), failed.get(f)) {
        if done.0 <= lost.1 && lost.0 <= done.1 {
            return Some(done.0.max(lost.0));
        }
        if done.0 <= lost.0 { c += 1 } else { f += 1 }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (list, wanted) in [
            ("", Ok(0)),
            ("0-2,5", Ok(4)),
            ("5,3", Err("non-increasing order, previous: 5, current: 3")),
            ("3-3", Err("non-increasing order, previous: 3, current: 3")),
            ("10", Err("too large index: \"10\"")),
            (
                "a",
                Err("cannot convert string to integer for index: \"a\""),
            ),
            (
                "1-2-3",
                Err(
                    "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
                ),
            ),
        ] {
            assert_eq!(count(list, 10), wanted.map_err(Problem::from), "{list}");
        }
        assert_eq!(overlap("0-2,7", "4,6-8", 10), Some(7));
        assert_eq!(overlap("0-2", "3", 10), None);
    }
}
