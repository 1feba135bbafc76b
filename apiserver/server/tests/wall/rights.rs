//! Rights that one verb must not stand in for.

use serde_json::json;

use super::server::{ADMIN, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const APPLY: &[(&str, &str)] = &[("content-type", "application/apply-patch+yaml")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn to_make_what_is_absent_needs_create() {
    let server = Server::start(&["eve", "ann"]).await;
    server
        .grant("eve", &["get,update,patch configmaps,leases"])
        .await;
    server
        .grant("ann", &["get,update,patch,create configmaps,leases"])
        .await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {"a": "b"}}).to_string();
    let path = format!("{MAPS}/m");
    let applied = format!("{path}?fieldManager=x");
    let refused = r#"configmaps "m" is forbidden: User "eve" cannot create resource "configmaps" in API group "" in the namespace "default""#;
    assert_eq!(
        server
            .send("eve-token", "PATCH", &applied, APPLY, map.clone())
            .await
            .is(403)
            .message(),
        refused
    );
    assert_eq!(
        server
            .send(
                "eve-token",
                "PATCH",
                &format!("{applied}&dryRun=All"),
                APPLY,
                map.clone()
            )
            .await
            .is(403)
            .message(),
        refused
    );
    server.get(ADMIN, &path).await.is(404);

    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "namespace": "default"}}).to_string();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let refused = r#"leases.coordination.k8s.io "l" is forbidden: User "eve" cannot create resource "leases" in API group "coordination.k8s.io" in the namespace "default""#;
    assert_eq!(
        server
            .send("eve-token", "PUT", leases, JSON, lease.clone())
            .await
            .is(403)
            .message(),
        refused
    );
    server.get(ADMIN, leases).await.is(404);

    server
        .send("ann-token", "PATCH", &applied, APPLY, map.clone())
        .await
        .is(201);
    server
        .send("ann-token", "PUT", leases, JSON, lease.clone())
        .await
        .is(201);
    // what is there needs no more than before
    server
        .send(
            "eve-token",
            "PATCH",
            &format!("{applied}&force=true"),
            APPLY,
            map.replace("\"b\"", "\"c\""),
        )
        .await
        .is(200);
}

#[tokio::test]
async fn streams_need_create_whatever_the_method() {
    let server = Server::start(&["eve", "ann"]).await;
    server
        .grant("eve", &["get pods/exec,pods/attach,pods/portforward,pods"])
        .await;
    server
        .grant(
            "ann",
            &["get,create pods/exec,pods/attach,pods/portforward"],
        )
        .await;
    let websocket = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for sub in [
        "exec?command=id&stdout=1",
        "attach?stdout=1",
        "portforward?ports=80",
    ] {
        let path = format!("/api/v1/namespaces/default/pods/p/{sub}");
        let refused = server
            .send("eve-token", "GET", &path, &websocket, "")
            .await
            .is(403);
        assert_eq!(refused.message(), "pods \"p\" is forbidden: ", "{sub}");
        assert_eq!(
            refused.json()["details"],
            json!({"name": "p", "kind": "pods"})
        );
        assert_eq!(
            server
                .send("ann-token", "GET", &path, &websocket, "")
                .await
                .is(404)
                .message(),
            "pods \"p\" not found",
            "{sub}"
        );
    }
}

#[tokio::test]
async fn who_may_do_anything_is_somebody() {
    let server = Server::with(&[], |config| {
        config.authorization.modes = vec!["AlwaysAllow".into()]
    })
    .await;
    for path in ["/api/v1/secrets", "/version", "/healthz", "/nonsense"] {
        server.get("", path).await.is(401);
    }
    server.get(ADMIN, "/api/v1/secrets").await.is(200);
}

#[tokio::test]
async fn who_reads_what_without_a_role() {
    let server = Server::start(&["eve"]).await;
    server
        .make(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "sa"}}),
        )
        .await;
    let request = server
        .make(
            "/api/v1/namespaces/default/serviceaccounts/sa/token",
            &json!({"spec": {}}),
        )
        .await;
    let account = request.json()["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    for (path, anonymous, authenticated, of_account) in [
        ("/healthz", 200, 200, 200),
        ("/livez", 200, 200, 200),
        ("/readyz?verbose", 200, 200, 200),
        ("/version", 200, 200, 200),
        ("/", 403, 403, 403),
        ("/api", 403, 200, 200),
        ("/apis/apps/v1", 403, 200, 200),
        ("/openapi/v3", 403, 200, 200),
        ("/metrics", 403, 403, 403),
        ("/openid/v1/jwks", 403, 403, 200),
        ("/.well-known/openid-configuration", 403, 403, 200),
        ("/api/v1/namespaces", 403, 403, 403),
        ("/api/v1/namespaces/kube-public/configmaps", 403, 403, 403),
        ("/nothing", 403, 403, 403),
    ] {
        for (who, token, code) in [
            ("nobody", "", anonymous),
            ("eve", "eve-token", authenticated),
            ("an account", &account, of_account),
        ] {
            assert_eq!(server.get(token, path).await.code, code, "{who} {path}");
        }
    }
    let keys = server.get(&account, "/openid/v1/jwks").await;
    assert_eq!(
        (keys.header("content-type"), keys.header("cache-control")),
        ("application/jwk-set+json", "public, max-age=3600")
    );
    // where the keys are is nothing that the asking client can say for those who ask after it
    let lured = server
        .send(
            &account,
            "GET",
            "/.well-known/openid-configuration",
            &[("host", "evil.example.com")],
            "",
        )
        .await
        .is(200);
    assert_eq!(
        lured.json()["jwks_uri"],
        format!("https://{}/openid/v1/jwks", server.address())
    );
}

#[tokio::test]
async fn what_the_default_policy_lost_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let rules = async |server: &Server, role: &str| {
        server
            .get(ADMIN, &format!("{roles}/{role}"))
            .await
            .is(200)
            .json()["rules"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let data = || skiff_server::Data::Folder(store.clone());
    let server = Server::with(&[], |config| config.data = data()).await;
    let before = rules(&server, "system:controller:job-controller").await;
    let merge = [("content-type", "application/merge-patch+json")];
    for role in [
        "system:controller:job-controller",
        "system:controller:node-controller",
    ] {
        server
            .send(
                ADMIN,
                "PATCH",
                &format!("{roles}/{role}"),
                &merge,
                r#"{"rules":[]}"#,
            )
            .await
            .is(200);
    }
    let alone =
        r#"{"metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"false"}}}"#;
    server
        .send(
            ADMIN,
            "PATCH",
            &format!("{roles}/system:controller:node-controller"),
            &merge,
            alone,
        )
        .await
        .is(200);
    server.running.stop().await;
    let server = Server::with(&[], |config| config.data = data()).await;
    assert!(rules(&server, "system:controller:job-controller").await >= before);
    assert_eq!(
        rules(&server, "system:controller:node-controller").await,
        0,
        "its annotation says so"
    );
    server.running.stop().await;
}
