//! One container: its output, its end, what is run in it, its limits.

use std::time::{Duration, Instant};

use skiff_nodeagent::runtime::{
    ContainerPhase, ContainerSpec, Error, ExecSpec, Limits, Mount, Runtime, RuntimeEvent,
};
use skiff_testing::With;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, holds, log, strings, until};

pub async fn output_and_exit_codes() {
    let world = World::new().await;
    let mut events = world.runtime.events();
    let pod = world.pod().await;
    let spec = world.script("echo out $FROM_IMAGE $FROM_POD; echo err >&2; pwd; cat /above; test ! -e /gone; exit 3").with(|c| { c.env = vec![("FROM_POD".into(), "too".into())]; c.working_dir = Some("/made/for/me".into()); });
    let id = world.created(&pod, spec).await;
    assert_eq!(world.state(&id).await.phase, ContainerPhase::Created);
    world.runtime.start_container(&id).await.unwrap();
    let state = world.ended(&id).await;
    assert_eq!(
        (state.exit_code, state.signal, state.oom_killed, state.pid),
        (Some(3), None, false, None)
    );
    assert!(state.created_at <= state.started_at.unwrap() && state.started_at <= state.finished_at);
    let text = log(&state.log_path);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "stderr F err",
            "stdout F /made/for/me",
            "stdout F from the upper layer",
            "stdout F out yes too"
        ]
    );
    assert!(
        matches!(events.recv().await.unwrap(), RuntimeEvent::ContainerStarted { container, .. } if container == id)
    );
    assert!(
        matches!(events.recv().await.unwrap(), RuntimeEvent::ContainerExited { container, .. } if container == id)
    );
    let (code, _) = world.run(&pod, world.script("kill -9 $$")).await;
    assert_eq!(
        code, 0,
        "the first process of a namespace is not killed by itself"
    );
    let (code, text) = world
        .run(
            &pod,
            world.script("(kill -9 $$) ; sh -c 'kill -9 $$'; echo $?"),
        )
        .await;
    assert_eq!(
        (code, text.as_str()),
        (0, "stderr F Killed\nstdout F 137\n")
    );
    world.runtime.remove_container(&id).await.unwrap();
    assert!(matches!(
        world.runtime.start_container(&id).await,
        Err(Error::NotFound(_))
    ));
    world.runtime.remove_container(&id).await.unwrap();
    world.finish().await;
}

pub async fn exec_with_streams() {
    let world = World::new().await;
    let pod = world.pod().await;
    let id = world.start(&pod, world.script("sleep 1000")).await;
    assert_eq!(
        world.exec(&id, &["cat"], Some("through and back")).await,
        (0, "through and back".into(), String::new())
    );
    assert_eq!(
        world
            .exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 9"], None)
            .await,
        (9, "out\n".into(), "err\n".into())
    );
    assert_eq!(
        world
            .exec(&id, &["sh", "-c", "kill -TERM $$"], None)
            .await
            .0,
        143
    );
    let (code, text, _) = world
        .exec(
            &id,
            &["sh", "-c", "echo $FROM_IMAGE; ps | grep 'sleep 100[0]'"],
            None,
        )
        .await;
    assert!(
        code == 0 && text.starts_with("yes\n") && text.contains("sleep 1000"),
        "{text}"
    );
    let big = "x".repeat(1_000_000);
    assert_eq!(
        world.exec(&id, &["cat"], Some(&big)).await.1.len(),
        big.len()
    );
    let spec = ExecSpec::default().with(|e| {
        e.command = vec!["nowhere".into()];
        e.stdout = true;
        e.stderr = true;
    });
    let refused = world.runtime.exec(&id, spec.clone()).await.err().unwrap();
    let wanted = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nowhere\": executable file not found in $PATH: unknown";
    assert_eq!(refused.to_string(), wanted);
    // What nobody waits for any more is ended.
    let sleep = ExecSpec::default().with(|e| {
        e.command = strings(&["sleep", "4321"]);
        e.stdout = true;
        e.stderr = true;
    });
    let streams = world.runtime.exec(&id, sleep).await.unwrap();
    let sleeps = async || {
        world
            .said(&id, &["sh", "-c", "ps | grep -c 'sleep 432[1]'"])
            .await
    };
    assert_eq!(sleeps().await, "1\n");
    drop(streams);
    holds("it is gone", async || sleeps().await == "0\n").await;
    world.stop(&id, Duration::ZERO).await;
    assert!(
        world
            .runtime
            .exec(&id, spec)
            .await
            .err()
            .unwrap()
            .to_string()
            .contains("container is in CONTAINER_EXITED state")
    );
    world.finish().await;
}

