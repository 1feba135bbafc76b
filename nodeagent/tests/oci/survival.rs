//! What outlives the agent, and what happens when the shim does not live.

use std::{fs, time::Duration};

use skiff_nodeagent::runtime::{ContainerPhase, Runtime, RuntimeEvent};
use skiff_testing::With;

use crate::world::{World, holds, log};

pub async fn the_agent_comes_back() {
    let mut world = World::new().await;
    let pod = world.pod().await;
    let annotations = [("hash".to_owned(), "1234".to_owned())].into();
    let server = world
        .start(
            &pod,
            world
                .script("while :; do sleep 0.05; done")
                .with(|c| c.annotations = annotations),
        )
        .await;
    let gate = world.path("gate");
    fs::create_dir(&gate).unwrap();
    let wait = world
        .script("echo before; while [ ! -e /gate/open ]; do sleep 0.02; done; echo after; exit 5")
        .with(|c| {
            c.mounts = vec![skiff_nodeagent::runtime::Mount {
                host_path: gate.clone(),
                container_path: "/gate".into(),
                read_only: true,
                propagation: String::new(),
                image: None,
            }]
        });
    let job = world.start(&pod, wait.clone()).await;
    let later = world
        .start(
            &pod,
            world
                .script("while [ ! -e /gate/two ]; do sleep 0.02; done")
                .with(|c| (c.name, c.mounts) = ("later".into(), wait.mounts.clone())),
        )
        .await;
    let pid = world.state(&server).await.pid;
    // The agent's own end is simulated by forgetting its runtime; the job ends while there is none.
    world.reopen();
    fs::write(gate.join("open"), "").unwrap();
    let state = world.ended(&job).await;
    assert_eq!(
        (state.exit_code, log(&state.log_path).as_str()),
        (Some(5), "stdout F before\nstdout F after\n")
    );
    let state = world.state(&server).await;
    assert_eq!(
        (state.phase, state.pid, state.annotations["hash"].as_str()),
        (ContainerPhase::Running, pid, "1234")
    );
    assert_eq!(
        world.said(&server, &["echo", "still here"]).await,
        "still here\n"
    );
    let listed = world.runtime.list().await.unwrap();
    assert!(listed.len() == 1 && listed[0].ready && listed[0].spec.name == "pod");
    let mut events = world.runtime.events();
    fs::write(gate.join("two"), "").unwrap();
    holds("the end is told to the new agent", async || { matches!(events.recv().await, Ok(RuntimeEvent::ContainerExited { container, .. }) if container == later) }).await;
    world.stop(&server, Duration::from_millis(10)).await;
    world.finish().await;
}

pub async fn the_shim_is_killed() {
    let world = World::new().await;
    let mut events = world.runtime.events();
    let pod = world.pod().await;
    let id = world.start(&pod, world.script("sleep 1000")).await;
    let pid = world.state(&id).await.pid.unwrap();
    let shim: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path("run").join(&pod).join("shim.json")).unwrap())
            .unwrap();
    let shim = shim["pid"].as_i64().unwrap() as i32;
    let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let field = |name: &str| {
        status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    println!(
        "  the shim has {} kB resident ({} kB its own), {} threads",
        field("VmRSS"),
        field("RssAnon"),
        field("Threads")
    );
    assert_eq!(field("Threads"), "1");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    holds("the loss is told", async || { matches!(events.recv().await, Ok(RuntimeEvent::SandboxLost { sandbox }) if sandbox == pod) }).await;
    let state = world.state(&id).await;
    assert_eq!(
        (state.phase, state.exit_code),
        (ContainerPhase::Exited, Some(255))
    );
    assert!(!world.runtime.list().await.unwrap()[0].ready);
    holds("its processes are gone", async || {
        !std::path::Path::new(&format!("/proc/{pid}/ns/pid")).exists()
            || fs::read_link(format!("/proc/{pid}/exe")).is_err()
    })
    .await;
    world.stop(&id, Duration::ZERO).await;
    world.runtime.remove_container(&id).await.unwrap();
    world.finish().await;
}

pub async fn each_sandbox_for_itself() {
    let world = World::new().await;
    let whole = world.pod().await;
    let other = world.sandbox_spec().with(|s| {
        s.pod_uid = "other".into();
        s.cgroup = "burstable/podother".into();
    });
    let broken = world.sandbox(other).await;
    let (a, b) = (
        world.start(&whole, world.script("sleep 1000")).await,
        world.start(&broken, world.script("sleep 1000")).await,
    );
    let status = world
        .path("run")
        .join(&broken)
        .join("c")
        .join(&b)
        .join("status.json");
    let text = fs::read(&status).unwrap();
    fs::write(&status, "{").unwrap();
    let find = async |id: &str| {
        world
            .runtime
            .list()
            .await
            .unwrap()
            .into_iter()
            .find(|sandbox| sandbox.id == id)
    };
    assert!(
        find(&broken)
            .await
            .unwrap()
            .trouble
            .unwrap()
            .contains("status.json")
    );
    let seen = find(&whole).await.unwrap();
    assert_eq!(
        (seen.trouble.as_deref(), seen.containers[0].id.as_str()),
        (None, a.as_str())
    );
    fs::write(&status, text).unwrap();
    assert_eq!(find(&broken).await.unwrap().trouble, None);
    // What cannot be removed is still known, and can be removed later.
    world.runtime.stop_sandbox(&broken).await.unwrap();
    let busy = world.path("run").join(&broken).join("busy");
    fs::create_dir(&busy).unwrap();
    nix::mount::mount(
        Some("tmpfs"),
        &busy,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    let refused = world
        .runtime
        .remove_sandbox(&broken)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("busy") && refused.contains("(os error 16)"),
        "{refused}"
    );
    assert!(find(&broken).await.is_some());
    nix::mount::umount(&busy).unwrap();
    world.runtime.remove_sandbox(&broken).await.unwrap();
    assert!(find(&broken).await.is_none());
    world.finish().await;
}

pub async fn listing_while_others_are_removed() {
    let world = std::sync::Arc::new(World::new().await);
    let kept = world.pod().await;
    let done = std::sync::atomic::AtomicBool::new(false);
    let removing = async {
        for number in 0..6 {
            let uid = format!("uid{number}");
            let spec = world.sandbox_spec().with(|s| {
                s.cgroup = format!("burstable/pod{uid}");
                s.pod_uid = uid;
            });
            let pod = world.sandbox(spec).await;
            world.start(&pod, world.script("sleep 1000")).await;
            world.runtime.stop_sandbox(&pod).await.unwrap();
            world.runtime.remove_sandbox(&pod).await.unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let listing =
        async {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let listed = world.runtime.list().await.unwrap();
                assert!(listed.iter().any(|sandbox| sandbox.id == kept
                    && sandbox.ready
                    && sandbox.trouble.is_none()));
            }
        };
    futures::join!(removing, listing);
    std::sync::Arc::into_inner(world).unwrap().finish().await;
}
