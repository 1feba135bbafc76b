//! What a container's process may do.

use skiff_nodeagent::runtime::{Error, Limits, Runtime, Security};
use skiff_testing::With;

use crate::world::{World, strings};

async fn run(world: &World, pod: &str, security: Security, script: &str) -> (i32, String) {
    world
        .run(pod, world.script(script).with(|c| c.security = security))
        .await
}

pub async fn users_and_groups() {
    let world = World::new().await;
    let pod = world.pod().await;
    let script = "id; echo mine > /dev/stdout; touch /tmp/x && ls -ln /tmp/x | grep -c ' 1000 '";
    let as_app = Security::default().with(|s| {
        s.run_as_user = Some(1000);
        s.supplemental_groups = vec![77];
    });
    let (code, log) = run(&world, &pod, as_app, script).await;
    assert_eq!(
        (code, log.as_str()),
        (
            0,
            "stdout F uid=1000(app) gid=1001 groups=50(staff),77,1001\nstdout F mine\nstdout F 1\n"
        )
    );
    let grouped = Security::default().with(|s| {
        s.run_as_user = Some(4242);
        s.run_as_group = Some(5);
    });
    assert_eq!(
        run(&world, &pod, grouped, "id").await.1,
        "stdout F uid=4242 gid=5 groups=5\n"
    );
    let (_, log) = run(
        &world,
        &pod,
        Security::default(),
        "id -u; echo $HOME; umask",
    )
    .await;
    assert_eq!(log, "stdout F 0\nstdout F /root\nstdout F 0022\n");
    world.finish().await;
}

pub async fn capabilities_and_privileges() {
    let world = World::new().await;
    let pod = world.pod().await;
    let script = "grep -E 'Cap(Eff|Bnd|Inh|Amb)|NoNewPrivs' /proc/self/status";
    let (_, log) = run(&world, &pod, Security::default(), script).await;
    let set = "00000000a80425fb";
    let line = |name: &str, value: &str| format!("stdout F {name}:\t{value}\n");
    let zero = "0000000000000000";
    let wanted = [
        line("CapInh", zero),
        line("CapEff", set),
        line("CapBnd", set),
        line("CapAmb", zero),
        line("NoNewPrivs", "0"),
    ]
    .concat();
    assert_eq!(log, wanted);
    let tight = Security::default().with(|s| {
        s.drop_capabilities = strings(&["ALL"]);
        s.add_capabilities = strings(&["NET_BIND_SERVICE"]);
        s.allow_privilege_escalation = Some(false);
    });
    let (_, log) = run(&world, &pod, tight, script).await;
    assert!(
        log.contains(&line("CapEff", "0000000000000400")) && log.contains(&line("NoNewPrivs", "1")),
        "{log}"
    );
    let as_app = Security::default().with(|s| s.run_as_user = Some(1000));
    let (_, log) = run(&world, &pod, as_app, script).await;
    assert!(
        log.contains(&line("CapEff", zero)) && log.contains(&line("CapBnd", set)),
        "{log}"
    );
    let unknown = Security::default().with(|s| s.add_capabilities = strings(&["WINGS"]));
    let refused = world
        .runtime
        .create_container(&pod, world.script("").with(|c| c.security = unknown))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("unknown capability \"CAP_WINGS\""),
        "{refused}"
    );
    world.finish().await;
}

