//! Tokens end with what they live by, and secrets get, keep and lose theirs.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use skiff_server::auth::User;
use skiff_watching::{api::Api, events::Events, informer::Informers};
use tokio_util::sync::CancellationToken;

use super::{
    load::until,
    server::{ADMIN, Server},
};

const BASE: &str = "/api/v1/namespaces/default";

async fn token(server: &Server, spec: Value) -> String {
    let answer = server
        .make(
            &format!("{BASE}/serviceaccounts/sa/token"),
            &json!({"spec": spec}),
        )
        .await;
    answer.json()["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn delete(server: &Server, path: &str) {
    server
        .send(
            ADMIN,
            "DELETE",
            &format!("{path}?gracePeriodSeconds=0"),
            &[],
            "",
        )
        .await
        .is(200);
}

#[tokio::test]
async fn a_bound_token_ends_with_what_it_is_bound_to() {
    let server = Server::start(&[]).await;
    server
        .make(
            &format!("{BASE}/serviceaccounts"),
            &json!({"metadata": {"name": "sa"}}),
        )
        .await;
    server
        .make("/api/v1/nodes", &json!({"metadata": {"name": "n"}}))
        .await;
    server
        .make(
            &format!("{BASE}/secrets"),
            &json!({"metadata": {"name": "s"}}),
        )
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "sa", "nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    server.make(&format!("{BASE}/pods"), &pod).await;
    let free = token(&server, json!({})).await;
    for (kind, name, path) in [
        ("Pod", "p", format!("{BASE}/pods/p")),
        ("Secret", "s", format!("{BASE}/secrets/s")),
        ("Node", "n", "/api/v1/nodes/n".into()),
    ] {
        let bound = token(
            &server,
            json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name}}),
        )
        .await;
        server.get(&bound, "/api").await.is(200);
        delete(&server, &path).await;
        server.get(&bound, "/api").await.is(401);
        server.get(&free, "/api").await.is(200);
    }
    delete(&server, &format!("{BASE}/serviceaccounts/sa")).await;
    server.get(&free, "/api").await.is(401);
    // an account of the same name is another one
    server
        .make(
            &format!("{BASE}/serviceaccounts"),
            &json!({"metadata": {"name": "sa"}}),
        )
        .await;
    server.get(&free, "/api").await.is(401);
}

/// The controllers, each as its own account; dropped, they end.
struct Controllers(CancellationToken);

impl Drop for Controllers {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn controllers(server: &Server, wanted: &[&str]) -> Controllers {
    let stop = CancellationToken::new();
    let user = |name: &str, groups: &[&str]| User::new(name, groups);
    let app = server.running.app.clone();
    let api = Api::new(
        server.running.client(user(
            "system:kube-controller-manager",
            &["system:authenticated"],
        )),
        "kube-controller-manager",
    );
    let accounts: skiff_controllers::Accounts = Arc::new(move |name| {
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
            "system:authenticated",
        ];
        let client = skiff_server::client(
            &app,
            User::new(format!("system:serviceaccount:kube-system:{name}"), &groups),
        );
        Api::new(client, "kube-controller-manager")
    });
    let tokens = server.running.app.tokens.clone();
    let options = skiff_controllers::Options {
        controllers: wanted.iter().map(|name| name.to_string()).collect(),
        root_ca_pem: Some("the authority".into()),
        token_signer: Some(Arc::new(move |account, secret| {
            tokens
                .issue_legacy(&json!({"metadata": account}), secret)
                .map_err(Into::into)
        })),
        ..Default::default()
    };
    let events = Events::start(api.clone(), options.clock.clone(), stop.clone());
    let informers = Informers::new(api.clone(), options.clock.clone(), &events, stop.clone());
    tokio::spawn(
        skiff_controllers::start(api, accounts, informers, options, stop.clone()).unwrap(),
    );
    Controllers(stop)
}

