//! The audit log: which requests are told of, at which stages, and what is told of them.

use std::{path::PathBuf, time::Duration};

use axum::body::Body;
use http_body_util::BodyExt;
use regex::Regex;
use serde_json::{Value, json};
use skiff_server::audit::Options;

use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server with a policy of these rules, and the folder of its log.
struct Audited {
    server: Server,
    folder: tempfile::TempDir,
}

impl Audited {
    async fn new(policy: Value) -> Audited {
        Audited::with(policy, |_| {}).await
    }

    async fn with(mut policy: Value, change: impl FnOnce(&mut Options)) -> Audited {
        let folder = tempfile::tempdir().unwrap();
        policy["apiVersion"] = "audit.k8s.io/v1".into();
        policy["kind"] = "Policy".into();
        let file = folder.path().join("policy.yaml");
        std::fs::write(&file, policy.to_string()).unwrap();
        let mut options = Options {
            policy_file: Some(file),
            ..Options::default()
        };
        options.log.path = folder.path().join("audit.log").display().to_string();
        change(&mut options);
        let server = Server::with(|config| config.audit = options).await;
        Audited { server, folder }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap()
    }

    /// All events, forgotten with that.
    fn taken(&self) -> Vec<Value> {
        let text = self.text();
        std::fs::write(self.folder.path().join("audit.log"), "").unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The events, once there are so many.
    async fn until(&self, count: usize) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.text().lines().count() < count {
            assert!(tokio::time::Instant::now() < deadline, "{}", self.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.taken()
    }
}

/// `LEVEL STAGE CODE`, and which objects there are.
fn shown(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap();
    let code = event["responseStatus"]["code"].as_u64();
    let mut shown = format!(
        "{} {} {}",
        text("level"),
        text("stage"),
        code.map_or("-".into(), |code| code.to_string())
    );
    for (name, word) in [("requestObject", " sent"), ("responseObject", " answered")] {
        if event.get(name).is_some() {
            shown.push_str(word);
        }
    }
    shown
}

#[tokio::test]
async fn which_requests_at_which_stages() {
    let audited = Audited::new(json!({"rules": [
        {"level": "None", "resources": [{"resources": ["secrets"]}]},
        {"level": "Metadata", "resources": [{"resources": ["namespaces"]}], "omitStages": ["RequestReceived"]},
        {"level": "Request", "resources": [{"resources": ["serviceaccounts"]}]},
        {"level": "RequestResponse", "resources": [{"resources": ["configmaps"]}]},
        {"level": "Metadata", "nonResourceURLs": ["/version", "/api"]},
    ]})).await;
    let map = json!({"metadata": {"name": "x"}, "data": {"a": "<b>"}});
    for (method, path, body, wanted) in [
        ("GET", "/api/v1/secrets", Value::Null, &[][..]),
        ("GET", "/healthz", Value::Null, &[]),
        (
            "GET",
            "/version",
            Value::Null,
            &[
                "Metadata RequestReceived -",
                "Metadata ResponseComplete 200",
            ],
        ),
        (
            "GET",
            "/api/v1/namespaces/nosuch",
            Value::Null,
            &["Metadata ResponseComplete 404"],
        ),
        (
            "POST",
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "robot"}}),
            &[
                "Request RequestReceived -",
                "Request ResponseComplete 201 sent",
            ],
        ),
        (
            "POST",
            MAPS,
            map.clone(),
            &[
                "RequestResponse RequestReceived -",
                "RequestResponse ResponseComplete 201 sent answered",
            ],
        ),
        (
            "GET",
            MAPS,
            Value::Null,
            &[
                "RequestResponse RequestReceived -",
                "RequestResponse ResponseComplete 200 answered",
            ],
        ),
        (
            "POST",
            MAPS,
            json!({"metadata": 1}),
            &[
                "RequestResponse RequestReceived -",
                "RequestResponse ResponseComplete 400 answered",
            ],
        ),
        (
            "DELETE",
            &format!("{MAPS}/x"),
            json!({"propagationPolicy": "Background"}),
            &[
                "RequestResponse RequestReceived -",
                "RequestResponse ResponseComplete 200 sent answered",
            ],
        ),
    ] {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let json = [("content-type", "application/json")];
        audited.server.send(method, path, &json, body).await;
        let events: Vec<String> = audited.taken().iter().map(shown).collect();
        assert_eq!(events, wanted, "{method} {path}");
    }
}

