//! A container as the OCI runtime specification writes it, made from the pod's wishes and the image's config.
//!
//! Invariant: pure but for looking at which files exist; what cannot be done is refused here, before anything is made.
//! Follows what containerd's CRI plugin generates (`internal/cri/server/container_create_linux.go`, `pkg/oci/spec.go`). It is put down as the
//! specification shows it, and becomes `oci_spec`'s type at once: what does not conform goes no further.

use std::{
    collections::BTreeSet,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::{cgroup::Cgroups, failed, program::DEFAULT_PATH, seccomp, user::Identity};
use crate::{
    image::ImageConfig,
    runtime::{ContainerSpec, Error, Limits, Mount},
};

const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Everything that decides what the container will be.
pub struct Inputs<'a> {
    pub spec: &'a ContainerSpec,
    pub image: &'a ImageConfig,
    pub identity: &'a Identity,
    pub capabilities: &'a BTreeSet<String>,
    pub hostname: &'a str,
    /// Process id of the process that holds the pod's shared pid namespace.
    pub shared_pid: Option<i32>,
    pub host_pid: bool,
    /// Folder bound to `/dev/shm`.
    pub shm: &'a Path,
    pub cgroup: &'a str,
    pub cgroups: &'a Cgroups,
    pub rootfs: &'a Path,
}

/// The process's arguments by kubelet's rules: `command` replaces Entrypoint and Cmd, `args` replaces Cmd.
pub fn arguments(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, Error> {
    let (entrypoint, cmd) = match (spec.command.is_empty(), spec.args.is_empty()) {
        (false, _) => (&spec.command, &spec.args),
        (true, false) => (&image.entrypoint, &spec.args),
        (true, true) => (&image.entrypoint, &image.cmd),
    };
    let arguments: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    match arguments.is_empty() {
        false => Ok(arguments),
        true => Err(failed(
            "generate the container's spec",
            "no command specified",
        )),
    }
}

/// `NAME=value` lines: the image's, then the pod's over them, and what no process should be without.
pub fn environment(spec: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut set = |line: String| {
        let name = line.split('=').next().unwrap_or_default().to_owned() + "=";
        match lines.iter_mut().find(|have| have.starts_with(&name)) {
            Some(have) => *have = line,
            None => lines.push(line),
        }
    };
    set(format!("PATH={DEFAULT_PATH}"));
    set(format!("HOSTNAME={hostname}"));
    if spec.tty {
        set("TERM=xterm".to_owned());
    }
    image
        .env
        .iter()
        .filter(|line| line.contains('='))
        .for_each(|line| set(line.clone()));
    spec.env
        .iter()
        .for_each(|(name, value)| set(format!("{name}={value}")));
    lines
}

/// The folder that the process starts in.
pub fn working_dir(spec: &ContainerSpec, image: &ImageConfig) -> String {
    let dir = spec
        .working_dir
        .as_deref()
        .filter(|dir| !dir.is_empty())
        .unwrap_or(&image.working_dir);
    match dir.strip_prefix('/') {
        Some(_) => dir.to_owned(),
        None => format!("/{dir}"),
    }
}

/// The `config.json` of the container's bundle.
pub fn config(inputs: &Inputs<'_>) -> Result<Spec, Error> {
    let Inputs {
        spec,
        image,
        identity,
        ..
    } = inputs;
    seccomp::check(spec.security.seccomp.as_deref())?;
    // A pod that may do everything sees the machine's own /proc and /sys.
    let masked = !spec.security.privileged && !spec.security.unmasked_proc;
    let capabilities = granted(inputs);
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
        "args": arguments(spec, image)?,
        "env": environment(spec, image, inputs.hostname),
        "cwd": working_dir(spec, image),
        "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities, "inheritable": [], "ambient": [] },
    });
    // Absent and false are different to libcontainer.
    if spec.security.allow_privilege_escalation == Some(false) {
        process["noNewPrivileges"] = true.into();
    }
    let document = json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": { "path": inputs.rootfs, "readonly": spec.security.read_only_root },
        "mounts": mounts(inputs)?,
        "linux": {
            "namespaces": namespaces(inputs),
            "cgroupsPath": inputs.cgroup,
            "resources": resources(&spec.limits, spec.security.privileged, inputs.cgroups.is_v2()),
            "maskedPaths": if masked { &MASKED_PATHS[..] } else { &[] },
            "readonlyPaths": if masked { &READ_ONLY_PATHS[..] } else { &[] },
            "rootfsPropagation": if spec.mounts.iter().any(is_bidirectional) { "shared" } else { "slave" },
            "devices": if spec.security.privileged { host_devices() } else { Vec::new() },
        },
    });
    serde_json::from_value(document).map_err(|err| failed("generate the container's spec", err))
}

