//! The cgroups of pods and containers: made, limited, emptied, removed; in version 1's hierarchies or in version 2's (`measure.rs` measures them).
//!
//! Invariant: everything lies below the runtime's one parent, and removal leaves nothing, in no hierarchy.
//! Follows `pkg/kubelet/cm/cgroup_manager_linux.go` and runc's conversions from version 1's units.
//! `libcgroups`, which libcontainer brings along, is for the one group of a process: it makes a group only by putting a process into it, reads all
//! controllers or none, and knows neither pods' groups (limits without a process) nor emptying, pruning, `memory.oom.group` and a unit to leave.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    outcome::{self, IfThere},
    runtime::Limits,
};

const ROOT: &str = "/sys/fs/cgroup";
// What statfs answers has another type on each architecture.
const CGROUP2_MAGIC: i64 = 0x6367_7270;
/// Version 1's hierarchies that libcontainer, too, makes groups in.
const V1_CONTROLLERS: [&str; 10] = [
    "cpu",
    "cpuacct",
    "memory",
    "pids",
    "devices",
    "freezer",
    "blkio",
    "cpuset",
    "hugetlb",
    "perf_event",
];
/// How long removal waits for the last process to be gone.
const REMOVAL: Duration = Duration::from_secs(2);

/// How this machine's cgroups are mounted. A version-2 hierarchy without controllers beside version 1 counts as version 1.
#[derive(Clone, Debug)]
pub enum Cgroups {
    V1(Vec<PathBuf>),
    V2(PathBuf),
}

impl Cgroups {
    #[allow(clippy::unnecessary_cast)]
    pub fn detect() -> io::Result<Self> {
        let kind = nix::sys::statfs::statfs(ROOT)?.filesystem_type();
        if kind.0 as i64 == CGROUP2_MAGIC {
            return Ok(Self::V2(PathBuf::from(ROOT)));
        }
        let mounts: Vec<PathBuf> = V1_CONTROLLERS
            .iter()
            .map(|name| Path::new(ROOT).join(name))
            .filter(|path| path.join("cgroup.procs").exists())
            .collect();
        match mounts.is_empty() {
            false => Ok(Self::V1(mounts)),
            true => Err(io::Error::other(
                "no cgroup hierarchy is mounted under /sys/fs/cgroup",
            )),
        }
    }

    /// Whether this is version 2, where devices are guarded by a program and containers have a cgroup namespace.
    pub fn is_v2(&self) -> bool {
        matches!(self, Self::V2(_))
    }

