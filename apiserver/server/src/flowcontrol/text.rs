//! `apiserver_flowcontrol_*` in Prometheus' text form.
//!
//! Invariant: labels are the names of schemas and levels, which administrators make, never text of a request.
//! Follows names, labels and helps of `pkg/util/flowcontrol/metrics/metrics.go` of `k8s.io/apiserver`.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    FlowControl,
    configuration::Configured,
    figures::{Figures, Histogram, LENGTHS, SEATS, SECONDS, WATCHERS},
    level::State,
    queues::Why,
};

/// A metric: its name after the common prefix, and what it is.
struct Metric(&'static str, &'static str);

const REJECTED: Metric = Metric("rejected_requests_total", "Requests that found no place.");
const DISPATCHED: Metric = Metric(
    "dispatched_requests_total",
    "Requests that were given seats.",
);
const INQUEUE: Metric = Metric("current_inqueue_requests", "Requests that wait.");
const INQUEUE_SEATS: Metric = Metric("current_inqueue_seats", "Seats for which requests wait.");
const EXECUTING: Metric = Metric("current_executing_requests", "Requests that have seats.");
const EXECUTING_SEATS: Metric = Metric("current_executing_seats", "Seats that are taken.");
const WAITED: Metric = Metric("request_wait_duration_seconds", "How long requests waited.");
const ANSWERED: Metric = Metric(
    "request_execution_seconds",
    "How long requests had their seats.",
);
const LENGTH: Metric = Metric(
    "request_queue_length_after_enqueue",
    "How many waited in a queue once a request had come to it.",
);
const ESTIMATED: Metric = Metric(
    "work_estimated_seats",
    "How many seats requests were estimated at.",
);
const WATCH_COUNT: Metric = Metric(
    "watch_count_samples",
    "How many watched what a request was to write.",
);
const NOT_ACCOMMODATED: Metric = Metric(
    "request_dispatch_no_accommodation_total",
    "How often the request whose turn it was had to wait for more seats.",
);
const FAIR: Metric = Metric(
    "seat_fair_frac",
    "The part of what levels ask for that each of them is given.",
);

/// The gauges of a level.
type Gauge = (Metric, fn(&Configured, &State) -> f64);
const GAUGES: [Gauge; 10] = [
    (
        Metric("nominal_limit_seats", "Seats by the shares of a level."),
        |of, _| of.bounds.nominal as f64,
    ),
    (
        Metric("lower_limit_seats", "Seats that a level does not lend."),
        |of, _| of.bounds.least as f64,
    ),
    (
        Metric(
            "upper_limit_seats",
            "Seats that a level has at most, with what it borrows.",
        ),
        |of, _| of.bounds.most as f64,
    ),
    (
        Metric("current_limit_seats", "Seats that a level has now."),
        |of, _| of.share.seats as f64,
    ),
    (
        Metric(
            "target_seats",
            "Seats that a level should have by what it needs.",
        ),
        |of, _| of.share.target,
    ),
    (
        Metric(
            "demand_seats_high_watermark",
            "The most seats that were needed in the last period.",
        ),
        |_, state| state.queues.seen().most as f64,
    ),
    (
        Metric(
            "demand_seats_average",
            "Seats that were needed in the last period, on average.",
        ),
        |_, state| state.queues.seen().average,
    ),
    (
        Metric(
            "demand_seats_stdev",
            "How far what was needed swung in the last period.",
        ),
        |_, state| state.queues.seen().deviation,
    ),
    (
        Metric("demand_seats_smoothed", "Seats that are needed, smoothed."),
        |_, state| state.queues.seen().smoothed,
    ),
    (
        Metric(
            "current_r",
            "How far a queue that always has requests has come.",
        ),
        |_, state| state.queues.r().seconds(),
    ),
];

