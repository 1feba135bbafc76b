//! `/debug/api_priority_and_fairness/…`: levels, queues and requests as they are, in columns.
//!
//! Follows `pkg/util/flowcontrol/apf_controller_debug.go` of `k8s.io/apiserver`; cells end with a comma and stand below each other.

use std::time::Instant;

use jiff::Timestamp;
use skiff_api::machinery::gonum;

use super::{
    FlowControl,
    configuration::Configured,
    level::{Asking, State},
    work::Work,
};

const LEVELS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUES: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];
const REQUESTS: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
const DETAILS: [&str; 8] = [
    "UserName",
    "Verb",
    "APIPath",
    "Namespace",
    "Name",
    "APIVersion",
    "Resource",
    "SubResource",
];

struct Table(Vec<Vec<String>>);

impl Table {
    fn new(head: &[&str]) -> Table {
        Table(vec![head.iter().map(|cell| cell.to_string()).collect()])
    }

    fn text(&self) -> String {
        const NARROWEST: usize = 8;
        let columns = self.0.first().map_or(0, Vec::len);
        let wide = |at: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| cell.chars().count() + 2).max();
            widest.unwrap_or(0).max(NARROWEST)
        };
        let widths: Vec<usize> = (0..columns).map(wide).collect();
        let mut text = String::new();
        for row in &self.0 {
            for (at, cell) in row.iter().enumerate() {
                match at + 1 == columns {
                    true => text += cell,
                    false => text += &format!("{:1$}", format!("{cell},"), widths[at]),
                }
            }
            text.push('\n');
        }
        text
    }
}

impl FlowControl {
    /// What stands at this path; `None`: nothing. `now` is the cluster's time.
    pub fn dump(&self, path: &str, details: bool, now: Timestamp) -> Option<String> {
        let mut table = match path {
            "dump_priority_levels" => Table::new(&LEVELS),
            "dump_queues" => Table::new(&QUEUES),
            "dump_requests" if details => Table::new(&[&REQUESTS[..], &DETAILS].concat()),
            "dump_requests" => Table::new(&REQUESTS),
            _ => return None,
        };
        let clock = Clock(now, Instant::now());
        for of in self.acts.load().levels.values() {
            let state = of.level.state();
            match path {
                "dump_priority_levels" => table.0.push(level(of, &state)),
                "dump_queues" => queues(&mut table, of, &state),
                _ => requests(&mut table, of, &state, details, &clock),
            }
        }
        Some(table.text())
    }
}

fn level(of: &Configured, state: &State) -> Vec<String> {
    let queues = &state.queues;
    let active = queues.view().filter(|queue| !queue.waiting.is_empty());
    vec![
        of.level.name.to_string(),
        active.count().to_string(),
        queues.is_idle().to_string(),
        of.quiescing.to_string(),
        queues.waiting().to_string(),
        queues.in_execution().to_string(),
        state.ends.dispatched.to_string(),
        state.ends.refused.to_string(),
        // upstream counts those under the next one, too
        0.to_string(),
        state.ends.cancelled.to_string(),
    ]
}

fn queues(table: &mut Table, of: &Configured, state: &State) {
    for (at, queue) in state.queues.view().enumerate() {
        let sum = |seats: fn(&Work) -> usize| {
            let all = queue.waiting.iter().map(|(_, work)| seats(work));
            all.sum::<usize>().to_string()
        };
        table.0.push(vec![
            of.level.name.to_string(),
            at.to_string(),
            queue.waiting.len().to_string(),
            queue.executing.len().to_string(),
            queue.seats.to_string(),
            queue.next.to_string(),
            sum(|work| work.initial),
            sum(Work::width),
            queue.work.to_string(),
        ]);
    }
}

/// The cluster's time at a moment of this process.
struct Clock(Timestamp, Instant);

impl Clock {
    fn at(&self, moment: Instant) -> String {
        let ago = self.1.saturating_duration_since(moment);
        // no moment of this process is before all time
        self.0.checked_sub(ago).unwrap_or(self.0).to_string()
    }
}

fn requests(table: &mut Table, of: &Configured, state: &State, details: bool, clock: &Clock) {
    let mut push =
        |queue: isize, at: isize, asking: &Asking, work: &Work, begun: Option<Instant>| {
            let figures = state.figures.get(asking.place);
            let by = figures.map_or("", |figures| figures.by.of(&asking.user, &asking.info));
            let mut row = vec![
                of.level.name.to_string(),
                figures.map_or_else(String::new, |figures| figures.schema.to_string()),
                queue.to_string(),
                at.to_string(),
                by.to_owned(),
                clock.at(asking.arrived),
                work.initial.to_string(),
                work.last.to_string(),
                gonum::duration_text(i64::try_from(work.lingers.as_nanos()).unwrap_or(i64::MAX)),
                begun.map_or("0001-01-01T00:00:00Z".into(), |begun| clock.at(begun)),
            ];
            if details {
                let info = &asking.info;
                let version = match info.group.as_str() {
                    "" => info.version.clone(),
                    group => format!("{group}/{}", info.version),
                };
                row.extend([
                    asking.user.name.clone(),
                    info.verb.clone(),
                    info.path.clone(),
                    info.namespace.clone(),
                    info.name.clone(),
                    version,
                    info.resource.clone(),
                    info.subresource.clone(),
                ]);
            }
            table.0.push(row);
        };
    for (queue, view) in (0..).zip(state.queues.view()) {
        for (at, (asking, work)) in (0..).zip(&view.waiting) {
            push(queue, at, asking, work, None);
        }
        for (asking, work, begun) in &view.executing {
            push(queue, -1, asking, work, Some(*begun));
        }
    }
    for (asking, work, begun) in state.queues.view_executing(None) {
        push(-1, -1, asking, &work, Some(begun));
    }
}
