//! Tables of cases as text: a line a case, its columns between bars.
//!
//! Invariant: a line with another number of columns than wanted is a fault of the test, and told with its text.

/// The rows of a table; empty lines do not count.
pub fn rows<const N: usize>(text: &str) -> Vec<[&str; N]> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            columns.try_into().unwrap_or_else(|columns: Vec<&str>| {
                panic!("{} columns where {N} are wanted: {line}", columns.len())
            })
        })
        .collect()
}
