//! Server-side apply, from the first write on.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn what_was_applied_first_is_owned_and_taken_away_by_apply() {
    let server = Server::start().await;
    let map = "/api/v1/namespaces/default/configmaps/a";
    let config = |data| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let made = server.apply(map, &config(json!({"x": "1", "y": "1"}))).await.is(201).json();
    let entries = made["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["operation"], &entries[0]["manager"]), (1, &json!("Apply"), &json!("test")));
    let again = server.apply(map, &config(json!({"x": "1"}))).await.is(200).json();
    assert_eq!(again["data"], json!({"x": "1"}));
    let other = server
        .send("PATCH", &format!("{map}?fieldManager=other"), &[("content-type", "application/apply-patch+yaml")], config(json!({"x": "2"})).to_string())
        .await
        .is(409);
    assert!(other.message().starts_with("Apply failed with 1 conflict: conflict with \"test\": .data.x"), "{}", other.message());
}
