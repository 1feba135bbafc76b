//! What a cgroup uses, read out of version 1's files or version 2's.
//!
//! Invariant: a group that is gone is an error; a file that this kernel has not leaves what it tells absent.
//! Follows `container/libcontainer/handler.go` of cadvisor, and `fs` and `fs2` of runc's cgroups for the files.

use std::{fs, io, path::Path};

use super::cgroup::{Cgroups, Fields, number};
use crate::{
    runtime::{
        Depth, Groups, Measured, Memory, More, OfPod, Pressure, Stall, Swap, Throttling, Usage,
    },
    time,
};

/// Limits above this are none: version 1 rounds the largest number to pages.
const UNLIMITED: u64 = 1 << 62;
/// Clock ticks of a second, in which version 1 counts user and system time.
const TICK: u64 = 10_000_000;

/// A limit; `max`, or more than there can be, is none.
fn limit(path: &Path) -> Option<u64> {
    number(path).ok().filter(|limit| *limit < UNLIMITED)
}

impl Cgroups {
    /// All of these. What has ended meanwhile is absent.
    pub fn measure(&self, parent: &str, pods: &[Groups], depth: Depth) -> Measured {
        let parent = parent.trim_matches('/');
        let of_pod = |pod: &Groups| {
            let group = format!("{parent}/{}", pod.cgroup.trim_matches('/'));
            let containers = pod.containers.iter();
            OfPod {
                whole: self.usage(&group, depth).ok(),
                containers: containers
                    .map(|id| self.usage(&format!("{group}/{id}"), depth).ok())
                    .collect(),
            }
        };
        Measured {
            machine: self.machine(depth),
            pods: pods.iter().map(of_pod).collect(),
        }
    }

