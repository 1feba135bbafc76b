//! Policies act while they are bound, as their bindings say.

use serde_json::{Value, json};

use super::{MAPS, REFUSED, bind, map, on, said, unbind, validating};
use crate::server::Server;

#[tokio::test]
async fn a_policy_acts_while_it_is_bound() {
    let server = Server::start().await;
    let bound = validating(
        "p",
        json!({"validations": [{"expression": "object.data.a == '1'", "message": "a must be 1"}]}),
        json!({}),
    );
    bind(&server, &bound).await;
    let refused = map(&server, "m", json!({"a": "2"})).await.is(422);
    assert_eq!(refused.message(), format!("{REFUSED}a must be 1"));
    let status = refused.json();
    assert_eq!(status["reason"], "Invalid");
    assert_eq!(
        status["details"],
        json!({"name": "m", "kind": "configmaps", "causes": [{"message": "ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: a must be 1"}]})
    );
    map(&server, "m", json!({"a": "1"})).await.is(201);
    server
        .patch(&format!("{MAPS}/m"), "merge", &json!({"data": {"a": "3"}}))
        .await
        .is(422);
    // it is about creations and updates
    server.delete(&format!("{MAPS}/m")).await.is(200);
    unbind(&server, &bound).await;
    map(&server, "m", json!({"a": "2"})).await.is(201);
}

#[tokio::test]
async fn policies_can_always_be_mended() {
    let server = Server::start().await;
    let all = json!({"matchConstraints": on("*", &["*"], &["*"]), "validations": [{"expression": "false"}]});
    let bound = validating("p", all, json!({}));
    bind(&server, &bound).await;
    map(&server, "m", json!({})).await.is(422);
    unbind(&server, &bound).await;
    map(&server, "m", json!({})).await.is(201);
}

#[tokio::test]
async fn bindings_say_what_follows() {
    let change = json!({"validations": [{"expression": "false", "message": "m"}]});
    let warned = said(
        change.clone(),
        json!({"validationActions": ["Warn", "Audit"]}),
        json!({}),
    )
    .await
    .is(201);
    assert_eq!(
        warned.warnings,
        [
            r#"299 - "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-binding': m""#
        ]
    );
    said(
        change.clone(),
        json!({"validationActions": ["Audit"]}),
        json!({}),
    )
    .await
    .is(201);
    let narrow = |resources: Value| json!({"matchResources": resources});
    for (binding, code) in [
        (
            narrow(
                json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}),
            ),
            201,
        ),
        (
            narrow(
                json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}),
            ),
            422,
        ),
        (
            narrow(json!({"objectSelector": {"matchLabels": {"a": "b"}}})),
            201,
        ),
        (
            narrow(
                json!({"excludeResourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"], "resourceNames": ["m"]}]}),
            ),
            201,
        ),
        (
            narrow(
                json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"], "resourceNames": ["n"]}]}),
            ),
            201,
        ),
    ] {
        said(change.clone(), binding.clone(), json!({}))
            .await
            .is(code);
    }
}
