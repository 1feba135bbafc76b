//! What the process uses, as the system tells it, and which program it is.
//!
//! Invariant: what the system does not tell is left out.
//! Follows Prometheus' `process_collector` and `staging/src/k8s.io/component-base/metrics/version.go`.

use skiff_api::machinery::read::Read;

use super::{family, single};

/// The system counts processor time in hundredths of a second (`USER_HZ`), which programs are promised.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// The fields of `/proc/self/stat` after the program's name, which may hold blanks.
fn stat(text: &str) -> Option<Vec<&str>> {
    Some(text.rsplit_once(')')?.1.split_whitespace().collect())
}

/// What `/proc/self/limits` says of virtual memory.
fn most_virtual(limits: &str) -> Option<i64> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max address space"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(-1),
        bytes => bytes.parse().ok(),
    }
}

/// Its families; `version`: what `/version` tells.
pub fn text(text: &mut String, version: &serde_json::Value) {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let own = read("/proc/self/stat");
    let fields = own.as_deref().and_then(stat).unwrap_or_default();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (number(11), number(12)) {
        let seconds = (user + system) as f64 / TICKS;
        let name = "process_cpu_seconds_total";
        single(text, name, "counter", "Seconds of processor time.", seconds);
    }
    if let Some(bytes) = number(20) {
        let name = "process_virtual_memory_bytes";
        single(text, name, "gauge", "Bytes of virtual memory.", bytes);
    }
    let (name, help) = (
        "process_virtual_memory_max_bytes",
        "Bytes of virtual memory that it may have; -1: as many as there are.",
    );
    let limits = read("/proc/self/limits");
    if let Some(most) = limits.as_deref().and_then(most_virtual) {
        single(text, name, "gauge", help, most);
    }
    if let Some(pages) = number(21) {
        let name = "process_resident_memory_bytes";
        single(
            text,
            name,
            "gauge",
            "Bytes of memory that are there.",
            pages * PAGE,
        );
    }
    let started = read("/proc/stat").and_then(|all| {
        let booted = all.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(booted.parse::<u64>().ok()? as f64 + number(19)? as f64 / TICKS)
    });
    if let Some(started) = started {
        let (name, help) = (
            "process_start_time_seconds",
            "When the process began, in seconds of Unix time.",
        );
        single(text, name, "gauge", help, started);
    }
    descriptors(text);
    build_info(text, version);
}

fn descriptors(text: &mut String) {
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let name = "process_open_fds";
        single(
            text,
            name,
            "gauge",
            "File descriptors that are open.",
            open.count(),
        );
    }
    let limits = std::fs::read_to_string("/proc/self/limits").ok();
    let most = limits.and_then(|limits| {
        let mut lines = limits.lines();
        let most = lines.find_map(|line| line.strip_prefix("Max open files"))?;
        most.split_whitespace().next()?.parse::<u64>().ok()
    });
    if let Some(most) = most {
        single(
            text,
            "process_max_fds",
            "gauge",
            "The most file descriptors that may be open.",
            most,
        );
    }
}

fn build_info(text: &mut String, version: &serde_json::Value) {
    const LABELS: [(&str, &str); 9] = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ];
    let labels = LABELS.map(|(label, field)| format!("{label}={:?}", version.text(field)));
    let name = "kubernetes_build_info";
    family(text, name, "gauge", "Which program this is; always 1.");
    *text += &format!("{name}{{{}}} 1\n", labels.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let fields = stat("7 (a b) c) S 1 2 3").unwrap();
        assert_eq!(fields, ["S", "1", "2", "3"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_of_this_process() {
        let mut out = String::new();
        text(&mut out, &serde_json::json!({"gitVersion": "v1"}));
        for name in [
            "process_cpu_seconds_total",
            "process_virtual_memory_bytes",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
            "process_max_fds",
        ] {
            let line = out
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value: f64 = line
                .unwrap_or_else(|| panic!("{name}: {out}"))
                .parse()
                .unwrap();
            assert!(value >= 0.0, "{name}");
        }
        assert!(out.contains("git_version=\"v1\""), "{out}");
    }
}
