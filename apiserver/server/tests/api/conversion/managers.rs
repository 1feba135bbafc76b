//! Who owns which fields, where managers write at different versions.

use serde_json::{Value, json};

use super::{boat, boats, converter, sailing};
use crate::server::{Answer, Server};

async fn apply(server: &Server, version: &str, manager: &str, object: &Value) -> Answer {
    let path = format!("{}/a?fieldManager={manager}", boats(version));
    let headers = [("content-type", "application/apply-patch+yaml")];
    server
        .send("PATCH", &path, &headers, object.to_string())
        .await
}

/// Name and version of each manager, with what it owns of the spec.
fn managers(object: &Value) -> Vec<(String, String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    entries
        .iter()
        .map(|entry| {
            (
                text(&entry["manager"]),
                text(&entry["apiVersion"]).replace("sea.example.com/", ""),
                entry["fieldsV1"]["f:spec"].clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn managers_of_other_versions_keep_what_is_theirs() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    apply(&server, "v1", "one", &boat("v1", "a", 4))
        .await
        .is(201);
    // the same field under its other name
    let conflict = apply(&server, "v2", "two", &boat("v2", "a", 5))
        .await
        .is(409);
    assert_eq!(
        conflict.message(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.oars"
    );
    let color = json!({"apiVersion": "sea.example.com/v2", "kind": "Boat", "metadata": {"name": "a"}, "spec": {"color": "red"}});
    let applied = apply(&server, "v2", "two", &color).await.is(200).json();
    assert_eq!(
        managers(&applied),
        [
            ("one".into(), "v1".into(), json!({"f:oars": {}})),
            ("two".into(), "v2".into(), json!({"f:color": {}})),
        ]
    );
    assert_eq!(applied["spec"], json!({"paddles": 4, "color": "red"}));
    // an update at one version takes from a manager at another
    let path = format!("{}/a?fieldManager=three", boats("v2"));
    let updated = server
        .patch(&path, "merge", &json!({"spec": {"paddles": 6}}))
        .await
        .is(200)
        .json();
    let owners: Vec<(String, Value)> = managers(&updated)
        .into_iter()
        .map(|(name, _, owned)| (name, owned))
        .collect();
    assert!(
        owners.contains(&("three".into(), json!({"f:paddles": {}}))),
        "{owners:?}"
    );
    assert!(
        owners
            .iter()
            .all(|(name, owned)| name != "one" || owned.is_null()),
        "{owners:?}"
    );
}

/// Who applies at another version than before, and without a field, lets go of that field.
#[tokio::test]
async fn what_is_applied_no_more_goes() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    let mut first = boat("v1", "a", 4);
    first["spec"]["color"] = "red".into();
    apply(&server, "v1", "one", &first).await.is(201);
    let color = json!({"apiVersion": "sea.example.com/v2", "kind": "Boat", "metadata": {"name": "a"}, "spec": {"color": "green"}});
    let applied = apply(&server, "v2", "one", &color).await.is(200).json();
    assert_eq!(applied["spec"], json!({"color": "green"}));
    assert_eq!(
        managers(&applied),
        [("one".into(), "v2".into(), json!({"f:color": {}}))]
    );
}
