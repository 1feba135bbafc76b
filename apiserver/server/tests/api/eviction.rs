//! Evictions: what budgets refuse, what they do not ask about, and what the pod says of it.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A pod on a node that keeps it in sight when it is deleted.
async fn pod(server: &Server, name: &str, ready: bool) {
    let spec = json!({"nodeName": "node", "containers": [{"name": "c", "image": "i"}]});
    server
        .make(
            PODS,
            &json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": spec}),
        )
        .await;
    let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
    server
        .patch(
            &format!("{PODS}/{name}/status"),
            "merge",
            &json!({"status": {"phase": "Running", "conditions": [condition]}}),
        )
        .await
        .is(200);
}

async fn with_account() -> Server {
    let server = Server::start().await;
    server
        .make(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    server
}

async fn evict(server: &Server, name: &str, options: Value) -> Answer {
    server
        .post(
            &format!("{PODS}/{name}/eviction"),
            &json!({"metadata": {"name": name}, "deleteOptions": options}),
        )
        .await
}

async fn budget(server: &Server, name: &str, spec: Value, status: Value) {
    let mut given = json!({"selector": {"matchLabels": {"app": "a"}}});
    given
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    server
        .make(BUDGETS, &json!({"metadata": {"name": name}, "spec": given}))
        .await;
    server
        .patch(
            &format!("{BUDGETS}/{name}/status"),
            "merge",
            &json!({"status": status}),
        )
        .await
        .is(200);
}

/// The pod is on its way out and says why.
async fn is_evicted(server: &Server, name: &str) {
    let pod = server.get(&format!("{PODS}/{name}")).await.is(200).json();
    assert!(pod["metadata"]["deletionTimestamp"].is_string(), "{pod}");
    let told = pod["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == "DisruptionTarget")
        .unwrap();
    let told = (&told["status"], &told["reason"], &told["message"]);
    assert_eq!(
        told,
        (
            &json!("True"),
            &json!("EvictionByEvictionAPI"),
            &json!("Eviction API: evicting")
        )
    );
}

fn cause(answer: &Answer) -> String {
    answer.json()["details"]["causes"][0]["message"]
        .as_str()
        .unwrap_or("")
        .into()
}

#[tokio::test]
async fn a_pod_says_that_it_was_evicted() {
    let server = with_account().await;
    pod(&server, "free", true).await;
    evict(&server, "free", json!({"dryRun": ["All"]}))
        .await
        .is(201);
    assert_eq!(
        server.get(&format!("{PODS}/free")).await.json()["metadata"].get("deletionTimestamp"),
        None
    );
    let other = evict(&server, "free", json!({"preconditions": {"uid": "other"}}))
        .await
        .is(409);
    assert!(
        other.message().starts_with(
            "Operation cannot be fulfilled on Pod \"free\": the UID in the precondition (other)"
        ),
        "{}",
        other.message()
    );
    let version =
        server.get(&format!("{PODS}/free")).await.json()["metadata"]["resourceVersion"].clone();
    evict(
        &server,
        "free",
        json!({"preconditions": {"resourceVersion": version}}),
    )
    .await
    .is(201);
    is_evicted(&server, "free").await;
}

#[tokio::test]
async fn a_budget_guards_pods_that_are_healthy() {
    let server = with_account().await;
    pod(&server, "one", true).await;
    pod(&server, "two", true).await;
    budget(
        &server,
        "b",
        json!({"minAvailable": 1}),
        json!({"observedGeneration": 0}),
    )
    .await;
    let early = evict(&server, "one", json!({})).await.is(429);
    assert_eq!(
        (
            cause(&early).as_str(),
            &early.json()["details"]["retryAfterSeconds"]
        ),
        (
            "The disruption budget b is still being processed by the server.",
            &json!(10)
        )
    );
    let allowing = |count: i32| json!({"status": {"observedGeneration": 1, "disruptionsAllowed": count, "currentHealthy": 2, "desiredHealthy": 1}});
    server
        .patch(&format!("{BUDGETS}/b/status"), "merge", &allowing(1))
        .await
        .is(200);
    // a dry run is judged as an eviction is, and takes nothing
    evict(&server, "one", json!({"dryRun": ["All"]}))
        .await
        .is(201);
    evict(&server, "one", json!({})).await.is(201);
    is_evicted(&server, "one").await;
    let status = server.get(&format!("{BUDGETS}/b")).await.json()["status"].clone();
    assert_eq!(
        (
            &status["disruptionsAllowed"],
            status["disruptedPods"]["one"].is_string()
        ),
        (&json!(0), true)
    );
    assert_eq!(
        (
            &status["conditions"][0]["reason"],
            &status["conditions"][0]["status"]
        ),
        (&json!("InsufficientPods"), &json!("False"))
    );
    for dry in [json!({"dryRun": ["All"]}), json!({})] {
        assert_eq!(
            cause(&evict(&server, "two", dry).await.is(429)),
            "The disruption budget b does not allow evicting pods currently"
        );
    }
    // whoever is told of in the condition is told of
    let failed = json!({"status": {"conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    server
        .patch(&format!("{BUDGETS}/b/status"), "merge", &failed)
        .await
        .is(200);
    assert_eq!(
        cause(&evict(&server, "two", json!({})).await.is(429)),
        "The disruption budget b does not allow evicting pods currently because it failed sync: why"
    );
    budget(&server, "c", json!({"minAvailable": 1}), json!({})).await;
    let both = evict(&server, "two", json!({})).await.is(500);
    assert_eq!(
        both.message(),
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
}

#[tokio::test]
async fn pods_that_are_not_healthy_go_by_the_budgets_policy() {
    let server = with_account().await;
    for name in ["one", "two", "three"] {
        pod(&server, name, false).await;
    }
    budget(&server, "b", json!({"minAvailable": 1}), json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 1})).await;
    assert_eq!(
        cause(&evict(&server, "one", json!({})).await.is(429)),
        "The disruption budget b needs 1 healthy pods and has 0 currently"
    );
    // enough others are healthy
    server
        .patch(
            &format!("{BUDGETS}/b/status"),
            "merge",
            &json!({"status": {"currentHealthy": 1}}),
        )
        .await
        .is(200);
    evict(&server, "one", json!({})).await.is(201);
    is_evicted(&server, "one").await;
    server
        .patch(
            &format!("{BUDGETS}/b/status"),
            "merge",
            &json!({"status": {"currentHealthy": 0}}),
        )
        .await
        .is(200);
    server
        .patch(
            &format!("{BUDGETS}/b"),
            "merge",
            &json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}),
        )
        .await
        .is(200);
    server
        .patch(
            &format!("{BUDGETS}/b/status"),
            "merge",
            &json!({"status": {"observedGeneration": 2}}),
        )
        .await
        .is(200);
    evict(&server, "two", json!({})).await.is(201);
    is_evicted(&server, "two").await;
    // what has ended costs no budget anything
    server
        .patch(
            &format!("{PODS}/three/status"),
            "merge",
            &json!({"status": {"phase": "Failed"}}),
        )
        .await
        .is(200);
    evict(&server, "three", json!({})).await.is(201);
}

/// Evictions are taken at both versions, and mistakes are told as those of the one that was sent.
#[tokio::test]
async fn evictions_of_the_old_version_are_taken() {
    let server = with_account().await;
    for (name, version) in [("old", "policy/v1beta1"), ("new", "policy/v1")] {
        pod(&server, name, true).await;
        let path = format!("{PODS}/{name}/eviction");
        let eviction =
            json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": name}});
        server.post(&path, &eviction).await.is(201);
        is_evicted(&server, name).await;
        let mut odd = eviction.clone();
        odd["odd"] = 1.into();
        let bare = version.split_once('/').unwrap().1;
        let path = format!("{path}?fieldValidation=Strict");
        assert_eq!(
            server.post(&path, &odd).await.is(400).message(),
            format!(
                "Eviction in version \"{bare}\" cannot be handled as a Eviction: strict decoding error: unknown field \"odd\""
            )
        );
    }
    let path = format!("{PODS}/new/eviction");
    let other = json!({"apiVersion": "policy/v2", "kind": "Eviction", "metadata": {"name": "new"}});
    server.post(&path, &other).await.is(400);
}
