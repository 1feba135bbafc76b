//! Every verb in every version.

use serde_json::{Value, json};

use super::{asked, boat, boats, converter, field, sailing};
use crate::server::{Answer, Server};

/// Name, version and oars of what is shown.
fn told(object: &Value) -> (String, String, Value) {
    let text = |value: &Value| value.as_str().unwrap_or("").to_string();
    let version = text(&object["apiVersion"]).replace("sea.example.com/", "");
    let oars = object["spec"][field(&version)].clone();
    (text(&object["metadata"]["name"]), version, oars)
}

fn is(object: &Value, name: &str, version: &str, oars: i64) {
    assert_eq!(
        told(object),
        (name.into(), version.into(), oars.into()),
        "{object}"
    );
}

#[tokio::test]
async fn one_object_is_shown_in_each_version() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    let made = server.make(&boats("v1"), &boat("v1", "a", 4)).await.json();
    is(&made, "a", "v1", 4);
    // once to be stored, and once to be shown
    assert_eq!(asked(&webhook), [1, 1]);
    for (version, questions) in [("v1", 1), ("v2", 0)] {
        let read = server.get(&format!("{}/a", boats(version))).await.json();
        is(&read, "a", version, 4);
        assert_eq!(read["metadata"]["uid"], made["metadata"]["uid"]);
        assert_eq!(
            read["metadata"]["resourceVersion"],
            made["metadata"]["resourceVersion"]
        );
        assert_eq!(asked(&webhook).len(), questions, "{version}");
    }
}

#[tokio::test]
async fn a_list_is_one_question() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    for (name, oars) in [("a", 1), ("b", 2), ("c", 3)] {
        server.make(&boats("v2"), &boat("v2", name, oars)).await;
    }
    assert_eq!(asked(&webhook), [0; 0]);
    let list = |path: &str| {
        let path = path.to_string();
        let server = &server;
        async move { server.get(&path).await.is(200).json() }
    };
    let all = list(&boats("v1")).await;
    assert_eq!(asked(&webhook), [3]);
    let stored = list(&boats("v2")).await;
    let revision = |list: &Value| {
        let text = list["metadata"]["resourceVersion"].as_str().unwrap();
        text.parse::<u64>().unwrap()
    };
    assert!(revision(&all) <= revision(&stored));
    assert_eq!(
        (&all["kind"], &all["apiVersion"]),
        (&json!("BoatList"), &json!("sea.example.com/v1"))
    );
    for (at, (name, oars)) in [("a", 1), ("b", 2), ("c", 3)].into_iter().enumerate() {
        is(&all["items"][at], name, "v1", oars);
        is(&stored["items"][at], name, "v2", oars);
    }
    assert_eq!(asked(&webhook), [0; 0]);
    // who selects sees the version that is asked for
    let selected = list(&format!("{}?fieldSelector=spec.oars%3D2", boats("v1"))).await;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    is(&selected["items"][0], "b", "v1", 2);
    // pages
    webhook.taken();
    let page = list(&format!("{}?limit=2", boats("v1"))).await;
    assert_eq!(
        (
            page["items"].as_array().unwrap().len(),
            &page["metadata"]["remainingItemCount"]
        ),
        (2, &json!(1))
    );
    let rest = page["metadata"]["continue"].as_str().unwrap();
    let rest = list(&format!("{}?limit=2&continue={rest}", boats("v1"))).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    is(&rest["items"][0], "c", "v1", 3);
    assert_eq!(asked(&webhook), [3, 1]);
}

#[tokio::test]
async fn tables_have_the_columns_of_their_version() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    server.make(&boats("v2"), &boat("v2", "a", 5)).await;
    let accept = [(
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )];
    for version in ["v1", "v2"] {
        for path in [boats(version), format!("{}/a", boats(version))] {
            let table = server.send("GET", &path, &accept, "").await.is(200).json();
            assert_eq!(table["columnDefinitions"][1]["name"], field(version));
            assert_eq!(table["rows"][0]["cells"][1], 5);
        }
    }
}

