//! Workloads and their pods.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::plane::{Plane, template};

/// A kubelet that can run nothing: every pod fails as soon as it is seen. Gives how many there were in this time.
async fn fail_all(plane: &Plane, time: Duration) -> usize {
    let (mut seen, end) = (HashSet::new(), Instant::now() + time);
    while Instant::now() < end {
        for pod in plane.list("/api/v1/namespaces/default/pods").await {
            let name = pod["metadata"]["name"].as_str().unwrap();
            if seen.insert(pod["metadata"]["uid"].as_str().unwrap().to_string()) {
                plane.is_in_phase(name, "Failed").await;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    seen.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_fail_at_once_are_replaced_slowly() {
    let plane = Plane::start().await;
    let set = |kind: &str| {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "bad"}, "spec": {"replicas": 2, "serviceName": "bad",
            "podManagementPolicy": "Parallel", "selector": {"matchLabels": {"app": kind}}, "template": template(kind)}})
    };
    for (kind, path) in [
        ("ReplicaSet", "replicasets"),
        ("StatefulSet", "statefulsets"),
    ] {
        let path = format!("/apis/apps/v1/namespaces/default/{path}");
        let mut set = set(kind);
        if kind == "ReplicaSet" {
            let spec = set["spec"].as_object_mut().unwrap();
            spec.remove("serviceName");
            spec.remove("podManagementPolicy");
        }
        plane.create(&path, set).await;
        let pods = fail_all(&plane, Duration::from_secs(3)).await;
        assert!(
            (5..60).contains(&pods),
            "{kind}: {pods} pods in three seconds"
        );
        plane.delete(&format!("{path}/bad")).await;
        plane
            .until("its pods are gone", async || {
                plane
                    .list("/api/v1/namespaces/default/pods")
                    .await
                    .is_empty()
            })
            .await;
    }
    plane.end().await;
}

/// More pods than anybody has room for are made as many at a time as others are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_as_many_pods_as_there_are_numbers() {
    let plane = Plane::start().await;
    let path = "/apis/apps/v1/namespaces/default/statefulsets";
    for (name, policy, start, replicas) in [
        ("ordered", "OrderedReady", 0, i32::MAX),
        ("parallel", "Parallel", 5, i32::MAX),
        ("last", "Parallel", i32::MAX, 2),
    ] {
        let spec = json!({"replicas": replicas, "ordinals": {"start": start}, "serviceName": "x", "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": name}}, "template": template(name)});
        plane.create(path, json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec})).await;
        let pod = format!("/api/v1/namespaces/default/pods/{name}-{start}");
        plane
            .until("its first pod", async || plane.get(&pod).await.is_some())
            .await;
        plane.delete(&format!("{path}/{name}")).await;
        plane
            .until("its pods are gone", async || {
                plane
                    .list("/api/v1/namespaces/default/pods")
                    .await
                    .is_empty()
            })
            .await;
    }
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_as_many_indexes_as_there_are_numbers() {
    let plane = Plane::start().await;
    let mut template = template("work");
    template["spec"]["restartPolicy"] = "Never".into();
    let spec = json!({"completionMode": "Indexed", "completions": i32::MAX, "parallelism": 3, "backoffLimitPerIndex": 1, "maxFailedIndexes": 5, "template": template,
        "successPolicy": {"rules": [{"succeededIndexes": "0-2147483646", "succeededCount": 2147483000}]}});
    let path = "/apis/batch/v1/namespaces/default/jobs";
    plane.create(path, json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": spec})).await;
    let pods = async || plane.list("/api/v1/namespaces/default/pods").await;
    plane
        .until("its pods", async || pods().await.len() == 3)
        .await;
    let first = pods()
        .await
        .into_iter()
        .find(|pod| {
            pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "0"
        })
        .unwrap();
    plane
        .is_in_phase(first["metadata"]["name"].as_str().unwrap(), "Succeeded")
        .await;
    plane
        .until("the first index's end", async || {
            plane.get(&format!("{path}/work")).await.unwrap()["status"]["completedIndexes"] == "0"
        })
        .await;
    plane.end().await;
}
