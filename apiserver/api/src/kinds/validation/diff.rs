//! The difference of two texts, line by line, as upstream shows it in messages: a unified diff with three lines of context.
//!
//! Invariant: the same hunks as Go's `github.com/pmezard/go-difflib` (which is Python's difflib), its heuristic about popular lines
//! included. Follows `staging/src/k8s.io/apimachinery/pkg/util/diff/diff.go`.

use std::collections::HashMap;

const CONTEXT: usize = 3;

/// A stretch of both texts: `(a from, a to, b from, b to)`, equal or not.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    equal: bool,
    a: (usize, usize),
    b: (usize, usize),
}

/// The unified diff without file names; empty when the texts are equal.
pub fn unified(a: &str, b: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split('\n').collect(), b.split('\n').collect());
    let mut out = String::new();
    for group in grouped(stretches(&a, &b)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let (was, is) = (range(first.a.0, last.a.1), range(first.b.0, last.b.1));
        out.push_str(&format!("@@ -{was} +{is} @@\n"));
        for stretch in &group {
            if stretch.equal {
                lines(&mut out, ' ', &a[stretch.a.0..stretch.a.1]);
            } else {
                lines(&mut out, '-', &a[stretch.a.0..stretch.a.1]);
                lines(&mut out, '+', &b[stretch.b.0..stretch.b.1]);
            }
        }
    }
    out
}

fn lines(out: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        out.push(mark);
        out.push_str(line);
        out.push('\n');
    }
}

fn range(from: usize, to: usize) -> String {
    match to - from {
        1 => format!("{}", from + 1),
        0 => format!("{from},0"),
        length => format!("{},{length}", from + 1),
    }
}

struct Matcher<'a> {
    a: &'a [&'a str],
    b: &'a [&'a str],
    /// Where each line of `b` stands, but for lines so frequent that they say nothing.
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(a: &'a [&'a str], b: &'a [&'a str]) -> Matcher<'a> {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, line) in b.iter().enumerate() {
            places.entry(line).or_default().push(index);
        }
        const LONG: usize = 200;
        if b.len() >= LONG {
            let most = b.len() / 100 + 1;
            places.retain(|_, found| found.len() <= most);
        }
        Matcher { a, b, places }
    }

    /// The longest block that is alike: `(i, j, size)`.
    fn longest(
        &self,
        (mut lo_a, hi_a): (usize, usize),
        (lo_b, hi_b): (usize, usize),
    ) -> (usize, usize, usize) {
        let first_a = lo_a;
        let (mut i, mut j, mut size) = (lo_a, lo_b, 0);
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        while lo_a < hi_a {
            let mut next = HashMap::new();
            for &at in self.places.get(self.a[lo_a]).map_or(&[][..], Vec::as_slice) {
                if at < lo_b {
                    continue;
                }
                if at >= hi_b {
                    break;
                }
                let length = at
                    .checked_sub(1)
                    .and_then(|before| lengths.get(&before))
                    .copied()
                    .unwrap_or(0)
                    + 1;
                next.insert(at, length);
                if length > size {
                    (i, j, size) = (lo_a + 1 - length, at + 1 - length, length);
                }
            }
            lengths = next;
            lo_a += 1;
        }
        // popular lines may lengthen a block, though they do not make one
        while i > first_a && j > lo_b && self.a[i - 1] == self.b[j - 1] {
            (i, j, size) = (i - 1, j - 1, size + 1);
        }
        while i + size < hi_a && j + size < hi_b && self.a[i + size] == self.b[j + size] {
            size += 1;
        }
        (i, j, size)
    }

    fn blocks(&self) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        let mut waiting = vec![((0, self.a.len()), (0, self.b.len()))];
        while let Some((a, b)) = waiting.pop() {
            let (i, j, size) = self.longest(a, b);
            if size > 0 {
                found.push((i, j, size));
                if a.0 < i && b.0 < j {
                    waiting.push(((a.0, i), (b.0, j)));
                }
                if i + size < a.1 && j + size < b.1 {
                    waiting.push(((i + size, a.1), (j + size, b.1)));
                }
            }
        }
        found.sort_unstable();
        // neighbours are one block
        let mut joined: Vec<(usize, usize, usize)> = Vec::new();
        for (i, j, size) in found {
            match joined.last_mut() {
                Some(last) if last.0 + last.2 == i && last.1 + last.2 == j => last.2 += size,
                _ => joined.push((i, j, size)),
            }
        }
        joined.push((self.a.len(), self.b.len(), 0));
        joined
    }
}

