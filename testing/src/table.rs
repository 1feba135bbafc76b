//! Tables of cases as text: a line a case, its columns between bars, or what stands in no column.
//!
//! Invariant: a line with another number of columns than wanted is a fault of the test, and told with its text.

/// The rows of a table; empty lines do not count.
pub fn rows<const N: usize>(text: &str) -> Vec<[&str; N]> {
    rows_by('|', text)
}

/// The same of a table in whose columns bars stand.
pub fn rows_by<const N: usize>(between: char, text: &str) -> Vec<[&str; N]> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split(between).map(str::trim).collect();
            columns.try_into().unwrap_or_else(|columns: Vec<&str>| {
                panic!("{} columns where {N} are wanted: {line}", columns.len())
            })
        })
        .collect()
}
