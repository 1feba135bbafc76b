//! Endpoints and EndpointSlices.

use serde_json::{Value, json};

use crate::plane::Plane;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_without_a_service_are_left_alone() {
    let plane = Plane::start().await;
    let path = "/api/v1/namespaces/default/endpoints";
    // a service that comes and goes takes its own with it
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "served"}, "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}});
    plane
        .create("/api/v1/namespaces/default/services", service)
        .await;
    let there = async |name: &str| plane.get(&format!("{path}/{name}")).await.is_some();
    plane
        .until("the service's endpoints", async || there("served").await)
        .await;
    // not before that: what is there when the controller begins was left behind
    let subsets = json!([{"addresses": [{"ip": "192.0.2.5"}], "ports": [{"port": 80}]}]);
    plane.create(path, json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "alone"}, "subsets": subsets})).await;
    plane
        .delete("/api/v1/namespaces/default/services/served")
        .await;
    plane
        .until("their end", async || !there("served").await)
        .await;
    assert!(there("alone").await, "what nobody serves is nobody's");
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slice_without_endpoints_has_none() {
    let plane = Plane::start().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    plane
        .create("/api/v1/namespaces/default/services", service)
        .await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dweb";
    plane
        .until("a slice", async || !plane.list(slices).await.is_empty())
        .await;
    assert_eq!(
        plane.list(slices).await[0]["endpoints"],
        Value::Null,
        "as upstream writes it: null"
    );
    plane.end().await;
}
