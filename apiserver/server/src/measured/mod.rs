//! What nodes and pods were last seen to use, for `metrics.k8s.io`: points in time as nodes tell them, and what lies between two of them.
//!
//! Invariant: a rate is reckoned between two points of the same run of a container, never guessed from one; of what a node told nothing is shown when
//! it has told nothing new for a while. Follows `pkg/storage` of sigs.k8s.io/metrics-server.

mod follow;
mod series;
mod text;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::RwLock;

pub use follow::Follower;
use series::Series;

pub const GROUP: &str = "metrics.k8s.io";
pub const VERSION: &str = "v1beta1";

/// Rates are reckoned over so long as soon as there are points that far apart.
const WINDOW: Duration = Duration::from_secs(15);
/// Nodes are asked so often where there are few pods.
const EVERY: Duration = Duration::from_secs(5);
/// So seldom at most.
const SELDOM: Duration = Duration::from_secs(60);
/// With more pods than this each adds to the time between two questions.
const FEW_PODS: usize = 10_000;

/// What a container, or a node, had used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When it began; of a node nothing is said.
    pub started: Timestamp,
    pub at: Timestamp,
    /// Nanoseconds of CPU since it began.
    pub cpu: u64,
    /// Working set in bytes.
    pub memory: u64,
}

/// What is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The end of the window.
    pub at: Timestamp,
    pub window: Duration,
    /// Nanoseconds of CPU a second.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

/// By namespace and name, then by container.
pub type Pods<T> = BTreeMap<(Arc<str>, Arc<str>), BTreeMap<Arc<str>, T>>;

/// What a node tells at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub node: Option<Point>,
    pub pods: Pods<Point>,
}

/// A node of this process, which is read without a connection.
pub type Source = Arc<dyn Fn() -> Reading + Send + Sync>;

/// What is known of a node.
#[derive(Debug)]
struct Told {
    /// When it told something last.
    heard: Instant,
    node: Series,
    pods: Pods<Series>,
}

/// What is known of all.
#[derive(Default)]
pub struct Measured {
    nodes: RwLock<HashMap<Arc<str>, Told>>,
    /// How many pods there are on all of them.
    count: AtomicUsize,
    here: RwLock<HashMap<String, Source>>,
}

impl Measured {
    /// Names a node that is part of this process.
    pub fn add_source(&self, node: impl Into<String>, source: Source) {
        self.here.write().insert(node.into(), source);
    }

    fn source(&self, node: &str) -> Option<Source> {
        self.here.read().get(node).cloned()
    }

    /// Takes what a node tells.
    fn take(&self, node: &Arc<str>, reading: Reading, heard: Instant) {
        let mut nodes = self.nodes.write();
        let told = nodes.entry(node.clone()).or_insert_with(|| Told {
            heard,
            node: Series::default(),
            pods: BTreeMap::new(),
        });
        told.heard = heard;
        if let Some(point) = reading.node {
            told.node.add(point);
        }
        let mut before = std::mem::take(&mut told.pods);
        self.count.fetch_sub(before.len(), Ordering::Relaxed);
        self.count.fetch_add(reading.pods.len(), Ordering::Relaxed);
        for (of, containers) in reading.pods {
            let mut known = before.remove(&of).unwrap_or_default();
            let series = containers.into_iter().map(|(name, point)| {
                let mut series = known.remove(&name).unwrap_or_default();
                series.add(point);
                (name, series)
            });
            let series = series.collect();
            told.pods.insert(of, series);
        }
    }

    fn forget(&self, node: &str) {
        if let Some(gone) = self.nodes.write().remove(node) {
            self.count.fetch_sub(gone.pods.len(), Ordering::Relaxed);
        }
    }

    fn forget_all(&self) {
        let mut nodes = self.nodes.write();
        nodes.clear();
        self.count.store(0, Ordering::Relaxed);
    }

    /// How often nodes are asked.
    fn every(&self) -> Duration {
        let pods = self.count.load(Ordering::Relaxed);
        let more = u32::try_from(pods / FEW_PODS).unwrap_or(u32::MAX);
        EVERY.saturating_mul(more.saturating_add(1)).min(SELDOM)
    }

    fn is_fresh(&self, told: &Told, every: Duration, now: Instant) -> bool {
        now.saturating_duration_since(told.heard) <= (every * 3).max(WINDOW * 2)
    }

