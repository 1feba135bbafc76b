//! How namespaces end.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::plane::{Plane, condition};

async fn make(plane: &Plane, name: &str) {
    plane
        .create(
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
        .await;
    let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
    plane
        .until("its service account", async || {
            plane.get(&account).await.is_some()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_a_namespace_is_told_and_it_ends_when_that_is_gone() {
    let plane = Plane::start().await;
    make(&plane, "held").await;
    let maps = "/api/v1/namespaces/held/configmaps";
    plane.create(maps, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stuck", "finalizers": ["example.com/hold"]}})).await;
    plane.delete("/api/v1/namespaces/held").await;
    let finalizers = ("True".to_string(), "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances".to_string());
    plane
        .until("a condition that names the finalizer", async || {
            condition(
                "status",
                &plane.get("/api/v1/namespaces/held").await.unwrap(),
                "NamespaceFinalizersRemaining",
            ) == finalizers
        })
        .await;
    let content = condition(
        "status",
        &plane.get("/api/v1/namespaces/held").await.unwrap(),
        "NamespaceContentRemaining",
    );
    assert_eq!(
        content,
        (
            "True".into(),
            "Some resources are remaining: configmaps. has 1 resource instances".into()
        )
    );
    let freed = Instant::now();
    plane
        .patch(
            &format!("{maps}/stuck"),
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    plane
        .until("its end", async || {
            plane.get("/api/v1/namespaces/held").await.is_none()
        })
        .await;
    assert!(
        freed.elapsed() < Duration::from_secs(4),
        "it does not wait for the next look: {:?}",
        freed.elapsed()
    );
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_go_first_and_many_objects_go_quickly() {
    let plane = Plane::start().await;
    make(&plane, "full").await;
    for number in 0..500 {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{number}")}});
        plane
            .create("/api/v1/namespaces/full/configmaps", map)
            .await;
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "slow"}, "spec": {"nodeName": "some", "containers": [{"name": "main", "image": "x"}]}});
    plane.create("/api/v1/namespaces/full/pods", pod).await;
    plane.delete("/api/v1/namespaces/full").await;
    let pod = "/api/v1/namespaces/full/pods/slow";
    plane
        .until("the pod being told to end", async || {
            plane
                .get(pod)
                .await
                .is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
        })
        .await;
    let conditions = "NamespaceDeletionContentFailure";
    plane
        .until("conditions", async || {
            !condition(
                "status",
                &plane.get("/api/v1/namespaces/full").await.unwrap(),
                conditions,
            )
            .0
            .is_empty()
        })
        .await;
    assert!(
        plane.list("/api/v1/namespaces/full/configmaps").await.len() >= 500,
        "what a pod may need stays as long as there is one"
    );
    let begun = Instant::now();
    plane
        .api
        .delete_path(
            pod,
            &skiff_watching::api::Delete {
                grace_seconds: Some(0),
                ..Default::default()
            },
        )
        .await
        .unwrap();
    plane
        .until("its end", async || {
            plane.get("/api/v1/namespaces/full").await.is_none()
        })
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_outstays_its_time_keeps_what_it_may_need() {
    let plane = Plane::start().await;
    make(&plane, "late").await;
    plane
        .create(
            "/api/v1/namespaces/late/secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "needed"}}),
        )
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "slow"},
        "spec": {"nodeName": "some", "terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "x"}]}});
    plane.create("/api/v1/namespaces/late/pods", pod).await;
    plane.delete("/api/v1/namespaces/late").await;
    let told = "Failed to delete all resource types, 1 remaining: failed to delete pods for namespace: late, err: \
                unexpected items still remain in namespace: late for gvr: /v1, Resource=pods";
    let conditions = async || {
        condition(
            "status",
            &plane.get("/api/v1/namespaces/late").await.unwrap(),
            "NamespaceDeletionContentFailure",
        )
    };
    plane
        .until("what is wrong", async || {
            conditions().await == ("True".into(), told.into())
        })
        .await;
    assert!(
        plane
            .get("/api/v1/namespaces/late/secrets/needed")
            .await
            .is_some(),
        "the pod still runs"
    );
    let over = skiff_watching::api::Delete {
        grace_seconds: Some(0),
        ..Default::default()
    };
    plane
        .api
        .delete_path("/api/v1/namespaces/late/pods/slow", &over)
        .await
        .unwrap();
    plane
        .until("its end", async || {
            plane.get("/api/v1/namespaces/late").await.is_none()
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_counts_what_came_while_it_was_made() {
    let plane = Plane::start().await;
    let hard = json!({"pods": "5", "requests.cpu": "4"});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"}, "spec": {"hard": hard}});
    plane
        .create("/api/v1/namespaces/default/resourcequotas", quota)
        .await;
    plane.pod("eats", json!({"spec": {"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": "500m"}}}]}})).await;
    plane
        .until("a count", async || {
            let quota = plane
                .get("/api/v1/namespaces/default/resourcequotas/all")
                .await
                .unwrap();
            quota["status"]["used"] == json!({"pods": "1", "requests.cpu": "500m"})
        })
        .await;
    plane.end().await;
}

/// What is made under the name again has none of what was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_go_with_their_namespace() {
    let plane = Plane::start().await;
    make(&plane, "brief").await;
    let services = "/api/v1/namespaces/brief/services";
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    plane.create(services, service).await;
    plane.delete("/api/v1/namespaces/brief").await;
    plane
        .until("the namespace is gone", async || {
            plane.get("/api/v1/namespaces/brief").await.is_none()
        })
        .await;
    make(&plane, "brief").await;
    assert!(plane.list(services).await.is_empty());
    plane.end().await;
}
