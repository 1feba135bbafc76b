//! Webhooks that decide who may what.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_server::access::authorization::AuthorizationWebhook;

use super::{Folder, until};
use crate::{
    https_server::{Asked, HttpsServer},
    server::Server,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Webhook {
    server: HttpsServer,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    /// One that answers a `spec` with this `status`, or a code.
    async fn start(
        answer: impl Fn(&Value) -> Result<Value, u16> + Send + Sync + 'static,
    ) -> Webhook {
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let taking = asked.clone();
        let server = HttpsServer::start(move |request: Asked| {
            assert_eq!(request.headers["authorization"], "Bearer secret");
            assert_eq!(request.path, "/authorize");
            let review: Value = serde_json::from_slice(&request.body).unwrap();
            taking.lock().push(review.clone());
            match answer(&review["spec"]) {
                Ok(status) => {
                    let answer = json!({"apiVersion": review["apiVersion"], "kind": "SubjectAccessReview", "status": status});
                    Some((200, answer.to_string().into_bytes()))
                }
                Err(0) => None,
                Err(code) => Some((code, b"broken".to_vec())),
            }
        });
        Webhook {
            server: server.await,
            asked,
        }
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }
}

/// A file of authorizers; `webhook` are fields of the one webhook in it.
fn file(folder: &Folder, kubeconfig: &Path, webhook: &str, order: &[&str]) -> PathBuf {
    let asked = format!(
        "{{type: Webhook, name: outside, webhook: {{timeout: 1s, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1, \
         connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}, {webhook}}}}}",
        kubeconfig.display()
    );
    let each = order.iter().map(|kind| match *kind {
        "Webhook" => asked.clone(),
        kind => format!("{{type: {kind}, name: {}}}", kind.to_lowercase()),
    });
    let list = each.collect::<Vec<_>>().join("\n- ");
    folder.write(
        "authz.yaml",
        &format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {list}\n"),
    )
}

/// A server that knows anna (of ops) and bert by their tokens, and decides as a file says.
async fn server(folder: &Folder, authorization: PathBuf) -> Server {
    let tokens = folder.write("tokens.csv", "anna,anna,1,ops\nbert,bert,2\n");
    let server = Server::with(|config| {
        config.token_file = Some(tokens);
        config.authorization.config_file = Some(authorization);
    })
    .await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "maps"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    server.make(&format!("{rbac}/clusterroles"), &role).await;
    let binding = json!({"metadata": {"name": "maps"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "maps"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bert"}]});
    let path = format!("{rbac}/clusterrolebindings");
    server.make(&path, &binding).await;
    server
}

async fn list(server: &Server, who: &str, query: &str) -> (u16, String) {
    let path = format!("{MAPS}{query}");
    let answer = server.send_as(who, "GET", &path, &Value::Null).await;
    let text = answer.text();
    (answer.code, text)
}

#[tokio::test]
async fn the_first_opinion_counts() {
    let folder = Folder::new();
    let webhook = Webhook::start(|spec| {
        Ok(
            match (
                spec["user"].as_str(),
                spec["resourceAttributes"]["verb"].as_str(),
            ) {
                (Some("anna"), _) => json!({"allowed": true, "reason": "she may"}),
                (_, Some("delete")) => json!({"denied": true, "allowed": false, "reason": "never"}),
                _ => json!({"allowed": false, "reason": "I do not know"}),
            },
        )
    })
    .await;
    let kubeconfig = folder.kubeconfig("webhook", &webhook.server, "/authorize");
    let path = file(
        &folder,
        &kubeconfig,
        "failurePolicy: Deny",
        &["Webhook", "RBAC"],
    );
    let server = server(&folder, path).await;

    let (code, _) = list(
        &server,
        "anna",
        "?labelSelector=a%3Db,!c&fieldSelector=metadata.name%3Dx",
    )
    .await;
    assert_eq!(code, 200);
    let review = webhook.asked.lock().pop().unwrap();
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (
            &json!("SubjectAccessReview"),
            &json!("authorization.k8s.io/v1")
        )
    );
    assert_eq!(
        review["spec"],
        json!({"user": "anna", "uid": "1", "groups": ["ops", "system:authenticated"], "resourceAttributes": {
            "namespace": "default", "verb": "list", "version": "v1", "resource": "configmaps", "name": "x",
            "fieldSelector": {"requirements": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]},
            "labelSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "DoesNotExist"}]}}})
    );
    // who has no opinion leaves it to the next
    assert_eq!(list(&server, "bert", "").await.0, 200);
    let (code, said) = list(&server, "bert", "/x").await;
    assert_eq!(code, 403);
    assert!(said.contains("I do not know"), "{said}");
    // who denies is the last that is asked
    let refused = server
        .send_as("bert", "DELETE", &format!("{MAPS}/x"), &Value::Null)
        .await;
    assert!(refused.is(403).message().ends_with(": never"));
    // answers are remembered
    let before = webhook.asked();
    assert_eq!(list(&server, "bert", "").await.0, 200);
    assert_eq!(webhook.asked(), before);
    let review =
        json!({"spec": {"user": "anna", "nonResourceAttributes": {"path": "/x", "verb": "get"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let review = server.post(path, &review).await.is(201).json();
    assert_eq!(
        review["status"],
        json!({"allowed": true, "reason": "she may"})
    );
    let rules = json!({"spec": {"namespace": "default"}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = server
        .send_as("anna", "POST", path, &rules)
        .await
        .is(201)
        .json();
    assert_eq!(rules["status"]["incomplete"], true);
    assert_eq!(
        rules["status"]["evaluationError"],
        "webhook authorizer does not support user rule resolution"
    );
}

#[tokio::test]
async fn who_cannot_be_asked_allows_nothing() {
    for (policy, answer, code, wanted) in [
        (
            "NoOpinion",
            403,
            500,
            "Internal Server Error: \"/api/v1/namespaces/default/configmaps\": broken\n",
        ),
        ("NoOpinion", 0, 500, "context deadline exceeded"),
        (
            "Deny",
            403,
            500,
            "Internal Server Error: \"/api/v1/namespaces/default/configmaps\": broken\n",
        ),
    ] {
        let folder = Folder::new();
        let webhook = Webhook::start(move |_| Err(answer)).await;
        let kubeconfig = folder.kubeconfig("webhook", &webhook.server, "/authorize");
        let more = format!("failurePolicy: {policy}");
        let path = file(&folder, &kubeconfig, &more, &["Webhook", "RBAC"]);
        let server = server(&folder, path).await;
        let (found, said) = list(&server, "anna", "").await;
        assert_eq!(found, code, "{policy} {answer}: {said}");
        assert!(said.contains(wanted), "{policy} {answer}: {said}");
        // one that denies lets nobody after it decide
        let bert = list(&server, "bert", "").await.0;
        assert_eq!(bert, if policy == "Deny" { 500 } else { 200 });
    }
}

#[tokio::test]
async fn conditions_say_who_is_asked() {
    let folder = Folder::new();
    let webhook = Webhook::start(|_| Ok(json!({"allowed": true}))).await;
    let kubeconfig = folder.kubeconfig("webhook", &webhook.server, "/authorize");
    let conditions = "failurePolicy: NoOpinion, matchConditions: [{expression: has(request.resourceAttributes)}, {expression: \"request.user != 'bert'\"}, \
         {expression: \"!('system:serviceaccounts:kube-system' in request.groups)\"}]";
    let path = file(&folder, &kubeconfig, conditions, &["RBAC", "Webhook"]);
    let server = server(&folder, path).await;
    webhook.asked.lock().clear();
    assert_eq!(list(&server, "anna", "").await.0, 200);
    assert_eq!(webhook.asked(), 1);
    assert_eq!(list(&server, "bert", "/x").await.0, 403);
    let path = server
        .send_as("anna", "GET", "/metrics", &Value::Null)
        .await;
    assert_eq!(path.code, 403);
    assert_eq!(webhook.asked(), 1);
}

#[tokio::test]
async fn a_file_is_read_again_and_a_broken_one_changes_nothing() {
    let folder = Folder::new();
    let webhook = Webhook::start(|_| Ok(json!({"allowed": true}))).await;
    let kubeconfig = folder.kubeconfig("webhook", &webhook.server, "/authorize");
    let path = file(
        &folder,
        &kubeconfig,
        "failurePolicy: Deny",
        &["RBAC", "Webhook"],
    );
    let server = server(&folder, path).await;
    assert_eq!(list(&server, "anna", "").await.0, 200);
    // RBAC was there at first, and has to stay
    file(&folder, &kubeconfig, "failurePolicy: Deny", &["AlwaysDeny"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(list(&server, "anna", "").await.0, 200);
    file(&folder, &kubeconfig, "failurePolicy: Deny", &["RBAC"]);
    until("the webhook is not asked", || async {
        list(&server, "anna", "").await.0 == 403
    })
    .await;
    assert_eq!(list(&server, "bert", "").await.0, 200);
}

#[tokio::test]
async fn the_older_flags_and_an_older_version() {
    let folder = Folder::new();
    let webhook = Webhook::start(|spec| {
        Ok(json!({"allowed": spec["group"] == json!(["ops", "system:authenticated"])}))
    })
    .await;
    let kubeconfig = folder.kubeconfig("webhook", &webhook.server, "/authorize");
    let tokens = folder.write("tokens.csv", "anna,anna,1,ops\nbert,bert,2\n");
    let server = Server::with(|config| {
        config.token_file = Some(tokens);
        config.authorization.modes = vec!["RBAC".into(), "Webhook".into()];
        config.authorization.webhook = Some(AuthorizationWebhook {
            config_file: kubeconfig.display().to_string(),
            version: "v1beta1".into(),
            authorized_ttl: Duration::ZERO,
            unauthorized_ttl: Duration::from_secs(30),
        });
    })
    .await;
    webhook.asked.lock().clear();
    for _ in 0..2 {
        assert_eq!(list(&server, "anna", "").await.0, 200);
        assert_eq!(list(&server, "bert", "").await.0, 403);
    }
    // what is allowed is asked each time, what is not is remembered
    assert_eq!(webhook.asked(), 3);
}

/// Expressions of admission ask the same authorizers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_ask_webhooks() {
    let folder = Folder::new();
    let webhook = Webhook::start(|spec| {
        Ok(json!({"allowed": spec["resourceAttributes"]["verb"] == "bless"}))
    })
    .await;
    let kubeconfig = folder.kubeconfig("webhook", &webhook.server, "/authorize");
    let path = file(
        &folder,
        &kubeconfig,
        "failurePolicy: Deny",
        &["RBAC", "Webhook"],
    );
    let server = server(&folder, path).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "writer"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]});
    server.make(&format!("{rbac}/clusterroles"), &role).await;
    let binding = json!({"metadata": {"name": "writer"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "writer"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "anna"}]});
    server
        .make(&format!("{rbac}/clusterrolebindings"), &binding)
        .await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "blessed"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
        "validations": [{"expression": "authorizer.requestResource.check(object.data.verb).allowed()", "message": "not blessed"}]}});
    server
        .make(&format!("{group}/validatingadmissionpolicies"), &policy)
        .await;
    let binding = json!({"metadata": {"name": "blessed"}, "spec": {"policyName": "blessed", "validationActions": ["Deny"]}});
    server
        .make(
            &format!("{group}/validatingadmissionpolicybindings"),
            &binding,
        )
        .await;
    let map = |name: &str, verb: &str| json!({"metadata": {"name": name}, "data": {"verb": verb}});
    until("the policy is followed", || async {
        let made = server
            .send_as(
                "anna",
                "POST",
                &format!("{MAPS}?dryRun=All"),
                &map("x", "curse"),
            )
            .await;
        made.code == 422
    })
    .await;
    server
        .send_as("anna", "POST", MAPS, &map("a", "bless"))
        .await
        .is(201);
    server
        .send_as("anna", "POST", MAPS, &map("b", "curse"))
        .await
        .is(422);
}
