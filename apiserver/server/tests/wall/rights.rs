//! Rights that one verb must not stand in for.

use serde_json::json;

use super::server::{ADMIN, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const APPLY: &[(&str, &str)] = &[("content-type", "application/apply-patch+yaml")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn to_make_what_is_absent_needs_create() {
    let server = Server::start(&["eve", "ann"]).await;
    server.grant("eve", &["get,update,patch configmaps,leases"]).await;
    server.grant("ann", &["get,update,patch,create configmaps,leases"]).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {"a": "b"}}).to_string();
    let path = format!("{MAPS}/m");
    let applied = format!("{path}?fieldManager=x");
    let refused = r#"configmaps "m" is forbidden: User "eve" cannot create resource "configmaps" in API group "" in the namespace "default""#;
    assert_eq!(server.send("eve-token", "PATCH", &applied, APPLY, map.clone()).await.is(403).message(), refused);
    assert_eq!(server.send("eve-token", "PATCH", &format!("{applied}&dryRun=All"), APPLY, map.clone()).await.is(403).message(), refused);
    server.get(ADMIN, &path).await.is(404);

    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "namespace": "default"}}).to_string();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let refused = r#"leases.coordination.k8s.io "l" is forbidden: User "eve" cannot create resource "leases" in API group "coordination.k8s.io" in the namespace "default""#;
    assert_eq!(server.send("eve-token", "PUT", leases, JSON, lease.clone()).await.is(403).message(), refused);
    server.get(ADMIN, leases).await.is(404);

    server.send("ann-token", "PATCH", &applied, APPLY, map.clone()).await.is(201);
    server.send("ann-token", "PUT", leases, JSON, lease.clone()).await.is(201);
    // what is there needs no more than before
    server.send("eve-token", "PATCH", &format!("{applied}&force=true"), APPLY, map.replace("\"b\"", "\"c\"")).await.is(200);
}

#[tokio::test]
async fn streams_need_create_whatever_the_method() {
    let server = Server::start(&["eve", "ann"]).await;
    server.grant("eve", &["get pods/exec,pods/attach,pods/portforward,pods"]).await;
    server.grant("ann", &["get,create pods/exec,pods/attach,pods/portforward"]).await;
    let websocket = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
    for sub in ["exec?command=id&stdout=1", "attach?stdout=1", "portforward?ports=80"] {
        let path = format!("/api/v1/namespaces/default/pods/p/{sub}");
        let refused = server.send("eve-token", "GET", &path, &websocket, "").await.is(403);
        assert_eq!(refused.message(), "pods \"p\" is forbidden: ", "{sub}");
        assert_eq!(refused.json()["details"], json!({"name": "p", "kind": "pods"}));
        assert_eq!(server.send("ann-token", "GET", &path, &websocket, "").await.is(404).message(), "pods \"p\" not found", "{sub}");
    }
}

#[tokio::test]
async fn who_may_do_anything_is_somebody() {
    let server = Server::with(&[], |config| config.authorization_modes = vec!["AlwaysAllow".into()]).await;
    for path in ["/api/v1/secrets", "/version", "/healthz", "/nonsense"] {
        server.get("", path).await.is(401);
    }
    server.get(ADMIN, "/api/v1/secrets").await.is(200);
}
