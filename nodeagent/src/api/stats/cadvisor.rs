//! `/metrics/cadvisor`: all that is measured of containers and pods, by the names that monitoring knows.
//!
//! Invariant: each series has the labels that upstream's has; of the node's own group all but `id` are empty, of a pod's `container`, `image` and `name`.
//! Follows `metrics/{prometheus,prometheus_machine}.go` of cadvisor, from which names come, and `containerPrometheusLabelsFunc` in
//! `pkg/kubelet/server/server.go`.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{
    exposition::{Families, labels},
    series::Series,
};
use crate::{
    agent::machine::Machine,
    disk::Room,
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
    for (name, value) in [
        (Series::machine_cpu_cores, cores as f64),
        (Series::machine_memory_bytes, seen.machine.memory as f64),
        (Series::machine_swap_bytes, swap.unwrap_or(0) as f64),
    ] {
        all.add(name, &of, value, None);
    }
    let version = [
        ("kernelVersion", info.kernel_version.as_str()),
        ("osVersion", &info.os_image),
        ("dockerVersion", ""),
        ("cadvisorVersion", ""),
        ("cadvisorRevision", ""),
    ];
    all.add(Series::cadvisor_version_info, &labels(&version), 1.0, None);
}

fn count(of: Option<u64>) -> Option<f64> {
    of.map(|of| of as f64)
}