    /// The working set is usage without the inactive file cache, as cadvisor counts it.
    pub fn usage(&self, group: &str, depth: Depth) -> io::Result<Usage> {
        let memory = self.folder("memory", group);
        let used = match self {
            Self::V1(_) => number(&memory.join("memory.usage_in_bytes"))?,
            Self::V2(_) => number(&memory.join("memory.current"))?,
        };
        let stat = Fields::read(&memory.join("memory.stat")).unwrap_or(Fields(String::new()));
        let at = time::now();
        let cpu = match self {
            Self::V1(_) => number(&self.folder("cpuacct", group).join("cpuacct.usage"))?,
            Self::V2(_) => {
                let file = self.folder("cpu", group).join("cpu.stat");
                let stat = Fields::read(&file).and_then(|stat| stat.get("usage_usec"));
                stat.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))? * 1_000
            }
        };
        let what = self.memory(&memory, &stat);
        Ok(Usage {
            at,
            cpu_nanoseconds: cpu,
            memory_bytes: used,
            working_set_bytes: used.saturating_sub(what.inactive_file_bytes),
            memory: what,
            swap: self.swap(&memory, &stat),
            more: (depth == Depth::All).then(|| self.more(group)),
        })
    }

    fn memory(&self, folder: &Path, stat: &Fields) -> Memory {
        let (prefix, names, max) = match self {
            Self::V1(_) => (
                "total_",
                ["rss", "cache", "mapped_file"],
                "memory.limit_in_bytes",
            ),
            Self::V2(_) => ("", ["anon", "file", "file_mapped"], "memory.max"),
        };
        let of = |name: &str| stat.or_zero(&format!("{prefix}{name}"));
        let [rss, cache, mapped] = names.map(of);
        Memory {
            rss_bytes: rss,
            cache_bytes: cache,
            mapped_bytes: mapped,
            active_file_bytes: of("active_file"),
            inactive_file_bytes: of("inactive_file"),
            page_faults: of("pgfault"),
            major_page_faults: of("pgmajfault"),
            limit_bytes: limit(&folder.join(max)),
        }
    }

    /// `None`: swap is not accounted on this machine.
    fn swap(&self, folder: &Path, stat: &Fields) -> Option<Swap> {
        match self {
            Self::V1(_) => {
                let together = folder.join("memory.memsw.limit_in_bytes");
                let used_bytes = stat.get("total_swap").filter(|_| together.exists())?;
                let memory = limit(&folder.join("memory.limit_in_bytes"));
                let limit_bytes =
                    limit(&together).map(|both| both.saturating_sub(memory.unwrap_or(0)));
                Some(Swap {
                    used_bytes,
                    limit_bytes,
                })
            }
            Self::V2(_) => Some(Swap {
                used_bytes: number(&folder.join("memory.swap.current")).ok()?,
                limit_bytes: limit(&folder.join("memory.swap.max")),
            }),
        }
    }

    fn more(&self, group: &str) -> More {
        let (memory, cpu) = (self.folder("memory", group), self.folder("cpu", group));
        let processes = fs::read_to_string(memory.join("cgroup.procs")).ok();
        let mut more = More {
            processes: processes.map(|text| text.lines().count() as u64),
            threads: number(&self.folder("pids", group).join("pids.current")).ok(),
            ..More::default()
        };
        let stat = Fields::read(&cpu.join("cpu.stat"));
        match self {
            Self::V1(_) => {
                let times = Fields::read(&self.folder("cpuacct", group).join("cpuacct.stat"));
                let time = |name| times.as_ref().map_or(0, |times| times.or_zero(name)) * TICK;
                (more.user_nanoseconds, more.system_nanoseconds) = (time("user"), time("system"));
                more.throttling = stat.map(|stat| throttling(&stat, "throttled_time", 1));
                more.limit_hits = number(&memory.join("memory.failcnt")).ok();
                more.most_bytes = number(&memory.join("memory.max_usage_in_bytes")).ok();
                more.kernel_bytes = number(&memory.join("memory.kmem.usage_in_bytes")).ok();
                let control = Fields::read(&memory.join("memory.oom_control"));
                more.oom_kills = control.and_then(|control| control.get("oom_kill"));
            }
            Self::V2(_) => {
                let time = |name| stat.as_ref().map_or(0, |stat| stat.or_zero(name)) * 1_000;
                (more.user_nanoseconds, more.system_nanoseconds) =
                    (time("user_usec"), time("system_usec"));
                more.throttling = stat
                    .filter(|stat| stat.get("nr_periods").is_some())
                    .map(|stat| throttling(&stat, "throttled_usec", 1_000));
                let events = Fields::read(&memory.join("memory.events"));
                let event = |name| events.as_ref().and_then(|events| events.get(name));
                (more.limit_hits, more.oom_kills) = (event("max"), event("oom_kill"));
                more.most_bytes = number(&memory.join("memory.peak")).ok();
                let stat = Fields::read(&memory.join("memory.stat"));
                more.kernel_bytes = stat.and_then(|stat| stat.get("kernel"));
                let pressure = |file: &str| pressure(&cpu.join(file));
                more.cpu_pressure = pressure("cpu.pressure");
                more.memory_pressure = pressure("memory.pressure");
                more.io_pressure = pressure("io.pressure");
            }
        }
        more
    }

    /// The whole machine, by its root group where that has figures, else by what the kernel tells of memory.
    fn machine(&self, depth: Depth) -> Usage {
        let root = self.usage("", Depth::Main);
        let mut usage = root.unwrap_or_else(|_| self.by_meminfo());
        usage.memory.limit_bytes = None;
        usage.swap = swap_of(&meminfo());
        if depth == Depth::All {
            usage.more = Some(More {
                throttling: None,
                cpu_pressure: pressure(Path::new("/proc/pressure/cpu")),
                memory_pressure: pressure(Path::new("/proc/pressure/memory")),
                io_pressure: pressure(Path::new("/proc/pressure/io")),
                ..self.more("")
            });
        }
        usage
    }

    /// Version 2's root group has no figures of memory but `memory.stat`.
    fn by_meminfo(&self) -> Usage {
        let stat = Fields::read(&self.folder("memory", "").join("memory.stat"));
        let stat = stat.unwrap_or(Fields(String::new()));
        let memory = self.memory(Path::new("/"), &stat);
        let known = meminfo();
        let used = known.kib("MemTotal").saturating_sub(known.kib("MemFree")) * 1024;
        let cpu = Fields::read(&self.folder("cpu", "").join("cpu.stat"));
        Usage {
            at: time::now(),
            cpu_nanoseconds: cpu.map_or(0, |cpu| cpu.or_zero("usage_usec")) * 1_000,
            memory_bytes: used,
            working_set_bytes: used.saturating_sub(memory.inactive_file_bytes),
            memory,
            ..Usage::default()
        }
    }
}

/// `/proc/meminfo`.
struct Meminfo(String);

fn meminfo() -> Meminfo {
    Meminfo(fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

impl Meminfo {
    fn kib(&self, name: &str) -> u64 {
        let line = self.0.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix(':')?;
            rest.trim().strip_suffix(" kB")?.parse().ok()
        });
        line.unwrap_or(0)
    }
}

fn swap_of(known: &Meminfo) -> Option<Swap> {
    let total = known.kib("SwapTotal");
    Some(Swap {
        used_bytes: total.saturating_sub(known.kib("SwapFree")) * 1024,
        limit_bytes: Some(total * 1024),
    })
}