pub async fn seccomp_filters() {
    let world = World::new().await;
    let pod = world.pod().await;
    let script = "grep -E 'Seccomp:|CapEff|CapBnd' /proc/self/status; unshare -U true 2>&1 | grep -c 'not permitted'; sh -c 'echo forked'";
    let filtered =
        |security: Security| security.with(|s| s.seccomp = Some("RuntimeDefault".into()));
    let wanted = |caps: &str, bounding: &str| {
        format!(
            "stdout F CapEff:\t{caps}\nstdout F CapBnd:\t{bounding}\nstdout F Seccomp:\t2\nstdout F 1\nstdout F forked\n"
        )
    };
    let set = "00000000a80425fb";
    for (security, caps, bounding) in [
        (Security::default(), set, set),
        (
            Security::default().with(|s| s.allow_privilege_escalation = Some(false)),
            set,
            set,
        ),
        (
            Security::default().with(|s| s.run_as_user = Some(1000)),
            "0000000000000000",
            set,
        ),
        (
            Security::default().with(|s| s.drop_capabilities = strings(&["ALL"])),
            "0000000000000000",
            "0000000000000000",
        ),
    ] {
        let (_, log) = run(&world, &pod, filtered(security.clone()), script).await;
        assert_eq!(log, wanted(caps, bounding), "{security:?}");
    }
    let id = world
        .start(
            &pod,
            world
                .script("sleep 1000")
                .with(|c| c.security = filtered(Security::default())),
        )
        .await;
    assert_eq!(
        world
            .said(&id, &["grep", "Seccomp:", "/proc/self/status"])
            .await,
        "Seccomp:\t2\n"
    );
    assert_eq!(
        run(
            &world,
            &pod,
            Security::default(),
            "grep Seccomp: /proc/self/status"
        )
        .await
        .1,
        "stdout F Seccomp:\t0\n"
    );
    let file = Security::default().with(|s| s.seccomp = Some("/profiles/mine.json".into()));
    let refused = world
        .runtime
        .create_container(&pod, world.script("").with(|c| c.security = file))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    world.finish().await;
}

pub async fn read_only_and_masked() {
    let world = World::new().await;
    let pod = world.pod().await;
    let read_only = Security::default().with(|s| s.read_only_root = true);
    let (_, log) = run(&world, &pod, read_only, "touch /x || echo refused; touch /dev/shm/x && echo shm; echo hello > /dev/null && echo null").await;
    assert!(
        log.contains("stdout F refused")
            && log.contains("stdout F shm")
            && log.contains("stdout F null"),
        "{log}"
    );
    let script = "cat /proc/timer_list | head -c 10; ls /proc/scsi /sys/firmware; echo 1 2>/dev/null > /proc/sys/kernel/pid_max || echo proc; mkdir /sys/x 2>/dev/null || echo sys";
    assert_eq!(
        run(&world, &pod, Security::default(), script)
            .await
            .1
            .replace("stderr F ls: /proc/scsi: No such file or directory\n", "")
            .replace("stdout F /proc/scsi:\nstdout F \n", ""),
        "stdout F /sys/firmware:\nstdout F proc\nstdout F sys\n".to_owned()
    );
    let open = Security::default().with(|s| s.unmasked_proc = true);
    let (_, log) = run(
        &world,
        &pod,
        open,
        "test -w /proc/sys/kernel/pid_max && echo writable",
    )
    .await;
    assert_eq!(log, "stdout F writable\n");
    world.finish().await;
}

/// Tries to make a folder in each cgroup hierarchy and above them, and to lift a limit; then lists what is mounted there.
const LIFTS_LIMITS: &str = "for place in /sys /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $place/mine 2>&1; done
for limit in /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/memory.max; do test ! -e $limit || (echo -1 > $limit) 2>&1; done
grep ' /sys' /proc/mounts";

/// One container in a process namespace of its own, one in that of its pod.
pub async fn nobody_lifts_the_own_limits() {
    let world = World::new().await;
    let shared = world
        .sandbox_spec()
        .with(|s| s.share_process_namespace = true);
    for pod in [world.pod().await, world.sandbox(shared).await] {
        let (_, log) = run(&world, &pod, Security::default(), LIFTS_LIMITS).await;
        let (mounts, attempts): (Vec<&str>, Vec<&str>) = log
            .lines()
            .filter(|line| !line.contains(" /sys/firmware ") && !line.contains(" /sys/devices/"))
            .partition(|line| line.ends_with(" 0 0"));
        assert!(mounts.len() >= 2 && attempts.len() >= 3, "{log}");
        for line in attempts {
            assert!(
                line.ends_with(": Read-only file system"),
                "{line:?} in {log}"
            );
        }
        for line in mounts {
            assert!(
                line.contains(" ro,nosuid,nodev,noexec,relatime"),
                "{line:?} in {log}"
            );
        }
    }
    world.finish().await;
}

pub async fn the_privileged_manage_cgroups() {
    let world = World::new().await;
    let pod = world.pod().await;
    let privileged = Security::default().with(|s| s.privileged = true);
    let script = "for place in /sys/fs/cgroup /sys/fs/cgroup/memory; do test ! -e $place/cgroup.procs || (mkdir $place/mine && rmdir $place/mine && echo made); done; grep -c ' /sys.* ro,' /proc/mounts";
    let (_, log) = run(&world, &pod, privileged, script).await;
    assert_eq!(log, "stdout F made\nstdout F 0\n");
    world.finish().await;
}