#[tokio::test]
async fn secrets_get_their_accounts_token_and_go_with_it() {
    let server = Server::start(&[]).await;
    let _controllers = controllers(&server, &["serviceaccount-token"]);
    server
        .make(
            &format!("{BASE}/serviceaccounts"),
            &json!({"metadata": {"name": "sa"}}),
        )
        .await;
    let secret = |name: &str, account: &str| json!({"metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}}, "type": "kubernetes.io/service-account-token"});
    server
        .make(&format!("{BASE}/secrets"), &secret("t", "sa"))
        .await;
    server
        .make(&format!("{BASE}/secrets"), &secret("nobodys", "absent"))
        .await;
    let live = async |name: &str| server.get(ADMIN, &format!("{BASE}/secrets/{name}")).await;
    let text = |secret: &Value, key: &str| {
        String::from_utf8(
            STANDARD
                .decode(secret["data"][key].as_str().unwrap_or(""))
                .unwrap(),
        )
        .unwrap()
    };
    until(async || live("t").await.json()["data"]["token"].is_string()).await;
    let filled = live("t").await.json();
    assert_eq!(
        (text(&filled, "namespace"), text(&filled, "ca.crt")),
        ("default".into(), "the authority".into())
    );
    until(async || live("nobodys").await.code == 404).await;

    let token = text(&filled, "token");
    server.get(&token, "/api").await.is(200);
    let review = server
        .make(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            &json!({"spec": {"token": token}}),
        )
        .await
        .json();
    assert_eq!(
        review["status"]["user"]["username"],
        "system:serviceaccount:default:sa"
    );
    // the day of its last use becomes known
    until(async || {
        live("t").await.json()["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"]
            .is_string()
    })
    .await;
    server.get(ADMIN, "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking").await.is(200);

    // a secret made by itself is told of, and forgotten by its account when it goes
    let named = json!({"metadata": {"name": "sa"}, "secrets": [{"name": "t"}]});
    server
        .send(
            ADMIN,
            "PATCH",
            &format!("{BASE}/serviceaccounts/sa"),
            &[("content-type", "application/merge-patch+json")],
            named.to_string(),
        )
        .await
        .is(200);
    let warned = server.get(&token, "/api").await.is(200);
    assert!(
        warned
            .header("warning")
            .contains("instead of auto-generated secret-based tokens"),
        "{}",
        warned.header("warning")
    );
    delete(&server, &format!("{BASE}/secrets/t")).await;
    server.get(&token, "/api").await.is(401);
    until(async || {
        server
            .get(ADMIN, &format!("{BASE}/serviceaccounts/sa"))
            .await
            .json()["secrets"]
            .as_array()
            .is_none_or(Vec::is_empty)
    })
    .await;

    // an account's end is its secrets' end
    server
        .make(&format!("{BASE}/secrets"), &secret("u", "sa"))
        .await;
    until(async || live("u").await.json()["data"]["token"].is_string()).await;
    let token = text(&live("u").await.json(), "token");
    server.get(&token, "/api").await.is(200);
    delete(&server, &format!("{BASE}/serviceaccounts/sa")).await;
    server.get(&token, "/api").await.is(401);
    until(async || live("u").await.code == 404).await;
}

/// No controller needs more than its role gives: all are started and given something to do, and it gets done.
#[tokio::test]
async fn controllers_do_with_their_roles() {
    let server = Server::start(&[]).await;
    let _controllers = controllers(&server, &["*"]);
    server
        .make("/api/v1/namespaces", &json!({"metadata": {"name": "a"}}))
        .await;
    let ready = async |path: &str, field: &str| {
        let object = server.get(ADMIN, path).await;
        object.code == 200
            && !object
                .json()
                .pointer(field)
                .unwrap_or(&Value::Null)
                .is_null()
    };
    until(async || {
        ready(
            "/api/v1/namespaces/a/serviceaccounts/default",
            "/metadata/uid",
        )
        .await
    })
    .await;
    until(async || ready("/api/v1/namespaces/a/configmaps/kube-root-ca.crt", "/data").await).await;
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let selector = json!({"matchLabels": {"app": "x"}});
    let base = "/apis/apps/v1/namespaces/a";
    server.make(&format!("{base}/deployments"), &json!({"metadata": {"name": "d"}, "spec": {"selector": selector, "template": template}}))
.await;
    let set = json!({"metadata": {"name": "s"}, "spec": {"serviceName": "s", "selector": selector, "template": template}});
    server.make(&format!("{base}/statefulsets"), &set).await;
    let mut job = template.clone();
    job["spec"]["restartPolicy"] = json!("Never");
    server
        .make(
            "/apis/batch/v1/namespaces/a/jobs",
            &json!({"metadata": {"name": "j"}, "spec": {"template": job}}),
        )
        .await;
    let service = json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}});
    server.make("/api/v1/namespaces/a/services", &service).await;
    until(async || ready(&format!("{base}/deployments/d"), "/status/replicas").await).await;
    until(async || ready(&format!("{base}/statefulsets/s"), "/status/replicas").await).await;
    until(async || ready("/apis/batch/v1/namespaces/a/jobs/j", "/status/active").await).await;
    until(async || ready("/api/v1/namespaces/a/endpoints/s", "/metadata/uid").await).await;
    until(async || {
        server
            .get(
                ADMIN,
                "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices",
            )
            .await
            .json()["items"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    })
    .await;
    until(async || {
        ready(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/view",
            "/rules/0",
        )
        .await
    })
    .await;
    server
        .send(ADMIN, "DELETE", "/api/v1/namespaces/a", &[], "")
        .await
        .is(200);
    until(async || server.get(ADMIN, "/api/v1/namespaces/a").await.code == 404).await;
}
