//! Which writes webhooks are asked about.

use serde_json::{Value, json};

use super::{GROUP, MAPS, configure, hook, make, map, unconfigure};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

#[tokio::test]
async fn who_is_asked() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, _| Reply::Response(json!({"allowed": false}))).await;
    server
        .make(
            "/api/v1/namespaces",
            &json!({"metadata": {"name": "free", "labels": {"free": "yes"}}}),
        )
        .await;
    let refuses = |more: Value| json!([hook("a.b.c", webhook.config("/"), more)]);
    // what a webhook says, and whether it is asked about a ConfigMap in `default`, in `free`, and one with a label
    for (more, asked) in [
        (json!({}), [true, true, true]),
        (
            json!({"namespaceSelector": {"matchLabels": {"free": "yes"}}}),
            [false, true, false],
        ),
        (
            json!({"namespaceSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}}),
            [true, false, true],
        ),
        (
            json!({"objectSelector": {"matchLabels": {"a": "b"}}}),
            [false, false, true],
        ),
        (
            json!({"rules": [{"operations": ["UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]}),
            [false, false, false],
        ),
        (
            json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "scope": "Namespaced"}]}),
            [true, true, true],
        ),
        (
            json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "scope": "Cluster"}]}),
            [false, false, false],
        ),
        (
            json!({"rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps/*", "secrets"]}]}),
            [true, true, true],
        ),
    ] {
        configure(&server, "validating", "one", refuses(more.clone())).await;
        let mut labelled = map("m");
        labelled["metadata"]["labels"] = json!({"a": "b"});
        let found = [
            server
                .post(&format!("{MAPS}?dryRun=All"), &map("m"))
                .await
                .code,
            server
                .post("/api/v1/namespaces/free/configmaps?dryRun=All", &map("m"))
                .await
                .code,
            server
                .post(&format!("{MAPS}?dryRun=All"), &labelled)
                .await
                .code,
        ];
        assert_eq!(found.map(|code| code == 400), asked, "{more}");
        unconfigure(&server, "validating", "one").await;
    }
    // whoever asks about everything is not asked about itself
    let all = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]});
    configure(&server, "validating", "one", refuses(all)).await;
    make(&server, "m").await.is(400);
    let review =
        json!({"spec": {"user": "x", "nonResourceAttributes": {"path": "/", "verb": "get"}}});
    server
        .post(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            &review,
        )
        .await
        .is(400);
    unconfigure(&server, "validating", "one").await;
}

#[tokio::test]
async fn conditions_say_who_is_asked() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, _| Reply::Response(json!({"allowed": false}))).await;
    let asks = "admission webhook \"a.b.c\" denied the request without explanation";
    let lacks = "configmaps \"m\" is forbidden: expression 'object.data.x == 'y'' resulted in error: no such key: x";
    for (conditions, policy, said) in [
        (vec!["object.data.a == 'b'"], "Fail", Some(asks)),
        (vec!["object.data.a == 'c'"], "Fail", None),
        (
            vec!["object.data.a == 'c'", "object.data.x == 'y'"],
            "Fail",
            None,
        ),
        (vec!["object.data.x == 'y'"], "Fail", Some(lacks)),
        (vec!["object.data.x == 'y'"], "Ignore", None),
        (
            vec![
                "request.operation == 'CREATE' && request.userInfo.username == 'admin'",
                "oldObject == null",
            ],
            "Fail",
            Some(asks),
        ),
        (vec!["request.resource.resource == 'secrets'"], "Fail", None),
        (
            vec!["authorizer.group('').resource('pods').namespace('x').check('get').allowed()"],
            "Fail",
            Some(asks),
        ),
    ] {
        let named = conditions
            .iter()
            .enumerate()
            .map(|(at, text)| json!({"name": format!("c{at}"), "expression": text}));
        let more = json!({"failurePolicy": policy, "matchConditions": named.collect::<Vec<_>>()});
        for sort in ["mutating", "validating"] {
            let hooks = json!([hook("a.b.c", webhook.config("/"), more.clone())]);
            configure(&server, sort, "one", hooks).await;
            let answer = server.post(&format!("{MAPS}?dryRun=All"), &map("m")).await;
            let found = Some(answer.message()).filter(|_| answer.code != 201);
            assert_eq!(found.as_deref(), said, "{conditions:?}");
            unconfigure(&server, sort, "one").await;
        }
    }
    // what does not compile is not stored
    let path = format!("{GROUP}/mutatingwebhookconfigurations");
    let more = json!({"matchConditions": [{"name": "c", "expression": "object.x +"}]});
    let hooks = json!([hook("a.b.c", webhook.config("/"), more)]);
    let refused = server
        .post(
            &path,
            &json!({"metadata": {"name": "one"}, "webhooks": hooks}),
        )
        .await
        .is(422);
    assert!(
        refused.message().contains("compilation failed"),
        "{}",
        refused.message()
    );
}
