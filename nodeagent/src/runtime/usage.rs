//! What containers, pods and the machine use, as runtimes tell it.
//!
//! Invariant: what the kernel does not tell is absent, never nought. Units stand in the names.
//! Follows `info/v1/container.go` of cadvisor (ContainerStats).

use jiff::Timestamp;

/// What a container, a pod or the machine uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// When it was read.
    pub at: Timestamp,
    /// So far.
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
    /// Memory without the file cache that can be given back at once.
    pub working_set_bytes: u64,
    pub memory: Memory,
    pub swap: Option<Swap>,
    /// What is read only where all is asked for.
    pub more: Option<More>,
}

/// What memory is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub rss_bytes: u64,
    pub cache_bytes: u64,
    pub mapped_bytes: u64,
    pub active_file_bytes: u64,
    pub inactive_file_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    /// `None`: as much as there is.
    pub limit_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    pub used_bytes: u64,
    /// `None`: as much as there is.
    pub limit_bytes: Option<u64>,
}

/// What is of interest now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct More {
    pub user_nanoseconds: u64,
    pub system_nanoseconds: u64,
    pub throttling: Option<Throttling>,
    pub processes: Option<u64>,
    pub threads: Option<u64>,
    /// How often a limit of memory was hit, and the most that was ever used.
    pub limit_hits: Option<u64>,
    pub most_bytes: Option<u64>,
    pub kernel_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
    pub cpu_pressure: Option<Pressure>,
    pub memory_pressure: Option<Pressure>,
    pub io_pressure: Option<Pressure>,
}

/// How its share of CPU time was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_nanoseconds: u64,
}

/// How long work waited for a resource: some of it, and all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    pub some: Stall,
    pub full: Stall,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    pub total_microseconds: u64,
    /// Percent of the last seconds.
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
}

/// How much is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// CPU, memory and swap.
    Main,
    All,
}

/// A pod and its containers, to be measured.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    pub sandbox: String,
    /// As [`super::SandboxSpec::cgroup`].
    pub cgroup: String,
    pub containers: Vec<String>,
}

/// What was measured at once.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub machine: Usage,
    /// In the order in which they were asked for.
    pub pods: Vec<OfPod>,
}

/// `None`: it is gone.
#[derive(Clone, Debug, Default)]
pub struct OfPod {
    pub whole: Option<Usage>,
    /// In the order in which they were asked for.
    pub containers: Vec<Option<Usage>>,
}
