//! What is stored, in which version, with which defaults.

use serde_json::{Value, json};

use super::{asked, boat, boats, converter, definition, redefine, sailing};
use crate::server::Server;

/// The defaults that an object has.
async fn defaults(server: &Server, version: &str, name: &str) -> Value {
    let read = server
        .get(&format!("{}/{name}", boats(version)))
        .await
        .is(200);
    read.json()["spec"]["defaults"].clone()
}

/// Defaults are those of the version of a request, and of the stored version: a version that is only read adds none.
#[tokio::test]
async fn defaults_are_those_of_the_request_and_of_what_is_stored() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    for (version, wanted) in [
        ("v1", json!({"v1": true, "v2": true})),
        ("v2", json!({"v2": true})),
    ] {
        let name = format!("made-{version}");
        let mut object = boat(version, &name, 1);
        object["spec"]["defaults"] = json!({});
        let made = server.make(&boats(version), &object).await.json();
        assert_eq!(made["spec"]["defaults"], wanted, "{version}");
        for read in ["v1", "v2"] {
            assert_eq!(defaults(&server, read, &name).await, wanted, "{read}");
        }
    }
}

/// What a schema does not know goes, of what a webhook says, too.
#[tokio::test]
async fn what_comes_of_a_conversion_is_pruned() {
    let webhook = crate::webhook_server::Webhook::start(|_, request| {
        super::answer(request, |mut object| {
            object["spec"]["garbage"] = true.into();
            object["metadata"]["garbage"] = true.into();
            object
        })
    })
    .await;
    let server = sailing(&webhook).await;
    let made = server.make(&boats("v1"), &boat("v1", "a", 1)).await.json();
    assert_eq!(made["spec"], json!({"oars": 1}));
    for version in ["v1", "v2"] {
        let read = server.get(&format!("{}/a", boats(version))).await.json();
        assert_eq!(
            (read["spec"].get("garbage"), read["metadata"].get("garbage")),
            (None, None)
        );
    }
}

fn store(version: &'static str) -> impl Fn(&mut Value) {
    move |definition| {
        for one in definition["spec"]["versions"].as_array_mut().unwrap() {
            one["storage"] = (one["name"] == version).into();
        }
    }
}

/// What was stored in another version is shown by way of the webhook until it is written again.
#[tokio::test]
async fn another_version_is_stored() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    server.make(&boats("v2"), &boat("v2", "a", 1)).await;
    redefine(&server, store("v1")).await;
    server.make(&boats("v1"), &boat("v1", "b", 2)).await;
    assert_eq!(asked(&webhook), [0; 0]);
    for (version, field) in [("v1", "oars"), ("v2", "paddles")] {
        let list = server.get(&boats(version)).await.is(200).json();
        let oars: Vec<&Value> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| &item["spec"][field])
            .collect();
        assert_eq!(oars, [&json!(1), &json!(2)], "{version}");
        // one of them is of the wanted version
        assert_eq!(asked(&webhook), [1], "{version}");
    }
    // what is written as it is is stored anew
    let path = format!("{}/a", boats("v1"));
    let before = server.get(&path).await.json();
    asked(&webhook);
    let after = server.put(&path, &before).await.is(200).json();
    assert_ne!(
        before["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
    assert_eq!(before["spec"], after["spec"]);
    // its manager wrote at the other version: what it owns is looked at there
    assert_eq!(asked(&webhook), [1, 1, 1]);
    server.get(&path).await.is(200);
    assert_eq!(asked(&webhook), [0; 0]);
    // and not again
    let again = server.put(&path, &after).await.is(200).json();
    assert_eq!(again, after);
}

/// A webhook that knows the older question alone is asked that.
#[tokio::test]
async fn questions_have_versions() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    server.make(&boats("v2"), &boat("v2", "a", 3)).await;
    redefine(&server, |definition| {
        definition["spec"]["conversion"]["webhook"]["conversionReviewVersions"] =
            json!(["v7", "v1beta1"]);
    })
    .await;
    let read = server.get(&format!("{}/a", boats("v1"))).await.is(200);
    assert_eq!(read.json()["spec"]["oars"], 3);
    assert_eq!(asked(&webhook), [1]);
}

/// A version that is not served any more may still be stored.
#[tokio::test]
async fn a_version_that_is_not_served_is_read() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    server.make(&boats("v2"), &boat("v2", "a", 3)).await;
    redefine(&server, |definition| {
        store("v1")(definition);
        definition["spec"]["versions"][1]["served"] = false.into();
    })
    .await;
    server
        .until(&boats("v2"), |answer| answer.code == 404)
        .await;
    let read = server.get(&format!("{}/a", boats("v1"))).await.is(200);
    assert_eq!(read.json()["spec"]["oars"], 3);
}

/// Its objects go with the definition, whatever version they are stored in.
#[tokio::test]
async fn all_goes_with_the_definition() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    server.make(&boats("v2"), &boat("v2", "a", 1)).await;
    redefine(&server, store("v1")).await;
    server.make(&boats("v1"), &boat("v1", "b", 1)).await;
    server.delete(super::DEFINITION).await.is(200);
    server
        .until(super::DEFINITION, |answer| answer.code == 404)
        .await;
    super::establish(&server, &definition(webhook.config("/"))).await;
    assert_eq!(server.get(&boats("v2")).await.json()["items"], json!([]));
}
