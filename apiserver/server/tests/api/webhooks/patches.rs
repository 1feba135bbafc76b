//! What mutating webhooks change, and in which order.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{MAPS, configure, hook, make, unconfigure};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

#[tokio::test]
async fn webhooks_change_objects_in_order() {
    let server = Server::start().await;
    // each adds its path to a list of paths
    let webhook = Webhook::start(|path, request| {
        let annotations = &request["object"]["metadata"]["annotations"];
        let way = format!("{}{path}", annotations["way"].as_str().unwrap_or(""));
        match annotations.is_null() {
            true => Reply::patch(
                &json!([{"op": "add", "path": "/metadata/annotations", "value": {"way": way}}]),
            ),
            false => Reply::patch(
                &json!([{"op": "add", "path": "/metadata/annotations/way", "value": way}]),
            ),
        }
    })
    .await;
    let at = |path: &str| webhook.config(path);
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(
        &server,
        "mutating",
        "b",
        json!([hook("b.b.c", at("/3"), json!({}))]),
    )
    .await;
    let hooks = json!([
        hook("z.b.c", at("/1"), again.clone()),
        hook("a.b.c", at("/2"), json!({}))
    ]);
    configure(&server, "mutating", "a", hooks).await;
    let made = make(&server, "m").await.is(201).json();
    // the first one wants to see what came after it
    assert_eq!(made["metadata"]["annotations"]["way"], "/1/2/3/1");
    assert!(made["metadata"]["managedFields"].is_array());

    // what nobody changes is not asked about twice
    unconfigure(&server, "mutating", "a").await;
    configure(
        &server,
        "mutating",
        "c",
        json!([hook("c.b.c", at("/4"), again)]),
    )
    .await;
    let made = make(&server, "n").await.is(201).json();
    assert_eq!(made["metadata"]["annotations"]["way"], "/3/4");
}

#[tokio::test]
async fn what_a_patch_may_not_do() {
    let server = Server::start().await;
    let webhook = Webhook::start(|path, _| match path {
        "/untyped" => Reply::Response(json!({"allowed": true, "patch": STANDARD.encode("[]x")})),
        "/unpatched" => Reply::Response(json!({"allowed": true, "patchType": "JSONPatch"})),
        "/garbage" => Reply::Response(
            json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode("{")}),
        ),
        "/object" => Reply::patch(&json!({})),
        "/other" => Reply::Response(
            json!({"allowed": true, "patchType": "Merge", "patch": STANDARD.encode(r#"[{"op":"remove","path":"/data"}]"#)}),
        ),
        "/absent" => Reply::patch(&json!([{"op": "remove", "path": "/data/x"}])),
        "/type" => Reply::patch(&json!([{"op": "replace", "path": "/data", "value": "x"}])),
        "/kind" => Reply::patch(&json!([{"op": "replace", "path": "/kind", "value": "Secret"}])),
        "/namespace" => Reply::patch(&json!([{"op": "replace", "path": "/metadata/namespace", "value": "x"}])),
        _ => Reply::patch(&json!([{"op": "replace", "path": "/data", "value": {"x": "y"}}])),
    })
    .await;
    let failed =
        |why: &str| format!("Internal error occurred: failed calling webhook \"a.b.c\": {why}");
    let invalid = |why: &str| failed(&format!("received invalid webhook response: {why}"));
    let undecodable = |why: &str| {
        failed(&format!(
            "received undecodable patch in webhook response: {why}"
        ))
    };
    for (path, code, said) in [
        ("/untyped", 500, invalid("webhook returned response.patch but not response.patchType")),
        ("/unpatched", 500, invalid("webhook returned response.patchType but not response.patch")),
        ("/garbage", 500, undecodable("unexpected end of JSON input")),
        ("/object", 500, undecodable("json: cannot unmarshal object into Go value of type jsonpatch.Patch")),
        ("/other", 500, failed("unsupported patch type \"Merge\"")),
        (
            "/absent",
            500,
            "Internal error occurred: error in remove for path: '/data/x': Unable to remove nonexistent key: x: missing value".into(),
        ),
        (
            "/type",
            500,
            "Internal error occurred: json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string".into(),
        ),
        (
            "/kind",
            500,
            "converting (v1.Secret) to (v1.ConfigMap): unknown conversion".into(),
        ),
        (
            "/namespace",
            400,
            "the namespace of the provided object does not match the namespace sent on the request".into(),
        ),
    ] {
        configure(&server, "mutating", "one", json!([hook("a.b.c", webhook.config(path), json!({}))])).await;
        assert_eq!(make(&server, "m").await.is(code).message(), said, "{path}");
        unconfigure(&server, "mutating", "one").await;
    }
    // what cannot be read as a patch is passed over where failures are, what cannot be applied is not
    for (path, code) in [("/garbage", 201), ("/absent", 500)] {
        let hooks = json!([hook(
            "a.b.c",
            webhook.config(path),
            json!({"failurePolicy": "Ignore"})
        )]);
        configure(&server, "mutating", "one", hooks).await;
        make(&server, &path[1..]).await.is(code);
        unconfigure(&server, "mutating", "one").await;
    }
    // there is nothing to be changed in a deletion, and a validating webhook changes nothing
    configure(
        &server,
        "mutating",
        "one",
        json!([hook("a.b.c", webhook.config("/good"), json!({}))]),
    )
    .await;
    assert_eq!(
        make(&server, "m").await.is(201).json()["data"],
        json!({"x": "y"})
    );
    assert_eq!(
        server.delete(&format!("{MAPS}/m")).await.is(500).message(),
        "Internal error occurred: admission webhook \"a.b.c\" attempted to modify the object, which is not supported for this operation"
    );
    unconfigure(&server, "mutating", "one").await;
    configure(
        &server,
        "validating",
        "one",
        json!([hook("a.b.c", webhook.config("/good"), json!({}))]),
    )
    .await;
    assert_eq!(
        make(&server, "n").await.is(500).message(),
        invalid("validating webhook may not return response.patch")
    );
}
