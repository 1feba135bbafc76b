//! `/metrics/cadvisor`: all that is measured of containers and pods, by the names that monitoring knows.
//!
//! Invariant: each series has the labels that upstream's has; of the node's own group all but `id` are empty, of a pod's `container`, `image` and `name`.
//! Follows `metrics/{prometheus,prometheus_machine}.go` of cadvisor, from which names and help come, and `containerPrometheusLabelsFunc` in
//! `pkg/kubelet/server/server.go`.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::exposition::{Families, Kind, Kind::*, labels};
use crate::{
    disk::Room,
    node::machine::Machine,
    pod::{
        names::{name, namespace, uid},
        view::annotation,
    },
    runtime::{Limits, More, Pressure, Usage},
    stats::{PodSample, Sample, disks::OfPod, network::Interface},
    time,
};

/// What is shown.
pub struct Seen<'a> {
    pub sample: &'a Sample,
    pub disks: &'a HashMap<String, Arc<OfPod>>,
    pub room: Option<Room>,
    pub machine: &'a Machine,
    pub interfaces: &'a [Interface],
}

/// Whose series they are.
#[derive(Clone, Copy, Default)]
struct Labels<'a> {
    id: &'a str,
    name: &'a str,
    image: &'a str,
    container: &'a str,
    pod: &'a str,
    namespace: &'a str,
}

impl Labels<'_> {
    fn with(&self, more: &[(&str, &str)]) -> String {
        let own = [
            ("container", self.container),
            ("id", self.id),
            ("image", self.image),
            ("name", self.name),
            ("namespace", self.namespace),
            ("pod", self.pod),
        ];
        labels(&[&own, more].concat())
    }
}

type Of = (&'static str, Kind, &'static str);
const SECOND: f64 = 1e9;

pub fn text(seen: &Seen<'_>) -> String {
    let mut all = Families::default();
    machine(&mut all, seen);
    let root = Labels {
        id: "/",
        ..Labels::default()
    };
    let whole = &seen.sample.machine.usage;
    used(&mut all, &root, whole, false);
    traffic(&mut all, &root, seen.interfaces, whole.at);
    if let Some(room) = &seen.room {
        disk(&mut all, &root, room, Some(room.used_bytes), whole.at);
    }
    for pod in &seen.sample.pods {
        of_pod(&mut all, seen, pod);
    }
    all.text()
}

/// A pod, its network, and its containers.
fn of_pod(all: &mut Families, seen: &Seen<'_>, pod: &PodSample) {
    let group = format!("/{}", pod.cgroup.trim_matches('/'));
    let of_pod = Labels {
        id: &group,
        pod: name(&pod.pod),
        namespace: namespace(&pod.pod),
        ..Labels::default()
    };
    let mut when = time::now();
    if let Some(whole) = &pod.whole {
        when = whole.usage.at;
        let kept = whole.usage.more.and_then(|more| more.throttling);
        used(
            all,
            &of_pod,
            &whole.usage,
            kept.is_some_and(|kept| kept.periods > 0),
        );
    }
    let sandbox = format!("{group}/{}", pod.sandbox);
    let of_sandbox = Labels {
        id: &sandbox,
        name: &pod.sandbox,
        ..of_pod
    };
    traffic(all, &of_sandbox, &pod.interfaces, when);
    for container in &pod.containers {
        let state = &container.state;
        let id = format!("{group}/{}", state.id);
        let of = Labels {
            id: &id,
            name: &state.id,
            image: state
                .annotations
                .get(annotation::IMAGE)
                .map_or("", String::as_str),
            container: &state.name,
            ..of_pod
        };
        let usage = &container.rated.usage;
        used(
            all,
            &of,
            usage,
            state.limits.cpu_quota_us.is_some_and(|quota| quota > 0),
        );
        spec(all, &of, &state.limits, state.started_at);
        let held = seen
            .disks
            .get(uid(&pod.pod))
            .and_then(|found| found.containers.get(&state.id)?.files);
        if let (Some(room), Some(held)) = (&seen.room, held) {
            disk(all, &of, room, Some(held.bytes), usage.at);
        }
    }
}

