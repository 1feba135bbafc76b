//! Parameters of policies: found, missing, of kinds that definitions bring.

use serde_json::{Value, json};

use super::{GROUP, MAPS, REFUSED, bind, define_limits, map, on, over, unbind, validating};
use crate::server::Server;

#[tokio::test]
async fn parameters_are_found_or_not() {
    let server = Server::start().await;
    map(&server, "limits", json!({"most": "2"})).await.is(201);
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "not-params", "expression": "object.metadata.name != 'limits' && params != null"}],
        "validations": [{"expression": "size(object.data) <= int(params.data.most)", "messageExpression": "'at most ' + params.data.most"}]});
    let reference = |change: Value| json!({"paramRef": over(json!({"parameterNotFoundAction": "Deny"}), change)});
    let none = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    let much = json!({"a": "", "b": "", "c": ""});
    for (binding, wanted) in [
        (
            reference(json!({"name": "limits", "namespace": "default"})),
            Some("at most 2"),
        ),
        (reference(json!({"name": "limits"})), Some("at most 2")),
        (reference(json!({"name": "none"})), Some(none)),
        (
            reference(json!({"name": "limits", "namespace": "kube-system"})),
            Some(none),
        ),
        (
            reference(json!({"name": "none", "parameterNotFoundAction": "Allow"})),
            None,
        ),
        (
            reference(json!({"selector": {"matchLabels": {"no": "such"}}})),
            Some(none),
        ),
        // without a reference there are no parameters, and the condition does not hold
        (json!({}), None),
    ] {
        let bound = validating("p", spec.clone(), binding.clone());
        bind(&server, &bound).await;
        let answer = map(&server, "m", much.clone()).await;
        match wanted {
            Some(wanted) => assert_eq!(
                answer.is(422).message(),
                format!("{REFUSED}{wanted}"),
                "{binding}"
            ),
            None => {
                answer.is(201);
                server.delete(&format!("{MAPS}/m")).await.is(200);
            }
        }
        unbind(&server, &bound).await;
        server
            .delete(&format!("{GROUP}/validatingadmissionpolicies/p"))
            .await
            .is(200);
    }
}

#[tokio::test]
async fn custom_resources_are_parameters() {
    let server = Server::start().await;
    let spec = json!({"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"},
        "validations": [{"expression": "size(object.data) <= params.most", "messageExpression": "params.metadata.name + ' allows ' + string(params.most)"}]});
    let binding = json!({"paramRef": {"selector": {"matchLabels": {"in": "use"}}, "parameterNotFoundAction": "Deny"}});
    bind(&server, &validating("p", spec, binding)).await;
    let refused = map(&server, "m", json!({"a": ""})).await.is(422);
    assert!(
        refused.message().ends_with(
            "failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'"
        ),
        "{}",
        refused.message()
    );
    define_limits(&server, "Cluster").await;
    for (name, most, used) in [("high", 2, "use"), ("low", 1, "use"), ("none", 0, "no")] {
        let limit = json!({"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": name, "labels": {"in": used}}, "most": most});
        server.make("/apis/example.com/v1/limits", &limit).await;
    }
    map(&server, "m", json!({"a": ""})).await.is(201);
    let refused = map(&server, "m", json!({"a": "", "b": ""})).await.is(422);
    assert_eq!(refused.message(), format!("{REFUSED}low allows 1"));
    server
        .patch(
            "/apis/example.com/v1/limits/low",
            "merge",
            &json!({"most": 9}),
        )
        .await
        .is(200);
    map(&server, "n", json!({"a": "", "b": ""})).await.is(201);
}

#[tokio::test]
async fn a_reference_fits_the_scope_of_its_kind() {
    let server = Server::start().await;
    define_limits(&server, "Cluster").await;
    let reference = |change: Value| json!({"paramRef": over(json!({"name": "x", "parameterNotFoundAction": "Allow"}), change)});
    let limits = json!({"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}, "validations": [{"expression": "false"}]});
    let bound = validating("p", limits, reference(json!({"namespace": "default"})));
    bind(&server, &bound).await;
    let refused = map(&server, "m", json!({})).await.is(422);
    assert_eq!(
        refused.message(),
        format!(
            "{REFUSED}failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
        )
    );
    unbind(&server, &bound).await;
    let roles = json!({"matchConstraints": on("rbac.authorization.k8s.io", &["clusterroles"], &["CREATE"]),
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "false"}]});
    bind(&server, &validating("q", roles, reference(json!({})))).await;
    let refused = server
        .post(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            &json!({"metadata": {"name": "r"}, "rules": []}),
        )
        .await
        .is(422);
    assert!(
        refused.message().ends_with(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        ),
        "{}",
        refused.message()
    );
}
