//! An object that the server holds and cannot read: told of wherever it is asked for, and never passed over.

use serde_json::json;
use skiff_storage::{Attributes, Draft, Expect, Key, Write};

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Puts bytes into the store that are no object, as they would be found after a restart.
async fn put(server: &Server, resource: &str, name: &str, before: &str, after: &str) {
    let key = Key {
        resource: resource.into(),
        namespace: "default".into(),
        name: name.into(),
    };
    let head = format!("{before}\"metadata\":{{\"resourceVersion\":\"");
    let draft = Draft {
        bytes: format!("{head}\"{after}").into_bytes(),
        revision_at: head.len(),
        attributes: Attributes::unreadable(),
    };
    server
        .app
        .core
        .store
        .commit(Write {
            key,
            expect: Expect::Absent,
            draft: Some(draft),
            last: None,
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_watch_ends_with_an_error_instead_of_leaving_an_event_out() {
    let server = Server::start().await;
    let revision = server.get(MAPS).await.is(200).json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    server
        .make(
            MAPS,
            &json!({"metadata": {"name": "before", "labels": {"a": "b"}}}),
        )
        .await;
    put(&server, "configmaps", "broken", "{", "").await;
    server
        .make(
            MAPS,
            &json!({"metadata": {"name": "after", "labels": {"a": "b"}}}),
        )
        .await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    for query in ["", "&labelSelector=a%3Db", "&labelSelector=!no"] {
        let path = format!("{MAPS}?watch=1&timeoutSeconds=2&resourceVersion={revision}{query}");
        let text = server.send("GET", &path, &table, "").await.is(200).text();
        let types: Vec<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["type"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(types, ["ADDED", "ERROR"], "{query}: {text}");
        assert!(
            text.contains("cannot read the stored") && text.contains("\"code\":500"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn no_selector_passes_it_over() {
    let server = Server::start().await;
    put(&server, "configmaps", "broken", "{", "").await;
    for query in [
        "labelSelector=a%3Db",
        "labelSelector=!a",
        "fieldSelector=metadata.name%21%3Dx",
    ] {
        let answer = server.get(&format!("{MAPS}?{query}")).await.is(500);
        assert!(
            answer.message().contains("cannot read the stored"),
            "{query}: {}",
            answer.text()
        );
    }
}