fn machine(all: &mut Families, seen: &Seen<'_>) {
    let info = &seen.machine.info;
    let of = labels(&[
        ("boot_id", &info.boot_id),
        ("machine_id", &info.machine_id),
        ("system_uuid", &info.system_uuid),
    ]);
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let swap = seen
        .sample
        .machine
        .usage
        .swap
        .and_then(|swap| swap.limit_bytes);
    let mut put = |of_series: Of, value: f64| all.add(of_series, &of, value, None);
    put(
        ("machine_cpu_cores", Gauge, "Number of logical CPU cores."),
        cores as f64,
    );
    put(
        (
            "machine_memory_bytes",
            Gauge,
            "Amount of memory installed on the machine.",
        ),
        seen.machine.memory as f64,
    );
    put(
        (
            "machine_swap_bytes",
            Gauge,
            "Amount of swap memory available on the machine.",
        ),
        swap.unwrap_or(0) as f64,
    );
    let version = [
        ("kernelVersion", info.kernel_version.as_str()),
        ("osVersion", &info.os_image),
        ("dockerVersion", ""),
        ("cadvisorVersion", ""),
        ("cadvisorRevision", ""),
    ];
    all.add(
        ("cadvisor_version_info", Gauge, "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & cadvisor revision."),
        &labels(&version),
        1.0,
        None,
    );
}

/// `limited`: its CPU time has a limit.
#[rustfmt::skip]
fn used(all: &mut Families, of: &Labels<'_>, usage: &Usage, limited: bool) {
    let (at, plain) = (Some(usage.at), of.with(&[]));
    let now = time::now();
    all.add(("container_last_seen", Gauge, "Last time a container was seen by the exporter"), &plain, now.as_second() as f64, Some(now));
    all.add(("container_cpu_usage_seconds_total", Counter, "Cumulative cpu time consumed in seconds."), &of.with(&[("cpu", "total")]), usage.cpu_nanoseconds as f64 / SECOND, at);
    let memory = &usage.memory;
    let gauges: [(&'static str, &'static str, u64); 7] = [
        ("container_memory_cache", "Number of bytes of page cache memory.", memory.cache_bytes),
        ("container_memory_rss", "Size of RSS in bytes.", memory.rss_bytes),
        ("container_memory_mapped_file", "Size of memory mapped files in bytes.", memory.mapped_bytes),
        ("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", usage.memory_bytes),
        ("container_memory_working_set_bytes", "Current working set in bytes.", usage.working_set_bytes),
        ("container_memory_total_active_file_bytes", "Current total active file in bytes.", memory.active_file_bytes),
        ("container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.", memory.inactive_file_bytes),
    ];
    for (name, help, value) in gauges {
        all.add((name, Gauge, help), &plain, value as f64, at);
    }
    for (kind, value) in [("pgfault", memory.page_faults), ("pgmajfault", memory.major_page_faults)] {
        let of = of.with(&[("failure_type", kind), ("scope", "hierarchy")]);
        all.add(("container_memory_failures_total", Counter, "Cumulative count of memory allocation failures."), &of, value as f64, at);
    }
    if let Some(swap) = usage.swap {
        all.add(("container_memory_swap", Gauge, "Container swap usage in bytes."), &plain, swap.used_bytes as f64, at);
    }
    if let Some(more) = &usage.more {
        further(all, &plain, more, at, limited);
    }
}

