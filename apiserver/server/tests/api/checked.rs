//! Kinds whose rules stand in the table, and what a new cluster has of them.

use serde_json::json;

use crate::server::Server;

const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

#[tokio::test]
async fn a_new_cluster_has_its_flow_schemas_and_levels() {
    let server = Server::start().await;
    let flows = server.get(FLOWS).await.is(200).json();
    assert_eq!(flows["items"].as_array().map(Vec::len), Some(11));
    let found = flows["items"]
        .as_array()
        .unwrap()
        .iter()
        .all(|flow| flow["status"]["conditions"][0]["reason"] == "Found");
    assert!(found, "{flows}");
    assert_eq!(
        server.get(LEVELS).await.is(200).json()["items"]
            .as_array()
            .map(Vec::len),
        Some(8)
    );
    let changed = json!({"spec": {"matchingPrecedence": 9}});
    let refused = server
        .patch(&format!("{FLOWS}/catch-all"), "merge", &changed)
        .await
        .is(422);
    let message = refused.message();
    assert!(
        message.ends_with(": spec of 'catch-all' must equal the fixed value"),
        "{message}"
    );
    server
        .patch(&format!("{FLOWS}/probes"), "merge", &changed)
        .await
        .is(200);
}

#[tokio::test]
async fn rules_of_the_table_hold_in_each_write() {
    let server = Server::start().await;
    let twice = json!({"status": {"conditions": [{"type": "A"}, {"type": "A"}]}});
    let refused = server
        .patch(&format!("{LEVELS}/system/status"), "merge", &twice)
        .await
        .is(422);
    assert_eq!(
        refused.message(),
        "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"system\" is invalid: status.conditions[1].type: Duplicate value: \"A\""
    );
    const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
    let own = json!({"metadata": {"name": "v1.a.b"}, "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}});
    assert_eq!(
        server.make(SERVICES, &own).await.json()["status"]["conditions"][0]["reason"],
        "Local"
    );
    let odd = json!({"status": {"conditions": [{"type": "Available", "status": "odd"}]}});
    let refused = server
        .patch(&format!("{SERVICES}/v1.a.b/status"), "merge", &odd)
        .await
        .is(422);
    let wanted = "status.conditions[0].status: Unsupported value: \"odd\": supported values: \"True\", \"False\", \"Unknown\"";
    assert_eq!(
        refused.message(),
        format!("APIService.apiregistration.k8s.io \"v1.a.b\" is invalid: {wanted}")
    );
}

/// Both faces of events are core's to upstream, whose messages name no group.
#[tokio::test]
async fn events_are_told_of_as_those_of_core() {
    let server = Server::start().await;
    let event = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-02T03:04:05.000000Z", "regarding": {"namespace": "default"}, "type": "Normal",
        "reportingController": "a.b/c", "reportingInstance": "c", "action": "Run"});
    let refused = server
        .post("/apis/events.k8s.io/v1/namespaces/default/events", &event)
        .await
        .is(422);
    assert_eq!(
        refused.message(),
        "Event \"e\" is invalid: reason: Required value"
    );
}