pub fn is_bidirectional(mount: &Mount) -> bool {
    mount.propagation == "Bidirectional"
}

/// Installing a seccomp filter and giving up the right to do so need two capabilities until just before `execve`, when our
/// own executor takes them away again.
fn granted(inputs: &Inputs<'_>) -> Vec<String> {
    let mut set = inputs.capabilities.clone();
    if seccomp::wanted(&inputs.spec.security) {
        set.extend(["CAP_SYS_ADMIN".to_owned(), "CAP_SETPCAP".to_owned()]);
    }
    set.into_iter().collect()
}

/// Those that are not named here (network, ipc, uts, or the host's) are inherited from the shim.
fn namespaces(inputs: &Inputs<'_>) -> Vec<Value> {
    let mut list = vec![json!({ "type": "mount" })];
    match (inputs.host_pid, inputs.shared_pid) {
        (true, _) => {}
        (false, Some(pid)) => {
            list.push(json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") }))
        }
        (false, None) => list.push(json!({ "type": "pid" })),
    }
    if inputs.cgroups.is_v2() {
        list.push(json!({ "type": "cgroup" }));
    }
    list
}

fn resources(limits: &Limits, privileged: bool, v2: bool) -> Value {
    let mut resources = json!({ "devices": [{ "allow": privileged, "access": "rwm" }] });
    let cpu = [
        ("shares", limits.cpu_shares.map(Value::from)),
        ("quota", limits.cpu_quota_us.map(Value::from)),
        ("period", limits.cpu_period_us.map(Value::from)),
    ];
    let cpu: serde_json::Map<String, Value> = cpu
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
    if !cpu.is_empty() {
        resources["cpu"] = cpu.into();
    }
    if let Some(bytes) = limits.memory_bytes {
        resources["memory"] = json!({ "limit": bytes });
        // No swap beyond the limit, where swap is accounted at all.
        if v2 || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists() {
            resources["memory"]["swap"] = bytes.into();
        }
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    resources
}

fn mounts(inputs: &Inputs<'_>) -> Result<Vec<Value>, Error> {
    let spec = inputs.spec;
    let hidden = |path: &str| {
        let mut places = spec.mounts.iter().map(|mount| &mount.container_path);
        places.any(|place| place == Path::new(path))
    };
    let system = if spec.security.privileged { "rw" } else { "ro" };
    let plain = ["nosuid", "noexec", "nodev"];
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
    ];
    let and = |more: &[&'static str]| [&plain[..], more].concat();
    let mut list = vec![
        mount("/proc", "proc", "proc", &plain),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/mqueue", "mqueue", "mqueue", &plain),
        mount("/sys", "sysfs", "sysfs", &and(&[system])),
    ];
    list.extend(cgroups(inputs, &and(&["relatime", system]))?);
    if !hidden("/dev/shm") {
        list.push(json!({ "destination": "/dev/shm", "type": "bind", "source": inputs.shm, "options": ["rbind", "rw", "nosuid", "noexec", "nodev"] }));
    }
    // A mount below another comes after it.
    let mut wanted: Vec<&Mount> = spec.mounts.iter().collect();
    wanted.sort_by_key(|mount| mount.container_path.components().count());
    for wish in wanted {
        list.push(bind(wish)?);
    }
    Ok(list)
}

/// What is seen of cgroups: the container's own, which only a privileged one may change.
///
/// Version 1's hierarchies are bound one by one: libcontainer would mount them writable whatever is asked for, and in a pid namespace that is not its
/// own it takes a process's number there for one of the machine's.
fn cgroups(inputs: &Inputs<'_>, options: &[&str]) -> Result<Vec<Value>, Error> {
    const PLACE: &str = "/sys/fs/cgroup";
    let Cgroups::V1(hierarchies) = inputs.cgroups else {
        return Ok(vec![mount(PLACE, "cgroup", "cgroup", options)]);
    };
    let bound = [&["bind", "rprivate"], options].concat();
    let (above, places) = if inputs.spec.security.privileged {
        let above = [options, &["mode=755"]].concat();
        let places = hierarchies.iter().cloned().collect();
        (mount(PLACE, "tmpfs", "tmpfs", &above), places)
    } else {
        // What is read-only takes no folders to mount on: the machine's own has them, and shows of itself nothing but their names.
        let places =
            real_places(hierarchies).map_err(|err| failed("generate the container's spec", err))?;
        (mount(PLACE, "bind", PLACE, &bound), places)
    };
    let group = inputs.cgroup.trim_start_matches('/');
    let hierarchy = |place: PathBuf| json!({ "destination": place, "type": "bind", "source": place.join(group), "options": bound });
    Ok([above]
        .into_iter()
        .chain(places.into_iter().map(hierarchy))
        .collect())
}

/// Where hierarchies are mounted that may be known by several names (`cpu` is a link to `cpu,cpuacct`).
fn real_places(hierarchies: &[PathBuf]) -> io::Result<BTreeSet<PathBuf>> {
    hierarchies.iter().map(std::fs::canonicalize).collect()
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn bind(wish: &Mount) -> Result<Value, Error> {
    if !wish.container_path.is_absolute() {
        let path = wish.container_path.display();
        return Err(failed(
            "mount",
            format!("mount path {path} is not absolute"),
        ));
    }
    let propagation = match wish.propagation.as_str() {
        "" | "None" => "rprivate",
        "HostToContainer" => "rslave",
        "Bidirectional" => "rshared",
        other => {
            return Err(failed(
                "mount",
                format!("unknown mount propagation {other:?}"),
            ));
        }
    };
    let mode = if wish.read_only { "ro" } else { "rw" };
    Ok(
        json!({ "destination": wish.container_path, "type": "bind", "source": wish.host_path, "options": ["rbind", propagation, mode] }),
    )
}

/// All device nodes of the machine, for privileged containers.
fn host_devices() -> Vec<Value> {
    let mut list = Vec::new();
    walk_devices(Path::new("/dev"), &mut list);
    list
}

fn walk_devices(folder: &Path, list: &mut Vec<Value>) {
    const SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = meta.file_type();
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            walk_devices(&path, list);
        } else if (kind.is_char_device() || kind.is_block_device()) && name != "console" {
            let (major, minor) = (
                nix::sys::stat::major(meta.rdev()),
                nix::sys::stat::minor(meta.rdev()),
            );
            let kind = if kind.is_block_device() { "b" } else { "c" };
            list.push(
                json!({ "path": path, "type": kind, "major": major, "minor": minor, "fileMode": meta.mode() & 0o777, "uid": meta.uid(), "gid": meta.gid() }),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use skiff_testing::With;

    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn command_and_args_replace_as_kubelet_says() {
        let image = ImageConfig::default().with(|i| {
            i.entrypoint = strings(&["/ep"]);
            i.cmd = strings(&["c"]);
        });
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &[], &["/ep", "c"]),
            (&["x"], &[], &["x"]),
            (&[], &["y"], &["/ep", "y"]),
            (&["x"], &["y"], &["x", "y"]),
        ];
        for (command, args, wanted) in cases {
            let spec = ContainerSpec::default().with(|c| {
                c.command = strings(command);
                c.args = strings(args);
            });
            assert_eq!(arguments(&spec, &image).unwrap(), wanted);
        }
        assert!(
            arguments(&ContainerSpec::default(), &ImageConfig::default())
                .unwrap_err()
                .to_string()
                .contains("no command specified")
        );
    }

    #[test]
    fn the_pod_overrides_the_image() {
        let image = ImageConfig::default().with(|i| {
            i.env = strings(&["A=1", "B=2", "PATH=/x"]);
            i.working_dir = "srv".into();
        });
        let spec = ContainerSpec::default().with(|c| {
            c.env = vec![("B".into(), "3=4".into())];
            c.tty = true;
        });
        assert_eq!(
            environment(&spec, &image, "h"),
            ["PATH=/x", "HOSTNAME=h", "TERM=xterm", "A=1", "B=3=4"]
        );
        assert_eq!(working_dir(&spec, &image), "/srv");
        assert_eq!(
            working_dir(&spec.with(|c| c.working_dir = Some("/w".into())), &image),
            "/w"
        );
    }

    #[test]
    fn odd_mounts_are_refused() {
        let wish = |place: &str, propagation: &str| {
            bind(&Mount {
                host_path: "/x".into(),
                container_path: place.into(),
                read_only: true,
                propagation: propagation.into(),
                image: None,
            })
        };
        let options = wish("/y", "HostToContainer").unwrap()["options"].clone();
        assert_eq!(options, json!(["rbind", "rslave", "ro"]));
        assert!(wish("y", "HostToContainer").is_err() && wish("/y", "Sideways").is_err());
    }
}
