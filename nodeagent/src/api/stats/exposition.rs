//! Series in the text format of Prometheus.
//!
//! Invariant: families stand by name, their lines by labels, and labels by name, as Go's client writes them.
//! Follows `expfmt` of github.com/prometheus/common.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use jiff::Timestamp;
use skiff_api::machinery::gonum::float_text;

use super::series::Series;

/// Labels of each line, and the rest of it.
type Lines = BTreeSet<(String, String)>;

/// Families of series, by name.
#[derive(Default)]
pub struct Families(BTreeMap<&'static str, (Series, Lines)>);

/// Labels in braces, by name; none are no braces.
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    let each = pairs
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    let all: Vec<String> = each.collect();
    match all.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", all.join(",")),
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

impl Families {
    /// Adds a line.
    pub fn add(&mut self, series: Series, labels: &str, value: f64, at: Option<Timestamp>) {
        let at = at
            .map(|at| format!(" {}", at.as_millisecond()))
            .unwrap_or_default();
        let rest = format!("{}{at}", float_text(value));
        let family = self.0.entry(series.name());
        let (_, lines) = family.or_insert_with(|| (series, Lines::new()));
        lines.insert((labels.to_owned(), rest));
    }

    /// Adds a line for each of some series of the same labels that have a value.
    pub fn add_all<const N: usize>(
        &mut self,
        labels: &str,
        values: [(Series, Option<f64>); N],
        at: Option<Timestamp>,
    ) {
        for (series, value) in values {
            if let Some(value) = value {
                self.add(series, labels, value, at);
            }
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, (series, lines)) in &self.0 {
            let (kind, help) = (series.kind().text(), series.help());
            // writing into a string cannot fail
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, rest) in lines {
                let _ = writeln!(out, "{name}{labels} {rest}");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_it() {
        let mut families = Families::default();
        let at = Timestamp::from_millisecond(1500).unwrap();
        let (cpu, memory) = (
            Series::machine_cpu_cores,
            Series::container_cpu_usage_seconds_total,
        );
        families.add(cpu, "", 4_194_304.0, Some(at));
        let odd = labels(&[("z", "1"), ("c", "a\"b")]);
        families.add(memory, &odd, 0.00001, None);
        families.add(memory, &labels(&[("z", "0"), ("c", "a")]), 1.5, None);
        let wanted = "# HELP container_cpu_usage_seconds_total Seconds of CPU time used.\n# TYPE container_cpu_usage_seconds_total counter\n\
            container_cpu_usage_seconds_total{c=\"a\",z=\"0\"} 1.5\ncontainer_cpu_usage_seconds_total{c=\"a\\\"b\",z=\"1\"} 1e-05\n\
            # HELP machine_cpu_cores Processors of the machine.\n# TYPE machine_cpu_cores gauge\nmachine_cpu_cores 4.194304e+06 1500\n";
        assert_eq!(families.text(), wanted);
    }
}
