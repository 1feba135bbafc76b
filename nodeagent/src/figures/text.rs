//! The node's own figures in Prometheus' text form.

use std::fmt::Write;

use skiff_watching::tally::{Histogram, family, single};

use super::{CALL, CONTAINER, Figures, Late, WORK};

/// What is the case now.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// The node's name.
    pub node: String,
    /// Pods that the API wants here, and those of them that have not ended.
    pub desired: usize,
    pub active: usize,
    /// Pods that have a sandbox that is ready.
    pub running: usize,
    /// Containers that are made, running, and over.
    pub containers: [usize; 3],
}

const STATES: [&str; 3] = ["created", "running", "exited"];

impl Late {
    fn text(&self, name: &str, help: &str, text: &mut String) {
        family(text, name, "histogram", help);
        match self.made.get() {
            Some(histogram) => histogram.text(name, "", text),
            None => Histogram::new(self.bounds).text(name, "", text),
        }
    }
}

/// A line; a string takes whatever is written to it.
fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

impl Figures {
    /// All of it.
    pub fn text(&self, now: &Present) -> String {
        let mut text = String::new();
        present(now, &mut text);
        self.of_starts(&mut text);
        self.of_work(&mut text);
        self.of_calls(&mut text);
        self.requests.text(&mut text);
        text
    }

    fn of_starts(&self, text: &mut String) {
        for (late, name, help) in [
            (
                &self.pod_start,
                "kubelet_pod_start_duration_seconds",
                "Seconds until a pod ran since the node first saw it.",
            ),
            (
                &self.start_own,
                "kubelet_pod_start_sli_duration_seconds",
                "Seconds until the API told that a pod ran since it was made, without pulls and init containers.",
            ),
            (
                &self.start_total,
                "kubelet_pod_start_total_duration_seconds",
                "The same with pulls and init containers.",
            ),
            (
                &self.worker_start,
                "kubelet_pod_worker_start_duration_seconds",
                "Seconds until a pod's task began since the node first saw the pod.",
            ),
            (
                &self.relist,
                "kubelet_pleg_relist_duration_seconds",
                "Seconds that a look at all containers took.",
            ),
        ] {
            late.text(name, help, text);
        }
        for (counter, name, help) in [
            (
                &self.pods_started,
                "kubelet_started_pods_total",
                "Pods that were to be started.",
            ),
            (
                &self.pods_failed,
                "kubelet_started_pods_errors_total",
                "Pods that could not be.",
            ),
        ] {
            single(text, name, "counter", help, counter.get());
        }
        let mut name = "kubelet_started_containers_total";
        let help = "Containers that were to be started.";
        family(text, name, "counter", help);
        for (kind, count) in CONTAINER.iter().zip(&self.containers_started) {
            if count.get() > 0 {
                line(
                    text,
                    name,
                    &format!("container_type=\"{kind}\""),
                    count.get(),
                );
            }
        }
        name = "kubelet_started_containers_errors_total";
        family(text, name, "counter", "Containers that could not be.");
        for ((kind, reason), count) in &*self.containers_failed.lock() {
            let kind = CONTAINER[*kind as usize];
            let labels = format!("code=\"{reason}\",container_type=\"{kind}\"");
            line(text, name, &labels, *count);
        }
    }

    fn of_work(&self, text: &mut String) {
        let name = "kubelet_pod_worker_duration_seconds";
        let help = "Seconds that pods' tasks were at something.";
        family(text, name, "histogram", help);
        for (work, late) in WORK.iter().zip(&self.work) {
            if let Some(times) = late.made.get() {
                times.text(name, &format!("operation_type=\"{work}\""), text);
            }
        }
    }

    fn of_calls(&self, text: &mut String) {
        let seen = || {
            let each = CALL.iter().zip(&self.calls);
            each.filter_map(|(call, calls)| {
                let times = calls.times.made.get()?;
                Some((
                    format!("operation_type=\"{call}\""),
                    times,
                    calls.failed.get(),
                ))
            })
        };
        let mut name = "kubelet_runtime_operations_total";
        family(text, name, "counter", "What the runtime was asked.");
        for (labels, times, _) in seen() {
            line(text, name, &labels, times.count());
        }
        name = "kubelet_runtime_operations_errors_total";
        family(text, name, "counter", "What of that failed.");
        for (labels, _, failed) in seen().filter(|(_, _, failed)| *failed > 0) {
            line(text, name, &labels, failed);
        }
        name = "kubelet_runtime_operations_duration_seconds";
        family(text, name, "histogram", "Seconds that it took.");
        for (labels, times, _) in seen() {
            times.text(name, &labels, text);
        }
    }
}

fn present(now: &Present, text: &mut String) {
    let mut name = "kubelet_node_name";
    family(text, name, "gauge", "The node's name; always 1.");
    line(text, name, &format!("node=\"{}\"", now.node), 1);
    name = "kubelet_running_pods";
    let help = "Pods that have a sandbox that is ready.";
    single(text, name, "gauge", help, now.running);
    name = "kubelet_running_containers";
    family(text, name, "gauge", "Containers by their state.");
    for (state, count) in STATES.iter().zip(now.containers) {
        let labels = format!("container_state=\"{state}\"");
        line(text, name, &labels, count as u64);
    }
    // nothing but the API brings pods to a node, so that there are no static ones
    for (name, help, count) in [
        (
            "kubelet_desired_pods",
            "Pods that the API wants here.",
            now.desired,
        ),
        (
            "kubelet_active_pods",
            "Those of them that have not ended.",
            now.active,
        ),
    ] {
        family(text, name, "gauge", help);
        line(text, name, "static=\"\"", count as u64);
        line(text, name, "static=\"true\"", 0);
    }
}
