//! What the machine is and has.
//!
//! Invariant: read once when the agent starts; capacity that was configured wins over what was found.
//! Follows `pkg/kubelet/nodestatus/setters.go` and cadvisor's machine info.

use std::{collections::BTreeMap, path::Path};

use k8s_openapi::{api::core::v1::NodeSystemInfo, apimachinery::pkg::api::resource::Quantity};
use skiff_podspec::resources::{List, get};

use crate::config::Config;

/// The machine of a node.
#[derive(Clone, Debug)]
pub struct Machine {
    pub capacity: List,
    pub info: NodeSystemInfo,
    /// Bytes of memory, as OOM scores are reckoned from.
    pub memory: i64,
}

impl Machine {
    /// Looks at the machine. `runtime`: the runtime's version.
    pub fn read(config: &Config, runtime: &str) -> Self {
        let memory_kib = memory_kib();
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
        let mut capacity: List = BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{memory_kib}Ki"))),
            (
                "ephemeral-storage".to_owned(),
                Quantity(format!("{}Ki", disk_kib(&config.data_dir))),
            ),
            ("hugepages-1Gi".to_owned(), Quantity("0".to_owned())),
            ("hugepages-2Mi".to_owned(), Quantity("0".to_owned())),
        ]);
        capacity.extend(
            config
                .capacity
                .iter()
                .map(|(name, value)| (name.clone(), Quantity(value.clone()))),
        );
        capacity.insert("pods".to_owned(), Quantity(config.max_pods.to_string()));
        let memory = get(Some(&capacity), "memory")
            .ok()
            .flatten()
            .map_or(memory_kib * 1024, |memory| memory.value());
        Self {
            capacity,
            info: info(runtime),
            memory,
        }
    }
}

fn memory_kib() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn disk_kib(dir: &Path) -> u64 {
    let found = dir
        .ancestors()
        .find(|dir| dir.exists())
        .and_then(|dir| nix::sys::statvfs::statvfs(dir).ok());
    found.map_or(0, |disk| disk.blocks() * disk.fragment_size() / 1024)
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn info(runtime: &str) -> NodeSystemInfo {
    let machine_id = line("/etc/machine-id");
    let uuid = line("/sys/class/dmi/id/product_uuid");
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned());
    NodeSystemInfo {
        system_uuid: if uuid.is_empty() {
            machine_id.clone()
        } else {
            uuid
        },
        machine_id,
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        kernel_version: line("/proc/sys/kernel/osrelease"),
        os_image: pretty.unwrap_or_else(|| "Linux".to_owned()),
        operating_system: "linux".to_owned(),
        architecture: architecture().to_owned(),
        container_runtime_version: runtime.to_owned(),
        kubelet_version: "v1.36.2".to_owned(),
        kube_proxy_version: String::new(),
        swap: None,
    }
}

/// As Go names it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
