//! `/stats/summary`: what the node and its pods use, as one document.
//!
//! Invariant: what is not known is left out. Follows `staging/src/k8s.io/kubelet/pkg/apis/stats/v1alpha1/types.go` and
//! `pkg/kubelet/server/stats/summary.go`.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    disk::{Held, Room},
    pod::names::{is_host_network, name, namespace, uid},
    runtime::{More, Pressure, Usage},
    stats::{
        ContainerSample, PodSample, Rated, Sample,
        disks::{OfPod, OfVolume, ephemeral},
        network::Interface,
    },
    time,
};

pub struct Node<'a> {
    pub name: &'a str,
    pub booted: Option<Timestamp>,
}

/// What is of the node as a whole.
pub struct OfNode {
    pub room: Option<Room>,
    /// Bytes of all images.
    pub images: Option<u64>,
    pub interfaces: Vec<Interface>,
}

/// An object of those that are known.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let known = fields.into_iter();
    let known = known.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(known.collect::<Map<_, _>>())
}

fn at(at: Timestamp) -> Option<Value> {
    Some(json!(time::whole_seconds(at)))
}

fn number(of: impl Into<Option<u64>>) -> Option<Value> {
    of.into().map(Value::from)
}

fn pressure(of: Option<Pressure>) -> Option<Value> {
    let stall = |of: crate::runtime::Stall| json!({"total": of.total_microseconds, "avg10": of.avg10, "avg60": of.avg60, "avg300": of.avg300});
    of.map(|of| json!({"full": stall(of.full), "some": stall(of.some)}))
}

fn cpu(of: &Rated) -> Value {
    let more = of.usage.more;
    object([
        ("time", at(of.usage.at)),
        ("usageNanoCores", number(of.rate)),
        ("usageCoreNanoSeconds", number(of.usage.cpu_nanoseconds)),
        ("psi", pressure(more.and_then(|more| more.cpu_pressure))),
    ])
}

/// `available`: what may still be used.
fn memory(usage: &Usage, available: Option<u64>) -> Value {
    let memory = &usage.memory;
    object([
        ("time", at(usage.at)),
        ("availableBytes", number(available)),
        ("usageBytes", number(usage.memory_bytes)),
        ("workingSetBytes", number(usage.working_set_bytes)),
        ("rssBytes", number(memory.rss_bytes)),
        ("pageFaults", number(memory.page_faults)),
        ("majorPageFaults", number(memory.major_page_faults)),
        (
            "psi",
            pressure(usage.more.and_then(|more| more.memory_pressure)),
        ),
    ])
}

/// What is left of a limit.
fn left(usage: &Usage) -> Option<u64> {
    let limit = usage.memory.limit_bytes?;
    Some(limit.saturating_sub(usage.working_set_bytes))
}

fn swap(usage: &Usage) -> Option<Value> {
    let swap = usage.swap?;
    let available = swap
        .limit_bytes
        .map(|limit| limit.saturating_sub(swap.used_bytes));
    Some(object([
        ("time", at(usage.at)),
        ("swapAvailableBytes", number(available)),
        ("swapUsageBytes", number(swap.used_bytes)),
    ]))
}

fn io(usage: &Usage) -> Option<Value> {
    let psi = pressure(usage.more?.io_pressure)?;
    Some(object([("time", at(usage.at)), ("psi", Some(psi))]))
}

fn processes(of: &[ContainerSample]) -> Option<Value> {
    let count = |of: &ContainerSample| of.rated.usage.more.and_then(|more: More| more.processes);
    let counts: Vec<u64> = of.iter().filter_map(count).collect();
    (!counts.is_empty()).then(|| json!({"process_count": counts.iter().sum::<u64>()}))
}

fn traffic(of: &Interface) -> Value {
    json!({"name": of.name, "rxBytes": of.received.bytes, "rxErrors": of.received.errors, "txBytes": of.sent.bytes, "txErrors": of.sent.errors})
}

/// The default interface stands for all.
fn network(interfaces: &[Interface], when: Timestamp) -> Option<Value> {
    let default = interfaces
        .iter()
        .find(|of| of.name == "eth0")
        .or(interfaces.first())?;
    let mut all = traffic(default);
    all["time"] = json!(time::whole_seconds(when));
    all["interfaces"] = interfaces.iter().map(traffic).collect();
    Some(all)
}

/// What a file system has; `held`: what of it is used by what this is about.
fn fs(when: Timestamp, room: &Room, held: Option<Held>) -> Value {
    object([
        ("time", at(when)),
        ("availableBytes", number(room.available_bytes)),
        ("capacityBytes", number(room.capacity_bytes)),
        ("usedBytes", number(held.map(|held| held.bytes))),
        ("inodesFree", number(room.inodes_free)),
        ("inodes", number(room.inodes)),
        ("inodesUsed", number(held.map(|held| held.inodes))),
    ])
}

fn volume(when: Timestamp, namespace: &str, name: &str, of: &OfVolume) -> Value {
    let mut value = fs(when, &of.room, Some(of.held));
    value["name"] = name.into();
    if let Some(claim) = &of.claim {
        value["pvcRef"] = json!({"name": claim, "namespace": namespace});
    }
    value
}

fn container(of: &ContainerSample, disks: Option<(&OfPod, &Room)>) -> Value {
    let usage = &of.rated.usage;
    let of_disk =
        disks.and_then(|(found, room)| Some((found.at, found.containers.get(&of.state.id)?, room)));
    object([
        ("name", Some(of.state.name.as_str().into())),
        ("startTime", of.state.started_at.and_then(at)),
        ("cpu", Some(cpu(&of.rated))),
        ("memory", Some(memory(usage, left(usage)))),
        ("io", io(usage)),
        (
            "rootfs",
            of_disk.map(|(when, held, room)| fs(when, room, held.files)),
        ),
        (
            "logs",
            of_disk.map(|(when, held, room)| fs(when, room, held.logs)),
        ),
        ("swap", swap(usage)),
    ])
}

