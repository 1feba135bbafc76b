//! `/stats/summary` and `/metrics/resource`: what containers use.
//!
//! Invariant: rates are reckoned between two readings of the same container, never guessed from one.
//! Follows `staging/src/k8s.io/kubelet/pkg/apis/stats/v1alpha1` and `pkg/kubelet/metrics/collectors/resource_metrics.go`.

use std::{collections::HashMap, time::Duration};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{query::json as json_answer, server::Shared};
use crate::{
    pod::names::{name, namespace, uid},
    time,
};

/// The last reading of each container: when, and nanoseconds of CPU until then.
pub type Samples = Mutex<HashMap<String, (Timestamp, u64)>>;

struct Used {
    pod: Pod,
    container: String,
    started: Option<Timestamp>,
    at: Timestamp,
    cpu: u64,
    /// Nanoseconds of CPU a second.
    rate: Option<u64>,
    memory: u64,
}

/// Reads all running containers. `wait_for_rates`: containers read for the first time are read again a moment later.
async fn read(shared: &Shared, wait_for_rates: bool) -> Vec<Used> {
    let running: Vec<(Pod, crate::runtime::ContainerState)> = {
        let pods = shared.node.pods.read();
        pods.values()
            .flat_map(|handle| {
                handle
                    .state
                    .lock()
                    .view
                    .running()
                    .map(|container| ((*handle.pod()).clone(), container.clone()))
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let fresh: Vec<&str> = running
        .iter()
        .map(|(_, container)| container.id.as_str())
        .filter(|id| !shared.usage.lock().contains_key(*id))
        .collect();
    if wait_for_rates && !fresh.is_empty() {
        for id in fresh {
            if let Ok(usage) = shared.node.runtime.usage(id).await {
                shared
                    .usage
                    .lock()
                    .insert(id.to_owned(), (time::now(), usage.cpu_nanoseconds));
            }
        }
        time::sleep(Duration::from_millis(200)).await;
    }
    let mut all = Vec::new();
    for (pod, container) in &running {
        let Ok(usage) = shared.node.runtime.usage(&container.id).await else {
            continue;
        };
        let (cpu, memory) = (usage.cpu_nanoseconds, usage.working_set_bytes);
        let at = time::now();
        let before = shared.usage.lock().insert(container.id.clone(), (at, cpu));
        let rate = before.and_then(|before| rate(before, (at, cpu)));
        all.push(Used {
            pod: pod.clone(),
            container: container.name.clone(),
            started: container.started_at,
            at,
            cpu,
            rate,
            memory,
        });
    }
    shared
        .usage
        .lock()
        .retain(|id, _| running.iter().any(|(_, container)| container.id == *id));
    all
}

fn rate((before, from): (Timestamp, u64), (now, to): (Timestamp, u64)) -> Option<u64> {
    let passed = u128::try_from(now.as_nanosecond() - before.as_nanosecond())
        .ok()
        .filter(|passed| *passed > 0)?;
    u64::try_from(u128::from(to.saturating_sub(from)) * 1_000_000_000 / passed).ok()
}

fn figures(at: Timestamp, cpu: u64, rate: Option<u64>, memory: u64) -> Value {
    let at = time::whole_seconds(at);
    json!({
        "cpu": {"time": at, "usageNanoCores": rate.unwrap_or(0), "usageCoreNanoSeconds": cpu},
        "memory": {"time": at, "usageBytes": memory, "workingSetBytes": memory},
    })
}

fn merged(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}

pub async fn summary(State(shared): State<Shared>) -> Response {
    let used = read(&shared, true).await;
    let mut pods: HashMap<String, (Pod, Vec<&Used>)> = HashMap::new();
    for one in &used {
        pods.entry(uid(&one.pod).to_owned())
            .or_insert_with(|| (one.pod.clone(), Vec::new()))
            .1
            .push(one);
    }
    let pods: Vec<Value> = pods
        .into_values()
        .map(|(pod, containers)| {
            let sum = |of: fn(&Used) -> u64| containers.iter().map(|one| of(one)).sum::<u64>();
            let whole = figures(
                time::now(),
                sum(|one| one.cpu),
                Some(sum(|one| one.rate.unwrap_or(0))),
                sum(|one| one.memory),
            );
            let list: Vec<Value> = containers
                .iter()
                .map(|one| {
                    merged(
                        json!({"name": one.container, "startTime": one.started}),
                        figures(one.at, one.cpu, one.rate, one.memory),
                    )
                })
                .collect();
            let base = json!({
                "podRef": {"name": name(&pod), "namespace": namespace(&pod), "uid": uid(&pod)},
                "startTime": pod.status.as_ref().and_then(|status| status.start_time.clone()),
                "containers": list,
            });
            merged(base, whole)
        })
        .collect();
    let node = node_figures(&shared).await;
    json_answer(
        &json!({"node": merged(json!({"nodeName": shared.node.config.node_name, "startTime": boot_time()}), node), "pods": pods}),
    )
}

/// Nanoseconds of CPU of the whole machine, and its memory in use and available, in bytes.
fn node_usage() -> (u64, u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|number| number.parse().ok())
        .collect();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let busy = ticks.iter().take(8).sum::<u64>().saturating_sub(idle);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| {
        meminfo
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    (
        busy * 10_000_000,
        (kib("MemTotal:").saturating_sub(kib("MemAvailable:"))) * 1024,
        kib("MemAvailable:") * 1024,
    )
}

async fn node_figures(shared: &Shared) -> Value {
    const KEY: &str = "";
    let first = node_usage();
    let begun = shared
        .usage
        .lock()
        .get(KEY)
        .copied()
        .unwrap_or((time::now(), first.0));
    if time::since(begun.0) < Duration::from_millis(100) {
        time::sleep(Duration::from_millis(100)).await;
    }
    let (cpu, memory, available) = node_usage();
    let at = time::now();
    let rate = rate(begun, (at, cpu));
    let mut figures = figures(at, cpu, rate, memory);
    figures["memory"]["availableBytes"] = available.into();
    figures
}

fn boot_time() -> Option<Timestamp> {
    let uptime: f64 = std::fs::read_to_string("/proc/uptime")
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    time::now()
        .checked_sub(Duration::from_secs_f64(uptime))
        .ok()
        .map(time::whole_seconds)
}

pub async fn resource_metrics(State(shared): State<Shared>) -> Response {
    let used = read(&shared, false).await;
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text(&used),
    )
        .into_response()
}

/// Figures in the text format of Prometheus.
fn text(used: &[Used]) -> String {
    let mut out = String::new();
    let (cpu, memory, _) = node_usage();
    let now = time::now().as_millisecond();
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut family = |name: &str, help: &str, kind: &str, lines: Vec<String>| {
        out.push_str(&format!(
            "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}\n"
        ));
        lines
            .iter()
            .for_each(|line| out.push_str(&format!("{name}{line}\n")));
    };
    let labels = |one: &Used| {
        format!(
            "{{container={:?},namespace={:?},pod={:?}}}",
            one.container,
            namespace(&one.pod),
            name(&one.pod)
        )
    };
    let each = |value: &dyn Fn(&Used) -> f64| {
        used.iter()
            .map(|one| format!("{} {} {}", labels(one), value(one), one.at.as_millisecond()))
            .collect::<Vec<_>>()
    };
    family(
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the container in core-seconds",
        "counter",
        each(&|one| seconds(one.cpu)),
    );
    family(
        "container_memory_working_set_bytes",
        "Current working set of the container in bytes",
        "gauge",
        each(&|one| one.memory as f64),
    );
    family(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds",
        "gauge",
        each(&|one| {
            one.started
                .map_or(0.0, |at| at.as_millisecond() as f64 / 1e3)
        }),
    );
    family(
        "node_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the node in core-seconds",
        "counter",
        vec![format!(" {} {now}", seconds(cpu))],
    );
    family(
        "node_memory_working_set_bytes",
        "Current working set of the node in bytes",
        "gauge",
        vec![format!(" {memory} {now}")],
    );
    let mut pods: HashMap<&str, (&Used, u64, u64)> = HashMap::new();
    for one in used {
        let entry = pods.entry(uid(&one.pod)).or_insert((one, 0, 0));
        entry.1 += one.cpu;
        entry.2 += one.memory;
    }
    let labels = |one: &Used| {
        format!(
            "{{namespace={:?},pod={:?}}}",
            namespace(&one.pod),
            name(&one.pod)
        )
    };
    let of_pods = |value: &dyn Fn(&(&Used, u64, u64)) -> f64| {
        pods.values()
            .map(|pod| format!("{} {} {now}", labels(pod.0), value(pod)))
            .collect::<Vec<_>>()
    };
    family(
        "pod_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the pod in core-seconds",
        "counter",
        of_pods(&|pod| seconds(pod.1)),
    );
    family(
        "pod_memory_working_set_bytes",
        "Current working set of the pod in bytes",
        "gauge",
        of_pods(&|pod| pod.2 as f64),
    );
    family(
        "resource_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
        "gauge",
        vec![" 0".to_owned()],
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
        assert_eq!(
            rate((at(0), 0), (at(2000), 1_000_000_000)),
            Some(500_000_000)
        );
        assert_eq!(rate((at(0), 5), (at(0), 9)), None);
        assert_eq!(
            rate((at(0), 9), (at(1000), 5)),
            Some(0),
            "a counter that went back"
        );
    }

    #[test]
    fn prometheus_text() {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}}),
        )
        .unwrap();
        let used = Used {
            pod,
            container: "c".into(),
            started: None,
            at: Timestamp::from_second(1).unwrap(),
            cpu: 1_500_000_000,
            rate: None,
            memory: 42,
        };
        let text = text(&[used]);
        assert!(text.contains("container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 1000\n"), "{text}");
        assert!(text.contains("container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 42 1000\n"));
    }
}