#[tokio::test]
async fn changes_are_made_in_the_version_of_the_request() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    let path = format!("{}/a", boats("v1"));
    let stored = format!("{}/a", boats("v2"));
    let mut made = server.make(&boats("v1"), &boat("v1", "a", 4)).await.json();
    made["spec"]["oars"] = 5.into();
    is(&server.put(&path, &made).await.is(200).json(), "a", "v1", 5);
    let steps = [
        ("merge", json!({"spec": {"oars": 6}}), 6),
        (
            "json",
            json!([{"op": "test", "path": "/spec/oars", "value": 6}, {"op": "replace", "path": "/spec/oars", "value": 7}]),
            7,
        ),
    ];
    for (kind, patch, oars) in steps {
        let patched = server.patch(&path, kind, &patch).await.is(200).json();
        is(&patched, "a", "v1", oars);
        is(&server.get(&stored).await.json(), "a", "v2", oars);
    }
    // what is as it was is not written again
    let before = server.get(&path).await.json();
    let same = server.put(&path, &before).await.is(200).json();
    assert_eq!(before, same);
    // its rules are those of the version
    let refused = server
        .patch(&path, "merge", &json!({"spec": {"oars": 0}}))
        .await
        .is(422);
    assert!(
        refused
            .message()
            .contains("spec.oars in body should be greater"),
        "{}",
        refused.text()
    );
    let unknown = format!("{path}?fieldValidation=Strict");
    let refused = server
        .patch(&unknown, "merge", &json!({"spec": {"paddles": 2}}))
        .await
        .is(422);
    assert!(
        refused
            .message()
            .contains(r#"unknown field \"spec.paddles\""#)
            || refused
                .message()
                .contains(r#"unknown field "spec.paddles""#),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn nothing_comes_of_what_is_only_tried() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    let path = boats("v1");
    let tried = server
        .post(&format!("{path}?dryRun=All"), &boat("v1", "a", 4))
        .await
        .is(201)
        .json();
    is(&tried, "a", "v1", 4);
    server.get(&format!("{path}/a")).await.is(404);
    server.make(&path, &boat("v1", "a", 4)).await;
    let tried = server
        .patch(
            &format!("{path}/a?dryRun=All"),
            "merge",
            &json!({"spec": {"oars": 9}}),
        )
        .await
        .is(200)
        .json();
    is(&tried, "a", "v1", 9);
    is(&server.get(&format!("{path}/a")).await.json(), "a", "v1", 4);
}

#[tokio::test]
async fn parts_are_those_of_the_version() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    server.make(&boats("v1"), &boat("v1", "a", 4)).await;
    let path = format!("{}/a", boats("v1"));
    let told = server
        .patch(
            &format!("{path}/status"),
            "merge",
            &json!({"spec": {"oars": 9}, "status": {"oars": 3}}),
        )
        .await
        .is(200)
        .json();
    assert_eq!(
        (&told["spec"]["oars"], &told["status"]["oars"]),
        (&json!(4), &json!(3))
    );
    for version in ["v1", "v2"] {
        let scale = server
            .get(&format!("{}/a/scale", boats(version)))
            .await
            .is(200)
            .json();
        assert_eq!(
            (&scale["spec"]["replicas"], &scale["status"]["replicas"]),
            (&json!(4), &json!(3)),
            "{version}"
        );
    }
    let scaled = server
        .patch(
            &format!("{path}/scale"),
            "merge",
            &json!({"spec": {"replicas": 6}}),
        )
        .await
        .is(200)
        .json();
    assert_eq!(scaled["spec"]["replicas"], 6);
    let read = server.get(&format!("{}/a", boats("v2"))).await.json();
    assert_eq!(
        (&read["spec"]["paddles"], &read["status"]["paddles"]),
        (&json!(6), &json!(3))
    );
}

#[tokio::test]
async fn what_goes_is_shown_as_it_was() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    let path = boats("v1");
    let mut held = boat("v1", "held", 2);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.make(&path, &held).await;
    for name in ["a", "b"] {
        server.make(&path, &boat("v1", name, 3)).await;
    }
    let marked = server.delete(&format!("{path}/held")).await.is(200).json();
    is(&marked, "held", "v1", 2);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let freed = server
        .patch(
            &format!("{path}/held"),
            "merge",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .is(200)
        .json();
    is(&freed, "held", "v1", 2);
    server.get(&format!("{path}/held")).await.is(404);
    let gone = server
        .delete(&format!("{path}?fieldSelector=spec.oars%3D3"))
        .await
        .is(200)
        .json();
    let oars: Vec<&Value> = gone["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["spec"]["oars"])
        .collect();
    assert_eq!(oars, [&json!(3), &json!(3)]);
    assert_eq!(server.get(&path).await.json()["items"], json!([]));
}

/// The events of a watch that ends after a second.
async fn events(server: &Server, path: &str) -> Vec<(String, Value)> {
    let Answer { bytes, .. } = server
        .get(&format!("{path}watch=true&timeoutSeconds=1"))
        .await
        .is(200);
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut event: Value = serde_json::from_slice(line).unwrap();
            (
                event["type"].as_str().unwrap().to_string(),
                event["object"].take(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_watch_tells_of_one_version() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    let (v1, v2) = (boats("v1"), boats("v2"));
    let before = server.get(&v2).await.json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_string();
    server.make(&v2, &boat("v2", "a", 1)).await;
    server.make(&v2, &boat("v2", "b", 2)).await;
    let path = format!("{v2}/a");
    server
        .patch(&path, "merge", &json!({"spec": {"paddles": 2}}))
        .await
        .is(200);
    server.delete(&path).await.is(200);
    let all = events(&server, &format!("{v1}?resourceVersion={before}&")).await;
    let words: Vec<&str> = all.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(words, ["ADDED", "ADDED", "MODIFIED", "DELETED"]);
    for ((_, object), (name, oars)) in all.iter().zip([("a", 1), ("b", 2), ("a", 2), ("a", 2)]) {
        is(object, name, "v1", oars);
    }
    // one question for all that came together
    assert_eq!(asked(&webhook), [4]);
    // what there is, then what comes
    let all = events(&server, &format!("{v1}?")).await;
    assert_eq!(all.len(), 1);
    is(&all[0].1, "b", "v1", 2);
    // who selects sees the version that is watched
    let selected = format!("{v1}?resourceVersion={before}&fieldSelector=spec.oars%3D2&");
    let some = events(&server, &selected).await;
    let words: Vec<&str> = some.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(words, ["ADDED", "ADDED", "DELETED"]);
    // metadata alone, too
    let accept = [(
        "accept",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    )];
    let list = server.send("GET", &v1, &accept, "").await.is(200).json();
    assert_eq!(list["items"][0]["metadata"]["name"], "b");
}
