//! Admission webhooks, asked by a server: what they may say, what they may change, and what becomes of a write when they cannot be asked.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    server::{Answer, Server},
    webhook_server::{Reply, Webhook},
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// A webhook about ConfigMaps, with these fields besides.
fn hook(name: &str, client: Value, more: Value) -> Value {
    let mut hook = json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": client,
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    hook.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    hook
}

/// Makes a configuration of a sort (`mutating`, `validating`), and waits until it is followed.
async fn configure(server: &Server, sort: &str, name: &str, hooks: Value) {
    let path = format!("{GROUP}/{sort}webhookconfigurations");
    server
        .make(
            &path,
            &json!({"metadata": {"name": name}, "webhooks": hooks}),
        )
        .await;
    followed().await;
}

async fn unconfigure(server: &Server, sort: &str, name: &str) {
    let path = format!("{GROUP}/{sort}webhookconfigurations/{name}");
    server.delete(&path).await.is(200);
    followed().await;
}

/// Who follows configurations runs when this task waits.
async fn followed() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "b"}})
}

async fn make(server: &Server, name: &str) -> Answer {
    server.post(MAPS, &map(name)).await
}

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

#[tokio::test]
async fn what_cannot_be_asked_refuses() {
    let server = Server::start().await;
    let webhook = Webhook::start(|path, request| match path {
        "/hang" => Reply::Never,
        "/garbage" => Reply::Raw(200, b"hello".to_vec()),
        "/empty" => Reply::Raw(200, Vec::new()),
        "/boom" => Reply::Raw(500, b"boom".to_vec()),
        "/missing" => Reply::Raw(404, Vec::new()),
        "/bare" => Reply::Raw(
            200,
            json!({"response": {"uid": request["uid"], "allowed": true}})
                .to_string()
                .into(),
        ),
        _ => Reply::Raw(
            200,
            br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#.to_vec(),
        ),
    })
    .await;
    let other = Webhook::start(|_, _| Reply::allowed()).await;
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_at = plain.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let at = |path: &str| format!("https://{}{path}", webhook.address);
    let bundle = |authority: &str| STANDARD.encode(authority);
    let own = bundle(&webhook.authority);
    let service =
        |name: &str| json!({"service": {"namespace": "default", "name": name}, "caBundle": own});
    let port = webhook.address.port();
    server
        .make(
            "/api/v1/namespaces/default/services",
            &json!({"metadata": {"name": "bare"}, "spec": {"ports": [{"port": 443}]}}),
        )
        .await;
    let url = |url: String, bundle: &str| json!({"url": url, "caBundle": bundle});
    let post = |url: String, why: String| {
        format!("failed to call webhook: Post \"{url}?timeout=1s\": {why}")
    };
    for (client, said) in [
        (url(at("/hang"), &own), post(at("/hang"), "context deadline exceeded".into())),
        (
            url(at("/garbage"), &own),
            "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }".into(),
        ),
        (
            url(at("/empty"), &own),
            "failed to call webhook: 0-length response with status code: 200 and content type: text/plain".into(),
        ),
        (
            url(at("/boom"), &own),
            "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding".into(),
        ),
        (url(at("/missing"), &own), "failed to call webhook: the server could not find the requested resource".into()),
        (
            url(at("/bare"), &own),
            "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=".into(),
        ),
        (url(at("/"), &own), "received invalid webhook response: webhook response was absent".into()),
        (
            url(at("/"), &bundle(&other.authority)),
            post(at("/"), "tls: failed to verify certificate: x509: certificate signed by unknown authority".into()),
        ),
        (
            url(format!("https://localhost:{port}/"), &own),
            post(
                format!("https://localhost:{port}/"),
                "tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match localhost".into(),
            ),
        ),
        (
            url(format!("https://{closed}/"), &own),
            post(format!("https://{closed}/"), format!("dial tcp {closed}: connect: connection refused")),
        ),
        (
            url(format!("https://{plain_at}/"), &own),
            post(format!("https://{plain_at}/"), "http: server gave HTTP response to HTTPS client".into()),
        ),
        (
            json!({"url": at("/"), "caBundle": "eA=="}),
            "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block".into(),
        ),
        (
            service("absent"),
            post("https://absent.default.svc:443/".into(), "service \"absent\" not found".into()),
        ),
        (
            service("bare"),
            post("https://bare.default.svc:443/".into(), "no endpoints available for service \"bare\"".into()),
        ),
    ] {
        for (sort, policy) in [("mutating", "Fail"), ("validating", "Fail"), ("mutating", "Ignore"), ("validating", "Ignore")] {
            let more = json!({"failurePolicy": policy, "timeoutSeconds": 1});
            configure(&server, sort, "one", json!([hook("a.b.c", client.clone(), more)])).await;
            let place = format!("{MAPS}?dryRun=All");
            let answer = server.post(&place, &map("m")).await;
            match policy {
                "Fail" => assert_eq!(
                    answer.is(500).message(),
                    format!("Internal error occurred: failed calling webhook \"a.b.c\": {said}")
                ),
                _ => drop(answer.is(201)),
            }
            unconfigure(&server, sort, "one").await;
        }
    }
    plain.abort();
}

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