    /// What a node uses.
    pub fn node(&self, name: &str) -> Option<Usage> {
        let every = self.every();
        let nodes = self.nodes.read();
        let told = nodes.get(name)?;
        let fresh = self.is_fresh(told, every, Instant::now());
        told.node.usage().filter(|_| fresh)
    }

    /// Reads of several pods.
    pub fn pods(&self) -> OfPods<'_> {
        let every = self.every();
        OfPods {
            measured: self,
            nodes: self.nodes.read(),
            every,
            now: Instant::now(),
        }
    }
}

/// What is known of pods, held still.
pub struct OfPods<'m> {
    measured: &'m Measured,
    nodes: parking_lot::RwLockReadGuard<'m, HashMap<Arc<str>, Told>>,
    every: Duration,
    now: Instant,
}

impl OfPods<'_> {
    /// What the containers of a pod on a node use, by their names; `None`: that is not known of all of them.
    pub fn of(&self, node: &str, of: &(Arc<str>, Arc<str>)) -> Option<Vec<(&str, Usage)>> {
        let told = self.nodes.get(node)?;
        let containers = told.pods.get(of)?;
        let fresh = self.measured.is_fresh(told, self.every, self.now);
        if !fresh || containers.values().any(|series| !series.is_measured()) {
            return None;
        }
        let used = containers.iter();
        let used: Vec<(&str, Usage)> = used
            .filter_map(|(name, series)| Some((&**name, series.usage()?)))
            .collect();
        (!used.is_empty()).then_some(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, cpu: u64) -> Point {
        Point {
            started: Timestamp::from_second(1_000).unwrap(),
            at: Timestamp::from_second(at).unwrap(),
            cpu,
            memory: 7,
        }
    }

    fn reading(pods: &[(&str, &[(&str, Point)])]) -> Reading {
        let pods = pods.iter().map(|(name, containers)| {
            let containers = containers
                .iter()
                .map(|(name, point)| ((*name).into(), *point));
            (("n".into(), (*name).into()), containers.collect())
        });
        Reading {
            node: None,
            pods: pods.collect(),
        }
    }

    #[test]
    fn pods_are_known_when_all_their_containers_are() {
        let measured = Measured::default();
        let node: Arc<str> = "node".into();
        let key = ("n".into(), "p".into());
        let cpu = |measured: &Measured| {
            let used = measured.pods();
            let used = used.of("node", &key)?;
            Some(
                used.iter()
                    .map(|(name, usage)| (name.to_string(), usage.cpu))
                    .collect::<Vec<_>>(),
            )
        };
        let begin = Instant::now();
        measured.take(&node, reading(&[("p", &[("a", point(2_000, 0))])]), begin);
        assert_eq!(cpu(&measured), None, "one point says nothing");
        measured.take(
            &node,
            reading(&[("p", &[("a", point(2_010, 5_000))])]),
            begin,
        );
        assert_eq!(cpu(&measured), Some(vec![("a".into(), 500)]));
        let two = [("a", point(2_020, 20_000)), ("b", point(2_020, 0))];
        measured.take(&node, reading(&[("p", &two)]), begin);
        assert_eq!(cpu(&measured), None, "one of two is new");
        let two = [("a", point(2_030, 30_000)), ("b", point(2_030, 10))];
        measured.take(&node, reading(&[("p", &two)]), begin);
        assert_eq!(
            cpu(&measured),
            Some(vec![("a".into(), 1250), ("b".into(), 1)])
        );
        measured.take(&node, reading(&[]), begin);
        assert_eq!(cpu(&measured), None, "a pod that is gone");
    }

    #[test]
    fn a_silent_node_is_not_believed_for_ever() {
        let measured = Measured::default();
        let node: Arc<str> = "node".into();
        let Some(long_ago) = Instant::now().checked_sub(WINDOW * 3) else {
            return;
        };
        for (at, heard) in [(2_000, long_ago), (2_010, long_ago)] {
            let reading = Reading {
                node: Some(point(at, at as u64)),
                ..reading(&[("p", &[("a", point(at, 0))])])
            };
            measured.take(&node, reading, heard);
        }
        assert_eq!(measured.node("node"), None);
        assert!(
            measured
                .pods()
                .of("node", &("n".into(), "p".into()))
                .is_none()
        );
        let newer = Reading {
            node: Some(point(2_015, 2_050)),
            ..Reading::default()
        };
        measured.take(&node, newer, Instant::now());
        assert_eq!(measured.node("node").map(|usage| usage.cpu), Some(3));
    }
}