#[rustfmt::skip]
fn further(all: &mut Families, of: &str, more: &More, at: Option<Timestamp>, limited: bool) {
    let mut put = |series: Of, value: Option<f64>| {
        if let Some(value) = value {
            all.add(series, of, value, at);
        }
    };
    let count = |of: Option<u64>| of.map(|of| of as f64);
    put(("container_cpu_user_seconds_total", Counter, "Cumulative user cpu time consumed in seconds."), Some(more.user_nanoseconds as f64 / SECOND));
    put(("container_cpu_system_seconds_total", Counter, "Cumulative system cpu time consumed in seconds."), Some(more.system_nanoseconds as f64 / SECOND));
    put(("container_processes", Gauge, "Number of processes running inside the container."), count(more.processes));
    put(("container_threads", Gauge, "Number of threads running inside the container"), count(more.threads));
    put(("container_memory_failcnt", Counter, "Number of memory usage hits limits"), count(more.limit_hits));
    put(("container_memory_max_usage_bytes", Gauge, "Maximum memory usage recorded in bytes"), count(more.most_bytes));
    put(("container_memory_kernel_usage", Gauge, "Size of kernel memory allocated in bytes."), count(more.kernel_bytes));
    put(("container_oom_events_total", Counter, "Count of out of memory events observed for the container"), count(more.oom_kills));
    if let Some(kept) = more.throttling.filter(|_| limited) {
        put(("container_cpu_cfs_periods_total", Counter, "Number of elapsed enforcement period intervals."), Some(kept.periods as f64));
        put(("container_cpu_cfs_throttled_periods_total", Counter, "Number of throttled period intervals."), Some(kept.throttled_periods as f64));
        put(("container_cpu_cfs_throttled_seconds_total", Counter, "Total time duration the container has been throttled."), Some(kept.throttled_nanoseconds as f64 / SECOND));
    }
    let stalled = |of: Option<Pressure>| of.map(|of| of.full.total_microseconds as f64 / 1e6);
    let waited = |of: Option<Pressure>| of.map(|of| of.some.total_microseconds as f64 / 1e6);
    put(("container_pressure_cpu_stalled_seconds_total", Counter, "Total time duration no tasks in the container could make progress due to CPU congestion."), stalled(more.cpu_pressure));
    put(("container_pressure_cpu_waiting_seconds_total", Counter, "Total time duration tasks in the container have waited due to CPU congestion."), waited(more.cpu_pressure));
    put(("container_pressure_memory_stalled_seconds_total", Counter, "Total time duration no tasks in the container could make progress due to memory congestion."), stalled(more.memory_pressure));
    put(("container_pressure_memory_waiting_seconds_total", Counter, "Total time duration tasks in the container have waited due to memory congestion."), waited(more.memory_pressure));
    put(("container_pressure_io_stalled_seconds_total", Counter, "Total time duration no tasks in the container could make progress due to IO congestion."), stalled(more.io_pressure));
    put(("container_pressure_io_waiting_seconds_total", Counter, "Total time duration tasks in the container have waited due to IO congestion."), waited(more.io_pressure));
}

#[rustfmt::skip]
fn spec(all: &mut Families, of: &Labels<'_>, limits: &Limits, started: Option<Timestamp>) {
    let plain = of.with(&[]);
    let mut put = |name: &'static str, help: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            all.add((name, Gauge, help), &plain, value, None);
        }
    };
    let memory = limits.memory_bytes.filter(|bytes| *bytes > 0).unwrap_or(0) as f64;
    put("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", started.map(|at| at.as_second() as f64));
    put("container_spec_cpu_period", "CPU period of the container.", limits.cpu_period_us.map(|us| us as f64));
    put("container_spec_cpu_quota", "CPU quota of the container.", limits.cpu_quota_us.filter(|quota| *quota > 0).map(|us| us as f64));
    put("container_spec_cpu_shares", "CPU share of the container.", limits.cpu_shares.map(|shares| shares as f64));
    put("container_spec_memory_limit_bytes", "Memory limit for the container.", Some(memory));
    put("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.", Some(memory));
    put("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container.", Some(0.0));
}

#[rustfmt::skip]
fn traffic(all: &mut Families, of: &Labels<'_>, interfaces: &[Interface], at: Timestamp) {
    for interface in interfaces {
        let of = of.with(&[("interface", &interface.name)]);
        let (received, sent) = (&interface.received, &interface.sent);
        let figures: [(&'static str, &'static str, u64); 8] = [
            ("container_network_receive_bytes_total", "Cumulative count of bytes received", received.bytes),
            ("container_network_receive_packets_total", "Cumulative count of packets received", received.packets),
            ("container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving", received.dropped),
            ("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", received.errors),
            ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", sent.bytes),
            ("container_network_transmit_packets_total", "Cumulative count of packets transmitted", sent.packets),
            ("container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting", sent.dropped),
            ("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", sent.errors),
        ];
        for (name, help, value) in figures {
            all.add((name, Counter, help), &of, value as f64, Some(at));
        }
    }
}

/// The device has no name here: what is counted is on the file system of the node's folder.
#[rustfmt::skip]
fn disk(all: &mut Families, of: &Labels<'_>, room: &Room, used: Option<u64>, at: Timestamp) {
    let of = of.with(&[("device", "")]);
    let figures: [(&'static str, &'static str, Option<u64>); 4] = [
        ("container_fs_inodes_free", "Number of available Inodes", Some(room.inodes_free)),
        ("container_fs_inodes_total", "Number of Inodes", Some(room.inodes)),
        ("container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.", Some(room.capacity_bytes)),
        ("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", used),
    ];
    for (name, help, value) in figures {
        if let Some(value) = value {
            all.add((name, Gauge, help), &of, value as f64, Some(at));
        }
    }
}
