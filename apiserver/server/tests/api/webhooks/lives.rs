//! Configurations of webhooks come, change and go; what they may ask about, and what they may not.

use serde_json::{Value, json};

use super::{GROUP, MAPS, configure, followed, hook, make};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const BOATS: &str = "/apis/sea.example.com/v1/namespaces/default/boats";

/// All writes of these resources.
fn about(group: &str, resources: &[&str]) -> Value {
    json!({"rules": [{"operations": ["*"], "apiGroups": [group], "apiVersions": ["*"], "resources": resources}]})
}

fn boats() -> Value {
    json!({"metadata": {"name": "boats.sea.example.com"}, "spec": {"group": "sea.example.com", "scope": "Namespaced",
        "names": {"plural": "boats", "kind": "Boat"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "data": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}}}}}]}})
}

fn boat(name: &str) -> Value {
    json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": name}, "data": {"a": "b"}})
}

async fn define(server: &Server) {
    server.make(DEFINITIONS, &boats()).await;
    server.until(BOATS, |answer| answer.code == 200).await;
}

async fn denying() -> Webhook {
    Webhook::start(|_, _| Reply::Response(json!({"allowed": false}))).await
}

#[tokio::test]
async fn what_is_deleted_together_asks_no_more() {
    let server = Server::start().await;
    let webhook = Webhook::start(|path, _| match path {
        "/mutating" => Reply::patch(&json!([{"op": "add", "path": "/data/more", "value": "x"}])),
        _ => Reply::Response(json!({"allowed": false})),
    })
    .await;
    for (sort, code) in [("mutating", 201), ("validating", 400)] {
        let all = format!("{GROUP}/{sort}webhookconfigurations");
        for name in ["one", "two"] {
            let hooks = json!([hook(
                "a.b.c",
                webhook.config(&format!("/{sort}")),
                json!({})
            )]);
            let labels = json!({"sort": sort});
            let object = json!({"metadata": {"name": name, "labels": labels}, "webhooks": hooks});
            server.make(&all, &object).await;
        }
        followed().await;
        let labelled = format!("{all}?labelSelector=sort%3D{sort}");
        let list = server.get(&labelled).await.is(200).json();
        assert_eq!(list["items"].as_array().unwrap().len(), 2);
        let made = make(&server, sort).await.is(code).json();
        let added = made["data"]["more"].as_str();
        assert_eq!(added, (sort == "mutating").then_some("x"), "{made}");

        server.delete(&labelled).await.is(200);
        followed().await;
        let list = server.get(&labelled).await.is(200).json();
        assert_eq!(list["items"], json!([]));
        let made = make(&server, &format!("{sort}-after")).await.is(201).json();
        assert_eq!(made["data"], json!({"a": "b"}));
    }
}

#[tokio::test]
async fn what_is_changed_asks_by_its_new_rules() {
    let server = Server::start().await;
    let webhook = denying().await;
    for sort in ["mutating", "validating"] {
        let hooks = json!([hook("a.b.c", webhook.config("/"), json!({}))]);
        configure(&server, sort, "one", hooks).await;
        make(&server, sort).await.is(400);
        let place = format!("{GROUP}/{sort}webhookconfigurations/one");
        let mut stored = server.get(&place).await.is(200).json();
        stored["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
        server.put(&place, &stored).await.is(200);
        followed().await;
        make(&server, sort).await.is(201);
        let map = format!("{MAPS}/{sort}");
        server
            .patch(&map, "merge", &json!({"data": {"a": "c"}}))
            .await
            .is(400);
        let back = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]);
        server.patch(&place, "json", &back).await.is(200);
        followed().await;
        server
            .patch(&map, "merge", &json!({"data": {"a": "c"}}))
            .await
            .is(200);
        make(&server, &format!("{sort}-two")).await.is(400);
        server.delete(&place).await.is(200);
        followed().await;
    }
}

