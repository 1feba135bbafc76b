//! Admission is asked about the version that a rule names.

use serde_json::{Value, json};

use super::{asked, boat, boats, converter, sailing};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// Makes a configuration of a sort (`mutating`, `validating`) about boats of the first version.
async fn configure(server: &Server, sort: &str, hook: &Webhook) {
    let path = format!("{GROUP}/{sort}webhookconfigurations");
    let configuration = json!({"metadata": {"name": sort}, "webhooks": [{
        "name": format!("{sort}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": hook.config("/"),
        "matchPolicy": "Equivalent",
        "rules": [{"operations": ["*"], "apiGroups": ["sea.example.com"], "apiVersions": ["v1"], "resources": ["boats"]}]}]});
    server.make(&path, &configuration).await;
}

#[tokio::test]
async fn webhooks_see_and_change_the_version_that_they_ask_for() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    let mutating = Webhook::start(
        |_, request| match request["object"]["spec"]["oars"].as_i64() {
            Some(oars) => {
                Reply::patch(&json!([{"op": "replace", "path": "/spec/oars", "value": oars + 1}]))
            }
            // what goes
            None => Reply::Response(json!({"allowed": request["object"].is_null()})),
        },
    )
    .await;
    let validating = Webhook::start(|_, request| {
        let shown = request["object"]["spec"]["oars"].is_i64()
            || request["oldObject"]["spec"]["oars"].is_i64();
        Reply::Response(json!({"allowed": shown}))
    })
    .await;
    configure(&server, "mutating", &mutating).await;
    configure(&server, "validating", &validating).await;
    // until both are followed
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let path = format!("{}?dryRun=All", boats("v2"));
        server.post(&path, &boat("v2", "tried", 4)).await.is(201);
        if !mutating.taken().is_empty() && !validating.taken().is_empty() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    asked(&webhook);
    let made = server.make(&boats("v2"), &boat("v2", "a", 4)).await.json();
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["paddles"]),
        (&json!("sea.example.com/v2"), &json!(5))
    );
    let (_, request) = &mutating.taken()[0];
    let version = |value: &Value| value["version"].as_str().unwrap().to_string();
    assert_eq!(
        (version(&request["kind"]), version(&request["requestKind"])),
        ("v1".into(), "v2".into())
    );
    assert_eq!(request["object"]["apiVersion"], "sea.example.com/v1");
    // there, back with what was changed, and there for who judges
    assert_eq!(asked(&webhook), [1, 1, 1]);
    server.delete(&format!("{}/a", boats("v2"))).await.is(200);
    let (_, request) = validating.taken().pop().unwrap();
    assert_eq!(request["oldObject"]["spec"]["oars"], 5);
}

#[tokio::test]
async fn policies_see_the_version_that_they_ask_for() {
    let webhook = converter().await;
    let server = sailing(&webhook).await;
    // their parameters, too
    server.make(&boats("v2"), &boat("v2", "most", 4)).await;
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "paramKind": {"apiVersion": "sea.example.com/v1", "kind": "Boat"},
        "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": ["sea.example.com"], "apiVersions": ["v1"], "resources": ["boats"]}]},
        "validations": [{"expression": "object.spec.oars <= params.spec.oars", "message": "too many oars"}]}});
    server
        .make(&format!("{GROUP}/validatingadmissionpolicies"), &policy)
        .await;
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"],
        "paramRef": {"name": "most", "namespace": "default", "parameterNotFoundAction": "Deny"}}});
    server
        .make(
            &format!("{GROUP}/validatingadmissionpolicybindings"),
            &binding,
        )
        .await;
    for version in ["v1", "v2"] {
        server
            .make(&boats(version), &boat(version, version, 4))
            .await;
        let refused = server
            .post(&boats(version), &boat(version, "more", 5))
            .await
            .is(422);
        assert!(
            refused.message().ends_with("too many oars"),
            "{}",
            refused.text()
        );
    }
}
