//! What the node turns away, and what it takes.

use serde_json::{Value, json};

use super::{
    Node, container, ready,
    support::{eventually, pod_path},
};

const NODE: &str = "/api/v1/nodes/node";

/// Changes the Node object as another client would.
async fn change_node(node: &Node, change: impl FnOnce(&mut Value)) {
    eventually("the node", || {
        node.api
            .get(NODE)
            .filter(|object| !object["status"]["allocatable"].is_null())
    })
    .await;
    node.api.change(NODE, |object| {
        change(object);
        true
    });
}

fn verdict(pod: &Value) -> (&str, &str) {
    (
        pod["status"]["reason"].as_str().unwrap_or_default(),
        pod["status"]["message"].as_str().unwrap_or_default(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_judged_by_the_node_as_the_api_has_it() {
    let node = Node::start();
    change_node(&node, |object| {
        object["metadata"]["labels"]["disk"] = "ssd".into();
        object["status"]["capacity"]["example.com/dongle"] = "2".into();
    })
    .await;
    let mut wanted = container(json!(["run"]));
    wanted["nodeSelector"] = json!({"disk": "ssd"});
    node.api.create_pod("node", "labelled", wanted);
    node.pod("labelled", "ready", ready).await;

    eventually("what others advertise is allocatable", || {
        (node.api.get(NODE)?["status"]["allocatable"]["example.com/dongle"] == "2").then_some(())
    })
    .await;
    let dongles = |count: &str| json!({"containers": [{"name": "c", "image": "here:1", "resources": {"requests": {"example.com/dongle": count}, "limits": {"example.com/dongle": count}}}]});
    node.api.create_pod("node", "has", dongles("2"));
    node.pod("has", "ready", ready).await;
    node.api.create_pod("node", "lacks", dongles("1"));
    let pod = node.phase("lacks", "Failed").await;
    let message =
        "Node didn't have enough resource: example.com/dongle, requested: 1, used: 2, capacity: 2";
    assert_eq!(
        verdict(&pod),
        (
            "OutOfexample.com/dongle",
            format!("Pod was rejected: {message}").as_str()
        )
    );
    node.event(&format!("OutOfexample.com/dongle: {message}"))
        .await;
    let keys: Vec<_> = pod["status"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "message",
            "observedGeneration",
            "phase",
            "qosClass",
            "reason",
            "startTime"
        ],
        "nothing else is told of what was never here"
    );
    node.api.delete_pod("has", 5);
    eventually("deletion", || node.api.pod("has").is_none().then_some(())).await;
    node.api.create_pod("node", "next", dongles("1"));
    node.pod("next", "ready", ready).await;
    assert_eq!(
        node.api.get(NODE).unwrap()["status"]["capacity"]["example.com/dongle"],
        "2",
        "the node does not wipe what is not its own"
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_missing_turns_a_pod_away() {
    let node = Node::start();
    let mut wanted = container(json!(["run"]));
    wanted["nodeSelector"] = json!({"disk": "none"});
    node.api.create_pod("node", "p", wanted);
    let pod = node.phase("p", "Failed").await;
    let message = "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    assert_eq!(verdict(&pod), ("NodeAffinity", message));
    node.api.delete_pod("p", 5);
    eventually("deletion", || node.api.pod("p").is_none().then_some(())).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_port_is_had_once() {
    let node = Node::start();
    let with =
        |ports: Value| json!({"containers": [{"name": "c", "image": "here:1", "ports": ports}]});
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    node.api.create_pod(
        "node",
        "first",
        with(json!([{"containerPort": 80, "hostPort": free, "protocol": "TCP"}])),
    );
    node.pod("first", "ready", ready).await;
    node.api.create_pod("node", "second", with(json!([{"containerPort": 80, "hostPort": free, "hostIP": "127.0.0.1", "protocol": "TCP"}])));
    let pod = node.phase("second", "Failed").await;
    let message =
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    assert_eq!(
        verdict(&pod),
        ("NodePorts", format!("Pod was rejected: {message}").as_str())
    );
    node.event(&format!("NodePorts: {message}")).await;
    node.api.create_pod(
        "node",
        "udp",
        with(json!([{"containerPort": 80, "hostPort": free, "protocol": "UDP"}])),
    );
    node.pod("udp", "ready", ready).await;
    node.api.delete_pod("first", 5);
    eventually("deletion", || node.api.pod("first").is_none().then_some(())).await;
    node.api.create_pod(
        "node",
        "third",
        with(json!([{"containerPort": 80, "hostPort": free, "protocol": "TCP"}])),
    );
    node.pod("third", "ready", ready).await;
    // by force: its replacement does not wait for what still runs of it
    node.api.remove(&pod_path("third"));
    node.api.create_pod(
        "node",
        "fourth",
        with(json!([{"containerPort": 80, "hostPort": free, "protocol": "TCP"}])),
    );
    node.pod("fourth", "ready", ready).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_sysctls_are_refused() {
    let node = Node::start();
    let mut wanted = container(json!(["run"]));
    wanted["securityContext"] = json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]});
    node.api.create_pod("node", "p", wanted);
    let pod = node.phase("p", "Failed").await;
    assert_eq!(
        verdict(&pod),
        (
            "SysctlForbidden",
            "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted"
        )
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_come_together_do_not_get_the_same_room() {
    let node = Node::start();
    change_node(&node, |_| {}).await;
    let capacity = std::thread::available_parallelism().unwrap().get();
    let wanted = json!({"containers": [{"name": "c", "image": "here:1", "resources": {"requests": {"cpu": capacity.to_string()}}}]});
    node.api.create_pod("node", "a", wanted.clone());
    node.api.create_pod("node", "b", wanted);
    let phases = || {
        let phase = |name: &str| Some(node.api.pod(name)?["status"]["phase"].as_str()?.to_owned());
        let mut both = vec![phase("a")?, phase("b")?];
        both.sort();
        (both == ["Failed", "Running"]).then_some(())
    };
    eventually("one runs and the other is turned away", phases).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_classes_name_a_handler_that_the_node_has() {
    let node = Node::start();
    let class = |name: &str, handler: &str| {
        let object = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler});
        node.api.put(
            &format!("/apis/node.k8s.io/v1/runtimeclasses/{name}"),
            object,
        );
    };
    class("common", "runc");
    class("strange", "kata");
    let pod = |class: &str| json!({"runtimeClassName": class, "containers": [{"name": "c", "image": "here:1"}]});
    for (name, class) in [("a", "common"), ("b", "strange"), ("c", "none")] {
        node.api.create_pod("node", name, pod(class));
    }
    node.pod("a", "ready", ready).await;
    for why in [
        "failed to get sandbox runtime: no runtime for \"kata\" is configured",
        "runtimeclass.node.k8s.io \"none\" not found",
    ] {
        node.event(&format!(
            "FailedCreatePodSandBox: Failed to create pod sandbox: {why}"
        ))
        .await;
    }
    let told = node.api.get(NODE).unwrap()["status"]["runtimeHandlers"].clone();
    assert_eq!(
        told,
        json!([{"name": ""}, {"name": "runc"}, {"name": "skiff"}])
    );
    node.end().await;
}
