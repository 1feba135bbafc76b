//! The writes and versions that policies see.

use serde_json::json;

use super::{GROUP, MAPS, bind, map, on, unbind, validating};
use crate::server::Server;

#[tokio::test]
async fn a_policy_sees_the_version_that_it_asks_for() {
    let server = Server::start().await;
    let scalers = |version: &str, expression: &str| {
        json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["autoscaling"], "apiVersions": [version], "operations": ["CREATE"], "resources": ["horizontalpodautoscalers"]}]},
            "validations": [{"expression": expression}]})
    };
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "targetCPUUtilizationPercentage": 50});
    let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": spec});
    const PLACE: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    for (version, expression, code) in [
        (
            "v2",
            "object.apiVersion == 'autoscaling/v2' && object.spec.metrics[0].resource.target.averageUtilization == 50 && request.kind.version == 'v2' && request.requestKind.version == 'v1'",
            201,
        ),
        (
            "v1",
            "object.apiVersion == 'autoscaling/v1' && object.spec.targetCPUUtilizationPercentage == 50 && request.kind.version == 'v1'",
            201,
        ),
        ("v1", "object.apiVersion == 'autoscaling/v2'", 422),
    ] {
        let bound = validating("p", scalers(version, expression), json!({}));
        bind(&server, &bound).await;
        server.post(PLACE, &v1).await.is(code);
        unbind(&server, &bound).await;
        server
            .delete(&format!("{GROUP}/validatingadmissionpolicies/p"))
            .await
            .is(200);
        if code == 201 {
            server.delete(&format!("{PLACE}/h")).await.is(200);
        }
    }
}

#[tokio::test]
async fn deletions_and_namespaces_are_judged() {
    let server = Server::start().await;
    map(&server, "m", json!({})).await.is(201);
    let going = json!({"matchConstraints": on("", &["configmaps", "namespaces"], &["DELETE"]),
        "validations": [{"expression": "object == null && oldObject.metadata.name != 'm' && request.options.kind == 'DeleteOptions'"}]});
    bind(&server, &validating("p", going, json!({}))).await;
    server.delete(&format!("{MAPS}/m")).await.is(422);
    let named = json!({"matchConstraints": on("", &["namespaces"], &["CREATE"]),
        "validations": [{"expression": "namespaceObject == null && request.namespace == 'ns' && request.name == 'ns'"}]});
    bind(&server, &validating("q", named, json!({}))).await;
    server
        .make("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}}))
        .await;
    server.delete("/api/v1/namespaces/ns").await.is(200);
}
