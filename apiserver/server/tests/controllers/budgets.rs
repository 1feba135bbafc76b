//! What disruption budgets say of pods whose number nobody knows.

use serde_json::json;
use skiff_watching::api::PatchType;

use crate::plane::Plane;

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_cannot_be_scaled_are_named() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    let template = json!({"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template}});
    plane
        .create("/apis/apps/v1/namespaces/default/daemonsets", set)
        .await;
    let owner = json!([{"apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "11111111-2222-3333-4444-555555555555", "controller": true}]);
    plane
        .pod(
            "lone",
            json!({"metadata": {"labels": {"app": "thing"}, "ownerReferences": owner}}),
        )
        .await;
    for (app, why) in [
        (
            "agent",
            "daemonsets.apps does not implement the scale subresource",
        ),
        (
            "thing",
            "no matches for kind \"Thing\" in version \"example.com/v1\"",
        ),
    ] {
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}}});
        plane.create(BUDGETS, budget).await;
        assert_eq!(
            plane.event(app, "CalculateExpectedPodCountFailed").await,
            format!(
                "CalculateExpectedPodCountFailed: Failed to calculate the number of expected pods: {why}"
            )
        );
        plane
            .until("the budget says so", async || {
                let budget = plane.get(&format!("{BUDGETS}/{app}")).await.unwrap();
                budget["status"]["conditions"][0]["message"] == why
            })
            .await;
    }
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_of_disruption_that_says_not_since_when_is_taken_back() {
    let plane = Plane::start().await;
    plane.pod("stays", json!({})).await;
    let path = "/api/v1/namespaces/default/pods/stays";
    let mark =
        json!({"type": "DisruptionTarget", "status": "True", "reason": "Told", "message": "so"});
    plane
        .api
        .patch(
            &format!("{path}/status"),
            PatchType::Strategic,
            &json!({"status": {"conditions": [mark]}}),
        )
        .await
        .unwrap();
    plane
        .until("it is taken back", async || {
            let pod = plane.get(path).await.unwrap();
            let conditions = pod["status"]["conditions"].as_array().unwrap();
            let mark = conditions.iter().find(|c| c["type"] == "DisruptionTarget");
            mark.is_some_and(|mark| {
                mark["status"] == "False"
                    && mark["reason"].is_null()
                    && mark["observedGeneration"] == 1
            })
        })
        .await;
    plane.end().await;
}
