//! The versions, parts and operations that webhooks see.

use serde_json::{Value, json};

use super::{GROUP, MAPS, configure, hook, make, map, unconfigure};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

#[tokio::test]
async fn other_versions_and_parts_of_objects() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, request| match request["kind"]["kind"].as_str() {
        Some("Scale") => {
            Reply::patch(&json!([{"op": "replace", "path": "/spec/replicas", "value": 7}]))
        }
        Some("HorizontalPodAutoscaler") => {
            Reply::patch(&json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 9}]))
        }
        _ => Reply::allowed(),
    })
    .await;
    let rule = |version: &str, resource: &str| json!({"operations": ["*"], "apiGroups": ["autoscaling", "apps"], "apiVersions": [version], "resources": [resource]});
    let about = |policy: &str, rule: Value| {
        json!([hook(
            "a.b.c",
            webhook.config("/"),
            json!({"matchPolicy": policy, "rules": [rule]})
        )])
    };
    let autoscaler = |version: &str, name: &str| {
        json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}})
    };
    for (policy, rule_version, asked_version, seen) in [
        ("Exact", "v1", "v1", Some("v1")),
        ("Exact", "v1", "v2", None),
        ("Equivalent", "v1", "v2", Some("v1")),
        ("Equivalent", "v2", "v1", Some("v2")),
    ] {
        configure(
            &server,
            "mutating",
            "one",
            about(policy, rule(rule_version, "horizontalpodautoscalers")),
        )
        .await;
        let path = format!(
            "/apis/autoscaling/{asked_version}/namespaces/default/horizontalpodautoscalers?dryRun=All"
        );
        let made = server
            .post(&path, &autoscaler(asked_version, "h"))
            .await
            .is(201)
            .json();
        assert_eq!(
            made["spec"]["maxReplicas"],
            json!(if seen.is_some() { 9 } else { 3 })
        );
        let found = webhook.taken();
        assert_eq!(
            found
                .last()
                .map(|(_, request)| request["resource"]["version"].as_str().unwrap()),
            seen
        );
        for (_, request) in found {
            assert_eq!(request["requestResource"]["version"], asked_version);
            assert_eq!(
                request["object"]["apiVersion"],
                format!("autoscaling/{}", seen.unwrap())
            );
        }
        unconfigure(&server, "mutating", "one").await;
    }
    let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}});
    server
        .make("/apis/apps/v1/namespaces/default/deployments", &deployment)
        .await;
    configure(
        &server,
        "mutating",
        "one",
        about("Exact", rule("v1", "deployments/scale")),
    )
    .await;
    let place = "/apis/apps/v1/namespaces/default/deployments/d";
    let scaled = server
        .patch(
            &format!("{place}/scale"),
            "merge",
            &json!({"spec": {"replicas": 2}}),
        )
        .await
        .is(200)
        .json();
    assert_eq!(scaled["spec"]["replicas"], 7);
    assert_eq!(server.get(place).await.json()["spec"]["replicas"], 7);
    let (_, request) = webhook.taken().pop().unwrap();
    assert_eq!(
        request["kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    assert_eq!(
        (&request["subResource"], &request["resource"]["resource"]),
        (&json!("scale"), &json!("deployments"))
    );
    assert_eq!(
        (
            &request["object"]["spec"]["replicas"],
            &request["oldObject"]["spec"]["replicas"]
        ),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn what_is_no_write_of_an_object_is_asked_about_once() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, request| {
        Reply::Response(json!({"allowed": request["operation"] != "CONNECT"}))
    })
    .await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server
        .make(accounts, &json!({"metadata": {"name": "default"}}))
        .await;
    server
        .make("/api/v1/nodes", &json!({"metadata": {"name": "node"}}))
        .await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.make(pods, &pod).await;
    let rules = json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/*", "serviceaccounts/*"]}]);
    let about = json!([hook("a.b.c", webhook.config("/"), json!({"rules": rules}))]);
    configure(&server, "validating", "one", about).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "node"}});
    server
        .post(&format!("{pods}/p/binding"), &binding)
        .await
        .is(201);
    let exec = format!("{pods}/p/exec?container=c&command=ls&stdout=true");
    let refused = server.get(&exec).await.is(400);
    assert_eq!(
        refused.message(),
        "admission webhook \"a.b.c\" denied the request without explanation"
    );
    let eviction = json!({"metadata": {"name": "p"}});
    server
        .post(&format!("{pods}/p/eviction"), &eviction)
        .await
        .is(201);
    server
        .post(&format!("{accounts}/default/token"), &json!({"spec": {}}))
        .await
        .is(201);
    let seen: Vec<_> = webhook
        .taken()
        .into_iter()
        .map(|(_, request)| {
            let text = |name: &str| request[name].as_str().unwrap_or("").to_string();
            let kind = request["kind"]["kind"].as_str().unwrap().to_string();
            (
                text("operation"),
                text("subResource"),
                kind,
                text("name"),
                request["object"].clone(),
            )
        })
        .collect();
    let found: Vec<_> = seen
        .iter()
        .map(|(operation, part, kind, name, _)| [operation, part, kind, name].map(String::as_str))
        .collect();
    assert_eq!(
        found,
        [
            ["CREATE", "binding", "Binding", "p"],
            ["CONNECT", "exec", "PodExecOptions", "p"],
            ["CREATE", "eviction", "Eviction", "p"],
            ["CREATE", "token", "TokenRequest", "default"],
        ]
    );
    let parameters = json!({"kind": "PodExecOptions", "apiVersion": "v1", "container": "c", "command": ["ls"], "stdout": true});
    assert_eq!(seen[1].4, parameters);
    // who deletes many names none, and each is asked about
    unconfigure(&server, "validating", "one").await;
    for name in ["a", "b"] {
        make(&server, name).await.is(201);
    }
    configure(
        &server,
        "validating",
        "one",
        json!([hook("a.b.c", webhook.config("/"), json!({}))]),
    )
    .await;
    server.delete(MAPS).await.is(200);
    let deleted: Vec<_> = webhook
        .taken()
        .into_iter()
        .map(|(_, request)| {
            (
                request["name"].clone(),
                request["oldObject"]["metadata"]["name"].clone(),
            )
        })
        .collect();
    assert_eq!(
        deleted,
        [(Value::Null, json!("a")), (Value::Null, json!("b"))]
    );
}

#[tokio::test]
async fn dry_runs() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, _| Reply::allowed()).await;
    // such a configuration is not made any more, but one may be stored
    let path = format!("{GROUP}/validatingwebhookconfigurations");
    let old = json!({"metadata": {"name": "one"}, "webhooks": [hook("a.b.c", webhook.config("/"), json!({"sideEffects": "Some"}))]});
    server.post(&path, &old).await.is(422);
    configure(
        &server,
        "validating",
        "one",
        json!([hook(
            "a.b.c",
            webhook.config("/"),
            json!({"sideEffects": "NoneOnDryRun"})
        )]),
    )
    .await;
    server
        .post(&format!("{MAPS}?dryRun=All"), &map("m"))
        .await
        .is(201);
    let (_, request) = webhook.taken().pop().unwrap();
    assert_eq!(request["dryRun"], true);
    assert_eq!(request["options"]["dryRun"], json!(["All"]));
    server.get(&format!("{MAPS}/m")).await.is(404);
}
