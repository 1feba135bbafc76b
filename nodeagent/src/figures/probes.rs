//! What came of probes, by container.
//!
//! Invariant: a probe's figures go with its task, as upstream's do: there are as many series as there are probes now.
//! Follows `ProberResults` in `pkg/kubelet/prober/prober_manager.go`.

use std::{
    fmt::Write,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use skiff_watching::tally::{Counter, family};

/// Whose probe it is; `kind` as upstream names it.
pub struct Of {
    pub kind: &'static str,
    pub container: String,
    pub pod: String,
    pub namespace: String,
    pub uid: String,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    Successful,
    Failed,
    Unknown,
}

const RESULTS: [&str; 3] = ["successful", "failed", "unknown"];

/// The runs of one probe.
pub struct Runs {
    of: Of,
    counts: [Counter; RESULTS.len()],
}

impl Runs {
    pub fn count(&self, result: Result) {
        self.counts[result as usize].add(1);
    }
}

/// The probes that there are.
#[derive(Default)]
pub struct Probes(Mutex<Vec<Weak<Runs>>>);

impl Probes {
    /// A probe begins; it is told of as long as the answer is held.
    pub fn begins(&self, of: Of) -> Arc<Runs> {
        let counts = Default::default();
        let runs = Arc::new(Runs { of, counts });
        let mut all = self.0.lock();
        all.retain(|runs| runs.strong_count() > 0);
        all.push(Arc::downgrade(&runs));
        runs
    }

    /// All of it in Prometheus' text form.
    pub fn text(&self) -> String {
        let (mut text, name) = (String::new(), "prober_probe_total");
        family(&mut text, name, "counter", "Runs of probes, by result.");
        let mut all: Vec<Arc<Runs>> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        let key = |runs: &Runs| {
            let of = &runs.of;
            (of.namespace.clone(), of.pod.clone(), of.container.clone())
        };
        all.sort_by_cached_key(|runs| key(runs));
        for runs in all {
            let of = &runs.of;
            let seen = RESULTS.iter().zip(&runs.counts);
            for (result, count) in seen.filter(|(_, count)| count.get() > 0) {
                // a string takes whatever is written to it
                let _ = writeln!(
                    text,
                    "{name}{{container=\"{}\",namespace=\"{}\",pod=\"{}\",pod_uid=\"{}\",probe_type=\"{}\",result=\"{result}\"}} {}",
                    of.container,
                    of.namespace,
                    of.pod,
                    of.uid,
                    of.kind,
                    count.get()
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_told_of_while_it_runs() {
        let probes = Probes::default();
        let runs = probes.begins(Of {
            kind: "Liveness",
            container: "c".into(),
            pod: "p".into(),
            namespace: "n".into(),
            uid: "u".into(),
        });
        runs.count(Result::Successful);
        runs.count(Result::Successful);
        runs.count(Result::Failed);
        const OF: &str =
            "container=\"c\",namespace=\"n\",pod=\"p\",pod_uid=\"u\",probe_type=\"Liveness\"";
        let lines: Vec<String> = probes.text().lines().skip(1).map(String::from).collect();
        assert_eq!(
            lines,
            [
                "# TYPE prober_probe_total counter".to_owned(),
                format!("prober_probe_total{{{OF},result=\"successful\"}} 2"),
                format!("prober_probe_total{{{OF},result=\"failed\"}} 1"),
            ]
        );
        drop(runs);
        assert_eq!(probes.text().lines().count(), 2);
    }
}
