//! Containers of a pod: their order, their ends, their probes, and those that join later.

use super::*;

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