    /// Folders of one group in all hierarchies.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let relative = group.trim_start_matches('/');
        match self {
            Self::V1(mounts) => mounts.iter().map(|mount| mount.join(relative)).collect(),
            Self::V2(root) => vec![root.join(relative)],
        }
    }

    /// The group's folder where `controller` is.
    pub fn folder(&self, controller: &str, group: &str) -> PathBuf {
        let relative = group.trim_start_matches('/');
        match self {
            Self::V1(_) => Path::new(ROOT).join(controller).join(relative),
            Self::V2(root) => root.join(relative),
        }
    }

    /// Makes a group with limits, and on version 2 hands the controllers down to it.
    pub fn create(&self, group: &str, limits: &Limits) -> io::Result<()> {
        match self {
            Self::V1(mounts) => {
                for folder in self
                    .folders(group)
                    .iter()
                    .filter(|folder| !folder.starts_with(Path::new(ROOT).join("cpuset")))
                {
                    fs::create_dir_all(folder)?;
                }
                debug_assert!(!mounts.is_empty());
            }
            Self::V2(root) => hand_down(root, group)?,
        }
        self.limit(group, limits)
    }

    /// Sets those limits of a group that `limits` has.
    pub fn limit(&self, group: &str, limits: &Limits) -> io::Result<()> {
        if let (Self::V1(_), Some(bytes)) = (self, limits.memory_bytes) {
            make_room_for_swap(&self.folder("memory", group), bytes)?;
        }
        for (controller, file, value) in self.files(limits) {
            write(&self.folder(controller, group).join(file), &value)?;
        }
        Ok(())
    }

    /// Which file holds which limit: (controller, file, value).
    fn files(&self, limits: &Limits) -> Vec<(&'static str, &'static str, String)> {
        let max = |n: i64| {
            if n < 0 {
                "max".to_owned()
            } else {
                n.to_string()
            }
        };
        let Limits {
            cpu_shares,
            cpu_quota_us,
            cpu_period_us,
            memory_bytes,
            pids,
            ..
        } = *limits;
        let values = match self {
            Self::V1(_) => vec![
                ("cpu", "cpu.shares", cpu_shares.map(|n| n.to_string())),
                (
                    "cpu",
                    "cpu.cfs_period_us",
                    cpu_period_us.map(|n| n.to_string()),
                ),
                (
                    "cpu",
                    "cpu.cfs_quota_us",
                    cpu_quota_us.map(|n| n.to_string()),
                ),
                (
                    "memory",
                    "memory.limit_in_bytes",
                    memory_bytes.map(|n| n.to_string()),
                ),
                ("pids", "pids.max", pids.map(max)),
            ],
            Self::V2(_) => {
                let period = cpu_period_us.unwrap_or(100_000);
                vec![
                    (
                        "cpu",
                        "cpu.weight",
                        cpu_shares.map(|n| weight(n).to_string()),
                    ),
                    (
                        "cpu",
                        "cpu.max",
                        cpu_quota_us.map(|n| format!("{} {period}", max(n))),
                    ),
                    ("memory", "memory.max", memory_bytes.map(max)),
                    ("pids", "pids.max", pids.map(max)),
                ]
            }
        };
        let set = |(controller, file, value): (_, _, Option<_>)| Some((controller, file, value?));
        values.into_iter().filter_map(set).collect()
    }

    /// Moves this process out of the unit that systemd has its agent in, so that the end of the one is not that of the other.
    /// Outside of all units there is nothing to leave, and moving costs milliseconds.
    pub fn leave_unit(&self, group: &str) -> io::Result<()> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let marker = if self.is_v2() { "0::" } else { "name=systemd:" };
        let unit = own
            .lines()
            .find_map(|line| line.split_once(marker).map(|(_, path)| path));
        if unit.is_none_or(|path| path == "/") {
            return Ok(());
        }
        let folder = match self {
            Self::V1(_) => Path::new(ROOT)
                .join("systemd")
                .join(group.trim_start_matches('/')),
            Self::V2(root) => {
                hand_down(root, group)?;
                root.join(group.trim_start_matches('/'))
            }
        };
        fs::create_dir_all(&folder)?;
        write(&folder.join("cgroup.procs"), "0")
    }

    /// Process ids in the group itself.
    pub fn processes(&self, group: &str) -> Vec<i32> {
        let text = fs::read_to_string(self.folder("memory", group).join("cgroup.procs"))
            .unwrap_or_default();
        text.lines()
            .filter_map(|line| line.parse().ok())
            .filter(|pid| *pid > 0)
            .collect()
    }

    /// Kills all that is in the group; new processes that come up meanwhile are for the next call.
    pub fn kill(&self, group: &str) {
        if self.is_v2() && write(&self.folder("", group).join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for pid in self.processes(group) {
            outcome::kill_if_alive(pid, Signal::SIGKILL);
        }
    }

    /// How often the kernel has killed for lack of memory in the group.
    pub fn oom_kills(&self, group: &str) -> u64 {
        let file = if self.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        Fields::read(&self.folder("memory", group).join(file))
            .map_or(0, |fields| fields.or_zero("oom_kill"))
    }

    /// When the kernel must kill for lack of memory, it kills the whole container (kubelet's default on version 2).
    pub fn kill_together(&self, group: &str) -> io::Result<()> {
        match self {
            Self::V1(_) => Ok(()),
            Self::V2(_) => write(&self.folder("memory", group).join("memory.oom.group"), "1"),
        }
    }

    /// Removes the group and those below it, killing what is left in them. Blocks for at most two seconds a hierarchy.
    pub fn remove(&self, group: &str) -> io::Result<()> {
        let mut first = None;
        for folder in self.folders(group) {
            if let Err(err) = remove_tree(&folder) {
                first.get_or_insert(io::Error::new(
                    err.kind(),
                    format!("{}: {err}", folder.display()),
                ));
            }
        }
        first.map_or(Ok(()), Err)
    }
}

impl Cgroups {
    /// Removes the groups below `group`, and itself, as far as they are empty; then its parents.
    pub fn prune(&self, group: &str) {
        let mut folders = self.folders(group);
        if !self.is_v2() {
            folders.push(
                Path::new(ROOT)
                    .join("systemd")
                    .join(group.trim_start_matches('/')),
            );
        }
        for folder in folders {
            prune_tree(&folder);
            // The parent is ours, too, when its name is (`skiff/<instance>`); one in use refuses.
            for (above, _) in folder
                .ancestors()
                .skip(1)
                .zip(group.trim_matches('/').split('/').skip(1))
            {
                remove_if_empty(above);
            }
        }
    }
}

/// Empty folders only: the kernel refuses to remove others.
fn prune_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            prune_tree(&entry.path());
        }
    }
    remove_if_empty(folder);
}

/// The kernel refuses to remove a group that is in use.
fn remove_if_empty(folder: &Path) {
    fs::remove_dir(folder).ok();
}

