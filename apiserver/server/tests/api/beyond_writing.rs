//! What takes more than the right to write an object: access to devices as an administrator, allocating them, and parameters of policies.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A request of somebody who may write, and read config maps in one namespace, but no more.
async fn as_writer(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    server
        .send(
            method,
            path,
            &[
                ("content-type", "application/json"),
                ("impersonate-user", "writer"),
            ],
            body.to_string(),
        )
        .await
}

async fn let_write(server: &Server) {
    let rules = json!([
        {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims", "resourceclaims/status"], "verbs": ["*"]},
        {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]},
    ]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    server
        .make(
            &format!("{rbac}/clusterroles"),
            &json!({"metadata": {"name": "writer"}, "rules": rules}),
        )
        .await;
    let reader = json!({"metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]});
    server
        .make(&format!("{rbac}/namespaces/default/roles"), &reader)
        .await;
    for (path, kind, name) in [
        ("clusterrolebindings", "ClusterRole", "writer"),
        ("namespaces/default/rolebindings", "Role", "reader"),
    ] {
        let subjects =
            json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "writer"}]);
        let reference =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        server
            .make(
                &format!("{rbac}/{path}"),
                &json!({"metadata": {"name": name}, "subjects": subjects, "roleRef": reference}),
            )
            .await;
    }
}

#[tokio::test]
async fn administrators_reach_devices_from_their_namespaces_alone() {
    let server = Server::start().await;
    let claim = |class: &str| json!({"metadata": {"name": "a"}, "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": class, "adminAccess": true}}]}}});
    let said = "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace";
    assert_eq!(
        server.post(CLAIMS, &claim("c")).await.is(422).message(),
        format!("ResourceClaim.resource.k8s.io \"a\" is invalid: {said}")
    );
    assert_eq!(
        server.post(CLAIMS, &claim("")).await.is(422).message(),
        format!(
            "ResourceClaim.resource.k8s.io \"a\" is invalid: [{said}, spec.devices.requests[0].exactly.deviceClassName: Required value]"
        )
    );
    let template = json!({"metadata": {"name": "t"}, "spec": {"spec": claim("c")["spec"]}});
    let templates = CLAIMS.replace("resourceclaims", "resourceclaimtemplates");
    assert_eq!(
        server.post(&templates, &template).await.is(422).message(),
        format!("ResourceClaimTemplate.resource.k8s.io \"t\" is invalid: {said}")
    );
    server
        .patch(
            "/api/v1/namespaces/default",
            "merge",
            &json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}),
        )
        .await
        .is(200);
    server.make(CLAIMS, &claim("c")).await;
    server.make(&templates, &template).await;
}

#[tokio::test]
async fn allocating_is_a_right_of_its_own() {
    let server = Server::start().await;
    let_write(&server).await;
    let spec =
        json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}});
    let mut claim = as_writer(
        &server,
        "POST",
        CLAIMS,
        &json!({"metadata": {"name": "a"}, "spec": spec}),
    )
    .await
    .is(201)
    .json();
    let status = format!("{CLAIMS}/a/status");
    claim["status"] = json!({"allocation": {"devices": {"results": [{"request": "r", "driver": "d", "pool": "p", "device": "x"}]}}});
    assert_eq!(
        as_writer(&server, "PUT", &status, &claim)
            .await
            .is(422)
            .message(),
        "ResourceClaim.resource.k8s.io \"a\" is invalid: status.allocation: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"update\" permission: resourceclaims.resource.k8s.io is forbidden: User \"writer\" cannot update resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope"
    );
    let mut claim = server.put(&status, &claim).await.is(200).json();
    claim["status"]["devices"] =
        json!([{"driver": "d", "pool": "p", "device": "x", "data": {"a": 1}}]);
    let said = as_writer(&server, "PUT", &status, &claim)
        .await
        .is(422)
        .message();
    assert!(said.contains("status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:update]\" permission: resourceclaims.resource.k8s.io \"d\" is forbidden: User \"writer\" cannot arbitrary-node:update resource \"resourceclaims/driver\""), "{said}");
    let claim = server.put(&status, &claim).await.is(200).json();
    // what is said of a device goes with its allocation
    let freed = server
        .patch(&status, "merge", &json!({"status": {"allocation": null}}))
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            claim["status"]["devices"].as_array().map(Vec::len),
            freed.get("status").and_then(|status| status.get("devices"))
        ),
        (Some(1), None)
    );
}

#[tokio::test]
async fn policies_name_parameters_that_their_writer_may_read() {
    let server = Server::start().await;
    let_write(&server).await;
    let rule =
        json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
    let policy = |name: &str, kind: Value| json!({"metadata": {"name": name}, "spec": {"paramKind": kind, "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}});
    let policies = format!("{ADMISSION}/validatingadmissionpolicies");
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    as_writer(&server, "POST", &policies, &policy("plain", Value::Null))
        .await
        .is(201);
    assert_eq!(
        as_writer(&server, "POST", &policies, &policy("a", kind.clone()))
            .await
            .is(422)
            .message(),
        "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"a\" is invalid: spec.paramKind: Forbidden: user &{writer  [system:authenticated] map[]} must have \"get\" permission on all objects of the referenced paramKind (kind=ConfigMap, apiVersion=v1)"
    );
    let mut made = server.make(&policies, &policy("a", kind)).await.json();
    // a kind that stays is not asked about again
    made["metadata"]["labels"] = json!({"a": "b"});
    as_writer(&server, "PUT", &format!("{policies}/a"), &made)
        .await
        .is(200);

    let bindings = format!("{ADMISSION}/validatingadmissionpolicybindings");
    let binding = |name: &str, policy: &str, namespace: &str| {
        let reference =
            json!({"name": "p", "namespace": namespace, "parameterNotFoundAction": "Deny"});
        json!({"metadata": {"name": name}, "spec": {"policyName": policy, "paramRef": reference, "validationActions": ["Deny"]}})
    };
    as_writer(&server, "POST", &bindings, &binding("here", "a", "default"))
        .await
        .is(201);
    let user = "user &{writer  [system:authenticated] map[]}";
    for (given, said) in [
        (
            binding("x", "a", "kube-system"),
            format!("{user} does not have \"get\" permission on the object referenced by paramRef"),
        ),
        (
            binding("x", "none", "default"),
            format!(
                "unable to get policy none to determine minimum required permissions and {user} does not have \"get\" permission for all groups, versions and resources"
            ),
        ),
    ] {
        let wanted = format!(
            "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"x\" is invalid: spec.paramRef: Forbidden: {said}"
        );
        assert_eq!(
            as_writer(&server, "POST", &bindings, &given)
                .await
                .is(422)
                .message(),
            wanted
        );
    }
}