pub async fn exec_in_a_terminal() {
    let world = World::new().await;
    let pod = world.pod().await;
    let id = world.start(&pod, world.script("sleep 1000")).await;
    let spec = ExecSpec {
        command: vec!["sh".into()],
        tty: true,
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let streams = world.runtime.exec(&id, spec).await.unwrap();
    let (mut stdin, mut stdout, resize) = (
        streams.stdin.unwrap(),
        streams.stdout.unwrap(),
        streams.resize.unwrap(),
    );
    resize.send((132, 43)).await.unwrap();
    let mut seen = String::new();
    holds("the terminal has the size", async || {
        stdin.write_all(b"stty size; echo $TERM\n").await.unwrap();
        let mut bytes = [0; 4096];
        if let Ok(Ok(n)) =
            tokio::time::timeout(Duration::from_millis(200), stdout.read(&mut bytes)).await
        {
            seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
        seen.contains("43 132\r\n") && seen.contains("xterm\r\n")
    })
    .await;
    stdin.write_all(b"exit 6\n").await.unwrap();
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).await.unwrap();
    assert_eq!(streams.exit.await.unwrap(), 6);
    world.finish().await;
}

pub async fn programs_that_cannot_start() {
    let world = World::new().await;
    let pod = world.pod().await;
    for (command, reason) in [
        (
            "nowhere",
            "exec: \"nowhere\": executable file not found in $PATH",
        ),
        (
            "/no/where",
            "exec: \"/no/where\": stat /no/where: no such file or directory",
        ),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
    ] {
        let id = world
            .created(
                &pod,
                world.script("").with(|c| c.command = vec![command.into()]),
            )
            .await;
        let Err(Error::Start(text)) = world.runtime.start_container(&id).await else {
            panic!("{command} has started")
        };
        assert!(text.contains(reason), "{text}");
        let state = world.ended(&id).await;
        assert_eq!(
            (state.exit_code, state.started_at),
            (Some(128), None),
            "{command}"
        );
    }
    let nothing = world
        .runtime
        .create_container(
            &pod,
            world
                .script("")
                .with(|c| c.image_id = format!("sha256:{}", "0".repeat(64))),
        )
        .await;
    assert!(matches!(nothing, Err(Error::NoImage(_))));
    // What fails is told down to the system call and its error.
    let file = world.path("file");
    std::fs::write(&file, "").unwrap();
    let mount = Mount {
        host_path: file,
        container_path: "/etc".into(),
        ..Default::default()
    };
    let mounted = world.script("").with(|c| c.mounts = vec![mount]);
    let tight = world
        .script("")
        .with(|c| c.limits = Limits::default().with(|l| l.cpu_quota_us = Some(1)));
    for (spec, parts) in [
        (mounted, ["failed to mount ", "(os error "]),
        (tight, ["cgroup", ": Invalid argument (os error 22)"]),
    ] {
        let refused = world.refused(&pod, spec).await;
        assert!(
            refused.starts_with("cannot create the container: ")
                && parts.iter().all(|part| refused.contains(part)),
            "{refused}"
        );
    }
    world.finish().await;
}

pub async fn stopping_with_grace() {
    let world = World::new().await;
    let pod = world.pod().await;
    let gentle = world
        .start(
            &pod,
            world.script("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"),
        )
        .await;
    let deaf = world
        .start(
            &pod,
            world.script("trap '' TERM; echo ready; while :; do sleep 0.05; done"),
        )
        .await;
    for id in [&gentle, &deaf] {
        holds("both are ready", async || {
            log(&world.state(id).await.log_path).contains("ready")
        })
        .await;
    }
    world.stop(&gentle, Duration::from_secs(20)).await;
    let state = world.ended(&gentle).await;
    assert_eq!(
        (state.exit_code, log(&state.log_path).as_str()),
        (Some(7), "stdout F ready\nstdout F bye\n")
    );
    let started = Instant::now();
    world.stop(&deaf, Duration::from_millis(300)).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    let state = world.ended(&deaf).await;
    assert_eq!((state.exit_code, state.signal), (Some(137), Some(9)));
    world.stop(&deaf, Duration::ZERO).await;
    let waiting = world.created(&pod, world.script("true")).await;
    world.stop(&waiting, Duration::from_secs(20)).await;
    assert_eq!(world.ended(&waiting).await.started_at, None);
    world.finish().await;
}

pub async fn attaching() {
    let world = World::new().await;
    let pod = world.pod().await;
    let spec = world.script("cat; echo done >&2; exit 4").with(|c| {
        c.stdin = true;
        c.stdin_once = true;
    });
    let id = world.start(&pod, spec).await;
    let wanted = ExecSpec::default().with(|e| {
        e.stdin = true;
        e.stdout = true;
        e.stderr = true;
    });
    let mut streams = world.runtime.attach(&id, wanted).await.unwrap();
    let (mut stdin, mut stdout) = (
        streams.stdin.take().unwrap(),
        streams.stdout.take().unwrap(),
    );
    stdin.write_all(b"hello\n").await.unwrap();
    let mut line = [0; 6];
    stdout.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"hello\n");
    stdin.shutdown().await.unwrap();
    let mut err = String::new();
    streams
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .await
        .unwrap();
    assert_eq!((err.as_str(), streams.exit.await.unwrap()), ("done\n", 4));
    assert_eq!(
        log(&world.ended(&id).await.log_path),
        "stdout F hello\nstderr F done\n"
    );
    world.finish().await;
}

