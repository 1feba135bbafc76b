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

const REJECTED: Metric = Metric(
    "rejected_requests_total",
    "Number of requests rejected by API Priority and Fairness subsystem",
);
const DISPATCHED: Metric = Metric(
    "dispatched_requests_total",
    "Number of requests executed by API Priority and Fairness subsystem",
);
const INQUEUE: Metric = Metric(
    "current_inqueue_requests",
    "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
);
const INQUEUE_SEATS: Metric = Metric(
    "current_inqueue_seats",
    "Number of seats currently pending in queues of the API Priority and Fairness subsystem",
);
const EXECUTING: Metric = Metric(
    "current_executing_requests",
    "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
);
const EXECUTING_SEATS: Metric = Metric(
    "current_executing_seats",
    "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem",
);
const WAITED: Metric = Metric(
    "request_wait_duration_seconds",
    "Length of time a request spent waiting in its queue",
);
const ANSWERED: Metric = Metric(
    "request_execution_seconds",
    "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem",
);
const LENGTH: Metric = Metric(
    "request_queue_length_after_enqueue",
    "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued",
);
const ESTIMATED: Metric = Metric(
    "work_estimated_seats",
    "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness",
);
const WATCH_COUNT: Metric = Metric(
    "watch_count_samples",
    "count of watchers for mutating requests in API Priority and Fairness",
);
const NOT_ACCOMMODATED: Metric = Metric(
    "request_dispatch_no_accommodation_total",
    "Number of times a dispatch attempt resulted in a non accommodation due to lack of available seats",
);
const FAIR: Metric = Metric(
    "seat_fair_frac",
    "Fair fraction of server's concurrency to allocate to each priority level that can use it",
);

/// The gauges of a level.
type Gauge = (Metric, fn(&Configured, &State) -> f64);
const GAUGES: [Gauge; 10] = [
    (
        Metric(
            "nominal_limit_seats",
            "Nominal number of execution seats configured for each priority level",
        ),
        |of, _| of.bounds.nominal as f64,
    ),
    (
        Metric(
            "lower_limit_seats",
            "Configured lower bound on number of execution seats available to each priority level",
        ),
        |of, _| of.bounds.least as f64,
    ),
    (
        Metric(
            "upper_limit_seats",
            "Configured upper bound on number of execution seats available to each priority level",
        ),
        |of, _| of.bounds.most as f64,
    ),
    (
        Metric(
            "current_limit_seats",
            "current derived number of execution seats available to each priority level",
        ),
        |of, _| of.share.seats as f64,
    ),
    (
        Metric("target_seats", "Seat allocation targets"),
        |of, _| of.share.target,
    ),
    (
        Metric(
            "demand_seats_high_watermark",
            "High watermark, over last adjustment period, of demand_seats",
        ),
        |_, state| state.queues.seen().most as f64,
    ),
    (
        Metric(
            "demand_seats_average",
            "Time-weighted average, over last adjustment period, of demand_seats",
        ),
        |_, state| state.queues.seen().average,
    ),
    (
        Metric(
            "demand_seats_stdev",
            "Time-weighted standard deviation, over last adjustment period, of demand_seats",
        ),
        |_, state| state.queues.seen().deviation,
    ),
    (
        Metric("demand_seats_smoothed", "Smoothed seat demands"),
        |_, state| state.queues.seen().smoothed,
    ),
    (Metric("current_r", "R(time of last change)"), |_, state| {
        state.queues.r().seconds()
    }),
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
