//! Whole requests to a server in this process: paths, queries, headers and bodies of all encodings, by every verb.
//!
//! Writes are dry runs, so that the same request finds the same objects.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::body::Body;
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::json;
use skiff_api::kinds::Verbs;
use skiff_server::{App, Config, Data};
use tokio::runtime::Runtime;

use super::kind_of;
use crate::{Target, parts, seeds};

pub const HTTP: Target = Target::new("http", run, begin)
    .words(&[
        "GET",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "HEAD",
        "OPTIONS",
        "/api/v1",
        "/apis",
        "/namespaces/default",
        "/pods",
        "/status",
        "/scale",
        "/x",
        "?",
        "&",
        "limit=1",
        "continue=",
        "labelSelector=a",
        "fieldSelector=metadata.name=a",
        "resourceVersion=1",
        "resourceVersionMatch=Exact",
        "watch=true",
        "timeoutSeconds=1",
        "sendInitialEvents=true",
        "allowWatchBookmarks=true",
        "fieldManager=a",
        "fieldValidation=Strict",
        "force=true",
        "pretty=true",
        "gracePeriodSeconds=0",
        "propagationPolicy=Orphan",
        "%zz",
        "%2f",
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        ";q=0.5",
        ",",
        "*/*",
        "metadata",
        "spec",
        "name",
        "managedFields",
    ])
    .worth(1024)
    // documents of discovery and of OpenAPI are large whatever is asked
    .always(64 << 20);

/// What every server has.
const THERE: [(&str, &str); 3] = [
    ("v1", "Namespace"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
];

fn begin() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut add = |parts: [&str; 5]| all.push(seeds::joined(&parts));
    let read = "application/json";
    for path in [
        "/api/v1/namespaces?limit=2&labelSelector=a!%3Db&fieldSelector=metadata.name!%3Dx",
        "/api/v1/namespaces?limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTIsInN0YXJ0IjoiZGVmYXVsdFx1MDAwMCJ9",
        "/api/v1/namespaces?watch=true&timeoutSeconds=1&resourceVersion=0&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles?resourceVersion=1&resourceVersionMatch=Exact",
        "/apis",
        "/api/v1",
        "/openapi/v3/api/v1",
        "/version",
        "/metrics",
        "/api/v1/nodes/x/proxy/a/b?c=d",
        "/api/v1/namespaces/default/pods/x/exec?command=a&stdin=true",
    ] {
        add(["GET", path, "", read, ""]);
    }
    add([
        "GET",
        "/api/v1/namespaces",
        "",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/vnd.kubernetes.protobuf;q=0.5,*/*;q=0.1",
        "",
    ]);
    for (kind, patch) in [
        (
            "application/json-patch+json",
            json!([{"op": "add", "path": "/metadata/labels/x", "value": "y"}]),
        ),
        (
            "application/merge-patch+json",
            json!({"metadata": {"labels": {"x": null}}}),
        ),
        (
            "application/strategic-merge-patch+json",
            json!({"metadata": {"finalizers": ["a/b"], "$setElementOrder/finalizers": ["a/b"]}}),
        ),
        (
            "application/apply-patch+yaml",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"x": "z"}}}),
        ),
    ] {
        add([
            "PATCH",
            "/api/v1/namespaces/default?fieldManager=a&fieldValidation=Strict",
            kind,
            read,
            &patch.to_string(),
        ]);
    }
    add(["DELETE", "/api/v1/namespaces/default", read, read, &json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "x"}, "gracePeriodSeconds": 1}).to_string()]);
    add(["POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", read, read, &json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "a", "resourceAttributes": {"verb": "get", "resource": "pods", "fieldSelector": {"rawSelector": "a=b"}}}}).to_string()]);
    for object in seeds::objects() {
        let Some(kind) = kind_of(object).filter(|kind| kind.verbs == Verbs::All) else {
            continue;
        };
        let start = if kind.group.is_empty() {
            "/api"
        } else {
            "/apis"
        };
        let space = if kind.namespaced {
            "/namespaces/default"
        } else {
            ""
        };
        let path = format!("{start}/{}{space}/{}", kind.api_version(), kind.plural);
        let said = (kind.api_version(), kind.kind);
        if THERE.contains(&(&said.0, said.1)) {
            let name = object["metadata"]["name"].as_str().unwrap_or("default");
            add([
                "PUT",
                &format!("{path}/{name}"),
                read,
                read,
                &object.to_string(),
            ]);
        }
        add([
            "POST",
            &format!("{path}?fieldValidation=Strict"),
            read,
            read,
            &object.to_string(),
        ]);
    }
    all
}

struct Server {
    runtime: Runtime,
    app: Arc<App>,
    /// Its keys; it runs as long as this process.
    _folder: tempfile::TempDir,
    _running: skiff_server::Running,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.csv");
    std::fs::write(&tokens, "admin,admin,u-admin,system:masters\n").unwrap();
    let mut config = Config::new(Data::Memory, folder.path().join("pki"));
    config.token_file = Some(tokens);
    let running = runtime.block_on(skiff_server::start(config)).unwrap();
    // pods wait for it
    let account = json!({"metadata": {"name": "default"}}).to_string();
    let made = Request::post("/api/v1/namespaces/default/serviceaccounts")
        .header(header::AUTHORIZATION, "Bearer admin")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(account));
    let Ok(made) = runtime.block_on(running.app.clone().handle(made.unwrap()));
    assert_eq!(made.status(), 201);
    Server {
        runtime,
        app: running.app.clone(),
        _folder: folder,
        _running: running,
    }
});

fn run(data: &[u8]) {
    let [method, uri, kind, accept, body] = parts(data);
    let is_read = matches!(method, b"GET" | b"HEAD");
    let mut uri = uri.to_vec();
    if !is_read {
        uri.push(if uri.contains(&b'?') { b'&' } else { b'?' });
        uri.extend(b"dryRun=All");
    }
    let request = Request::builder()
        .method(method)
        .uri(&uri[..])
        .header(header::AUTHORIZATION, "Bearer admin")
        .header(header::HOST, "127.0.0.1")
        .header(header::CONTENT_TYPE, kind)
        .header(header::ACCEPT, accept)
        .body(Body::from(body.to_vec()));
    // what is no request in HTTP does not come in
    let Ok(request) = request else {
        return;
    };
    let server = &*SERVER;
    server.runtime.block_on(async {
        let Ok(answer) = server.app.clone().handle(request).await;
        // watches wait for events
        let _ = tokio::time::timeout(Duration::from_millis(20), answer.into_body().collect()).await;
    });
}