/// `limited`: its CPU time has a limit.
fn used(all: &mut Families, of: &Labels<'_>, usage: &Usage, limited: bool) {
    let (at, plain) = (Some(usage.at), of.with(&[]));
    let now = time::now();
    let seen = now.as_second() as f64;
    all.add(Series::container_last_seen, &plain, seen, Some(now));
    let (total, cpu) = (of.with(&[("cpu", "total")]), seconds(usage.cpu_nanoseconds));
    all.add(Series::container_cpu_usage_seconds_total, &total, cpu, at);
    let memory = &usage.memory;
    let (active, inactive) = (memory.active_file_bytes, memory.inactive_file_bytes);
    let bytes = |of: u64| Some(of as f64);
    let figures = [
        (Series::container_memory_cache, bytes(memory.cache_bytes)),
        (Series::container_memory_rss, bytes(memory.rss_bytes)),
        (
            Series::container_memory_mapped_file,
            bytes(memory.mapped_bytes),
        ),
        (
            Series::container_memory_usage_bytes,
            bytes(usage.memory_bytes),
        ),
        (
            Series::container_memory_working_set_bytes,
            bytes(usage.working_set_bytes),
        ),
        (
            Series::container_memory_total_active_file_bytes,
            bytes(active),
        ),
        (
            Series::container_memory_total_inactive_file_bytes,
            bytes(inactive),
        ),
        (
            Series::container_memory_swap,
            usage.swap.map(|swap| swap.used_bytes as f64),
        ),
    ];
    all.add_all(&plain, figures, at);
    for (kind, value) in [
        ("pgfault", memory.page_faults),
        ("pgmajfault", memory.major_page_faults),
    ] {
        let of = of.with(&[("failure_type", kind), ("scope", "hierarchy")]);
        all.add(
            Series::container_memory_failures_total,
            &of,
            value as f64,
            at,
        );
    }
    if let Some(more) = &usage.more {
        further(all, &plain, more, at, limited);
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / SECOND
}

fn further(all: &mut Families, of: &str, more: &More, at: Option<Timestamp>, limited: bool) {
    let (user, system) = (
        seconds(more.user_nanoseconds),
        seconds(more.system_nanoseconds),
    );
    let figures = [
        (Series::container_cpu_user_seconds_total, Some(user)),
        (Series::container_cpu_system_seconds_total, Some(system)),
        (Series::container_processes, count(more.processes)),
        (Series::container_threads, count(more.threads)),
        (Series::container_memory_failcnt, count(more.limit_hits)),
        (
            Series::container_memory_max_usage_bytes,
            count(more.most_bytes),
        ),
        (
            Series::container_memory_kernel_usage,
            count(more.kernel_bytes),
        ),
        (Series::container_oom_events_total, count(more.oom_kills)),
    ];
    all.add_all(of, figures, at);
    if let Some(kept) = more.throttling.filter(|_| limited) {
        let (periods, throttled) = (Some(kept.periods), Some(kept.throttled_periods));
        let waited = seconds(kept.throttled_nanoseconds);
        let figures = [
            (Series::container_cpu_cfs_periods_total, count(periods)),
            (
                Series::container_cpu_cfs_throttled_periods_total,
                count(throttled),
            ),
            (
                Series::container_cpu_cfs_throttled_seconds_total,
                Some(waited),
            ),
        ];
        all.add_all(of, figures, at);
    }
    let stalled = |of: Option<Pressure>| of.map(|of| of.full.total_microseconds as f64 / 1e6);
    let waited = |of: Option<Pressure>| of.map(|of| of.some.total_microseconds as f64 / 1e6);
    let (cpu, memory, io) = (more.cpu_pressure, more.memory_pressure, more.io_pressure);
    let figures = [
        (
            Series::container_pressure_cpu_stalled_seconds_total,
            stalled(cpu),
        ),
        (
            Series::container_pressure_cpu_waiting_seconds_total,
            waited(cpu),
        ),
        (
            Series::container_pressure_memory_stalled_seconds_total,
            stalled(memory),
        ),
        (
            Series::container_pressure_memory_waiting_seconds_total,
            waited(memory),
        ),
        (
            Series::container_pressure_io_stalled_seconds_total,
            stalled(io),
        ),
        (
            Series::container_pressure_io_waiting_seconds_total,
            waited(io),
        ),
    ];
    all.add_all(of, figures, at);
}

fn spec(all: &mut Families, of: &Labels<'_>, limits: &Limits, started: Option<Timestamp>) {
    let memory = limits.memory_bytes.filter(|bytes| *bytes > 0).unwrap_or(0) as f64;
    let quota = limits.cpu_quota_us.filter(|quota| *quota > 0);
    let figures = [
        (
            Series::container_start_time_seconds,
            started.map(|at| at.as_second() as f64),
        ),
        (
            Series::container_spec_cpu_period,
            limits.cpu_period_us.map(|us| us as f64),
        ),
        (Series::container_spec_cpu_quota, quota.map(|us| us as f64)),
        (
            Series::container_spec_cpu_shares,
            limits.cpu_shares.map(|shares| shares as f64),
        ),
        (Series::container_spec_memory_limit_bytes, Some(memory)),
        (Series::container_spec_memory_swap_limit_bytes, Some(memory)),
        (
            Series::container_spec_memory_reservation_limit_bytes,
            Some(0.0),
        ),
    ];
    all.add_all(&of.with(&[]), figures, None);
}

fn traffic(all: &mut Families, of: &Labels<'_>, interfaces: &[Interface], at: Timestamp) {
    for interface in interfaces {
        let of = of.with(&[("interface", &interface.name)]);
        let (received, sent) = (&interface.received, &interface.sent);
        let figures = [
            (
                Series::container_network_receive_bytes_total,
                received.bytes,
            ),
            (
                Series::container_network_receive_packets_total,
                received.packets,
            ),
            (
                Series::container_network_receive_packets_dropped_total,
                received.dropped,
            ),
            (
                Series::container_network_receive_errors_total,
                received.errors,
            ),
            (Series::container_network_transmit_bytes_total, sent.bytes),
            (
                Series::container_network_transmit_packets_total,
                sent.packets,
            ),
            (
                Series::container_network_transmit_packets_dropped_total,
                sent.dropped,
            ),
            (Series::container_network_transmit_errors_total, sent.errors),
        ];
        let figures = figures.map(|(name, value)| (name, Some(value as f64)));
        all.add_all(&of, figures, Some(at));
    }
}

/// The device has no name here: what is counted is on the file system of the node's folder.
fn disk(all: &mut Families, of: &Labels<'_>, room: &Room, used: Option<u64>, at: Timestamp) {
    let figures = [
        (Series::container_fs_inodes_free, Some(room.inodes_free)),
        (Series::container_fs_inodes_total, Some(room.inodes)),
        (Series::container_fs_limit_bytes, Some(room.capacity_bytes)),
        (Series::container_fs_usage_bytes, used),
    ];
    let figures = figures.map(|(name, value)| (name, count(value)));
    all.add_all(&of.with(&[("device", "")]), figures, Some(at));
}
