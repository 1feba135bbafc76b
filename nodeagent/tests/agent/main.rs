//! The whole agent against a fake API server and a fake runtime.

mod admission;
mod eviction;
mod owners;
mod resize;
#[path = "../support/mod.rs"]
mod support;

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
        support::unmount_below(self.dir.path());
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
async fn the_node_registers_and_beats() {
    let node = Node::start();
    let object = eventually("node", || node.api.get("/api/v1/nodes/node")).await;
    let conditions: Vec<_> = object["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{}={}",
                c["type"].as_str().unwrap(),
                c["status"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        conditions,
        [
            "MemoryPressure=False",
            "DiskPressure=False",
            "PIDPressure=False",
            "Ready=True"
        ]
    );
    assert_eq!(
        object["metadata"]["labels"]["kubernetes.io/hostname"],
        "node"
    );
    assert_eq!(
        object["status"]["nodeInfo"]["containerRuntimeVersion"],
        "fake://1"
    );
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node";
    let first = eventually("lease", || node.api.get(lease)).await;
    eventually("renewal", || {
        node.api
            .get(lease)
            .filter(|now| now["spec"]["renewTime"] != first["spec"]["renewTime"])
    })
    .await;
    node.end().await;
}

/// Pods in the node's network bear its name where it is not the machine's only node.
#[tokio::test(flavor = "multi_thread")]
async fn pods_in_the_nodes_network_are_called_as_it_is() {
    let machine = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for (own, wanted) in [(None, machine), (Some("one-of-many"), "one-of-many".into())] {
        let node = Node::start_with(|config| config.hostname = own.map(str::to_owned));
        let mut spec = container(json!(["run"]));
        spec["hostNetwork"] = true.into();
        node.api.create_pod("node", "p", spec);
        node.pod("p", "ready", ready).await;
        let called = node
            .runtime
            .sandboxes
            .lock()
            .values()
            .next()
            .unwrap()
            .spec
            .hostname
            .clone();
        assert_eq!(called, wanted);
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_node_stays_away_until_its_agent_starts_anew() {
    let mut node = Node::start();
    let (object, lease) = (
        "/api/v1/nodes/node",
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node",
    );
    let owner = eventually("lease", || node.api.get(lease)).await;
    let uid = node.api.get(object).unwrap()["metadata"]["uid"].clone();
    assert_eq!(owner["metadata"]["ownerReferences"][0]["uid"], uid);
    let refused = |path: &str| {
        let refusals = node.api.refusals.lock();
        refusals.iter().filter(|refused| *refused == path).count()
    };
    node.api.remove(object);
    node.api.remove(lease);
    // It tries to go on, more than once, and in vain.
    eventually("refusals", || {
        (refused("/api/v1/nodes/node/status") >= 2 && refused(lease) >= 2).then_some(())
    })
    .await;
    assert_eq!((node.api.get(object), node.api.get(lease)), (None, None));
    node.stop.cancel();
    (&mut node.task).await.unwrap();
    node.stop = CancellationToken::new();
    let runtime = node.runtime.clone();
    node.task = agent(&node.api, runtime, node.dir.path(), &node.stop, |_| {});
    eventually("the node again", || node.api.get(object)).await;
    eventually("its lease", || node.api.get(lease)).await;
    node.end().await;
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
async fn crashing_containers_are_restarted_with_back_off() {
    let node = Node::start();
    node.api
        .create_pod("node", "p", container(json!(["exit", "1"])));
    let pod = node
        .pod("p", "back-off", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                == "CrashLoopBackOff"
        })
        .await;
    let c = &pod["status"]["containerStatuses"][0];
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        c["state"]["waiting"]["message"],
        format!("back-off 10s restarting failed container=c pod=p_default({uid})")
    );
    assert_eq!(
        (
            &c["restartCount"],
            &c["lastState"]["terminated"]["exitCode"]
        ),
        (&json!(1), &json!(1))
    );
    assert_eq!(pod["status"]["phase"], "Running");
    node.event(&format!(
        "BackOff: Back-off restarting failed container c in pod p_default({uid})"
    ))
    .await;
    // Another image is another container, which has not failed yet.
    let mut changed = node.api.pod("p").unwrap();
    changed["spec"]["containers"][0]["image"] = "here:2".into();
    node.api.put("/api/v1/namespaces/default/pods/p", changed);
    let pod = node
        .pod("p", "back-off of the new image", |pod| {
            let c = &pod["status"]["containerStatuses"][0];
            c["restartCount"] == 2 && c["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let text = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    assert!(
        text.as_str().unwrap().starts_with("back-off 10s "),
        "{text}"
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_init_containers_make_way() {
    let (api, stop) = (api(), CancellationToken::new());
    let dir = tempfile::tempdir().unwrap();
    let runtime = Arc::new(SimulatedRuntime::new("10.0.0.0/24".parse().unwrap()));
    let task = agent(&api, runtime, dir.path(), &stop, |_| {});
    let container = |name: &str| json!({"name": name, "image": "here:1"});
    let spec = json!({"hostNetwork": true, "initContainers": [container("a"), container("b")], "containers": [container("c")]});
    api.create_pod("node", "p", spec);
    eventually("the pod runs", || {
        let pod = api.pod("p")?;
        (pod["status"]["containerStatuses"][0]["ready"] == true).then_some(())
    })
    .await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_in_order_and_sidecars_stay() {
    let node = Node::start();
    let spec = json!({
        "initContainers": [
            {"name": "first", "image": "here:1", "command": ["exit", "0"]},
            {"name": "side", "image": "here:1", "command": ["run"], "restartPolicy": "Always"},
            {"name": "last", "image": "here:1", "command": ["exit", "0"]}],
        "containers": [{"name": "c", "image": "here:1", "command": ["run"]}], "restartPolicy": "Never"});
    node.api.create_pod("node", "p", spec);
    let pod = node.pod("p", "ready", ready).await;
    let started: Vec<String> = pod["status"]["initContainerStatuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|status| format!("{} {}", status["name"].as_str().unwrap(), status["ready"]))
        .collect();
    assert_eq!(started, ["first true", "side true", "last true"]);
    node.runtime.finish("c", 0);
    let pod = node.phase("p", "Succeeded").await;
    assert_eq!(
        pod["status"]["initContainerStatuses"][1]["state"]["terminated"]["exitCode"],
        143
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let node = Node::start();
    let with = |image: &str, more: Value| {
        let mut c = json!({"name": "c", "image": image, "command": ["run"]});
        c.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"containers": [c]})
    };
    let table = [
        (
            "pull",
            with("missing:1", json!({})),
            "ImagePullBackOff",
            "Back-off pulling image \"missing:1\": ErrImagePull: no such manifest",
        ),
        (
            "never",
            with("gone:1", json!({"imagePullPolicy": "Never"})),
            "ErrImageNeverPull",
            "Container image \"gone:1\" is not present with pull policy of Never",
        ),
        (
            "name",
            with("Bad", json!({})),
            "InvalidImageName",
            "Failed to apply default image tag \"Bad\": couldn't parse image name \"Bad\": invalid reference format: repository name (library/Bad) must be lowercase",
        ),
        (
            "config",
            with(
                "here:1",
                json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k"}}}]}),
            ),
            "CreateContainerConfigError",
            "configmap \"none\" not found",
        ),
        (
            "start",
            with("here:1", json!({"command": ["missing"]})),
            "RunContainerError",
            "exec: \"missing\": executable file not found in $PATH",
        ),
    ];
    for (name, spec, reason, message) in table {
        node.api.create_pod("node", name, spec);
        let pod = node
            .pod(name, reason, |pod| {
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
            })
            .await;
        assert_eq!(
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"], message,
            "{name}"
        );
        assert_eq!(pod["status"]["phase"], "Pending");
    }
    node.event("Failed: Error: configmap \"none\" not found")
        .await;
    node.event("Failed: Failed to pull image \"missing:1\": no such manifest")
        .await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_on_readiness_and_life() {
    let node = Node::start();
    let spec = json!({"containers": [
        {"name": "ok", "image": "here:1", "readinessProbe": {"exec": {"command": ["ok"]}, "periodSeconds": 1}, "startupProbe": {"exec": {"command": ["ok"]}, "periodSeconds": 1}},
        {"name": "sick", "image": "here:1", "livenessProbe": {"exec": {"command": ["fail", "badly"]}, "periodSeconds": 1, "failureThreshold": 1}}]});
    node.api.create_pod("node", "p", spec);
    node.pod("p", "restarted", |pod| {
        pod["status"]["containerStatuses"][1]["restartCount"] == 1
            && pod["status"]["containerStatuses"][0]["ready"] == true
    })
    .await;
    node.event("Unhealthy: Liveness probe failed: fail badly")
        .await;
    node.event("Killing: Container sick failed liveness probe, will be restarted")
        .await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unready_pod_is_not_ready() {
    let node = Node::start();
    let spec = json!({"containers": [{"name": "c", "image": "here:1", "readinessProbe": {"exec": {"command": ["fail"]}, "periodSeconds": 1}}]});
    node.api.create_pod("node", "p", spec);
    node.event("Unhealthy: Readiness probe failed: fail").await;
    let pod = node.phase("p", "Running").await;
    assert!(!ready(&pod));
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_made_and_follow_their_sources() {
    if !support::may_mount() {
        return;
    }
    let node = Node::start();
    let path = "/api/v1/namespaces/default/configmaps/cm";
    let spec = json!({
        "serviceAccountName": "sa",
        "volumes": [
            {"name": "cm", "configMap": {"name": "cm"}}, {"name": "e", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "s"}}, {"name": "api", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
        "containers": [{"name": "c", "image": "here:1", "volumeMounts": [{"name": "cm", "mountPath": "/cm"}, {"name": "e", "mountPath": "/e"}, {"name": "all", "mountPath": "/all"},
            {"name": "secret", "mountPath": "/secret"}, {"name": "api", "mountPath": "/api"}]}]});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "data": {"k": "dg=="}});
    node.api.put("/api/v1/namespaces/default/secrets/s", secret);
    node.api.create_pod("node", "p", spec);
    node.event(
        "FailedMount: MountVolume.SetUp failed for volume \"cm\" : configmap \"cm\" not found",
    )
    .await;
    node.api.put(path, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "default"}, "data": {"k": "old"}}));
    let pod = node.pod("p", "ready", ready).await;
    let mounts = node
        .runtime
        .specs
        .lock()
        .values()
        .next()
        .unwrap()
        .mounts
        .clone();
    let place = |target: &str| {
        mounts
            .iter()
            .find(|mount| mount.container_path.to_str() == Some(target))
            .unwrap()
            .host_path
            .clone()
    };
    assert_eq!(
        std::fs::read_to_string(place("/cm").join("k")).unwrap(),
        "old"
    );
    assert_eq!(
        std::fs::read_to_string(place("/all").join("token")).unwrap(),
        "the-token"
    );
    assert_eq!(
        std::fs::read_to_string(place("/all").join("name")).unwrap(),
        "p"
    );
    assert!(place("/e").is_dir());
    let is_memory = |target: &str| {
        nix::sys::statfs::statfs(&place(target))
            .unwrap()
            .filesystem_type()
            == nix::sys::statfs::TMPFS_MAGIC
    };
    if !nix::sys::statfs::statfs(node.dir.path())
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
    {
        assert_eq!(
            ["/cm", "/all", "/e", "/secret", "/api"].map(is_memory),
            [false, true, false, true, true],
            "what is secret is not on the disk"
        );
    }
    let hosts = std::fs::read_to_string(place("/etc/hosts")).unwrap();
    assert!(
        hosts.ends_with(&format!(
            "{}\tp\n",
            pod["status"]["podIP"].as_str().unwrap()
        )),
        "{hosts}"
    );
    let mut changed = node.api.get(path).unwrap();
    changed["data"]["k"] = "new".into();
    node.api.put(path, changed);
    eventually("new content", || {
        (std::fs::read_to_string(place("/cm").join("k")).ok()? == "new").then_some(())
    })
    .await;
    node.api.delete_pod("p", 5);
    let dir = node
        .dir
        .path()
        .join("pods")
        .join(pod["metadata"]["uid"].as_str().unwrap());
    eventually("its folder is gone, with what was mounted in it", || {
        (!dir.exists()).then_some(())
    })
    .await;
    node.end().await;
}

/// Failed attempts become rarer, each volume's for itself; what a volume lacks ends its wait by appearing.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_not_to_be_had_is_tried_ever_more_seldom() {
    let node = Node::start();
    let spec = json!({
        "volumes": [
            {"name": "first", "configMap": {"name": "first"}}, {"name": "second", "configMap": {"name": "second"}},
            {"name": "file", "hostPath": {"path": node.dir.path().join("file"), "type": "File"}}],
        "containers": [{"name": "c", "image": "here:1"}]});
    let began = tokio::time::Instant::now();
    node.api.create_pod("node", "p", spec);
    let told = |volume: &str| -> u64 {
        let events = node.api.list("/api/v1/namespaces/default/events/");
        let of_volume = |event: &&Value| {
            let message = event["message"].as_str().unwrap();
            message.contains(&format!("for volume \"{volume}\""))
        };
        let counts = events.iter().filter(of_volume);
        counts.map(|event| event["count"].as_u64().unwrap()).sum()
    };
    for volume in ["first", "second", "file"] {
        eventually(&format!("failures of {volume}"), || {
            (told(volume) >= 4).then_some(())
        })
        .await;
    }
    // 0.5, 1 and 2 seconds; the next attempt is 4 seconds later.
    assert!(began.elapsed() >= Duration::from_millis(3500));
    std::fs::write(node.dir.path().join("file"), "").unwrap();
    let appeared = tokio::time::Instant::now();
    for name in ["first", "second"] {
        node.api.put(&format!("/api/v1/namespaces/default/configmaps/{name}"), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {}}));
    }
    let pod = node.api.pod("p").unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volumes = node.dir.path().join("pods").join(uid).join("volumes");
    eventually("the ConfigMaps are mounted", || {
        let made =
            ["first", "second"].map(|name| volumes.join("kubernetes.io~configmap").join(name));
        made.iter().all(|place| place.exists()).then_some(())
    })
    .await;
    assert!(appeared.elapsed() < Duration::from_secs(3));
    node.pod("p", "ready", ready).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_volumes_are_refused_by_name() {
    let node = Node::start();
    let spec = json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}], "containers": [{"name": "c", "image": "here:1"}]});
    node.api.create_pod("node", "p", spec);
    node.event("FailedMount: MountVolume.SetUp failed for volume \"v\" : volumes of kind nfs are not supported by this node").await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_takes_up_what_runs_and_ends_what_is_gone() {
    let (api, runtime, dir) = (api(), FakeRuntime::new(), tempfile::tempdir().unwrap());
    let first = CancellationToken::new();
    let task = agent(&api, runtime.clone(), dir.path(), &first, |_| {});
    api.create_pod("node", "stays", container(json!(["run"])));
    api.create_pod("node", "goes", container(json!(["run"])));
    eventually("both ready", || {
        (ready(&api.pod("stays")?) && ready(&api.pod("goes")?)).then_some(())
    })
    .await;
    let id = api.pod("stays").unwrap()["status"]["containerStatuses"][0]["containerID"].clone();
    first.cancel();
    task.await.unwrap();
    assert_eq!(runtime.running().len(), 2, "containers outlive the agent");
    api.remove(&support::pod_path("goes"));
    let second = CancellationToken::new();
    let task = agent(&api, runtime.clone(), dir.path(), &second, |_| {});
    eventually("the orphan ended", || {
        (runtime.sandboxes.lock().len() == 1).then_some(())
    })
    .await;
    assert_eq!(runtime.running().len(), 1);
    let pod = api.pod("stays").unwrap();
    assert!(ready(&pod));
    assert_eq!(pod["status"]["containerStatuses"][0]["containerID"], id);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    second.cancel();
    task.await.unwrap();
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
async fn ephemeral_containers_join_a_running_pod() {
    let node = Node::start();
    node.api.create_pod("node", "p", container(json!(["run"])));
    let mut pod = node.pod("p", "ready", ready).await;
    pod["spec"]["ephemeralContainers"] =
        json!([{"name": "debug", "image": "here:1", "targetContainerName": "c"}]);
    node.api.put(&support::pod_path("p"), pod);
    let pod = node
        .pod("p", "debugged", |pod| {
            !pod["status"]["ephemeralContainerStatuses"][0]["state"]["running"].is_null()
        })
        .await;
    let target = node
        .runtime
        .specs
        .lock()
        .values()
        .find(|spec| spec.name == "debug")
        .unwrap()
        .target
        .clone()
        .unwrap();
    assert_eq!(
        pod["status"]["containerStatuses"][0]["containerID"],
        format!("skiff://{target}"),
        "it sees the processes of that one"
    );
    let mut pod = pod;
    pod["spec"]["ephemeralContainers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "lost", "image": "here:1", "targetContainerName": "none"}));
    node.api.put(&support::pod_path("p"), pod);
    node.event("Failed: Error: unable to find target container none")
        .await;
    let waits = |pod: &Value| {
        pod["status"]["ephemeralContainerStatuses"][1]["state"]["waiting"]["reason"]
            == "CreateContainerConfigError"
    };
    node.pod("p", "told why", waits).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_volumes() {
    let node = Node::start();
    let spec = |reference: &str, mount: Value| {
        json!({"volumes": [{"name": "data", "image": {"reference": reference, "pullPolicy": "Always"}}],
            "containers": [{"name": "c", "image": "here:1", "volumeMounts": [mount]}, {"name": "without", "image": "here:1"}]})
    };
    node.api.create_pod(
        "node",
        "p",
        spec(
            "data:1",
            json!({"name": "data", "mountPath": "/data", "subPath": "dir"}),
        ),
    );
    let pod = node.pod("p", "ready", ready).await;
    node.event("Pulling: Pulling image \"data:1\"").await;
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .unwrap()
        .trim_start_matches("skiff://")
        .to_owned();
    let mounts = node.runtime.specs.lock()[&id].mounts.clone();
    let mount = mounts
        .iter()
        .find(|mount| mount.container_path.to_str() == Some("/data"))
        .unwrap();
    let image = mount.image.as_ref().unwrap();
    assert_eq!(
        (
            mount.read_only,
            image.image_id.as_str(),
            image.sub_path.as_str()
        ),
        (true, "sha256:data:1", "dir")
    );

    node.api.create_pod(
        "node",
        "lost",
        spec("missing:1", json!({"name": "data", "mountPath": "/data"})),
    );
    let waits = |pod: &Value| {
        let (with, without) = (
            &pod["status"]["containerStatuses"][0]["state"]["waiting"],
            &pod["status"]["containerStatuses"][1]["state"],
        );
        with["reason"]
            .as_str()
            .is_some_and(|reason| ["ErrImagePull", "ImagePullBackOff"].contains(&reason))
            && !without["running"].is_null()
    };
    node.pod("lost", "waiting for its volume", waits).await;
    node.event("Failed: Failed to pull image \"missing:1\": no such manifest")
        .await;
    node.event("Failed: Error: ErrImagePull").await;

    node.api.create_pod(
        "node",
        "odd",
        spec(
            "data:1",
            json!({"name": "data", "mountPath": "/data", "subPath": "/abs"}),
        ),
    );
    node.event("Failed: Error: error SubPath `/abs` must not be an absolute path")
        .await;
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
