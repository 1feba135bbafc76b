use super::*;
use crate::auth::testing::{Fake, now, of_modes};

fn authorizers(modes: &[&str]) -> Authorizers {
    let fake = Fake::default()
        .role(
            "a",
            "reader",
            &[
                "get list | core | configmaps",
                "* | apps | deployments deployments/scale",
                "get | core | secrets | only",
            ],
        )
        .bind(
            "a",
            "reader",
            "Role",
            "reader",
            &["User alice", "ServiceAccount default"],
        )
        .bind("a", "broken", "Role", "nosuch", &["User bob"])
        .cluster_role(
            "health",
            &["get : /metrics /logs/*", "get list watch | core | nodes"],
        )
        .cluster_bind("health", "health", &["Group ops"])
        .cluster_bind("lost", "lost", &["User bob"]);
    of_modes(modes, Arc::new(fake))
}

#[test]
fn reviews_answer_as_recorded() {
    let by_alice = "RBAC: allowed by RoleBinding \"reader/a\" of Role \"reader\" to User \"alice\"";
    let by_ops =
        "RBAC: allowed by ClusterRoleBinding \"health\" of ClusterRole \"health\" to Group \"ops\"";
    let no = json!({"allowed": false});
    let yes = |reason: &str| json!({"allowed": true, "reason": reason});
    let table = [
        (
            json!({"user": "alice", "resourceAttributes": {"namespace": "a", "verb": "get", "resource": "configmaps"}}),
            yes(by_alice),
        ),
        (
            json!({"user": "alice", "resourceAttributes": {"namespace": "a", "verb": "delete", "resource": "configmaps"}}),
            no.clone(),
        ),
        (
            json!({"user": "alice", "resourceAttributes": {"namespace": "b", "verb": "get", "resource": "configmaps"}}),
            no.clone(),
        ),
        (
            json!({"user": "alice", "resourceAttributes": {"verb": "get", "resource": "configmaps"}}),
            no.clone(),
        ),
        (
            json!({"user": "zed", "groups": ["ops"], "resourceAttributes": {"verb": "list", "resource": "nodes"}}),
            yes(by_ops),
        ),
        (
            json!({"user": "zed", "groups": ["system:masters"], "resourceAttributes": {"verb": "*", "resource": "*", "group": "*"}}),
            json!({"allowed": true}),
        ),
        (
            json!({"user": "zed", "groups": ["ops"], "nonResourceAttributes": {"path": "/logs/a/b", "verb": "get"}}),
            yes(by_ops),
        ),
        (
            json!({"user": "zed", "nonResourceAttributes": {"path": "/logs/a", "verb": "get"}}),
            no.clone(),
        ),
        (
            json!({"user": "alice", "resourceAttributes": {"namespace": "a", "verb": "update", "group": "apps", "resource": "deployments", "subresource": "scale"}}),
            yes(by_alice),
        ),
        (
            json!({"user": "alice", "resourceAttributes": {"namespace": "a", "verb": "update", "group": "apps", "resource": "deployments", "subresource": "status"}}),
            no.clone(),
        ),
        (
            json!({"user": "alice", "resourceAttributes": {"namespace": "a", "verb": "get", "resource": "secrets", "name": "only"}}),
            yes(by_alice),
        ),
        (
            json!({"user": "alice", "resourceAttributes": {"namespace": "a", "verb": "get", "resource": "secrets", "name": "x"}}),
            no.clone(),
        ),
        (
            json!({"user": "system:serviceaccount:a:default", "resourceAttributes": {"namespace": "a", "verb": "get", "resource": "configmaps"}}),
            yes(
                "RBAC: allowed by RoleBinding \"reader/a\" of Role \"reader\" to ServiceAccount \"default/a\"",
            ),
        ),
        (
            json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": {"verb": "get", "resource": "nodes", "name": "n1"}}),
            json!({"allowed": true}),
        ),
        (
            json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "a", "name": "x"}}),
            json!({"allowed": false, "reason": "no relationship found between node 'n1' and this object"}),
        ),
        (
            json!({"user": "bob", "resourceAttributes": {"namespace": "a", "verb": "get", "resource": "pods"}}),
            json!({"allowed": false, "reason": "RBAC: [clusterrole.rbac.authorization.k8s.io \"lost\" not found, role.rbac.authorization.k8s.io \"nosuch\" not found]"}),
        ),
        (
            json!({"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods"}}),
            json!({"allowed": false, "reason": "RBAC: clusterrole.rbac.authorization.k8s.io \"lost\" not found"}),
        ),
    ];
    let authorizers = authorizers(&["Node", "RBAC"]);
    for (spec, expected) in table {
        assert_eq!(
            now(subject_access(&authorizers, &spec)).unwrap(),
            expected,
            "{spec}"
        );
    }
}