/// What differs from one run to the next.
fn masked(text: &str) -> String {
    let mut text = text.to_string();
    for (what, mask) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<uid>",
        ),
        (
            r#""resourceVersion":"\d+""#,
            r#""resourceVersion":"<revision>""#,
        ),
    ] {
        text = Regex::new(what)
            .unwrap()
            .replace_all(&text, mask)
            .into_owned();
    }
    text
}

/// Compares with a file of `testdata/audit`; `SKIFF_UPDATE=1` writes it anew.
fn is_as_recorded(name: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/audit")
        .join(name);
    let text = masked(text);
    if std::env::var_os("SKIFF_UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{name}");
}

/// A write, a patch, a refusal and a table, in the name of somebody else.
async fn ask(server: &Server) {
    let id = ("audit-id", "one");
    let agent = ("user-agent", "test/1.0");
    let other = ("impersonate-user", "jane");
    let json = ("content-type", "application/json");
    let map = json!({"metadata": {"name": "x", "annotations": {"a": "<b>"}}, "data": {"k": "v"}});
    let made = server
        .send("POST", MAPS, &[id, agent, json], map.to_string())
        .await
        .is(201);
    assert_eq!(made.headers["audit-id"], "one");
    let patch = ("content-type", "application/merge-patch+json");
    let path = format!("{MAPS}/x?fieldManager=me");
    server
        .send(
            "PATCH",
            &path,
            &[id, agent, patch],
            r#"{ "data": {"k": "w"} }"#,
        )
        .await
        .is(200);
    let from = ("x-forwarded-for", "10.1.2.3, 10.4.5.6");
    server
        .send(
            "DELETE",
            &format!("{MAPS}/x"),
            &[id, agent, from, other],
            "",
        )
        .await
        .is(403);
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    server
        .send("GET", &format!("{MAPS}/x"), &[id, agent, table], "")
        .await
        .is(200);
    server
        .send("DELETE", &format!("{MAPS}/x"), &[id, agent], "")
        .await
        .is(200);
}

#[tokio::test]
async fn what_is_told() {
    let rules = json!([{"level": "RequestResponse", "omitManagedFields": true, "resources": [{"resources": ["configmaps"]}]}]);
    let json =
        Audited::new(json!({"rules": rules.clone(), "omitStages": ["RequestReceived"]})).await;
    ask(&json.server).await;
    is_as_recorded("events.jsonl", &json.text());
    let legacy = Audited::with(json!({"rules": rules}), |options| {
        options.log.format = "legacy".into();
    })
    .await;
    ask(&legacy.server).await;
    is_as_recorded("events.legacy", &legacy.text());
}

#[tokio::test]
async fn a_watch_begins_and_ends() {
    let audited = Audited::new(json!({"rules": [{"level": "Metadata", "verbs": ["watch"]}]})).await;
    let request = http::Request::get(format!("{MAPS}?watch=1"))
        .body(Body::empty())
        .unwrap();
    let refused = audited.server.app.clone().handle(request).await.unwrap();
    assert_eq!(refused.status(), 403);
    // one that is refused begins, too
    drop(refused);
    let events: Vec<String> = audited.until(3).await.iter().map(shown).collect();
    assert_eq!(
        events,
        [
            "Metadata RequestReceived -",
            "Metadata ResponseStarted 403",
            "Metadata ResponseComplete 403"
        ]
    );
    let path = format!("{MAPS}?watch=1&timeoutSeconds=1");
    audited.server.get(&path).await.is(200);
    let events: Vec<String> = audited.until(3).await.iter().map(shown).collect();
    assert_eq!(
        events,
        [
            "Metadata RequestReceived -",
            "Metadata ResponseStarted 200",
            "Metadata ResponseComplete 200"
        ]
    );
}

#[tokio::test]
async fn who_is_not_known_has_one_stage() {
    let audited = Audited::new(json!({"rules": [{"level": "Metadata"}]})).await;
    let request = http::Request::get(MAPS)
        .header("authorization", "Bearer wrong")
        .body(Body::empty())
        .unwrap();
    let answer = audited.server.app.clone().handle(request).await.unwrap();
    assert_eq!(answer.status(), 401);
    let id = answer.headers()["audit-id"].to_str().unwrap().to_string();
    answer.into_body().collect().await.unwrap();
    let events = audited.taken();
    assert_eq!(
        events.iter().map(shown).collect::<Vec<_>>(),
        ["Metadata ResponseStarted 401"]
    );
    assert_eq!(events[0]["auditID"], id);
    assert_eq!(events[0]["user"], json!({}));
    assert_eq!(events[0]["responseStatus"]["reason"], "Unauthorized");
}

