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

#[derive(Clone, Copy)]
pub enum Kind {
    Counter,
    Gauge,
}

struct Family {
    help: &'static str,
    kind: Kind,
    /// Labels, and the rest of the line.
    lines: BTreeSet<(String, String)>,
}

/// Families of series.
#[derive(Default)]
pub struct Families(BTreeMap<&'static str, Family>);

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
    pub fn add(
        &mut self,
        (name, kind, help): (&'static str, Kind, &'static str),
        labels: &str,
        value: f64,
        at: Option<Timestamp>,
    ) {
        let family = self.0.entry(name).or_insert_with(|| Family {
            help,
            kind,
            lines: BTreeSet::new(),
        });
        let at = at
            .map(|at| format!(" {}", at.as_millisecond()))
            .unwrap_or_default();
        let rest = format!("{}{at}", float_text(value));
        family.lines.insert((labels.to_owned(), rest));
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, family) in &self.0 {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            // writing into a string cannot fail
            let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
            for (labels, rest) in &family.lines {
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
        families.add(("b", Kind::Gauge, "Second."), "", 4_194_304.0, Some(at));
        families.add(
            ("a", Kind::Counter, "First."),
            &labels(&[("z", "1"), ("c", "a\"b")]),
            0.00001,
            None,
        );
        families.add(
            ("a", Kind::Counter, "First."),
            &labels(&[("z", "0"), ("c", "a")]),
            1.5,
            None,
        );
        let wanted = "# HELP a First.\n# TYPE a counter\na{c=\"a\",z=\"0\"} 1.5\na{c=\"a\\\"b\",z=\"1\"} 1e-05\n\
            # HELP b Second.\n# TYPE b gauge\nb 4.194304e+06 1500\n";
        assert_eq!(families.text(), wanted);
    }
}
