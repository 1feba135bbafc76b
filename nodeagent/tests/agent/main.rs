//! The whole agent against a fake API server and a fake runtime.

mod admission;
mod containers;
mod eviction;
mod node;
mod owners;
mod resize;
#[path = "../support/mod.rs"]
mod support;
mod volumes;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use skiff_nodeagent::{
    Config, Parts,
    runtime::{Runtime, simulated::SimulatedRuntime},
};
use support::{Api, FakeImages, FakeRuntime, api, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Node {
    api: Api,
    runtime: Arc<FakeRuntime>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    dir: tempfile::TempDir,
}

fn agent(
    api: &Api,
    runtime: Arc<dyn Runtime>,
    dir: &std::path::Path,
    stop: &CancellationToken,
    change: impl FnOnce(&mut Config),
) -> JoinHandle<()> {
    let mut config = Config::new("node", dir);
    config.addresses.push(
        serde_json::from_value(json!({"type": "InternalIP", "address": "192.168.1.5"})).unwrap(),
    );
    config.resolv_conf = dir.join("none");
    config.intervals.retry = Duration::from_millis(100);
    config.intervals.status_check = Duration::from_millis(50);
    config.intervals.lease = Duration::from_millis(50);
    config.intervals.eviction = Duration::from_millis(50);
    change(&mut config);
    let parts = Parts {
        client: api.client(),
        runtime,
        images: Arc::new(FakeImages),
        network: None,
        nodes: None,
    };
    let stop = stop.clone();
    tokio::spawn(async move { skiff_nodeagent::run(config, parts, stop).await.unwrap() })
}

impl Node {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let (api, runtime, stop, dir) = (
            api(),
            FakeRuntime::new(),
            CancellationToken::new(),
            tempfile::tempdir().unwrap(),
        );
        let task = agent(&api, runtime.clone(), dir.path(), &stop, change);
        Self {
            api,
            runtime,
            stop,
            task,
            dir,
        }
    }

    /// Waits until the pod's status satisfies `test`.
    async fn pod(&self, name: &str, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        eventually(&format!("{name} {what}"), || {
            last = self.api.pod(name)?;
            test(&last).then(|| last.clone())
        })
        .await
    }

    async fn phase(&self, name: &str, phase: &str) -> Value {
        self.pod(name, phase, |pod| pod["status"]["phase"] == phase)
            .await
    }

    async fn event(&self, text: &str) {
        let mut seen = Vec::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !seen.iter().any(|event| event == text) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "no event {text:?} among {seen:#?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen = self.api.events();
        }
    }

    async fn end(mut self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), &mut self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

/// Pods that are still there have volumes in memory; a test that has failed leaves them, too.
impl Drop for Node {
    fn drop(&mut self) {
        skiff_nodeagent::mounts::unmount_below(self.dir.path())
            .unwrap_or_else(|error| eprintln!("something stays mounted: {error}"));
    }
}

fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().is_some_and(|list| {
        list.iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}

fn container(command: Value) -> Value {
    json!({"containers": [{"name": "c", "image": "here:1", "command": command}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_and_is_deleted() {
    let node = Node::start();
    node.api.create_pod("node", "p", container(json!(["run"])));
    let pod = node.pod("p", "ready", ready).await;
    let status = &pod["status"];
    assert_eq!(
        (&status["phase"], &status["hostIP"]),
        (&json!("Running"), &json!("192.168.1.5"))
    );
    assert!(status["podIP"].as_str().unwrap().starts_with("10.0.0."));
    assert_eq!(status["observedGeneration"], 1);
    let c = &status["containerStatuses"][0];
    assert_eq!(
        (&c["ready"], &c["started"], &c["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert_eq!(
        (&c["image"], &c["imageID"]),
        (
            &json!("docker.io/library/here:1"),
            &json!("docker.io/library/here:1@sha256:0")
        )
    );
    assert!(c["containerID"].as_str().unwrap().starts_with("skiff://c"));
    for event in [
        "Pulled: Container image \"here:1\" already present on machine and can be accessed by the pod",
        "Created: Container created",
        "Started: Container started",
    ] {
        node.event(event).await;
    }
    node.api.delete_pod("p", 5);
    eventually("deletion", || node.api.pod("p").is_none().then_some(())).await;
    node.event("Killing: Stopping container c").await;
    eventually("sandbox removed", || {
        node.runtime.sandboxes.lock().is_empty().then_some(())
    })
    .await;
    assert!(
        !node
            .dir
            .path()
            .join("pods")
            .join(pod["metadata"]["uid"].as_str().unwrap())
            .exists()
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_succeed_and_fail() {
    let node = Node::start();
    for (name, policy, code, phase) in [
        ("good", "Never", "0", "Succeeded"),
        ("bad", "Never", "3", "Failed"),
        ("once", "OnFailure", "0", "Succeeded"),
    ] {
        let mut spec = container(json!(["exit", code]));
        spec["restartPolicy"] = policy.into();
        node.api.create_pod("node", name, spec);
        let pod = node.phase(name, phase).await;
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(ended["exitCode"].to_string(), code);
        assert_eq!(
            ended["reason"],
            if code == "0" { "Completed" } else { "Error" }
        );
        assert!(
            node.api.pod(name).is_some(),
            "a pod that ended stays until it is deleted"
        );
    }
    node.api.delete_pod("good", 0);
    eventually("deletion", || node.api.pod("good").is_none().then_some(())).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_end_pods() {
    let node = Node::start();
    let mut spec = container(json!(["run"]));
    spec["activeDeadlineSeconds"] = 1.into();
    node.api.create_pod("node", "p", spec);
    let pod = node.phase("p", "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert_eq!(
        pod["status"]["message"],
        "Pod was active on the node longer than the specified deadline"
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_is_ready_soon() {
    let node = Node::start();
    let mut spec = container(json!(["run"]));
    spec["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["ok"]}});
    node.api.create_pod("node", "old", spec.clone());
    node.pod("old", "ready", ready).await;
    let began = std::time::Instant::now();
    node.api.delete_pod("old", 5);
    node.api.create_pod("node", "new", spec);
    node.pod("new", "ready", ready).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pods_trouble_is_its_own() {
    let node = Node::start();
    for name in ["a", "b"] {
        node.api.create_pod("node", name, container(json!(["run"])));
        node.pod(name, "ready", ready).await;
    }
    let trouble = |trouble: Option<&str>| {
        let mut sandboxes = node.runtime.sandboxes.lock();
        sandboxes
            .values_mut()
            .find(|sandbox| sandbox.spec.name == "a")
            .unwrap()
            .trouble = trouble.map(str::to_owned);
    };
    let end = |name: &str| {
        let sandboxes = node.runtime.sandboxes.lock();
        let id = sandboxes
            .values()
            .find(|sandbox| sandbox.spec.name == name)
            .unwrap()
            .containers
            .last()
            .unwrap()
            .id
            .clone();
        drop(sandboxes);
        node.runtime.end(&id, 1);
    };
    trouble(Some("a container: no such file"));
    end("a");
    end("b");
    node.pod("b", "restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] == 1 && ready(pod)
    })
    .await;
    assert_eq!(
        node.api.pod("a").unwrap()["status"]["containerStatuses"][0]["restartCount"],
        0,
        "what cannot be read is not taken for something else"
    );
    trouble(None);
    node.pod("a", "restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] == 1 && ready(pod)
    })
    .await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_leaves_is_cleared_away_in_the_end() {
    let node = Node::start();
    node.api.create_pod("node", "p", container(json!(["run"])));
    let uid = node.pod("p", "ready", ready).await["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let logs = node
        .dir
        .path()
        .join("logs")
        .join(format!("default_p_{uid}"));
    assert!(logs.exists());
    node.runtime
        .failing_removals
        .store(1, std::sync::atomic::Ordering::SeqCst);
    node.api.delete_pod("p", 5);
    eventually("deletion", || node.api.pod("p").is_none().then_some(())).await;
    eventually("its sandbox is gone", || {
        node.runtime.sandboxes.lock().is_empty().then_some(())
    })
    .await;
    eventually("its logs are gone", || (!logs.exists()).then_some(())).await;
    node.end().await;
}
