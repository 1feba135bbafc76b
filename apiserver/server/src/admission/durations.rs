//! How long admission took, by what it was asked for and whether it refused.
//!
//! Invariant: to count waits for nobody; what never happened takes no memory but a pointer.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/metrics/metrics.go`.

use std::{sync::OnceLock, time::Duration};

use super::Operation;
use skiff_watching::tally::Histogram;

/// Upper ends, in seconds.
const BOUNDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

const OPERATIONS: [Operation; 4] = [
    Operation::Connect,
    Operation::Create,
    Operation::Delete,
    Operation::Update,
];

/// The two passes through the plugins.
#[derive(Clone, Copy)]
pub enum Pass {
    Admit,
    Validate,
}

/// Of one plugin, or of a whole pass.
#[derive(Default)]
pub struct Durations([OnceLock<Box<Histogram>>; OPERATIONS.len() * 4]);

impl Durations {
    pub fn observe(&self, pass: Pass, operation: Operation, refused: bool, took: Duration) {
        let place = OPERATIONS.iter().position(|known| *known == operation);
        let at = place.unwrap_or(0) * 4 + usize::from(refused) * 2 + pass as usize;
        self.0[at]
            .get_or_init(|| Box::new(Histogram::new(BOUNDS)))
            .observe(took.as_secs_f64());
    }

    /// The lines of a metric; `first`: labels that come before the others, each with a comma after it.
    pub fn text(&self, name: &str, first: &str, text: &mut String) {
        for (at, times) in self.0.iter().enumerate() {
            let Some(times) = times.get() else { continue };
            let labels = format!(
                "{first}operation=\"{}\",rejected=\"{}\",type=\"{}\"",
                OPERATIONS[at / 4].name(),
                at / 2 % 2 == 1,
                ["admit", "validate"][at % 2],
            );
            times.text(name, &labels, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_told_apart() {
        let durations = Durations::default();
        let took = Duration::from_millis(50);
        for (pass, operation, refused) in [
            (Pass::Admit, Operation::Create, false),
            (Pass::Validate, Operation::Update, true),
            (Pass::Validate, Operation::Update, true),
        ] {
            durations.observe(pass, operation, refused, took);
        }
        let mut text = String::new();
        durations.text("a", "name=\"N\",", &mut text);
        let counts = text.lines().filter(|line| line.starts_with("a_count"));
        let wanted = [
            "a_count{name=\"N\",operation=\"CREATE\",rejected=\"false\",type=\"admit\"} 1",
            "a_count{name=\"N\",operation=\"UPDATE\",rejected=\"true\",type=\"validate\"} 2",
        ];
        assert_eq!(counts.collect::<Vec<_>>(), wanted);
        assert!(text.contains("type=\"admit\",le=\"0.1\"} 1") && text.contains("le=\"0.025\"} 0"));
    }
}
