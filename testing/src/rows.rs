//! Tables of tests as text: a case a line.

/// The lines of a table, each in as many columns as asked for; ` ; ` stands between columns, and nothing is a column, too. Empty lines are none.
///
/// # Panics
/// When a line has another number of columns.
pub fn rows<const N: usize>(text: &'static str) -> Vec<[&'static str; N]> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split(';').map(str::trim).collect();
            columns
                .try_into()
                .unwrap_or_else(|_| panic!("{line:?} is not in {N} columns"))
        })
        .collect()
}
