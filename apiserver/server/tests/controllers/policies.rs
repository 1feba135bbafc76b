//! What the status of admission policies says of their expressions.

use serde_json::{Value, json};

use crate::plane::Plane;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

/// The status of a new policy about deployments and no kind that there is.
async fn status(plane: &Plane, name: &str, expression: &str) -> Value {
    let rule = json!({"apiGroups": ["apps", "no.such"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}});
    plane.create(POLICIES, policy).await;
    let path = format!("{POLICIES}/{name}");
    let mut found = Value::Null;
    plane
        .until("the policy is looked at", async || {
            let policy = plane.get(&path).await.unwrap_or_default();
            found = policy["status"].clone();
            found["observedGeneration"] == 1
        })
        .await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_are_held_to_the_types_of_what_they_are_about() {
    let plane = Plane::start().await;
    let good = "object.spec.template.spec.containers.all(c, c.image.startsWith('a')) && object.metadata.labels['a'] == 'b'";
    assert_eq!(
        status(&plane, "good", good).await,
        json!({"observedGeneration": 1, "typeChecking": {}})
    );
    let bad = status(&plane, "bad", "object.spec.replicas > '5'").await;
    assert_eq!(
        bad["typeChecking"]["expressionWarnings"],
        json!([{"fieldRef": "spec.validations[0].expression",
            "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '5'\n | .....................^\n"}])
    );
    plane.end().await;
}