/// A pod; `disks`: what it holds, and the disk that it holds it on.
fn pod(of: &PodSample, disks: Option<(&OfPod, &Room)>, all: bool) -> Value {
    let (pod, whole) = (&of.pod, of.whole.as_ref());
    let started = pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref());
    let containers = of.containers.iter().map(|of| container(of, disks));
    let when = whole.map_or_else(time::now, |whole| whole.usage.at);
    let volumes = disks.map(|(found, _)| {
        let each = found.volumes.iter();
        each.map(|(name, of)| volume(found.at, namespace(pod), name, of))
            .collect::<Vec<_>>()
    });
    let own_network = (!is_host_network(pod)).then_some(&of.interfaces);
    object([
        (
            "podRef",
            Some(json!({"name": name(pod), "namespace": namespace(pod), "uid": uid(pod)})),
        ),
        ("startTime", started.and_then(|started| at(started.0))),
        ("containers", Some(containers.collect())),
        ("cpu", whole.map(cpu)),
        (
            "memory",
            whole.map(|whole| memory(&whole.usage, left(&whole.usage))),
        ),
        ("io", whole.and_then(|whole| io(&whole.usage))),
        (
            "network",
            own_network.and_then(|of| network(of, when)).filter(|_| all),
        ),
        (
            "volume",
            volumes.filter(|all| !all.is_empty()).map(Value::from),
        ),
        (
            "ephemeral-storage",
            disks.map(|(found, room)| fs(found.at, room, Some(ephemeral(found, pod)))),
        ),
        ("process_stats", processes(&of.containers).filter(|_| all)),
        ("swap", whole.and_then(|whole| swap(&whole.usage))),
    ])
}

/// All pods together, as the container of the system that holds them.
fn of_pods(sample: &Sample) -> Value {
    let whole: Vec<&Rated> = sample
        .pods
        .iter()
        .filter_map(|pod| pod.whole.as_ref())
        .collect();
    let sum = |of: fn(&Usage) -> u64| whole.iter().map(|rated| of(&rated.usage)).sum::<u64>();
    let together = Rated {
        usage: Usage {
            at: sample.machine.usage.at,
            cpu_nanoseconds: sum(|usage| usage.cpu_nanoseconds),
            memory_bytes: sum(|usage| usage.memory_bytes),
            working_set_bytes: sum(|usage| usage.working_set_bytes),
            ..Usage::default()
        },
        rate: whole.iter().map(|rated| rated.rate).sum(),
    };
    let mut memory = memory(&together.usage, None);
    memory["rssBytes"] = sum(|usage| usage.memory.rss_bytes).into();
    memory["pageFaults"] = sum(|usage| usage.memory.page_faults).into();
    memory["majorPageFaults"] = sum(|usage| usage.memory.major_page_faults).into();
    object([
        ("name", Some("pods".into())),
        ("cpu", Some(cpu(&together))),
        ("memory", Some(memory)),
    ])
}

/// What the machine can still give.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn node_main(node: &Node<'_>, sample: &Sample) -> [(&'static str, Option<Value>); 6] {
    let machine = &sample.machine;
    [
        ("nodeName", Some(node.name.into())),
        ("systemContainers", Some(json!([of_pods(sample)]))),
        ("startTime", node.booted.and_then(at)),
        ("cpu", Some(cpu(machine))),
        ("memory", Some(memory(&machine.usage, available()))),
        ("swap", swap(&machine.usage)),
    ]
}

/// CPU, memory and swap alone.
pub fn cpu_and_memory(node: &Node<'_>, sample: &Sample) -> Value {
    let pods: Vec<Value> = sample.pods.iter().map(|of| pod(of, None, false)).collect();
    json!({"node": object(node_main(node, sample)), "pods": pods})
}

/// How many processes there may be, and are.
fn rlimit(when: Timestamp) -> Option<Value> {
    let most: i64 = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let (_, all) = load.split_whitespace().nth(3)?.split_once('/')?;
    let running: i64 = all.parse().ok()?;
    Some(json!({"time": time::whole_seconds(when), "maxpid": most, "curproc": running}))
}

pub fn whole(
    node: &Node<'_>,
    sample: &Sample,
    disks: &HashMap<String, Arc<OfPod>>,
    of_node: &OfNode,
) -> Value {
    let when = sample.machine.usage.at;
    let mut all = object(node_main(node, sample));
    let room = of_node.room.as_ref();
    let own = room.map(|room| {
        let held = Held {
            bytes: room.used_bytes,
            inodes: room.inodes.saturating_sub(room.inodes_free),
        };
        fs(when, room, Some(held))
    });
    let images = room.map(|room| {
        let mut of_images = fs(when, room, None);
        if let Some(bytes) = of_node.images {
            of_images["usedBytes"] = bytes.into();
        }
        of_images
    });
    let runtime = object([("imageFs", images.clone()), ("containerFs", images)]);
    let more = object([
        ("io", io(&sample.machine.usage)),
        ("network", network(&of_node.interfaces, when)),
        ("fs", own),
        ("runtime", Some(runtime)),
        ("rlimit", rlimit(when)),
    ]);
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    let of_pod = |of: &PodSample| {
        let found = disks.get(uid(&of.pod)).map(|found| &**found);
        pod(of, found.zip(room), true)
    };
    json!({"node": all, "pods": sample.pods.iter().map(of_pod).collect::<Vec<_>>()})
}