pub async fn a_working_directory_that_is_missing_is_roots() {
    let world = World::new().await;
    let pod = world.pod().await;
    let security = Security::default().with(|s| s.run_as_user = Some(1000));
    let spec = world.script("pwd; ls -lnd /made /made/here").with(|c| {
        c.security = security;
        c.working_dir = Some("/made/here".into());
    });
    let (code, log) = world.run(&pod, spec).await;
    let mut lines = log.lines();
    assert_eq!((code, lines.next()), (0, Some("stdout F /made/here")));
    let folders: Vec<Vec<&str>> = lines
        .map(|line| line.split_whitespace().skip(2).take(4).collect())
        .collect();
    assert_eq!(folders.len(), 2, "{log}");
    for folder in folders {
        assert_eq!(
            (folder[0], folder[2], folder[3]),
            ("drwxr-xr-x", "0", "0"),
            "{log}"
        );
    }
    world.finish().await;
}

pub async fn devices_are_guarded() {
    let world = World::new().await;
    let pod = world.pod().await;
    let script = "mknod /tmp/kmsg c 1 11 && echo made; (exec 3< /tmp/kmsg) 2>/dev/null || echo guarded; head -c1 /dev/urandom > /dev/null && echo random; ls /dev";
    let (_, log) = run(&world, &pod, Security::default(), script).await;
    assert!(
        log.starts_with("stdout F made\nstdout F guarded\nstdout F random\n"),
        "{log}"
    );
    for device in [
        "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "tty",
        "urandom", "zero",
    ] {
        assert!(
            device == "console" || log.contains(&format!("stdout F {device}\n")),
            "{device} in {log}"
        );
    }
    world.finish().await;
}

pub async fn privileged_sees_the_machine() {
    let world = World::new().await;
    let pod = world.pod().await;
    let privileged = Security::default().with(|s| {
        s.privileged = true;
        s.seccomp = Some("RuntimeDefault".into());
    });
    let script = "mount -t tmpfs x /tmp && echo mounts; test -e /dev/kmsg && (exec 3< /dev/kmsg) && echo kmsg; grep Seccomp: /proc/self/status; test -w /sys/kernel && mkdir /sys/fs/cgroup/x 2>/dev/null; grep ' /sys sysfs rw' /proc/mounts | grep -c sysfs";
    let (_, log) = run(&world, &pod, privileged, script).await;
    assert_eq!(
        log,
        "stdout F mounts\nstdout F kmsg\nstdout F Seccomp:\t0\nstdout F 1\n"
    );
    world.finish().await;
}

/// Set in the copy of this program that may not lower scores.
const UNABLE: &str = "SKIFF_TEST_WITHOUT_SYS_RESOURCE";

pub async fn the_best_oom_score_that_is_allowed() {
    const CAP_SYS_RESOURCE: libc::c_ulong = 24;
    if std::env::var_os(UNABLE).is_none() {
        use std::os::unix::process::CommandExt;
        let mut copy = std::process::Command::new(std::env::current_exe().unwrap());
        copy.arg("the_best_oom_score_that_is_allowed")
            .env(UNABLE, "1");
        // SAFETY: one system call, between fork and exec.
        unsafe {
            copy.pre_exec(
                || match libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                },
            )
        };
        let output = tokio::task::spawn_blocking(move || copy.output())
            .await
            .unwrap()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    assert!(
        std::fs::write("/proc/self/oom_score_adj", "-1000").is_err(),
        "this copy may not"
    );
    let world = World::new().await;
    let pod = world.pod().await;
    let limits = Limits::default().with(|l| l.oom_score_adj = Some(-997));
    let id = world
        .start(&pod, world.script("sleep 1000").with(|c| c.limits = limits))
        .await;
    let read = |pid: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))
            .unwrap()
            .trim()
            .parse::<i32>()
            .unwrap()
    };
    let score = read(&world.state(&id).await.pid.unwrap().to_string());
    assert!((-997..=read("self")).contains(&score), "{score}");
    let (code, text, _) = world
        .exec(&id, &["cat", "/proc/self/oom_score_adj"], None)
        .await;
    assert_eq!((code, text), (0, format!("{score}\n")));
    world.finish().await;
}