fn stretches(a: &[&str], b: &[&str]) -> Vec<Stretch> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    for (at_a, at_b, size) in Matcher::new(a, b).blocks() {
        if i < at_a || j < at_b {
            out.push(Stretch {
                equal: false,
                a: (i, at_a),
                b: (j, at_b),
            });
        }
        (i, j) = (at_a + size, at_b + size);
        if size > 0 {
            out.push(Stretch {
                equal: true,
                a: (at_a, i),
                b: (at_b, j),
            });
        }
    }
    out
}

/// Cuts long stretches of equal lines to the context around changes.
fn grouped(mut all: Vec<Stretch>) -> Vec<Vec<Stretch>> {
    if let Some(first) = all.first_mut().filter(|stretch| stretch.equal) {
        let skip = (first.a.1 - first.a.0).saturating_sub(CONTEXT);
        (first.a.0, first.b.0) = (first.a.0 + skip, first.b.0 + skip);
    }
    if let Some(last) = all.last_mut().filter(|stretch| stretch.equal) {
        let keep = (last.a.1 - last.a.0).min(CONTEXT);
        (last.a.1, last.b.1) = (last.a.0 + keep, last.b.0 + keep);
    }
    let mut groups = Vec::new();
    let mut group: Vec<Stretch> = Vec::new();
    for mut stretch in all {
        let length = stretch.a.1 - stretch.a.0;
        if stretch.equal && length > CONTEXT * 2 {
            group.push(Stretch {
                a: (stretch.a.0, stretch.a.0 + CONTEXT),
                b: (stretch.b.0, stretch.b.0 + CONTEXT),
                ..stretch
            });
            groups.push(std::mem::take(&mut group));
            let skip = length - CONTEXT;
            (stretch.a.0, stretch.b.0) = (stretch.a.0 + skip, stretch.b.0 + skip);
        }
        group.push(stretch);
    }
    let changed = |group: &[Stretch]| group.iter().any(|stretch| !stretch.equal);
    if group.len() > 1 || changed(&group) {
        groups.push(group);
    }
    groups.retain(|group| changed(group));
    groups
}

/// Lines that stand in `b` only once, for tests of the heuristic.
#[cfg(test)]
fn unique<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines
        .iter()
        .filter(|line| lines.iter().filter(|other| other == line).count() == 1)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks() {
        for (a, b, wanted) in [
            ("a\nb\nc", "a\nb\nc", ""),
            ("a\nb\nc", "a\nx\nc", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"),
            (
                "1\n2\n3\n4\n5\n6\n7\n8\n9",
                "1\n2\n3\n4\nx\n5\n6\n7\n8\n9",
                "@@ -2,6 +2,7 @@\n 2\n 3\n 4\n+x\n 5\n 6\n 7\n",
            ),
            ("a", "b", "@@ -1 +1 @@\n-a\n+b\n"),
        ] {
            assert_eq!(unified(a, b), wanted, "{a} {b}");
        }
    }

    #[test]
    fn far_changes_are_hunks_of_their_own() {
        let a: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let mut b = a.clone();
        b[5] = "x".into();
        b[30] = "y".into();
        assert_eq!(
            unified(&a.join("\n"), &b.join("\n"))
                .matches("@@ -")
                .count(),
            2
        );
    }

    #[test]
    fn popular_lines_do_not_start_a_block() {
        let b: Vec<String> = (0..250)
            .map(|n| {
                if n % 2 == 0 {
                    "same".into()
                } else {
                    n.to_string()
                }
            })
            .collect();
        let b: Vec<&str> = b.iter().map(String::as_str).collect();
        let matcher = Matcher::new(&b, &b);
        assert_eq!(matcher.places.len(), unique(&b).len());
        assert_eq!(matcher.blocks(), [(0, 0, 250), (250, 250, 0)]);
    }
}