#[test]
fn selectors_that_cannot_be_read_are_said() {
    let authorizers = authorizers(&["RBAC"]);
    let ask = |field: Value| {
        let spec = json!({"user": "zed", "resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": field}});
        now(subject_access(&authorizers, &spec)).unwrap()["evaluationError"].clone()
    };
    assert_eq!(ask(json!({"rawSelector": "metadata.name=x"})), Value::Null);
    assert_eq!(
        ask(json!({"rawSelector": "metadata.name"})),
        "spec.resourceAttributes.fieldSelector ignored due to parse error"
    );
    assert_eq!(
        ask(json!({"requirements": [{"key": "a", "operator": "In", "values": ["b"]}]})),
        Value::Null
    );
    let exists = json!({"key": "a", "operator": "Exists"});
    assert_eq!(
        ask(json!({"requirements": [exists]})),
        "spec.resourceAttributes.fieldSelector ignored due to parse error"
    );
    let mixed =
        json!({"requirements": [exists, {"key": "a", "operator": "NotIn", "values": ["b"]}]});
    assert_eq!(
        ask(mixed),
        "spec.resourceAttributes.fieldSelector partially ignored due to parse error"
    );
    let spec = json!({"user": "zed", "resourceAttributes": {"verb": "list", "resource": "pods", "labelSelector": {"rawSelector": "a in ("}}});
    let status = now(subject_access(&authorizers, &spec)).unwrap();
    assert_eq!(
        status["evaluationError"],
        "spec.resourceAttributes.labelSelector ignored due to parse error"
    );
}

#[test]
fn a_node_may_be_asked_about_with_a_selector() {
    let authorizers = authorizers(&["Node"]);
    let ask = |selector: Value| {
        let spec = json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": selector}});
        now(subject_access(&authorizers, &spec)).unwrap()["allowed"].clone()
    };
    assert_eq!(ask(json!({"rawSelector": "spec.nodeName=n1"})), true);
    assert_eq!(
        ask(
            json!({"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]})
        ),
        true
    );
    assert_eq!(
        ask(
            json!({"requirements": [{"key": "spec.nodeName", "operator": "NotIn", "values": ["n1"]}]})
        ),
        false
    );
    assert_eq!(ask(Value::Null), false);
}

#[test]
fn local_reviews_stay_in_their_namespace() {
    let authorizers = authorizers(&["RBAC"]);
    let spec = json!({"user": "alice", "resourceAttributes": {"namespace": "a", "verb": "get", "resource": "configmaps"}});
    assert_eq!(
        now(local_subject_access(&authorizers, "a", "a", &spec)).unwrap()["allowed"],
        true
    );
    let error = |namespace: &str| {
        now(local_subject_access(&authorizers, namespace, "a", &spec))
            .unwrap_err()
            .message
    };
    assert_eq!(
        error("b"),
        "spec.resourceAttributes.namespace must match namespace: b"
    );
    assert_eq!(error(""), "namespace is required on this type: ");
}

#[test]
fn rules_are_listed() {
    let authorizers = authorizers(&["Node", "RBAC"]);
    let status = self_subject_rules(&authorizers, &User::new("alice", &["ops"]), "a").unwrap();
    assert_eq!(status["incomplete"], false);
    assert_eq!(
        status["nonResourceRules"],
        json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]}])
    );
    let first =
        json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["nodes"]});
    assert_eq!(status["resourceRules"][0], first);
    assert_eq!(status["resourceRules"].as_array().unwrap().len(), 4);
    assert_eq!(status.get("evaluationError"), None);
    let status = self_subject_rules(&authorizers, &User::new("bob", &[]), "a").unwrap();
    assert_eq!(
        status["evaluationError"],
        "[clusterrole.rbac.authorization.k8s.io \"lost\" not found, role.rbac.authorization.k8s.io \"nosuch\" not found]"
    );
    let status = self_subject_rules(
        &authorizers,
        &User::new("system:node:n", &["system:nodes"]),
        "a",
    )
    .unwrap();
    assert_eq!(
        (&status["incomplete"], &status["evaluationError"]),
        (
            &json!(true),
            &json!("node authorizer does not support user rule resolution")
        )
    );
    assert_eq!(
        self_subject_rules(&authorizers, &User::default(), "")
            .unwrap_err()
            .message,
        "no namespace on request"
    );
}

#[test]
fn oneself_is_whoever_asks() {
    let spec =
        json!({"resourceAttributes": {"namespace": "a", "verb": "get", "resource": "configmaps"}});
    let ask = |name: &str| {
        now(self_subject_access(
            &authorizers(&["RBAC"]),
            &Arc::new(User::new(name, &[])),
            &spec,
        ))
        .unwrap()["allowed"]
            .clone()
    };
    assert_eq!((ask("alice"), ask("bob")), (json!(true), json!(false)));
}