pub async fn attaching_to_a_terminal() {
    let world = World::new().await;
    let pod = world.pod().await;
    let id = world
        .start(
            &pod,
            world.script("").with(|c| {
                c.stdin = true;
                c.tty = true;
                c.command = vec!["sh".into()];
            }),
        )
        .await;
    let streams = world
        .runtime
        .attach(
            &id,
            ExecSpec::default().with(|e| {
                e.tty = true;
                e.stdin = true;
                e.stdout = true;
            }),
        )
        .await
        .unwrap();
    let (mut stdin, mut stdout) = (streams.stdin.unwrap(), streams.stdout.unwrap());
    streams.resize.unwrap().send((100, 30)).await.unwrap();
    holds("the size has arrived", async || {
        world
            .said(&id, &["sh", "-c", "stty size < /dev/console"])
            .await
            == "30 100\n"
    })
    .await;
    stdin
        .write_all(b"test -t 0 && echo ter''minal; exit 5\n")
        .await
        .unwrap();
    let mut seen = String::new();
    stdout.read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("terminal\r\n"), "{seen}");
    assert_eq!(streams.exit.await.unwrap(), 5);
    assert!(log(&world.ended(&id).await.log_path).contains("stdout F terminal"));
    assert!(
        std::fs::read_to_string(world.state(&id).await.log_path)
            .unwrap()
            .contains("terminal\r\n")
    );
    world.finish().await;
}

