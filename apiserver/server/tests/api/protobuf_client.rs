//! A client that speaks protobuf alone, over every verb of every kind: what it is told is what a client is told that speaks JSON.
//!
//! Invariant: the objects are those of the verbs' own test (`testdata/answers/objects.yaml`), in which every kind is; upstream's golden objects,
//! which are mostly no valid ones, are to be refused for the same reasons in both encodings.

use std::path::Path;

use serde_json::{Value, json};
use skiff_api::{
    kinds::{Registry, Verbs},
    machinery::yaml,
};

use crate::{
    mask::Masks,
    protobuf::{self, PROTOBUF, events, without_inner_types},
    server::Server,
    verbs::{self, NAMESPACE},
};

#[tokio::test]
async fn every_verb_tells_in_protobuf_what_it_tells_in_json() {
    let server = verbs::harbour().await;
    let objects = yaml::read(&verbs::objects()).unwrap();
    let mut watched = Vec::new();
    for object in objects.iter().map(|document| &document.value) {
        let kind = verbs::kind_of(object).unwrap();
        let collection = verbs::collection(kind, NAMESPACE);
        if kind.verbs == Verbs::CreateOnly {
            asked_once(&server, &collection, object).await;
        } else {
            let since = life(&server, &collection, object).await;
            watched.push(told(&server, collection, since));
        }
    }
    // each watch lasts a second: all at once
    assert!(watched.len() > 50);
    futures::future::join_all(watched).await;
}

/// A question that leaves nothing behind.
async fn asked_once(server: &Server, collection: &str, object: &Value) {
    let (code, answer) = server.ask("POST", collection, object).await;
    let wanted = server.post(collection, object).await.is(code).json();
    let shared = |answer: &Value| Masks::new().masked(answer, "", "");
    let wanted = without_inner_types(wanted);
    assert_eq!(shared(&answer), shared(&wanted), "{collection}");
}

/// The object is made, read, listed, replaced and deleted; the version before it was there.
async fn life(server: &Server, collection: &str, object: &Value) -> String {
    let item = format!(
        "{collection}/{}",
        object["metadata"]["name"].as_str().unwrap()
    );
    let since = server.get(collection).await.is(200).json()["metadata"]["resourceVersion"].clone();
    let mut object = object.clone();
    object["metadata"]["labels"] = json!({"told": "yes"});
    let (code, made) = server.ask("POST", collection, &object).await;
    assert_eq!(code, 201, "{item}: {made}");
    same(server, &item, &made).await;
    // there is one already
    let (code, again) = server.ask("POST", collection, &object).await;
    assert!(matches!(code, 409 | 422), "{item}: {again}");
    assert_eq!(
        again,
        server.post(collection, &object).await.is(code).json()
    );
    let some = format!("{collection}?labelSelector=told%3Dyes");
    let (_, list) = server.ask("GET", &some, &Value::Null).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{item}");
    loop {
        let (code, mut read) = server.ask("GET", &item, &Value::Null).await;
        assert_eq!(code, 200, "{item}: {read}");
        same(server, &item, &read).await;
        read["metadata"]["annotations"]["by"] = json!("protobuf");
        let (code, replaced) = server.ask("PUT", &item, &read).await;
        if code == 409 {
            // the server itself wrote to it meanwhile
            continue;
        }
        assert_eq!(code, 200, "{item}: {replaced}");
        assert_eq!(
            replaced["metadata"]["annotations"]["by"], "protobuf",
            "{item}"
        );
        same(server, &item, &replaced).await;
        break;
    }
    gone(server, &item).await;
    since.as_str().unwrap().into()
}

/// What was answered is what JSON shows, unless the server itself has written since; then its spec still is.
async fn same(server: &Server, item: &str, answer: &Value) {
    let wanted = without_inner_types(server.get(item).await.is(200).json());
    if wanted["metadata"]["resourceVersion"] == answer["metadata"]["resourceVersion"] {
        assert_eq!(*answer, wanted, "{item}");
    } else {
        assert_eq!(
            answer["metadata"]["uid"], wanted["metadata"]["uid"],
            "{item}"
        );
        assert_eq!(answer["spec"], wanted["spec"], "{item}");
    }
}

