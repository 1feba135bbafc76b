//! What outlives the agent, and what happens when the shim does not live.

use std::{fs, time::Duration};

use skiff_nodeagent::runtime::{ContainerPhase, ContainerSpec, Runtime, RuntimeEvent};

use crate::world::{World, log, until};

pub async fn the_agent_comes_back() {
    let mut world = World::new().await;
    let pod = world.pod().await;
    let annotations = [("hash".to_owned(), "1234".to_owned())].into();
    let server = world.start(&pod, ContainerSpec { annotations, ..world.script("while :; do sleep 0.05; done") }).await;
    let gate = world.path("gate");
    fs::create_dir(&gate).unwrap();
    let wait = ContainerSpec {
        mounts: vec![skiff_nodeagent::runtime::Mount { host_path: gate.clone(), container_path: "/gate".into(), read_only: true, propagation: String::new() }],
        ..world.script("echo before; while [ ! -e /gate/open ]; do sleep 0.02; done; echo after; exit 5")
    };
    let job = world.start(&pod, wait.clone()).await;
    let later =
        world.start(&pod, ContainerSpec { name: "later".into(), ..world.script("while [ ! -e /gate/two ]; do sleep 0.02; done") }.with_mounts(&wait)).await;
    let pid = world.state(&server).await.pid;
    // The agent's own end is simulated by forgetting its runtime; the job ends while there is none.
    world.reopen();
    fs::write(gate.join("open"), "").unwrap();
    let state = world.ended(&job).await;
    assert_eq!((state.exit_code, log(&state.log_path).as_str()), (Some(5), "stdout F before\nstdout F after\n"));
    let state = world.state(&server).await;
    assert_eq!((state.phase, state.pid, state.annotations["hash"].as_str()), (ContainerPhase::Running, pid, "1234"));
    assert_eq!(world.exec(&server, &["echo", "still here"], None).await.1, "still here\n");
    let listed = world.runtime.list().await.unwrap();
    assert!(listed.len() == 1 && listed[0].ready && listed[0].spec.name == "pod");
    let mut events = world.runtime.events();
    fs::write(gate.join("two"), "").unwrap();
    until("the end is told to the new agent", async || {
        matches!(events.recv().await, Ok(RuntimeEvent::ContainerExited { container, .. }) if container == later).then_some(())
    })
    .await;
    world.runtime.stop_container(&server, Duration::from_millis(10)).await.unwrap();
    world.finish().await;
}

trait WithMounts {
    fn with_mounts(self, of: &ContainerSpec) -> Self;
}

impl WithMounts for ContainerSpec {
    fn with_mounts(self, of: &ContainerSpec) -> Self {
        Self { mounts: of.mounts.clone(), ..self }
    }
}

pub async fn the_shim_is_killed() {
    let world = World::new().await;
    let mut events = world.runtime.events();
    let pod = world.pod().await;
    let id = world.start(&pod, world.script("sleep 1000")).await;
    let pid = world.state(&id).await.pid.unwrap();
    let shim: serde_json::Value = serde_json::from_slice(&fs::read(world.path("run").join(&pod).join("shim.json")).unwrap()).unwrap();
    let shim = shim["pid"].as_i64().unwrap() as i32;
    let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let field = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().split_whitespace().nth(1).unwrap_or_default().to_owned();
    println!("  the shim has {} kB resident ({} kB its own), {} threads", field("VmRSS"), field("RssAnon"), field("Threads"));
    assert_eq!(field("Threads"), "1");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the loss is told", async || matches!(events.recv().await, Ok(RuntimeEvent::SandboxLost { sandbox }) if sandbox == pod).then_some(())).await;
    let state = world.state(&id).await;
    assert_eq!((state.phase, state.exit_code), (ContainerPhase::Exited, Some(255)));
    assert!(!world.runtime.list().await.unwrap()[0].ready);
    until("its processes are gone", async || {
        (!std::path::Path::new(&format!("/proc/{pid}/ns/pid")).exists() || fs::read_link(format!("/proc/{pid}/exe")).is_err()).then_some(())
    })
    .await;
    world.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    world.runtime.remove_container(&id).await.unwrap();
    world.finish().await;
}
