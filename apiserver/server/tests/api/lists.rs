//! Lists: over all namespaces, in pages, and on after their revision is gone.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn every_namespaced_kind_is_listed_over_all_namespaces() {
    let server = Server::start().await;
    let endpoints = json!({"metadata": {"name": "x"}, "subsets": [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1}]}]});
    for (path, plural, object) in [
        ("api/v1", "configmaps", json!({"metadata": {"name": "x"}})),
        ("api/v1", "endpoints", endpoints),
        ("api/v1", "serviceaccounts", json!({"metadata": {"name": "x"}})),
        ("apis/coordination.k8s.io/v1", "leases", json!({"metadata": {"name": "x"}, "spec": {}})),
    ] {
        server.post(&format!("/{path}/namespaces/default/{plural}"), &object).await.is(201);
        let list = server.get(&format!("/{path}/{plural}")).await.is(200).json();
        let names: Vec<&str> = list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
        assert!(names.contains(&"x"), "{plural}: {names:?}");
    }
}