pub async fn limits_and_usage() {
    let world = World::new().await;
    let mut sandbox = world.sandbox_spec();
    sandbox.cgroup_limits = Limits::default().with(|l| {
        l.cpu_shares = Some(512);
        l.memory_bytes = Some(256 << 20);
    });
    let pod = world.sandbox(sandbox).await;
    let limits = Limits {
        cpu_shares: Some(204),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_bytes: Some(64 << 20),
        pids: Some(20),
        oom_score_adj: Some(567),
    };
    let id = world
        .start(&pod, ContainerSpec { limits, ..world.script("i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; cat /proc/self/oom_score_adj; sleep 1000") })
        .await;
    let group = format!("{}/burstable/poduid", world.cgroup);
    let read = |controller: &str, group: &str, file: &str| {
        let v1 = format!("/sys/fs/cgroup/{controller}/{group}/{file}");
        std::fs::read_to_string(v1)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    if std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        let container = format!("{group}/{id}");
        assert_eq!(read("cpu", &group, "cpu.shares"), "512");
        assert_eq!(
            read("memory", &group, "memory.limit_in_bytes"),
            (256 << 20).to_string()
        );
        assert_eq!(read("cpu", &container, "cpu.shares"), "204");
        assert_eq!(read("cpu", &container, "cpu.cfs_quota_us"), "50000");
        assert_eq!(
            read("memory", &container, "memory.limit_in_bytes"),
            (64 << 20).to_string()
        );
        assert_eq!(read("pids", &container, "pids.max"), "20");
    } else {
        assert_eq!(read("", &group, "memory.max"), (256 << 20).to_string());
        assert_eq!(read("", &format!("{group}/{id}"), "pids.max"), "20");
    }
    holds("the script says so", async || {
        log(&world.state(&id).await.log_path) == "stdout F 567\n"
    })
    .await;
    let usage = world.runtime.usage(&id).await.unwrap();
    let (cpu, memory) = (usage.cpu_nanoseconds, usage.working_set_bytes);
    assert!(
        cpu > 1_000_000 && memory > 10_000,
        "{cpu} ns, {memory} bytes"
    );
    let (code, _, err) = world.exec(&id, &["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1; do sleep 9 >/dev/null 2>&1 & done"], None).await;
    assert!(code != 0 && err.contains("fork"), "{code} {err}");
    world.finish().await;
}

pub async fn what_it_writes_is_measured() {
    let world = World::new().await;
    let pod = world.pod().await;
    let folder = world.path("volume");
    std::fs::create_dir(&folder).unwrap();
    let mount = Mount {
        host_path: folder,
        container_path: "/volume".into(),
        ..Default::default()
    };
    let script = "dd if=/dev/zero of=/volume/x bs=1024 count=4096; dd if=/dev/zero of=/x bs=1024 count=2048; ln /x /y; sleep 1000";
    let id = world
        .start(&pod, world.script(script).with(|c| c.mounts = vec![mount]))
        .await;
    let used = until("the file and no more", async || {
        world
            .runtime
            .disk_usage(&id)
            .await
            .ok()
            .map(|held| held.bytes)
            .filter(|used| *used >= 2 << 20)
    })
    .await;
    assert!(used < 3 << 20, "{used}");
    assert!(world.runtime.disk_usage("none").await.is_err());
    world.finish().await;
}

pub async fn new_limits_while_it_runs() {
    let mut world = World::new().await;
    let sizes = |shares, quota, memory: i64| Limits {
        cpu_shares: Some(shares),
        cpu_quota_us: Some(quota),
        cpu_period_us: Some(100_000),
        memory_bytes: Some(memory << 20),
        ..Limits::default()
    };
    let mut sandbox = world.sandbox_spec();
    sandbox.cgroup_limits = sizes(204, 50_000, 64);
    let pod = world.sandbox(sandbox).await;
    let id = world
        .start(
            &pod,
            world
                .script("sleep 1000")
                .with(|c| c.limits = sizes(204, 50_000, 64)),
        )
        .await;
    let pid = world.state(&id).await.pid;
    let folder = |controller: &str| {
        let v1 = std::path::Path::new("/sys/fs/cgroup").join(controller);
        let root = if v1.exists() {
            v1
        } else {
            "/sys/fs/cgroup".into()
        };
        root.join(&world.cgroup).join("burstable/poduid").join(&id)
    };
    let (cpu, memory) = (folder("cpu"), folder("memory"));
    let read = |folder: &std::path::Path, file: &str| {
        std::fs::read_to_string(folder.join(file))
            .map(|text| text.trim().to_owned())
            .ok()
    };
    let note =
        |text: &str| std::collections::BTreeMap::from([("noted".to_owned(), text.to_owned())]);
    // Up, and down again.
    for (shares, quota, megabytes) in [(512, 80_000, 128), (102, 20_000, 32)] {
        let limits = sizes(shares, quota, megabytes);
        world
            .runtime
            .update_sandbox(&pod, &sizes(shares, 80_000, 128), &note("pod"))
            .await
            .unwrap();
        world
            .runtime
            .update_container(&id, &limits, &note("container"))
            .await
            .unwrap();
        let bytes = (megabytes << 20).to_string();
        assert!(
            read(&memory, "memory.limit_in_bytes").or_else(|| read(&memory, "memory.max"))
                == Some(bytes.clone()),
            "{bytes}"
        );
        let quotas = [read(&cpu, "cpu.cfs_quota_us"), read(&cpu, "cpu.max")];
        assert!(
            quotas.contains(&Some(quota.to_string()))
                || quotas.contains(&Some(format!("{quota} 100000"))),
            "{quotas:?}"
        );
    }
    world.reopen();
    let state = world.state(&id).await;
    assert_eq!(
        (
            state.pid,
            state.limits.cpu_shares,
            state.limits.memory_bytes
        ),
        (pid, Some(102), Some(32 << 20)),
        "it runs on, and that is noted down"
    );
    assert_eq!(state.annotations["noted"], "container");
    let pods = world.runtime.list().await.unwrap();
    assert_eq!(
        (
            pods[0].spec.cgroup_limits.memory_bytes,
            pods[0].spec.annotations["noted"].as_str()
        ),
        (Some(128 << 20), "pod")
    );
    assert!(matches!(
        world
            .runtime
            .update_container("none", &Limits::default(), &note(""))
            .await,
        Err(Error::NotFound(_))
    ));
    world.finish().await;
}

