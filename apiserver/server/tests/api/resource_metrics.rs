//! `metrics.k8s.io`, served by the server itself: who is shown, to whom, in which forms; and that whoever registers it has it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_server::measured::{Point, Reading};

use crate::server::{Answer, Server};

const PODS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// A node that is read every few seconds: each time a second has passed, of which its pod used a fifth, and it itself a half.
fn reads() -> Arc<dyn Fn() -> Reading + Send + Sync> {
    let seconds = AtomicU64::new(100);
    Arc::new(move || {
        let second = seconds.fetch_add(1, Ordering::Relaxed);
        let at = |second: u64| Timestamp::from_second(second as i64).unwrap();
        let point = |thousandths: u64, memory| Point {
            started: at(0),
            at: at(second),
            cpu: second * thousandths * 1_000_000,
            memory,
        };
        let containers = [("main".into(), point(200, 3 << 20))].into();
        Reading {
            node: Some(point(500, 5 << 20)),
            pods: [(("default".into(), "web".into()), containers)].into(),
        }
    })
}

async fn measuring() -> Server {
    let server = Server::with(|config| config.resource_metrics = true).await;
    let measured = server.app.measured.clone().unwrap();
    measured.add_source("node-1", reads());
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server
        .make(accounts, &json!({"metadata": {"name": "default"}}))
        .await;
    let node = json!({"metadata": {"name": "node-1", "labels": {"zone": "a"}}});
    server.make("/api/v1/nodes", &node).await;
    for (name, node) in [("web", "node-1"), ("unmeasured", "node-1"), ("nowhere", "")] {
        let mut pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "x"}]}});
        if !node.is_empty() {
            pod["spec"]["nodeName"] = json!(node);
        }
        server.make("/api/v1/namespaces/default/pods", &pod).await;
    }
    server
}

fn names(list: &Value) -> Vec<&Value> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| &item["metadata"]["name"]).collect()
}

#[tokio::test]
async fn what_is_used_is_shown() {
    let server = measuring().await;
    let has_items = |answer: &Answer| {
        let items = answer.json()["items"].as_array().map_or(0, Vec::len);
        items > 0
    };
    let pods = server.until(PODS, has_items).await.is(200).json();
    let pod = &pods["items"][0];
    assert_eq!(names(&pods), ["web"]);
    assert_eq!(
        (&pods["kind"], &pods["metadata"]),
        (&json!("PodMetricsList"), &json!({}))
    );
    assert_eq!(pod["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(pod["window"], "1s");
    assert_eq!(
        pod["containers"],
        json!([{"name": "main", "usage": {"cpu": "200m", "memory": "3Mi"}}])
    );
    assert!(pod.get("kind").is_none(), "{pod}");
    let one = server.get(&format!("{PODS}/web")).await.is(200).json();
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (&json!("PodMetrics"), &json!("metrics.k8s.io/v1beta1"))
    );
    let nodes = server.get(NODES).await.is(200).json();
    assert_eq!(
        nodes["items"][0]["usage"],
        json!({"cpu": "500m", "memory": "5Mi"})
    );
    assert_eq!(nodes["items"][0]["metadata"]["labels"]["zone"], "a");
    for (path, wanted) in [
        (format!("{PODS}?labelSelector=app%3Dweb"), 1),
        (format!("{PODS}?labelSelector=app%3Dother"), 0),
        (format!("{PODS}?fieldSelector=metadata.name%3Dweb"), 1),
        (format!("{PODS}?fieldSelector=metadata.name!%3Dweb"), 0),
        ("/apis/metrics.k8s.io/v1beta1/pods".into(), 1),
        (
            "/apis/metrics.k8s.io/v1beta1/namespaces/other/pods".into(),
            0,
        ),
        (format!("{NODES}?labelSelector=zone"), 1),
    ] {
        let list = server.get(&path).await.is(200).json();
        assert_eq!(names(&list).len(), wanted, "{path}");
    }
    for (path, code, message) in [
        (format!("{PODS}/none"), 404, "pods \"none\" not found"),
        (
            format!("{PODS}/unmeasured"),
            404,
            "podmetrics.metrics.k8s.io \"default/unmeasured\" not found",
        ),
        (format!("{NODES}/none"), 404, "nodes \"none\" not found"),
        (
            format!("{PODS}?fieldSelector=spec.nodeName%3Dx"),
            400,
            "\"spec.nodeName\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
    ] {
        let answer = server.get(&path).await;
        assert_eq!(
            (answer.code, answer.message().as_str()),
            (code, message),
            "{path}"
        );
    }
    for (method, path) in [
        ("DELETE", format!("{PODS}/web")),
        ("POST", PODS.into()),
        ("GET", format!("{PODS}?watch=true")),
    ] {
        assert_eq!(
            server.send(method, &path, &[], "{}").await.code,
            405,
            "{method} {path}"
        );
    }
    let table = server
        .send("GET", PODS, &[("accept", TABLE)], "")
        .await
        .is(200)
        .json();
    let columns: Vec<&Value> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(columns, ["Name", "cpu", "memory", "Window"]);
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..3],
        [json!("web"), json!("200m"), json!("3Mi")]
    );
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let bytes = server
        .send("GET", PODS, &[("accept", PROTOBUF)], "")
        .await
        .is(200);
    assert_eq!(bytes.headers["content-type"], PROTOBUF);
    server.stop().await;
}

#[tokio::test]
async fn whoever_registers_it_has_it() {
    let server = measuring().await;
    let document = "/openapi/v3/apis/metrics.k8s.io/v1beta1";
    let in_version2 = async |server: &Server| {
        let whole = server.get("/openapi/v2").await.is(200).json();
        whole["paths"]
            .as_object()
            .unwrap()
            .contains_key("/apis/metrics.k8s.io/v1beta1/nodes")
    };
    let ours = async |server: &Server| {
        let list = server.get("/apis/metrics.k8s.io/v1beta1").await;
        (
            list.code,
            server.get(document).await.code,
            in_version2(server).await,
        )
    };
    assert_eq!(ours(&server).await, (200, 200, true));
    // no APIService of ours is in anybody's way
    let name = format!("{SERVICE}/v1beta1.metrics.k8s.io");
    server.get(&name).await.is(404);
    let theirs = json!({"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": {
        "service": {"name": "metrics-server", "namespace": "kube-system"}, "group": "metrics.k8s.io", "version": "v1beta1",
        "insecureSkipTLSVerify": true, "groupPriorityMinimum": 100, "versionPriority": 100}});
    server.make(SERVICE, &theirs).await;
    server
        .until("/apis/metrics.k8s.io/v1beta1", |answer| answer.code == 503)
        .await;
    assert_eq!(server.get(PODS).await.code, 503);
    assert!(!in_version2(&server).await);
    server.get("/apis/metrics.k8s.io").await.is(200);
    server.delete(&name).await.is(200);
    server
        .until("/apis/metrics.k8s.io/v1beta1", |answer| answer.code == 200)
        .await;
    assert_eq!(ours(&server).await, (200, 200, true));
    server.stop().await;
}

#[tokio::test]
async fn without_it_there_is_no_such_group() {
    let server = Server::start().await;
    server.get("/apis/metrics.k8s.io").await.is(404);
    server.get(PODS).await.is(404);
    let groups = server.get("/apis").await.is(200).text();
    assert!(!groups.contains("metrics.k8s.io"), "{groups}");
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/skiff:aggregated-metrics-reader";
    server.get(roles).await.is(404);
    server.stop().await;
}
