//! The horizontal pod autoscaler.

use serde_json::{Value, json};

use crate::plane::{Plane, condition, deployment};

const PATH: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

fn autoscaler(target: &str, least: i32) -> Value {
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": target});
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "auto"},
        "spec": {"minReplicas": least, "maxReplicas": 5, "scaleTargetRef": reference, "metrics": [metric]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_metrics_the_bounds_hold_and_the_lack_is_told() {
    let plane = Plane::with(|options| {
        options.horizontal_pod_autoscaler.sync_period = std::time::Duration::from_millis(200)
    })
    .await;
    plane
        .create(
            "/apis/apps/v1/namespaces/default/deployments",
            deployment("web", 2),
        )
        .await;
    plane.create(PATH, autoscaler("web", 3)).await;
    let replicas = async || {
        plane
            .get("/apis/apps/v1/namespaces/default/deployments/web")
            .await
            .unwrap()["spec"]["replicas"]
            .clone()
    };
    plane
        .until("the least replicas", async || replicas().await == 3)
        .await;
    assert_eq!(
        plane.event("auto", "SuccessfulRescale").await,
        "SuccessfulRescale: New size: 3; reason: Current number of replicas below Spec.MinReplicas"
    );
    let absent = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
    assert_eq!(
        plane.event("auto", "FailedGetResourceMetric").await,
        format!("FailedGetResourceMetric: {absent}")
    );
    let auto = async || plane.get(&format!("{PATH}/auto")).await.unwrap();
    plane
        .until("a condition", async || {
            condition("reason", &auto().await, "ScalingActive").0 == "FailedGetResourceMetric"
        })
        .await;
    let auto = auto().await;
    assert_eq!(
        condition("reason", &auto, "ScalingActive").1,
        format!("the HPA was unable to compute the replica count: {absent}")
    );
    assert_eq!(
        (
            &auto["status"]["currentReplicas"],
            &auto["status"]["currentMetrics"]
        ),
        (&json!(3), &json!([{"type": ""}]))
    );
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_not_there() {
    let plane = Plane::start().await;
    plane.create(PATH, autoscaler("absent", 1)).await;
    assert_eq!(
        plane.event("auto", "FailedGetScale").await,
        "FailedGetScale: deployments.apps \"absent\" not found"
    );
    let reason = async || {
        condition(
            "reason",
            &plane.get(&format!("{PATH}/auto")).await.unwrap(),
            "AbleToScale",
        )
    };
    plane
        .until("a condition", async || reason().await.0 == "FailedGetScale")
        .await;
    assert_eq!(
        reason().await.1,
        "the HPA controller was unable to get the target's current scale: deployments.apps \"absent\" not found"
    );
    plane.end().await;
}