/// Metrics and their lines, by name.
#[derive(Default)]
struct Text(BTreeMap<&'static str, (&'static str, &'static str, String)>);

impl Text {
    fn lines(&mut self, metric: &Metric, kind: &'static str) -> &mut String {
        let new = || (kind, metric.1, String::new());
        &mut self.0.entry(metric.0).or_insert_with(new).2
    }

    fn line(&mut self, metric: &Metric, kind: &'static str, labels: &str, value: f64) {
        let name = metric.0;
        let labels = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        // writing to a string does not fail
        let _ = writeln!(
            self.lines(metric, kind),
            "apiserver_flowcontrol_{name}{labels} {value}"
        );
    }

    fn histogram<const N: usize>(
        &mut self,
        metric: &Metric,
        labels: &str,
        bounds: &[f64; N],
        seen: &Histogram<N>,
    ) {
        if seen.count == 0 {
            return;
        }
        let name = metric.0;
        let lines = self.lines(metric, "histogram");
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(seen.counts) {
            below += count;
            *lines += &format!(
                "apiserver_flowcontrol_{name}_bucket{{{labels},le=\"{bound}\"}} {below}\n"
            );
        }
        let (sum, count) = (seen.sum, seen.count);
        *lines += &format!(
            "apiserver_flowcontrol_{name}_bucket{{{labels},le=\"+Inf\"}} {count}\napiserver_flowcontrol_{name}_sum{{{labels}}} {sum}\napiserver_flowcontrol_{name}_count{{{labels}}} {count}\n"
        );
    }

    /// What one schema's requests did on one level, given how many of them wait and are answered, and their seats.
    fn figures(&mut self, level: &str, figures: &Figures, now: [(usize, usize); 2]) {
        let labels = format!(
            "flow_schema=\"{}\",priority_level=\"{level}\"",
            figures.schema
        );
        let [waiting, executing] = now;
        for (metric, count) in [
            (INQUEUE, waiting.0),
            (INQUEUE_SEATS, waiting.1),
            (EXECUTING, executing.0),
            (EXECUTING_SEATS, executing.1),
        ] {
            self.line(&metric, "gauge", &labels, count as f64);
        }
        for why in Why::ALL {
            let count = figures.refused[why as usize];
            if count > 0 {
                let labels = format!("{labels},reason=\"{}\"", why.word());
                self.line(&REJECTED, "counter", &labels, count as f64);
            }
        }
        if figures.dispatched > 0 {
            self.line(&DISPATCHED, "counter", &labels, figures.dispatched as f64);
        }
        self.histogram(&LENGTH, &labels, &LENGTHS, &figures.lengths);
        self.histogram(&ESTIMATED, &labels, &SEATS, &figures.seats);
        self.histogram(&WATCH_COUNT, &labels, &WATCHERS, &figures.watchers);
        for (executed, waited) in [(true, &figures.waited), (false, &figures.waited_in_vain)] {
            let labels = format!(
                "execute=\"{executed}\",flow_schema=\"{}\",priority_level=\"{level}\"",
                figures.schema
            );
            self.histogram(&WAITED, &labels, &SECONDS, waited);
        }
        for (kind, took) in [("regular", &figures.answered), ("watch", &figures.watched)] {
            let labels = format!("{labels},type=\"{kind}\"");
            self.histogram(&ANSWERED, &labels, &SECONDS, took);
        }
    }

    fn level(&mut self, of: &Configured) {
        let name = &of.level.name;
        let state = of.level.state();
        let labels = format!("priority_level=\"{name}\"");
        for (metric, gauge) in GAUGES {
            self.line(&metric, "gauge", &labels, gauge(of, &state));
        }
        let waits = state.queues.not_accommodated as f64;
        self.line(&NOT_ACCOMMODATED, "counter", &labels, waits);
        let mut now = vec![[(0, 0); 2]; state.figures.len()];
        let mut note = |place: usize, at: usize, seats: usize| {
            if let Some(now) = now.get_mut(place) {
                now[at] = (now[at].0 + 1, now[at].1 + seats);
            }
        };
        for (request, work) in state.queues.all_waiting() {
            note(request.place, 0, work.width());
        }
        for (request, work) in state.queues.all_executing() {
            if let Some(request) = request {
                note(request.place, 1, work.width());
            }
        }
        for (figures, now) in state.figures.iter().zip(now) {
            self.figures(name, figures, now);
        }
    }
}

impl FlowControl {
    /// All metrics of flow control.
    pub fn metrics(&self) -> String {
        let acts = self.acts.load();
        let mut text = Text::default();
        for of in acts.levels.values() {
            text.level(of);
        }
        text.line(&FAIR, "gauge", "", acts.fair);
        let mut all = String::new();
        for (name, (kind, help, lines)) in text.0 {
            all += &format!(
                "# HELP apiserver_flowcontrol_{name} {help}\n# TYPE apiserver_flowcontrol_{name} {kind}\n{lines}"
            );
        }
        all
    }
}