#[tokio::test]
async fn what_admission_notes() {
    let audited = Audited::new(json!({"omitStages": ["RequestReceived"], "rules": [
        {"level": "Request", "verbs": ["create"], "resources": [{"resources": ["configmaps"]}]},
        {"level": "Metadata", "verbs": ["create"], "resources": [{"resources": ["pods"]}]},
        {"level": "Metadata", "resources": [{"resources": ["endpoints"]}]},
    ]}))
    .await;
    let server = &audited.server;
    let webhook = Webhook::start(|path, _| match path {
        "/change" => Reply::patch(&json!([{"op": "add", "path": "/data/c", "value": "d"}])),
        "/fail" => Reply::Raw(500, b"{}".to_vec()),
        _ => Reply::Response(json!({"allowed": true, "auditAnnotations": {"seen": "yes"}})),
    })
    .await;
    let hook = |name: &str, path: &str| {
        json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": webhook.config(path),
            "failurePolicy": "Ignore", "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]})
    };
    let group = "/apis/admissionregistration.k8s.io/v1";
    for (sort, hooks) in [
        (
            "mutating",
            json!([hook("change.b.c", "/change"), hook("fail.b.c", "/fail")]),
        ),
        (
            "validating",
            json!([hook("look.b.c", "/look"), hook("fail.b.c", "/fail")]),
        ),
    ] {
        let path = format!("{group}/{sort}webhookconfigurations");
        server
            .make(
                &path,
                &json!({"metadata": {"name": "hooks"}, "webhooks": hooks}),
            )
            .await;
    }
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
        "validations": [{"expression": "true"}, {"expression": "false", "message": "never"}],
        "auditAnnotations": [{"key": "name", "valueExpression": "'of ' + object.metadata.name"}]}});
    server
        .make(&format!("{group}/validatingadmissionpolicies"), &policy)
        .await;
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Audit"]}});
    server
        .make(
            &format!("{group}/validatingadmissionpolicybindings"),
            &binding,
        )
        .await;
    let namespace = json!({"metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/audit": "restricted"}}});
    server.make("/api/v1/namespaces", &namespace).await;
    // who follows configurations runs when this task waits
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let noted = loop {
        audited.taken();
        let map = json!({"metadata": {"generateName": "x-"}, "data": {"a": "b"}});
        server.make(MAPS, &map).await;
        let event = audited.taken().pop().unwrap();
        let noted = event["annotations"].clone();
        if noted.get("look.b.c/seen").is_some() && noted.get("p/name").is_some() {
            break noted;
        }
        assert!(tokio::time::Instant::now() < deadline, "{noted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let named = noted["p/name"].as_str().unwrap();
    assert!(named.starts_with("of x-"), "{named}");
    for (key, wanted) in [
        ("authorization.k8s.io/decision", "allow"),
        ("authorization.k8s.io/reason", ""),
        (
            "mutation.webhook.admission.k8s.io/round_0_index_0",
            r#"{"configuration":"hooks","webhook":"change.b.c","mutated":true}"#,
        ),
        (
            "patch.webhook.admission.k8s.io/round_0_index_0",
            r#"{"configuration":"hooks","webhook":"change.b.c","patch":[{"op":"add","path":"/data/c","value":"d"}],"patchType":"JSONPatch"}"#,
        ),
        (
            "mutation.webhook.admission.k8s.io/round_0_index_1",
            r#"{"configuration":"hooks","webhook":"fail.b.c","mutated":false}"#,
        ),
        (
            "failed-open.mutation.webhook.admission.k8s.io/round_0_index_1",
            "fail.b.c",
        ),
        (
            "failed-open.validating.webhook.admission.k8s.io/round_0_index_1",
            "fail.b.c",
        ),
        ("look.b.c/seen", "yes"),
        (
            "validation.policy.admission.k8s.io/validation_failure",
            r#"[{"message":"never","policy":"p","binding":"b","expressionIndex":1,"validationActions":["Audit"]}]"#,
        ),
    ] {
        assert_eq!(noted[key], wanted, "{key}");
    }

    let account = json!({"metadata": {"name": "default"}});
    server
        .make("/api/v1/namespaces/strict/serviceaccounts", &account)
        .await;
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": true}}]}});
    server.make("/api/v1/namespaces/strict/pods", &pod).await;
    let noted = audited.taken().pop().unwrap()["annotations"].clone();
    assert_eq!(
        noted["pod-security.kubernetes.io/enforce-policy"],
        "privileged:latest"
    );
    let violations = noted["pod-security.kubernetes.io/audit-violations"]
        .as_str()
        .unwrap();
    assert!(
        violations.starts_with("would violate PodSecurity \"restricted:latest\": privileged"),
        "{violations}"
    );

    server.get("/api/v1/endpoints").await.is(200);
    assert_eq!(
        audited.taken()[0]["annotations"]["k8s.io/deprecated"],
        "true"
    );
}

#[tokio::test]
async fn events_that_are_too_large() {
    let audited = Audited::with(json!({"omitStages": ["RequestReceived"], "rules": [{"level": "Request", "resources": [{"resources": ["configmaps"]}]}]}), |options| {
        (options.log.truncate.enabled, options.log.truncate.max_event_size) = (true, 2000);
    })
    .await;
    let map = |name: &str, size: usize| json!({"metadata": {"name": name}, "data": {"a": "x".repeat(size)}});
    audited.server.make(MAPS, &map("small", 10)).await;
    audited.server.make(MAPS, &map("large", 3000)).await;
    let events = audited.taken();
    assert_eq!(events[0]["requestObject"]["metadata"]["name"], "small");
    assert!(events[1].get("requestObject").is_none());
    assert_eq!(events[1]["annotations"]["audit.k8s.io/truncated"], "true");
}

#[tokio::test]
async fn who_must_be_told_and_cannot_be() {
    for (mode, code) in [("blocking", 200), ("blocking-strict", 500), ("batch", 200)] {
        let audited = Audited::with(
            json!({"rules": [{"level": "Metadata", "verbs": ["get"]}]}),
            |options| {
                (options.log.path, options.log.batch.mode) = ("/dev/full".into(), mode.into());
            },
        )
        .await;
        let answer = audited
            .server
            .get("/api/v1/namespaces/default")
            .await
            .is(code);
        if code == 500 {
            assert_eq!(
                answer.text(),
                "Internal Server Error: \"/api/v1/namespaces/default\": failed to store audit event\n"
            );
        }
        audited.server.stop().await;
    }
}

/// A kubeconfig that leads to a webhook.
fn kubeconfig(webhook: &Webhook, folder: &tempfile::TempDir) -> PathBuf {
    let cluster = json!({"server": format!("https://{}/audit", webhook.address),
        "certificate-authority-data": webhook.config("")["caBundle"]});
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "w", "cluster": cluster}], "contexts": [{"name": "c", "context": {"cluster": "w", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}]});
    let file = folder.path().join("webhook.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

#[tokio::test]
async fn a_webhook_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (mode, lists) in [("batch", vec![4]), ("blocking", vec![1, 1, 1, 1])] {
        let webhook = Webhook::start(|_, _| Reply::Raw(200, b"{}".to_vec())).await;
        let file = kubeconfig(&webhook, &folder);
        let audited = Audited::with(
            json!({"rules": [{"level": "Metadata", "verbs": ["get"]}]}),
            |options| {
                options.webhook.config_file = Some(file);
                options.webhook.batch.mode = mode.into();
            },
        )
        .await;
        audited
            .server
            .get("/api/v1/namespaces/default")
            .await
            .is(200);
        audited
            .server
            .get("/api/v1/namespaces/nosuch")
            .await
            .is(404);
        // what waits is sent when the server stops
        let logged = audited.taken();
        audited.server.stop().await;
        let seen = webhook.seen();
        let counts: Vec<usize> = seen
            .iter()
            .map(|(_, list)| list["items"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, lists, "{mode}");
        assert!(seen.iter().all(|(path, list)| path == "/audit"
            && list["kind"] == "EventList"
            && list["apiVersion"] == "audit.k8s.io/v1"));
        let mut event = logged[1].clone();
        event
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name != "kind" && name != "apiVersion");
        let all: Vec<&Value> = seen
            .iter()
            .flat_map(|(_, list)| list["items"].as_array().unwrap())
            .collect();
        assert_eq!(*all[1], event);
    }
    // one that is away fails what must be told
    let webhook = Webhook::start(|_, _| Reply::Raw(500, b"{}".to_vec())).await;
    let file = kubeconfig(&webhook, &folder);
    let audited = Audited::with(
        json!({"rules": [{"level": "Metadata", "verbs": ["get"]}]}),
        |options| {
            options.webhook.config_file = Some(file);
            options.webhook.batch.mode = "blocking-strict".into();
            options.webhook.initial_backoff = Duration::from_millis(1);
        },
    )
    .await;
    audited
        .server
        .get("/api/v1/namespaces/default")
        .await
        .is(500);
    assert_eq!(webhook.seen().len(), 5, "it is tried again");
}