fn throttling(stat: &Fields, time: &str, nanoseconds: u64) -> Throttling {
    Throttling {
        periods: stat.or_zero("nr_periods"),
        throttled_periods: stat.or_zero("nr_throttled"),
        throttled_nanoseconds: stat.or_zero(time) * nanoseconds,
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`.
fn pressure(path: &Path) -> Option<Pressure> {
    let text = fs::read_to_string(path).ok()?;
    let stall = |which: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(which));
        let value = |name: &str| {
            let pairs = line.unwrap_or_default().split_whitespace();
            pairs
                .filter_map(|pair| pair.split_once('='))
                .find(|(have, _)| *have == name)
                .map(|(_, value)| value)
        };
        let share = |name| {
            value(name)
                .and_then(|value| value.parse().ok())
                .unwrap_or(0.0)
        };
        Stall {
            total_microseconds: value("total")
                .and_then(|value| value.parse().ok())
                .unwrap_or(0),
            avg10: share("avg10"),
            avg60: share("avg60"),
            avg300: share("avg300"),
        }
    };
    Some(Pressure {
        some: stall("some"),
        full: stall("full"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hierarchy of version 2 as a kernel has it, in a folder.
    fn version2(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroups) {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("g");
        fs::create_dir(&group).unwrap();
        for (name, text) in files {
            fs::write(group.join(name), text).unwrap();
        }
        let cgroups = Cgroups::V2(root.path().to_owned());
        (root, cgroups)
    }

    #[test]
    fn version_2() {
        let files = [
            ("memory.current", "1000\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "5\n"),
            ("memory.swap.max", "50\n"),
            ("memory.peak", "2000\n"),
            (
                "memory.stat",
                "anon 600\nfile 300\nkernel 7\nfile_mapped 20\ninactive_file 100\nactive_file 200\npgfault 9\npgmajfault 1\n",
            ),
            ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
            (
                "cpu.stat",
                "usage_usec 70\nuser_usec 40\nsystem_usec 30\nnr_periods 10\nnr_throttled 4\nthrottled_usec 25\n",
            ),
            (
                "cpu.pressure",
                "some avg10=1.50 avg60=0.25 avg300=0.00 total=44\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=11\n",
            ),
            ("pids.current", "6\n"),
            ("cgroup.procs", "1\n2\n3\n"),
        ];
        let (_root, cgroups) = version2(&files);
        let usage = cgroups.usage("/g", Depth::All).unwrap();
        assert_eq!(
            (
                usage.cpu_nanoseconds,
                usage.memory_bytes,
                usage.working_set_bytes
            ),
            (70_000, 1000, 900)
        );
        assert_eq!(
            (
                usage.memory.rss_bytes,
                usage.memory.cache_bytes,
                usage.memory.mapped_bytes
            ),
            (600, 300, 20)
        );
        assert_eq!(
            (
                usage.memory.page_faults,
                usage.memory.major_page_faults,
                usage.memory.limit_bytes
            ),
            (9, 1, None)
        );
        let swap = usage.swap.unwrap();
        assert_eq!((swap.used_bytes, swap.limit_bytes), (5, Some(50)));
        let more = usage.more.unwrap();
        assert_eq!(
            (more.user_nanoseconds, more.system_nanoseconds),
            (40_000, 30_000)
        );
        assert_eq!(
            (
                more.processes,
                more.threads,
                more.limit_hits,
                more.oom_kills
            ),
            (Some(3), Some(6), Some(3), Some(1))
        );
        let throttling = more.throttling.unwrap();
        assert_eq!(
            (
                throttling.periods,
                throttling.throttled_periods,
                throttling.throttled_nanoseconds
            ),
            (10, 4, 25_000)
        );
        let pressure = more.cpu_pressure.unwrap();
        assert_eq!(
            (
                pressure.some.avg10,
                pressure.some.total_microseconds,
                pressure.full.total_microseconds
            ),
            (1.5, 44, 11)
        );
        assert_eq!(
            (more.io_pressure, more.kernel_bytes, more.most_bytes),
            (None, Some(7), Some(2000))
        );
        assert_eq!(cgroups.usage("/g", Depth::Main).unwrap().more, None);
        assert!(cgroups.usage("/gone", Depth::Main).is_err());
    }

    #[test]
    fn this_machine() {
        let Ok(cgroups) = Cgroups::detect() else {
            return skiff_testing::skipped("needs cgroups");
        };
        let (first, second) = (cgroups.machine(Depth::All), cgroups.machine(Depth::Main));
        assert!(first.memory_bytes > 1 << 20 && first.working_set_bytes > 1 << 20);
        assert!(first.cpu_nanoseconds > 0 && second.cpu_nanoseconds >= first.cpu_nanoseconds);
        assert!(first.more.is_some() && second.more.is_none());
    }
}