#[tokio::test]
async fn definitions_and_what_they_bring_are_judged() {
    let server = Server::start().await;
    let webhook = denying().await;
    let of_definitions = about("apiextensions.k8s.io", &["customresourcedefinitions"]);
    let hooks = json!([hook("a.b.c", webhook.config("/"), of_definitions)]);
    configure(&server, "validating", "one", hooks).await;
    server.post(DEFINITIONS, &boats()).await.is(400);
    super::unconfigure(&server, "validating", "one").await;
    define(&server).await;
    server.make(BOATS, &boat("there")).await;

    let hooks = json!([hook(
        "a.b.c",
        webhook.config("/"),
        about("sea.example.com", &["boats"])
    )]);
    configure(&server, "validating", "one", hooks).await;
    server.post(BOATS, &boat("new")).await.is(400);
    let there = format!("{BOATS}/there");
    server
        .patch(&there, "merge", &json!({"data": {"a": "c"}}))
        .await
        .is(400);
    server.delete(&there).await.is(400);
    super::unconfigure(&server, "validating", "one").await;
    server.delete(&there).await.is(200);
}

/// What a webhook makes of an object is pruned and has its defaults, as what a client sends.
#[tokio::test]
async fn what_was_changed_is_read_as_if_it_was_sent() {
    let server = Server::start().await;
    define(&server).await;
    let webhook = Webhook::start(|path, _| {
        Reply::patch(&match path {
            "/boats" => json!([{"op": "add", "path": "/data/b", "value": "x"}, {"op": "add", "path": "/data/c", "value": "y"}]),
            _ => json!([{"op": "add", "path": "/spec/initContainers", "value": [{"name": "first", "image": "i:1"}]}]),
        })
    })
    .await;
    let of_boats = about("sea.example.com", &["boats"]);
    let hooks = json!([
        hook("a.b.c", webhook.config("/boats"), of_boats),
        hook("b.b.c", webhook.config("/pods"), about("", &["pods"])),
    ]);
    configure(&server, "mutating", "one", hooks).await;
    let made = server.make(BOATS, &boat("a")).await.json();
    assert_eq!(made["data"], json!({"a": "b", "b": "x"}));

    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"metadata": {"name": "default"}});
    server.make(accounts, &account).await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = server
        .make("/api/v1/namespaces/default/pods", &pod)
        .await
        .json();
    let first = &made["spec"]["initContainers"][0];
    assert_eq!(
        (&first["imagePullPolicy"], &first["terminationMessagePath"]),
        (&json!("IfNotPresent"), &json!("/dev/termination-log"))
    );
}

#[tokio::test]
async fn attaching_is_refused() {
    let server = Server::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"metadata": {"name": "default"}});
    server.make(accounts, &account).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    server.make(pods, &pod).await;
    let webhook = denying().await;
    let hooks = json!([hook(
        "a.b.c",
        webhook.config("/"),
        about("", &["pods/attach"])
    )]);
    configure(&server, "validating", "one", hooks).await;
    let refused = server
        .get(&format!("{pods}/p/attach?container=c&stdout=true"))
        .await;
    assert_eq!(
        refused.is(400).message(),
        "admission webhook \"a.b.c\" denied the request without explanation"
    );
    let (_, request) = webhook.taken().pop().unwrap();
    assert_eq!(
        (&request["operation"], &request["subResource"]),
        (&json!("CONNECT"), &json!("attach"))
    );
}

/// Nobody can lock others out of their own mending.
#[tokio::test]
async fn configurations_of_webhooks_are_not_asked_about() {
    let server = Server::start().await;
    let webhook = denying().await;
    for sort in ["mutating", "validating"] {
        let own = about("admissionregistration.k8s.io", &["*"]);
        let hooks = json!([hook("a.b.c", webhook.config("/"), own)]);
        configure(&server, sort, "lock", hooks).await;
    }
    for sort in ["mutating", "validating"] {
        let all = format!("{GROUP}/{sort}webhookconfigurations");
        let hooks = json!([hook("a.b.c", webhook.config("/"), json!({}))]);
        let object = json!({"metadata": {"name": "other"}, "webhooks": hooks});
        server.make(&all, &object).await;
        let labels = json!({"metadata": {"labels": {"x": "y"}}});
        let other = format!("{all}/other");
        server.patch(&other, "merge", &labels).await.is(200);
        server.delete(&other).await.is(200);
    }
    assert!(webhook.taken().is_empty());
}
