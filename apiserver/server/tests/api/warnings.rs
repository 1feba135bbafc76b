//! What clients are warned of.

use serde_json::json;

use crate::server::{Answer, Server};

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";

/// Whoever writes a control that does nothing here is told so with each write.
#[tokio::test]
async fn controls_without_effect_are_told_of() {
    let server = Server::start().await;
    let told = |answer: Answer| {
        answer
            .warnings
            .iter()
            .any(|text| text.contains("this server") || text.contains("this cluster"))
    };
    let policy = json!({"metadata": {"name": "a"}, "spec": {"podSelector": {}}});
    assert!(told(server.make(POLICIES, &policy).await));
    assert!(told(
        server
            .patch(
                &format!("{POLICIES}/a"),
                "merge",
                &json!({"metadata": {"labels": {"a": "b"}}})
            )
            .await
            .is(200)
    ));
    // and nobody else
    let local =
        json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
    assert!(!told(
        server
            .patch(
                "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps",
                "merge",
                &json!({"spec": local})
            )
            .await
    ));
    assert!(!told(
        server
            .make("/api/v1/namespaces", &json!({"metadata": {"name": "b"}}))
            .await
    ));
    let silent = Server::with(|config| config.warns_of_no_effect = false).await;
    assert!(!told(silent.make(POLICIES, &policy).await));
}