/// Deletes it; what is said of that is what JSON says.
async fn gone(server: &Server, item: &str) {
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    let mut dry = options.clone();
    dry["dryRun"] = json!(["All"]);
    let json = [("content-type", "application/json")];
    let wanted = server
        .send("DELETE", item, &json, dry.to_string())
        .await
        .is(200)
        .json();
    let (code, gone) = server.ask("DELETE", item, &options).await;
    assert_eq!((code, &gone["kind"]), (200, &wanted["kind"]), "{item}");
    if gone["kind"] == "Status" {
        assert_eq!(gone, protobuf::shown(wanted), "{item}");
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let (code, absent) = server.ask("GET", item, &Value::Null).await;
        if code == 404 {
            assert_eq!(absent, server.get(item).await.is(404).json());
            return;
        }
        let meta = &absent["metadata"];
        assert!(meta["deletionTimestamp"].is_string(), "{item}: {absent}");
        // nobody is there who would do what is to be done first
        if meta["finalizers"].is_array() || absent["kind"] == "Namespace" {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{item} is still there"
        );
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// What a watch tells of all that is what a watch in JSON tells.
async fn told(server: &Server, collection: String, since: String) {
    let path = format!(
        "{collection}?watch=true&timeoutSeconds=1&labelSelector=told&resourceVersion={since}"
    );
    let accept = [("accept", PROTOBUF)];
    let (found, wanted) = tokio::join!(server.send("GET", &path, &accept, ""), server.get(&path));
    let found = events(&found.is(200).bytes);
    let wanted: Vec<(String, Value)> = wanted
        .is(200)
        .text()
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let what = event["type"].as_str().unwrap().to_owned();
            (what, without_inner_types(event["object"].clone()))
        })
        .collect();
    assert_eq!(found, wanted, "{collection}");
    assert_eq!(wanted[0].0, "ADDED", "{collection}");
}

#[tokio::test]
async fn golden_objects_are_answered_alike_in_both_encodings() {
    let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
        return skiff_testing::skipped("UPSTREAM_DATA does not name upstream's golden objects");
    };
    let server = verbs::harbour().await;
    let folder = Path::new(&data).join("api-golden");
    let mut seen = 0;
    for kind in Registry::builtin().all() {
        let group = if kind.group.is_empty() {
            "core"
        } else {
            kind.group
        };
        let file = folder.join(format!("{group}.{}.{}.pb", kind.version, kind.kind));
        let Ok(golden) = std::fs::read(&file) else {
            continue;
        };
        seen += 1;
        let object: Value =
            serde_json::from_slice(&std::fs::read(file.with_extension("json")).unwrap()).unwrap();
        // as it is, in a namespace of that name or in none
        let path = verbs::collection(
            kind,
            object["metadata"]["namespace"].as_str().unwrap_or_default(),
        ) + "?dryRun=All";
        let sent = server
            .send("POST", &path, &[("content-type", PROTOBUF)], golden)
            .await;
        let wanted = server.post(&path, &object).await;
        assert_eq!(
            (sent.code, sent.text()),
            (wanted.code, wanted.text()),
            "{path}"
        );
        // and past that
        let mut near = object.clone();
        match kind.namespaced {
            true => near["metadata"]["namespace"] = json!(NAMESPACE),
            false => near["metadata"]["namespace"] = Value::Null,
        }
        near["metadata"]["resourceVersion"] = Value::Null;
        let path = verbs::collection(kind, NAMESPACE) + "?dryRun=All";
        let (code, answer) = server.ask("POST", &path, &near).await;
        let wanted = server.post(&path, &near).await;
        let shared = |answer: &Value| Masks::new().masked(answer, "", "");
        assert_eq!(
            (code, shared(&answer)),
            (wanted.code, shared(&without_inner_types(wanted.json()))),
            "{path}"
        );
    }
    assert!(seen > 50, "{seen} of them are served");
}
