//! What failed while objects were found and while something was done with each of them, in the order in which kubectl tells of it.
//! Invariant: nothing that failed is left out.
//! Behaviour follows `ContinueOnErrorVisitor` and `EagerVisitorList` of `staging/src/k8s.io/cli-runtime/pkg/resource/visitor.go`.

use crate::error::{Error, Result};

/// Collected while a verb goes from object to object.
#[derive(Default)]
pub struct Failures {
    /// What failed while objects were found, with how many had been found before.
    finding: Vec<(usize, Error)>,
    /// The same of what was done, with the number of the object.
    doing: Vec<(usize, Error)>,
    /// Objects were found by files or selectors: what failed there is told at the end, as one.
    at_end: bool,
    object: usize,
}

impl Failures {
    pub(super) fn new(finding: Vec<(usize, Error)>, at_end: bool) -> Failures {
        Failures {
            finding,
            at_end,
            ..Failures::default()
        }
    }

    /// Begins with the next object.
    pub fn next_object(&mut self) {
        self.object += 1;
    }

    /// Something failed for this object.
    pub fn push(&mut self, error: Error) {
        self.doing.push((self.object, error));
    }

    /// The same, if it failed.
    pub fn extend(&mut self, error: Option<Error>) {
        self.doing.extend(error.map(|error| (self.object, error)));
    }

    pub fn is_empty(&self) -> bool {
        self.finding.is_empty() && self.doing.is_empty()
    }

    /// All that failed as one; nothing is success.
    ///
    /// # Errors
    /// What failed.
    pub fn told(self) -> Result<()> {
        let mut all: Vec<Error> = Vec::new();
        if self.at_end || self.doing.is_empty() {
            all.extend(self.doing.into_iter().map(|(_, error)| error));
            let finding: Vec<Error> = self.finding.into_iter().map(|(_, error)| error).collect();
            match all.is_empty() {
                true => all = finding,
                false if finding.is_empty() => {}
                false => all.push(Error::Many(finding)),
            }
        } else {
            let mut both: Vec<(usize, bool, Error)> = Vec::new();
            // what was not found stands before the object that was found after it
            both.extend(self.finding.into_iter().map(|(at, e)| (at + 1, false, e)));
            both.extend(self.doing.into_iter().map(|(at, e)| (at, true, e)));
            both.sort_by_key(|(at, doing, _)| (*at, *doing));
            all.extend(both.into_iter().map(|(_, _, error)| error));
        }
        Error::collect(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::told;

    fn all(finding: &[(usize, &str)], doing: &[(usize, &str)], at_end: bool) -> String {
        let finding = finding.iter().map(|(at, text)| (*at, Error::msg(*text)));
        let mut failures = Failures::new(finding.collect(), at_end);
        for object in 1..=3 {
            failures.next_object();
            for (_, text) in doing.iter().filter(|(at, _)| *at == object) {
                failures.push(Error::msg(*text));
            }
        }
        failures
            .told()
            .map_or_else(|why| told(&why).0, |()| String::new())
    }

    #[test]
    fn failures_stand_in_order() {
        for (finding, doing, at_end, wanted) in [
            (&[][..], &[][..], true, ""),
            (&[], &[(2, "a")], true, "error: a"),
            (&[(0, "f")], &[], true, "error: f"),
            (&[(0, "f"), (1, "g")], &[], true, "f\ng\n"),
            (&[(0, "f")], &[(1, "a"), (2, "b")], true, "a\nb\nf\n"),
            (&[(0, "f"), (1, "g")], &[(1, "a")], true, "a\n[f, g]\n"),
            (&[(0, "f")], &[(1, "a")], false, "f\na\n"),
            (
                &[(1, "f"), (3, "g")],
                &[(1, "a"), (2, "b")],
                false,
                "a\nf\nb\ng\n",
            ),
        ] {
            assert_eq!(all(finding, doing, at_end), wanted);
        }
    }
}