#[tokio::test]
async fn services_are_reached_by_their_endpoints() {
    let server = Server::start().await;
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let own = match socket.connect("203.0.113.1:9").await {
        Ok(()) => socket.local_addr().unwrap().ip(),
        Err(_) => return skiff_testing::skipped("this machine has no address but its loopback"),
    };
    let webhook = Webhook::named(&["hook.default.svc"], own, |_, _| {
        Reply::Response(json!({"allowed": false}))
    })
    .await;
    let ports = json!([{"name": "web", "port": 8443, "targetPort": 1}]);
    server
        .make(
            "/api/v1/namespaces/default/services",
            &json!({"metadata": {"name": "hook"}, "spec": {"ports": ports}}),
        )
        .await;
    let slice = json!({"metadata": {"name": "hook-x", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "ports": [{"name": "web", "port": webhook.address.port()}], "endpoints": [{"addresses": [own.to_string()], "conditions": {"ready": true}}]});
    server
        .make(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            &slice,
        )
        .await;
    let service = json!({"service": {"namespace": "default", "name": "hook", "port": 8443, "path": "/p"}, "caBundle": STANDARD.encode(&webhook.authority)});
    configure(
        &server,
        "validating",
        "one",
        json!([hook("a.b.c", service, json!({}))]),
    )
    .await;
    make(&server, "m").await.is(400);
    assert_eq!(webhook.seen()[0].0, "/p");
}

#[tokio::test]
async fn a_webhook_that_hangs_costs_others_nothing() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, _| Reply::Never).await;
    let more = json!({"timeoutSeconds": 2, "objectSelector": {"matchLabels": {"slow": "yes"}}});
    configure(
        &server,
        "validating",
        "one",
        json!([hook("a.b.c", webhook.config("/"), more)]),
    )
    .await;
    let mut slow = map("slow");
    slow["metadata"]["labels"] = json!({"slow": "yes"});
    let begun = Instant::now();
    let hanging = async {
        let writes = (0..50).map(|_| server.post(MAPS, &slow));
        let answers = futures::future::join_all(writes).await;
        assert!(answers.iter().all(|answer| answer.code == 500));
        begun.elapsed()
    };
    let others = async {
        // all of the others are on their way
        while webhook.seen().len() < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let begun = Instant::now();
        for at in 0..200 {
            make(&server, &format!("m{at}")).await.is(201);
        }
        begun.elapsed()
    };
    let (hung, took) = futures::future::join(hanging, others).await;
    println!("200 writes beside 50 that hang: {took:?}; those that hang: {hung:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(
        hung >= Duration::from_secs(2) && hung < Duration::from_secs(4),
        "{hung:?}"
    );
}
