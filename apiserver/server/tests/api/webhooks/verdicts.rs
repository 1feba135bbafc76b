//! What webhooks may say of a write.

use serde_json::{Value, json};

use super::{MAPS, configure, hook, make, unconfigure};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

#[tokio::test]
async fn a_webhook_allows_and_denies() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, request| {
        let name = request["name"].as_str().unwrap();
        Reply::Response(match name {
            "plain" => json!({"allowed": false}),
            "told" => {
                json!({"allowed": false, "status": {"code": 403, "reason": "Odd", "message": "no", "details": {"causes": [{"message": "because"}]}}})
            }
            "reason" => json!({"allowed": false, "status": {"reason": "Odd"}}),
            _ => json!({"allowed": true, "warnings": ["look out"], "auditAnnotations": {"a": "b"}}),
        })
    })
    .await;
    let hooks = json!([hook("a.b.c", webhook.config("/x"), json!({}))]);
    configure(&server, "validating", "one", hooks).await;

    let made = make(&server, "good").await.is(201);
    assert_eq!(made.warnings, ["299 - \"look out\""]);
    let (path, request) = webhook.taken().pop().unwrap();
    assert_eq!(path, "/x");
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    for (field, wanted) in [
        ("kind", kind.clone()),
        ("requestKind", kind),
        ("resource", resource.clone()),
        ("requestResource", resource),
        ("name", json!("good")),
        ("namespace", json!("default")),
        ("operation", json!("CREATE")),
        (
            "userInfo",
            json!({"username": "admin", "groups": ["system:masters", "system:authenticated"]}),
        ),
        ("oldObject", Value::Null),
        ("dryRun", json!(false)),
        (
            "options",
            json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}),
        ),
    ] {
        assert_eq!(request[field], wanted, "{field}");
    }
    let object = &request["object"];
    assert_eq!(
        (&object["kind"], &object["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
    assert_eq!(object["data"], json!({"a": "b"}));
    assert!(object["metadata"]["uid"].is_string());

    for (name, code, reason, message) in [
        (
            "plain",
            400,
            None,
            "admission webhook \"a.b.c\" denied the request without explanation",
        ),
        (
            "told",
            403,
            Some("Odd"),
            "admission webhook \"a.b.c\" denied the request: no",
        ),
        (
            "reason",
            400,
            Some("Odd"),
            "admission webhook \"a.b.c\" denied the request: Odd",
        ),
    ] {
        let refused = make(&server, name).await.is(code).json();
        assert_eq!(
            (refused["message"].as_str(), refused["reason"].as_str()),
            (Some(message), reason)
        );
    }
    let refused = make(&server, "told").await.json();
    assert_eq!(
        refused["details"],
        json!({"causes": [{"message": "because"}]})
    );
    // one connection serves them all
    assert_eq!(webhook.connections(), 1);

    // updates and deletions show what there was
    webhook.taken();
    let place = format!("{MAPS}/good");
    server
        .patch(
            &format!("{place}?fieldManager=me"),
            "merge",
            &json!({"data": {"a": "c"}}),
        )
        .await
        .is(200);
    let (_, request) = webhook.taken().pop().unwrap();
    assert_eq!(
        (
            &request["operation"],
            &request["object"]["data"]["a"],
            &request["oldObject"]["data"]["a"]
        ),
        (&json!("UPDATE"), &json!("c"), &json!("b"))
    );
    let options =
        json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"});
    assert_eq!(request["options"], options);
    let body = json!({"propagationPolicy": "Background", "gracePeriodSeconds": 3});
    server
        .send(
            "DELETE",
            &place,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
        .is(200);
    let (_, request) = webhook.taken().pop().unwrap();
    assert_eq!(
        (
            &request["operation"],
            &request["object"],
            &request["oldObject"]["data"]["a"]
        ),
        (&json!("DELETE"), &Value::Null, &json!("c"))
    );
    let options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background", "gracePeriodSeconds": 3});
    assert_eq!(request["options"], options);

    unconfigure(&server, "validating", "one").await;
    make(&server, "plain").await.is(201);
    assert!(webhook.taken().is_empty());
}
