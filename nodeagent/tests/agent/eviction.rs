//! Pods that hold more on the disk than they may.

use serde_json::{Value, json};

use super::{Node, ready};

fn message(pod: &Value) -> (&str, &str) {
    (
        pod["status"]["reason"].as_str().unwrap_or_default(),
        pod["status"]["message"].as_str().unwrap_or_default(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_dir_that_grows_beyond_its_limit() {
    let node = Node::start();
    let spec = json!({"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}], "terminationGracePeriodSeconds": 600,
        "containers": [{"name": "c", "image": "here:1", "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}]});
    node.api.create_pod("node", "p", spec);
    let pod = node.pod("p", "ready", ready).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let scratch = node
        .dir
        .path()
        .join("pods")
        .join(uid)
        .join("volumes/kubernetes.io~empty-dir/scratch");
    std::fs::write(scratch.join("much"), vec![1; 2 << 20]).unwrap();
    node.event("Evicted: Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ")
        .await;
    let pod = node.phase("p", "Failed").await;
    assert_eq!(
        message(&pod),
        (
            "Evicted",
            "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". "
        )
    );
    assert!(
        !pod["status"]["containerStatuses"][0]["state"]["terminated"].is_null(),
        "{pod}"
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_write_more_than_they_may() {
    let node = Node::start();
    let spec = |limit: &str, more: Value| {
        let mut spec = json!({"containers": [{"name": "c", "image": "here:1", "resources": {"limits": {"ephemeral-storage": limit}}}]});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    };
    // The runtime of these tests tells of 10000 bytes.
    node.api.create_pod(
        "node",
        "critical",
        spec("9k", json!({"priority": 2_000_000_000})),
    );
    node.api.create_pod("node", "small", spec("1Gi", json!({})));
    node.api.create_pod("node", "large", spec("9k", json!({})));
    let pod = node.phase("large", "Failed").await;
    assert_eq!(
        message(&pod),
        (
            "Evicted",
            "Pod ephemeral local storage usage exceeds the total limit of containers 9k. "
        )
    );
    for name in ["small", "critical"] {
        node.pod(name, "ready", ready).await;
    }
    node.end().await;
}
