//! When a probe's result counts.
//!
//! Invariant: pure; a result changes a container's state only after as many equal ones in a row as the thresholds say.
//! Follows `doProbe` in `pkg/kubelet/prober/worker.go`.

/// What the probes of one container said last; `None` before the first result that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    pub startup: Option<bool>,
    pub liveness: Option<bool>,
    pub readiness: Option<bool>,
}

/// Which of the three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Startup,
    Liveness,
    Readiness,
}

impl Type {
    /// As events name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The result of this type among `results`.
    pub fn slot(self, results: &mut Results) -> &mut Option<bool> {
        match self {
            Self::Startup => &mut results.startup,
            Self::Liveness => &mut results.liveness,
            Self::Readiness => &mut results.readiness,
        }
    }
}

/// What to do after one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Below the threshold: the state stays as it is.
    Unchanged,
    /// The state is now this, and probing goes on.
    Set(bool),
    /// The state is now this, and the probe rests until the container is a new one.
    SetAndRest(bool),
}

/// Counts equal results in a row.
#[derive(Clone, Debug)]
pub struct Counter {
    type_: Type,
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    run: u32,
}

impl Counter {
    pub fn new(
        type_: Type,
        success_threshold: Option<i32>,
        failure_threshold: Option<i32>,
    ) -> Self {
        let threshold = |value: Option<i32>, default| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .filter(|value| *value > 0)
                .unwrap_or(default)
        };
        Self {
            type_,
            success_threshold: threshold(success_threshold, 1),
            failure_threshold: threshold(failure_threshold, 3),
            last: None,
            run: 0,
        }
    }

    /// Takes one result.
    pub fn take(&mut self, success: bool) -> Step {
        if self.last == Some(success) {
            self.run += 1;
        } else {
            (self.last, self.run) = (Some(success), 1);
        }
        let threshold = if success {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        match self.type_ {
            _ if self.run < threshold => Step::Unchanged,
            Type::Startup => Step::SetAndRest(success),
            Type::Liveness if !success => Step::SetAndRest(success),
            Type::Liveness | Type::Readiness => Step::Set(success),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        use Step::{Set, SetAndRest, Unchanged};
        let table: &[(Type, i32, i32, &str, &[Step])] = &[
            (
                Type::Readiness,
                1,
                3,
                "yNNNy",
                &[Set(true), Unchanged, Unchanged, Set(false), Set(true)],
            ),
            (
                Type::Readiness,
                2,
                1,
                "yyN",
                &[Unchanged, Set(true), Set(false)],
            ),
            (
                Type::Liveness,
                1,
                2,
                "yNyNN",
                &[
                    Set(true),
                    Unchanged,
                    Set(true),
                    Unchanged,
                    SetAndRest(false),
                ],
            ),
            (
                Type::Startup,
                1,
                3,
                "NNy",
                &[Unchanged, Unchanged, SetAndRest(true)],
            ),
            (Type::Startup, 1, 2, "NN", &[Unchanged, SetAndRest(false)]),
        ];
        for (type_, success, failure, results, expected) in table {
            let mut counter = Counter::new(*type_, Some(*success), Some(*failure));
            let steps: Vec<Step> = results.chars().map(|c| counter.take(c == 'y')).collect();
            assert_eq!(&steps, expected, "{type_:?} {results}");
        }
    }
}
