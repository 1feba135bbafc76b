//! What simulated containers are said to use: what annotations of their pods say, as long as they run.
//!
//! Invariant: counters never go back: what was used stays used when the load changes, and the node's own when containers go.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use skiff_api::machinery::quantity::Quantity;

use crate::runtime::{Memory, Usage};

/// How much CPU each container of the pod uses (`250m`); it may be changed while the pod runs.
pub const CPU: &str = "skiff.dev/cpu-usage";
/// How much memory each container of the pod uses (`64Mi`); it may be changed while the pod runs.
pub const MEMORY: &str = "skiff.dev/memory-usage";

/// What a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Nanoseconds of CPU a second.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

impl Default for Load {
    /// Of one of which nothing is said: a thousandth of a core and 4 MiB.
    fn default() -> Self {
        Load {
            cpu: 1_000_000,
            memory: 4 << 20,
        }
    }
}

impl Load {
    /// What annotations say; an empty one says nothing.
    ///
    /// # Errors
    /// The annotation and its value, of one that is no amount.
    pub fn read(annotations: &BTreeMap<String, String>) -> Result<Self, (&'static str, String)> {
        let amount = |key: &'static str, scale: i32, or: u64| {
            let given = annotations.get(key).filter(|value| !value.is_empty());
            let Some(value) = given else { return Ok(or) };
            let amount = value.parse::<Quantity>().ok();
            let amount = amount.and_then(|amount| u64::try_from(amount.scaled_value(scale)).ok());
            amount.ok_or_else(|| (key, value.clone()))
        };
        let usual = Load::default();
        Ok(Load {
            cpu: amount(CPU, -9, usual.cpu)?,
            memory: amount(MEMORY, 0, usual.memory)?,
        })
    }
}

/// What one container has used.
#[derive(Clone, Debug)]
struct Meter {
    load: Load,
    /// Until `since`; nothing is added when that is over.
    used: u64,
    since: Option<Timestamp>,
}

impl Meter {
    fn cpu(&self, now: Timestamp) -> u64 {
        let passed = self.since.map(|since| now.duration_since(since));
        let passed: Duration = passed
            .and_then(|passed| passed.try_into().ok())
            .unwrap_or_default();
        let more = u128::from(self.load.cpu) * passed.as_nanos() / 1_000_000_000;
        self.used
            .saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
    }

    fn read(&self, now: Timestamp) -> Usage {
        let memory = self.since.map_or(0, |_| self.load.memory);
        usage(now, self.cpu(now), memory)
    }
}

fn usage(at: Timestamp, cpu: u64, memory: u64) -> Usage {
    Usage {
        at,
        cpu_nanoseconds: cpu,
        memory_bytes: memory,
        working_set_bytes: memory,
        memory: Memory {
            rss_bytes: memory,
            ..Memory::default()
        },
        ..Usage::default()
    }
}

/// What several use together.
pub fn sum<'a>(all: impl Iterator<Item = &'a Usage>, at: Timestamp) -> Usage {
    let of = all.fold((0, 0), |(cpu, memory), each| {
        (cpu + each.cpu_nanoseconds, memory + each.memory_bytes)
    });
    usage(at, of.0, of.1)
}

/// What all containers of a node have used.
#[derive(Debug, Default)]
pub struct Meters {
    all: HashMap<String, Meter>,
    /// By those that are gone.
    spent: u64,
}

impl Meters {
    pub fn start(&mut self, container: &str, load: Load, now: Timestamp) {
        let meter = Meter {
            load,
            used: 0,
            since: Some(now),
        };
        self.all.insert(container.to_owned(), meter);
    }

    pub fn stop(&mut self, container: &str, now: Timestamp) {
        if let Some(meter) = self.all.get_mut(container) {
            (meter.used, meter.since) = (meter.cpu(now), None);
        }
    }

    /// The container uses something else from now on.
    pub fn change(&mut self, container: &str, load: Load, now: Timestamp) {
        if let Some(meter) = self.all.get_mut(container) {
            meter.used = meter.cpu(now);
            meter.since = meter.since.map(|_| now);
            meter.load = load;
        }
    }

    /// The container is no more.
    pub fn remove(&mut self, container: &str) {
        if let Some(gone) = self.all.remove(container) {
            self.spent = self.spent.saturating_add(gone.cpu(crate::time::now()));
        }
    }

    pub fn read(&self, container: &str, now: Timestamp) -> Option<Usage> {
        self.all.get(container).map(|meter| meter.read(now))
    }

    /// The node.
    pub fn all(&self, now: Timestamp) -> Usage {
        let each: Vec<Usage> = self.all.values().map(|meter| meter.read(now)).collect();
        let mut whole = sum(each.iter(), now);
        whole.cpu_nanoseconds = whole.cpu_nanoseconds.saturating_add(self.spent);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_annotations_say() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()));
            Load::read(&pairs.collect())
        };
        let load = |cpu, memory| Ok(Load { cpu, memory });
        assert_eq!(read(&[]), load(1_000_000, 4 << 20));
        assert_eq!(
            read(&[(CPU, "250m"), (MEMORY, "64Mi")]),
            load(250_000_000, 64 << 20)
        );
        assert_eq!(
            read(&[(CPU, "2"), (MEMORY, "")]),
            load(2_000_000_000, 4 << 20)
        );
        assert_eq!(read(&[(CPU, "much")]), Err((CPU, "much".into())));
        assert_eq!(read(&[(MEMORY, "-1")]), Err((MEMORY, "-1".into())));
    }

    #[test]
    fn counters_never_go_back() {
        let mut meters = Meters::default();
        let second = |cpu: u64| cpu * 1_000_000_000;
        let load = |cores: u64, memory| Load {
            cpu: second(cores),
            memory,
        };
        let read = |meters: &Meters, now| {
            let usage = meters.read("c", at(now)).unwrap();
            (
                usage.cpu_nanoseconds / 1_000_000_000,
                usage.working_set_bytes,
            )
        };
        meters.start("c", load(1, 5), at(100));
        assert_eq!(read(&meters, 110), (10, 5));
        meters.change("c", load(3, 7), at(110));
        assert_eq!(read(&meters, 110), (10, 7));
        assert_eq!(read(&meters, 120), (40, 7));
        meters.stop("c", at(120));
        assert_eq!(read(&meters, 500), (40, 0));
        meters.change("c", load(9, 9), at(500));
        assert_eq!(read(&meters, 600), (40, 0), "what has ended uses nothing");
        meters.remove("c");
        assert_eq!(meters.all(at(600)).cpu_nanoseconds, second(40));
    }
}
