//! What of clusters is on the machine, whose it is, and which clusters may run at once.
//!
//! Invariant: what carries no mark of a cluster that is known here is everybody's: whoever looks for what was left behind finds it.

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sha2::{Digest, Sha256};

use super::on_path;

/// What the names of a cluster's things hold.
#[derive(Clone, PartialEq)]
pub struct Marks {
    data: String,
    /// Eight digits, made of the data folder's name; cgroups hold them, too.
    pub instance: String,
    /// Six digits, made of the instance's.
    network: String,
}

static KNOWN: Mutex<Vec<Marks>> = Mutex::new(Vec::new());

fn digits(text: &[u8], bytes: usize) -> String {
    hex::encode(&Sha256::digest(text)[..bytes])
}

impl Marks {
    /// Of the cluster or the agent with this data folder; from now on its things are nobody else's.
    pub fn of(data: &Path) -> Marks {
        let instance = digits(data.as_os_str().as_encoded_bytes(), 4);
        let marks = Marks {
            data: data.display().to_string(),
            network: digits(instance.as_bytes(), 3),
            instance,
        };
        held(KNOWN.lock()).push(marks.clone());
        marks
    }

    fn are_on(&self, thing: &str) -> bool {
        [&self.data, &self.instance, &self.network]
            .iter()
            .any(|mark| thing.contains(*mark))
    }

    /// What is on the machine, was not `before`, and is no other's.
    pub fn left(&self, before: &[String]) -> Vec<String> {
        let there = things();
        let known = held(KNOWN.lock());
        let others = |thing: &String| known.iter().any(|m| m != self && m.are_on(thing));
        there
            .into_iter()
            .filter(|thing| !before.contains(thing) && !others(thing))
            .collect()
    }
}

/// Whatever of any cluster is on the machine: processes, mounts, interfaces, tables.
pub fn things() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<String> = mounts
        .lines()
        .filter(|line| line.contains("/run/skiff/") || line.contains("/data/"))
        .map(str::to_string)
        .collect();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if name.starts_with("skiff-shim") {
            found.push(name.replace('\0', " "));
        }
    }
    for entry in std::fs::read_dir("/sys/class/net").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("skiff") {
            found.push(name);
        }
    }
    if let Some(nft) = on_path("nft") {
        let tables = Command::new(nft)
            .args(["list", "tables"])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        found.extend(
            tables
                .lines()
                .filter(|line| line.contains("skiff"))
                .map(str::to_string),
        );
    }
    found
}

/// Which others may run while a cluster does, for as long as it is held.
#[derive(Default)]
pub struct Turn {
    /// Whoever has none of these has no containers.
    _beside: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
    _one: Option<MutexGuard<'static, ()>>,
}

static ONE: Mutex<()> = Mutex::new(());
/// Clusters that have the same ranges for pods and services: this machine's own routes lead to one of them.
static ROUTES: RwLock<()> = RwLock::new(());

impl Turn {
    /// Beside others, but none like itself.
    pub fn one() -> Turn {
        Turn {
            _one: Some(held(ONE.lock())),
            ..Turn::default()
        }
    }

    /// Beside any that does not need the machine's routes.
    pub fn beside() -> Turn {
        Turn {
            _beside: Some(held(ROUTES.read())),
            ..Turn::default()
        }
    }

    /// Beside none with containers.
    pub fn alone() -> Turn {
        // in this order: who waits for those beside does not keep the others waiting
        let _alone = Some(held(ROUTES.write()));
        Turn {
            _alone,
            ..Turn::one()
        }
    }
}

/// Another test's failure is its own.
pub fn held<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}