/// cpu.shares 2..=262144 to cpu.weight 1..=10000, by the formula that runc and kubelet use.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

/// Version 1 does not let memory be more than memory and swap together: where that has a limit, it is raised first.
fn make_room_for_swap(folder: &Path, bytes: i64) -> io::Result<()> {
    const UNLIMITED: u64 = 1 << 62;
    let file = folder.join("memory.memsw.limit_in_bytes");
    // Where it is not there, swap is not accounted on this machine.
    match number(&file).if_there()? {
        Some(limit) if limit < UNLIMITED && u64::try_from(bytes).is_ok_and(|n| n > limit) => {
            write(&file, &bytes.to_string())
        }
        _ => Ok(()),
    }
}

/// Makes the groups on the way to `group` and enables all controllers in each for those below.
fn hand_down(root: &Path, group: &str) -> io::Result<()> {
    let controllers: Vec<String> = fs::read_to_string(root.join("cgroup.controllers"))?
        .split_whitespace()
        .map(|c| format!("+{c}"))
        .collect();
    let enable = |folder: &Path| {
        let file = folder.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&file)?;
        for controller in controllers
            .iter()
            .filter(|c| !enabled.split_whitespace().any(|e| e == &c[1..]))
        {
            write(&file, controller)?;
        }
        Ok(())
    };
    let enabled: io::Result<()> = enable(root);
    if enabled
        .as_ref()
        .is_err_and(|err| err.kind() == io::ErrorKind::ResourceBusy)
    {
        // This is a container's own hierarchy: processes in its root must make way first.
        evacuate(root)?;
        enable(root)?;
    } else {
        enabled?;
    }
    let mut folder = root.to_owned();
    let parts: Vec<&str> = group.split('/').filter(|part| !part.is_empty()).collect();
    for (i, part) in parts.iter().enumerate() {
        folder.push(part);
        if let Err(err) = fs::create_dir(&folder)
            && err.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(err);
        }
        if i + 1 < parts.len() {
            enable(&folder)?;
        }
    }
    Ok(())
}

fn evacuate(root: &Path) -> io::Result<()> {
    let refuge = root.join("init");
    fs::create_dir_all(&refuge)?;
    for pid in fs::read_to_string(root.join("cgroup.procs"))?.lines() {
        // A process that has just ended is no obstacle.
        match write(&refuge.join("cgroup.procs"), pid) {
            Err(err) if err.raw_os_error() != Some(libc::ESRCH) => {
                tracing::debug!(%err, pid, "process not moved out of the root cgroup");
            }
            _ => {}
        }
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder).if_there()?.into_iter().flatten() {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    let deadline = Instant::now() + REMOVAL;
    loop {
        match fs::remove_dir(folder) {
            Err(err) if err.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                for pid in fs::read_to_string(folder.join("cgroup.procs"))
                    .unwrap_or_default()
                    .lines()
                    .filter_map(|line| line.parse().ok())
                {
                    outcome::kill_if_alive(pid, Signal::SIGKILL);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            removed => return removed.if_there().map(drop),
        }
    }
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    fs::write(path, value)
        .map_err(|err| io::Error::new(err.kind(), format!("{}: {err}", path.display())))
}

/// A file that holds a number and nothing else.
pub(super) fn number(path: &Path) -> io::Result<u64> {
    fs::read_to_string(path)?
        .trim()
        .parse()
        .map_err(io::Error::other)
}

/// A file of lines `name value`.
pub(super) struct Fields(pub String);

impl Fields {
    /// `None`: there is no such file.
    pub fn read(path: &Path) -> Option<Self> {
        fs::read_to_string(path).ok().map(Self)
    }

    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            value.trim().parse().ok()
        })
    }

    pub fn or_zero(&self, name: &str) -> u64 {
        self.get(name).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        for (shares, wanted) in [(2, 1), (1_024, 39), (262_144, 10_000), (0, 1)] {
            assert_eq!(weight(shares), wanted, "{shares}");
        }
    }

    #[test]
    fn limits_go_into_the_files_of_the_version() {
        let limits = Limits {
            cpu_shares: Some(1_024),
            cpu_quota_us: Some(50_000),
            memory_bytes: Some(-1),
            pids: Some(9),
            ..Limits::default()
        };
        let lines = |cgroups: Cgroups| {
            let files = cgroups.files(&limits).into_iter();
            files
                .map(|(_, file, value)| format!("{file}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            lines(Cgroups::V1(vec![])),
            "cpu.shares=1024 cpu.cfs_quota_us=50000 memory.limit_in_bytes=-1 pids.max=9"
        );
        assert_eq!(
            lines(Cgroups::V2("/".into())),
            "cpu.weight=39 cpu.max=50000 100000 memory.max=max pids.max=9"
        );
    }
}
