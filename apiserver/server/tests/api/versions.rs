//! Objects that are seen at two versions: one is stored, and both views are of the same.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn autoscalers_are_the_same_at_both_versions() {
    let server = Server::start().await;
    let (v1, v2) = ["v1", "v2"]
        .map(|version| {
            format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers")
        })
        .into();
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let created = server.make(&v1, &json!({"metadata": {"name": "a"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}))
.await.json();
    assert_eq!(
        (&created["apiVersion"], &created["spec"]["minReplicas"]),
        (&json!("autoscaling/v1"), &json!(1))
    );
    assert_eq!(created["spec"]["targetCPUUtilizationPercentage"], 80);
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
    let seen = server.get(&format!("{v2}/a")).await.is(200).json();
    assert_eq!(
        (&seen["apiVersion"], &seen["spec"]["metrics"]),
        (&json!("autoscaling/v2"), &json!([metric]))
    );

    // what only v2 has fields for is carried in annotations at v1, and a client there that knows nothing of them loses nothing of the status
    let condition = json!({"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "a"});
    let status = json!({"status": {"desiredReplicas": 2, "conditions": [condition]}});
    server
        .patch(&format!("{v2}/a/status"), "merge", &status)
        .await
        .is(200);
    let mut shown = server.get(&format!("{v1}/a")).await.is(200).json();
    let carried = &shown["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/conditions"];
    assert_eq!(
        *carried,
        r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"a"}]"#
    );
    shown["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    shown["spec"]["targetCPUUtilizationPercentage"] = 50.into();
    server.put(&format!("{v1}/a"), &shown).await.is(200);
    let seen = server.get(&format!("{v2}/a")).await.is(200).json();
    assert_eq!(
        seen["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        50
    );
    assert_eq!(seen["status"]["conditions"], json!([condition]));
    assert_eq!(seen["metadata"].get("annotations"), None);

    // both are validated as the stored form is
    let answer = server
        .patch(
            &format!("{v1}/a"),
            "merge",
            &json!({"spec": {"maxReplicas": -1}}),
        )
        .await
        .is(422);
    assert!(
        answer
            .message()
            .contains("spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1"),
        "{}",
        answer.message()
    );
    // who owns what is told in the fields of each writer's version
    server.apply(&format!("{v2}/a"), &json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"metrics": [metric]}})).await.is(200);
    let owned =
        server.get(&format!("{v1}/a")).await.is(200).json()["metadata"]["managedFields"].clone();
    let of = |version: &str| {
        owned
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["apiVersion"] == version)
            .map(|entry| entry["fieldsV1"]["f:spec"].clone())
            .collect::<Vec<_>>()
    };
    assert!(
        of("autoscaling/v1")
            .iter()
            .all(|spec| spec.get("f:targetCPUUtilizationPercentage").is_none()),
        "{owned}"
    );
    assert!(
        of("autoscaling/v2").contains(&json!({"f:metrics": {}})),
        "{owned}"
    );

    let lists = [&v1, &v2].map(async |path| {
        server.get(path).await.is(200).json()["items"]
            .as_array()
            .unwrap()
            .len()
    });
    for list in lists {
        assert_eq!(list.await, 1);
    }
    server.delete(&format!("{v1}/a")).await.is(200);
    server.get(&format!("{v2}/a")).await.is(404);
}
