//! Changing a running pod's cpu and memory.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Node, agent, ready,
    support::{eventually, pod_path},
};

fn spec(cpu: i64, memory: &str, policy: &str) -> Value {
    let resources = json!({"requests": {"cpu": format!("{cpu}m"), "memory": memory}, "limits": {"cpu": format!("{cpu}m"), "memory": memory}});
    let policies = json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}, {"resourceName": "memory", "restartPolicy": policy}]);
    json!({"containers": [{"name": "c", "image": "here:1", "resources": resources, "resizePolicy": policies}]})
}

/// As the API server does when a pod's `resize` is written.
fn resize(node: &Node, name: &str, cpu: i64, memory: &str) {
    let mut pod = node.api.pod(name).unwrap();
    pod["spec"]["containers"][0]["resources"] =
        spec(cpu, memory, "")["containers"][0]["resources"].clone();
    pod["metadata"]["generation"] = (pod["metadata"]["generation"].as_i64().unwrap() + 1).into();
    node.api.put(&pod_path(name), pod);
}

fn condition<'a>(pod: &'a Value, type_: &str) -> Option<&'a Value> {
    pod["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == type_)
}

fn has(cpu: i64, memory: &'static str) -> impl Fn(&Value) -> bool {
    move |pod| {
        let status = &pod["status"]["containerStatuses"][0];
        let resources = &status["resources"];
        let list = |list: &Value| {
            (milli(&list["cpu"]), list["memory"].clone()) == (Some(cpu), json!(memory))
        };
        list(&resources["limits"])
            && list(&resources["requests"])
            && list(&status["allocatedResources"])
            && condition(pod, "PodResizeInProgress").is_none()
    }
}

fn milli(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    text.strip_suffix('m').map_or_else(
        || text.parse::<i64>().ok().map(|cpus| cpus * 1000),
        |milli| milli.parse().ok(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_gets_other_resources() {
    let node = Node::start();
    node.api
        .create_pod("node", "p", spec(100, "64Mi", "NotRequired"));
    let before = node.pod("p", "ready", ready).await;
    assert!(has(100, "64Mi")(&before), "{before:#}");
    resize(&node, "p", 300, "128Mi");
    let after = node
        .pod("p", "with its new resources", has(300, "128Mi"))
        .await;
    let id = |pod: &Value| pod["status"]["containerStatuses"][0]["containerID"].clone();
    assert_eq!(
        (
            id(&after),
            &after["status"]["containerStatuses"][0]["restartCount"]
        ),
        (id(&before), &json!(0)),
        "it runs on"
    );
    assert_eq!(after["status"]["observedGeneration"], 2);
    let limits = node.runtime.sandbox().containers[0].limits.clone();
    assert_eq!(
        (limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes),
        (Some(307), Some(30_000), Some(128 << 20))
    );
    let summary = r#"{"containers":[{"name":"c","resources":{"limits":{"cpu":"300m","memory":"128Mi"},"requests":{"cpu":"300m","memory":"128Mi"}}}],"generation":2}"#;
    node.event(&format!("ResizeStarted: Pod resize started: {summary}"))
        .await;
    node.event(&format!("ResizeCompleted: Pod resize completed: {summary}"))
        .await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_has_the_container_restarted() {
    let node = Node::start();
    node.api
        .create_pod("node", "p", spec(100, "64Mi", "RestartContainer"));
    node.pod("p", "ready", ready).await;
    resize(&node, "p", 100, "128Mi");
    let after = node
        .pod("p", "with its new resources", has(100, "128Mi"))
        .await;
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 1);
    node.event("Killing: Container c resize requires restart")
        .await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_waits_until_there_is() {
    let node = Node::start();
    eventually("the node", || {
        node.api
            .get("/api/v1/nodes/node")
            .filter(|object| !object["status"]["allocatable"].is_null())
    })
    .await;
    let capacity = 1000 * std::thread::available_parallelism().unwrap().get() as i64;
    node.api
        .create_pod("node", "small", spec(500, "64Mi", "NotRequired"));
    node.api
        .create_pod("node", "large", spec(capacity - 600, "64Mi", "NotRequired"));
    node.pod("small", "ready", ready).await;
    node.pod("large", "ready", ready).await;
    resize(&node, "small", 700, "64Mi");
    let waits = node
        .pod("small", "told to wait", |pod| {
            condition(pod, "PodResizePending").is_some()
        })
        .await;
    let pending = condition(&waits, "PodResizePending").unwrap();
    let message = format!(
        "Node didn't have enough resource: cpu, requested: 700, used: {}, capacity: {capacity}",
        capacity - 600
    );
    assert_eq!(
        (&pending["reason"], &pending["message"]),
        (&json!("Deferred"), &json!(message))
    );
    assert_eq!(
        (&pending["status"], &pending["observedGeneration"]),
        (&json!("True"), &json!(2))
    );
    assert_eq!(
        milli(&waits["status"]["containerStatuses"][0]["allocatedResources"]["cpu"]),
        Some(500)
    );
    node.api.delete_pod("large", 5);
    let after = node
        .pod("small", "with its new resources", has(700, "64Mi"))
        .await;
    assert!(condition(&after, "PodResizePending").is_none());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_outlasts_the_agent() {
    let mut node = Node::start();
    eventually("the node", || {
        node.api
            .get("/api/v1/nodes/node")
            .filter(|object| !object["status"]["allocatable"].is_null())
    })
    .await;
    let capacity = 1000 * std::thread::available_parallelism().unwrap().get() as i64;
    node.api
        .create_pod("node", "p", spec(100, "64Mi", "NotRequired"));
    node.pod("p", "ready", ready).await;
    resize(&node, "p", 200, "64Mi");
    node.pod("p", "with its new resources", has(200, "64Mi"))
        .await;
    node.stop.cancel();
    (&mut node.task).await.unwrap();
    // Asked for while no agent runs, and more than the node has.
    resize(&node, "p", capacity + 1000, "64Mi");
    node.stop = CancellationToken::new();
    node.task = agent(
        &node.api,
        node.runtime.clone(),
        node.dir.path(),
        &node.stop,
        |_| {},
    );
    let waits = node
        .pod("p", "told to wait", |pod| {
            condition(pod, "PodResizePending").is_some()
        })
        .await;
    assert_eq!(waits["status"]["phase"], "Running");
    assert!(has(200, "64Mi")(&waits), "{waits:#}");
    assert_eq!(waits["status"]["containerStatuses"][0]["restartCount"], 0);
    node.end().await;
}
