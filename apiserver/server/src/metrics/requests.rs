//! Requests by what they were about: how many were answered how, how long that took, and how much was sent both ways.
//!
//! Follows `MonitorRequest` of `staging/src/k8s.io/apiserver/pkg/endpoints/metrics/metrics.go`, and `.../endpoints/handlers/metrics/metrics.go`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use parking_lot::Mutex;
use skiff_api::kinds::Registry;
use skiff_watching::tally::{Histogram, SECONDS, family};

use super::labels::Labels;

/// Upper ends of the times that a promise would be made of, in seconds.
const SLI: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
];
/// Those of the bytes of answers.
const ANSWERS: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Those of the bytes of requests: 50,000, and so many more each time that it is 3 MB in the end.
const BODIES: &[f64] = &{
    let mut bounds = [0.0; 31];
    let mut at = 0;
    while at < bounds.len() {
        bounds[at] = 50_000.0 + 100_000.0 * at as f64;
        at += 1;
    }
    bounds
};

/// How a request was answered.
pub struct Answered {
    pub code: u16,
    pub took: Duration,
    /// What of that others took.
    pub waited: Duration,
    /// Bytes of the answer, when it is known how many there will be.
    pub sent: Option<u64>,
    /// Bytes of the request's body, when it was read.
    pub read: Option<usize>,
}

/// The answers to requests of one kind.
struct Of {
    codes: BTreeMap<u16, u64>,
    /// How long it took until their answers began.
    times: Histogram,
    /// The same without what others took: webhooks, and waiting for a place.
    own: Histogram,
    /// How long the answers are, of what was read.
    sizes: Histogram,
    /// How long the bodies are, of what was written.
    bodies: Histogram,
}

impl Default for Of {
    fn default() -> Self {
        Of {
            codes: BTreeMap::new(),
            times: Histogram::new(SECONDS),
            own: Histogram::new(SLI),
            sizes: Histogram::new(ANSWERS),
            bodies: Histogram::new(BODIES),
        }
    }
}

/// All of them.
#[derive(Default)]
pub struct Requests(Mutex<HashMap<Labels, Of>>);

impl Requests {
    pub fn count(&self, labels: Labels, answered: &Answered) {
        let mut requests = self.0.lock();
        let of = requests.entry(labels).or_default();
        *of.codes.entry(answered.code).or_default() += 1;
        // how long a watch takes is its client's to say
        if labels.verb != "WATCH" {
            of.times.observe(answered.took.as_secs_f64());
            let own = answered.took.saturating_sub(answered.waited);
            of.own.observe(own.as_secs_f64());
        }
        if let Some(bytes) = answered.sent.filter(|_| labels.reads()) {
            of.sizes.observe(bytes as f64);
        }
        if let Some(bytes) = answered.read.filter(|_| labels.writes().is_some()) {
            of.bodies.observe(bytes as f64);
        }
    }

    /// How long an answer was that had been counted when it began.
    pub fn sent(&self, labels: Labels, bytes: u64) {
        if let Some(of) = self.0.lock().get(&labels) {
            of.sizes.observe(bytes as f64);
        }
    }

    pub fn text(&self, text: &mut String) {
        let requests = self.0.lock();
        let sorted: BTreeMap<_, _> = requests.iter().collect();
        let name = "apiserver_request_total";
        family(text, name, "counter", "Requests that were answered.");
        for (labels, of) in &sorted {
            for (code, count) in &of.codes {
                let labels = labels.text(&format!("code=\"{code}\","), true);
                *text += &format!("{name}{{{labels}}} {count}\n");
            }
        }
        of_times(text, &sorted);
        of_bodies(text, &sorted);
        of_deprecated(text, sorted.keys().copied());
    }
}

/// How long requests took, and how long their answers are, whichever program asked.
fn of_times(text: &mut String, requests: &BTreeMap<&Labels, &Of>) {
    type Part = fn(&Of) -> &Histogram;
    let rows: [(&str, &str, &[f64], bool, Part); 3] = [
        (
            "apiserver_request_duration_seconds",
            "Seconds until the answer to a request began.",
            SECONDS,
            true,
            |of| &of.times,
        ),
        (
            "apiserver_request_sli_duration_seconds",
            "The same without what webhooks took and what was waited for a place.",
            SLI,
            false,
            |of| &of.own,
        ),
        (
            "apiserver_response_sizes",
            "Bytes of the answers to what was read.",
            ANSWERS,
            false,
            |of| &of.sizes,
        ),
    ];
    for (name, help, bounds, tried, part) in rows {
        family(text, name, "histogram", help);
        let mut together: BTreeMap<String, Histogram> = BTreeMap::new();
        for (labels, of) in requests {
            // what is only tried is no promise kept
            if part(of).count() == 0 || !tried && labels.is_tried() {
                continue;
            }
            let labels = labels.of_anybody().text("", tried);
            let together = together.entry(labels.replace("system_client=\"\",", ""));
            together
                .or_insert_with(|| Histogram::new(bounds))
                .add(part(of));
        }
        for (labels, values) in together {
            values.text(name, &labels, text);
        }
    }
}

/// How long the bodies of writes are, whatever they were about besides.
fn of_bodies(text: &mut String, requests: &BTreeMap<&Labels, &Of>) {
    let name = "apiserver_request_body_size_bytes";
    family(text, name, "histogram", "Bytes of the bodies of writes.");
    let mut together: BTreeMap<[&str; 3], Histogram> = BTreeMap::new();
    for (labels, of) in requests {
        let Some(verb) = labels.writes().filter(|_| of.bodies.count() > 0) else {
            continue;
        };
        let sizes = together.entry([labels.group, labels.resource, verb]);
        sizes
            .or_insert_with(|| Histogram::new(BODIES))
            .add(&of.bodies);
    }
    for ([group, resource, verb], sizes) in together {
        let labels = format!("group=\"{group}\",resource=\"{resource}\",verb=\"{verb}\"");
        sizes.text(name, &labels, text);
    }
}

/// Which deprecated versions were asked for.
fn of_deprecated<'l>(text: &mut String, asked: impl Iterator<Item = &'l Labels>) {
    let name = "apiserver_requested_deprecated_apis";
    family(
        text,
        name,
        "gauge",
        "Deprecated versions that somebody asked for.",
    );
    let asked: BTreeSet<_> = asked
        .map(|of| [of.group, of.version, of.resource, of.subresource])
        .collect();
    for [group, version, resource, subresource] in asked {
        let row = Registry::builtin().find(group, version, resource);
        if row.is_some_and(|row| row.flags.deprecation.is_some()) {
            *text += &format!(
                "{name}{{group=\"{group}\",removed_release=\"\",resource=\"{resource}\",subresource=\"{subresource}\",version=\"{version}\"}} 1\n"
            );
        }
    }
}