pub async fn memory_running_out() {
    let world = World::new().await;
    let pod = world.pod().await;
    let limits = Limits::default().with(|l| l.memory_bytes = Some(16 << 20));
    let id = world
        .start(
            &pod,
            world.script("").with(|c| {
                c.limits = limits;
                c.command = strings(&["tail", "/dev/zero"]);
            }),
        )
        .await;
    let state = world.ended(&id).await;
    assert_eq!((state.exit_code, state.oom_killed), (Some(137), true));
    world.finish().await;
}

pub async fn log_rotation() {
    let world = World::new().await;
    let pod = world.pod().await;
    let id = world
        .start(
            &pod,
            world
                .script("while read line; do echo $line; done")
                .with(|c| c.stdin = true),
        )
        .await;
    let mut stdin = world
        .runtime
        .attach(&id, ExecSpec::default().with(|e| e.stdin = true))
        .await
        .unwrap()
        .stdin
        .unwrap();
    let path = world.state(&id).await.log_path;
    let old = path.with_extension("log.1");
    stdin.write_all(b"one\n").await.unwrap();
    holds("one is logged", async || log(&path) == "stdout F one\n").await;
    std::fs::rename(&path, &old).unwrap();
    stdin.write_all(b"two\n").await.unwrap();
    holds("two goes to the old file", async || {
        log(&old).ends_with("two\n")
    })
    .await;
    world.runtime.reopen_log(&id).await.unwrap();
    stdin.write_all(b"three\n").await.unwrap();
    holds("three goes to the new file", async || {
        log(&path) == "stdout F three\n"
    })
    .await;
    world.finish().await;
}

pub async fn how_long_it_takes() {
    let world = World::new().await;
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..10 {
        let mut last = Instant::now();
        let mut lap = |i: usize| {
            times[i].push(last.elapsed());
            last = Instant::now();
        };
        let pod = world.pod().await;
        lap(0);
        let id = world.created(&pod, world.script("sleep 1000")).await;
        lap(1);
        world.runtime.start_container(&id).await.unwrap();
        lap(2);
        world.exec(&id, &["true"], None).await;
        lap(3);
        world.runtime.stop_sandbox(&pod).await.unwrap();
        world.runtime.remove_sandbox(&pod).await.unwrap();
        lap(4);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let [sandbox, create, start, exec, remove] = times.each_mut().map(median);
    println!(
        "  sandbox {sandbox:.1?}, create {create:.1?}, start {start:.1?}, exec {exec:.1?}, stop and remove {remove:.1?}"
    );
    assert!(
        create + start < Duration::from_secs(1),
        "far beyond the budget of 40 ms, even for a busy machine"
    );
    world.finish().await;
}
