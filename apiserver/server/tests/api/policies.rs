//! Admission policies: what is refused, warned of and changed because the cluster's own objects say so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A policy of this kind about writes of these resources, bound by `NAME-binding`.
struct Bound {
    kind: &'static str,
    name: &'static str,
    spec: Value,
    binding: Value,
}

fn on(groups: &str, resources: &[&str], operations: &[&str]) -> Value {
    json!({"resourceRules": [{"apiGroups": [groups], "apiVersions": ["*"], "operations": operations, "resources": resources}]})
}

fn over(mut base: Value, change: Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

/// A policy that refuses config maps unless `expression` holds.
fn validating(name: &'static str, change: Value, binding: Value) -> Bound {
    Bound {
        kind: "Validating",
        name,
        spec: over(
            json!({"matchConstraints": on("", &["configmaps"], &["CREATE", "UPDATE"])}),
            change,
        ),
        binding: over(
            json!({"policyName": name, "validationActions": ["Deny"]}),
            binding,
        ),
    }
}

/// A policy that changes config maps.
fn mutating(name: &'static str, mutations: &[(&str, &str)], change: Value) -> Bound {
    let mutations: Vec<Value> = mutations
        .iter()
        .map(|(of, text)| {
            let field = if *of == "JSONPatch" {
                "jsonPatch"
            } else {
                "applyConfiguration"
            };
            json!({"patchType": of, field: {"expression": text}})
        })
        .collect();
    let base = json!({"matchConstraints": on("", &["configmaps"], &["CREATE", "UPDATE"]), "mutations": mutations, "reinvocationPolicy": "Never"});
    Bound {
        kind: "Mutating",
        name,
        spec: over(base, change),
        binding: json!({"policyName": name}),
    }
}

async fn bind(server: &Server, bound: &Bound) {
    let (kind, plural) = (
        format!("{}AdmissionPolicy", bound.kind),
        format!("{GROUP}/{}admissionpolic", bound.kind.to_lowercase()),
    );
    let object = |kind: &str, name: &str, spec: &Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let made = server
        .make(
            &format!("{plural}ies"),
            &object(&kind, bound.name, &bound.spec),
        )
        .await;
    assert_eq!(made.warnings, [""; 0]);
    let name = format!("{}-binding", bound.name);
    let binding = object(&format!("{kind}Binding"), &name, &bound.binding);
    server.make(&format!("{plural}ybindings"), &binding).await;
}

async fn unbind(server: &Server, bound: &Bound) {
    let place = format!(
        "{GROUP}/{}admissionpolicybindings/{}-binding",
        bound.kind.to_lowercase(),
        bound.name
    );
    server.delete(&place).await.is(200);
}

async fn map(server: &Server, name: &str, data: Value) -> Answer {
    server
        .post(MAPS, &json!({"metadata": {"name": name}, "data": data}))
        .await
}

const REFUSED: &str = "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: ";

/// What is said to a config map `m` with this data, under one policy.
async fn said(change: Value, binding: Value, data: Value) -> Answer {
    let server = Server::start().await;
    bind(&server, &validating("p", change, binding)).await;
    map(&server, "m", data).await
}

#[tokio::test]
async fn a_policy_acts_while_it_is_bound() {
    let server = Server::start().await;
    let bound = validating(
        "p",
        json!({"validations": [{"expression": "object.data.a == '1'", "message": "a must be 1"}]}),
        json!({}),
    );
    bind(&server, &bound).await;
    let refused = map(&server, "m", json!({"a": "2"})).await.is(422);
    assert_eq!(refused.message(), format!("{REFUSED}a must be 1"));
    let status = refused.json();
    assert_eq!(status["reason"], "Invalid");
    assert_eq!(
        status["details"],
        json!({"name": "m", "kind": "configmaps", "causes": [{"message": "ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: a must be 1"}]})
    );
    map(&server, "m", json!({"a": "1"})).await.is(201);
    server
        .patch(&format!("{MAPS}/m"), "merge", &json!({"data": {"a": "3"}}))
        .await
        .is(422);
    // it is about creations and updates
    server.delete(&format!("{MAPS}/m")).await.is(200);
    unbind(&server, &bound).await;
    map(&server, "m", json!({"a": "2"})).await.is(201);
}

#[tokio::test]
async fn policies_can_always_be_mended() {
    let server = Server::start().await;
    let all = json!({"matchConstraints": on("*", &["*"], &["*"]), "validations": [{"expression": "false"}]});
    let bound = validating("p", all, json!({}));
    bind(&server, &bound).await;
    map(&server, "m", json!({})).await.is(422);
    unbind(&server, &bound).await;
    map(&server, "m", json!({})).await.is(201);
}

#[tokio::test]
async fn messages_reasons_and_failures() {
    let one = |validation: Value| json!({"validations": [validation]});
    for (change, code, message) in [
        (
            one(json!({"expression": "has(object.data.b)"})),
            422,
            "failed expression: has(object.data.b)",
        ),
        (
            one(
                json!({"expression": "false", "messageExpression": "'a is ' + object.data.a", "reason": "Forbidden"}),
            ),
            403,
            "a is 1",
        ),
        (
            one(json!({"expression": "false", "reason": "RequestEntityTooLarge", "message": "m"})),
            413,
            "m",
        ),
        (
            one(json!({"expression": "object.data.b == '1'"})),
            422,
            "expression 'object.data.b == '1'' resulted in error: no such key: b",
        ),
        (
            json!({"variables": [{"name": "a", "expression": "int(object.data.a)"}, {"name": "b", "expression": "variables.a + 1"}],
                "validations": [{"expression": "variables.b == 1", "messageExpression": "'b is ' + string(variables.b)"}]}),
            422,
            "b is 2",
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.data.b == '1'"}], "validations": [{"expression": "false"}]}),
            422,
            "expression 'object.data.b == '1'' resulted in error: no such key: b",
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "string(object.data.b)"}]}),
            422,
            "expression 'string(object.data.b)' resulted in error: no such key: b",
        ),
        (
            one(json!({"expression": "request.userInfo.username != 'admin'"})),
            422,
            "failed expression: request.userInfo.username != 'admin'",
        ),
        (
            one(
                json!({"expression": "request.options.kind != 'CreateOptions' || namespaceObject.metadata.name != 'default'"}),
            ),
            422,
            "failed expression: request.options.kind != 'CreateOptions' || namespaceObject.metadata.name != 'default'",
        ),
        (
            one(
                json!({"expression": "!authorizer.requestResource.check('delete').allowed() || authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('get').allowed()", "message": "m"}),
            ),
            422,
            "m",
        ),
        (
            json!({"paramKind": {"apiVersion": "none.example.com/v1", "kind": "None"}, "validations": [{"expression": "true"}]}),
            422,
            "",
        ),
    ] {
        let answer = said(change.clone(), json!({}), json!({"a": "1"}))
            .await
            .is(code);
        let wanted = match message {
            "" => "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'none.example.com/v1, Kind=None'".to_string(),
            message => format!("{REFUSED}{message}"),
        };
        assert_eq!(answer.message(), wanted, "{change}");
    }
    // what goes wrong is passed over where a policy says so; what is false is not
    let ignoring = |change: Value| over(json!({"failurePolicy": "Ignore"}), change);
    for (change, code) in [
        (one(json!({"expression": "object.data.b == '1'"})), 201),
        (one(json!({"expression": "object.data.a == '2'"})), 422),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.data.b == '1'"}], "validations": [{"expression": "false"}]}),
            201,
        ),
        (
            json!({"paramKind": {"apiVersion": "none.example.com/v1", "kind": "None"}, "validations": [{"expression": "true"}]}),
            201,
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "string(object.data.b)"}]}),
            201,
        ),
    ] {
        said(ignoring(change), json!({}), json!({"a": "1"}))
            .await
            .is(code);
    }
}

#[tokio::test]
async fn bindings_say_what_follows() {
    let change = json!({"validations": [{"expression": "false", "message": "m"}]});
    let warned = said(
        change.clone(),
        json!({"validationActions": ["Warn", "Audit"]}),
        json!({}),
    )
    .await
    .is(201);
    assert_eq!(
        warned.warnings,
        [
            r#"299 - "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-binding': m""#
        ]
    );
    said(
        change.clone(),
        json!({"validationActions": ["Audit"]}),
        json!({}),
    )
    .await
    .is(201);
    let narrow = |resources: Value| json!({"matchResources": resources});
    for (binding, code) in [
        (
            narrow(
                json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}),
            ),
            201,
        ),
        (
            narrow(
                json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}),
            ),
            422,
        ),
        (
            narrow(json!({"objectSelector": {"matchLabels": {"a": "b"}}})),
            201,
        ),
        (
            narrow(
                json!({"excludeResourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"], "resourceNames": ["m"]}]}),
            ),
            201,
        ),
        (
            narrow(
                json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"], "resourceNames": ["n"]}]}),
            ),
            201,
        ),
    ] {
        said(change.clone(), binding.clone(), json!({}))
            .await
            .is(code);
    }
}

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

/// A kind of parameters that a definition brings.
async fn define_limits(server: &Server, scope: &str) {
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "limits.example.com"},
        "spec": {"group": "example.com", "scope": scope, "names": {"plural": "limits", "singular": "limit", "kind": "Limit", "listKind": "LimitList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"most": {"type": "integer"}}}}}]}});
    server
        .make(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition,
        )
        .await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while server.get("/apis/example.com/v1/limits").await.code != 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the definition is not served"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
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

async fn mutated(bounds: &[Bound], data: Value) -> Answer {
    let server = Server::start().await;
    for bound in bounds {
        bind(&server, bound).await;
    }
    map(&server, "m", data).await
}

#[tokio::test]
async fn objects_are_changed_in_both_ways() {
    let apply =
        "Object{metadata: Object.metadata{labels: {'by': 'policy', 'a': string(object.data.a)}}}";
    let patch = "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: object.metadata.labels['by']}]";
    let made = mutated(
        &[mutating(
            "p",
            &[("ApplyConfiguration", apply), ("JSONPatch", patch)],
            json!({}),
        )],
        json!({"a": "1"}),
    )
    .await
    .is(201)
    .json();
    assert_eq!(
        made["metadata"]["labels"],
        json!({"by": "policy", "a": "1", "x/y": "policy"})
    );
}

#[tokio::test]
async fn changed_objects_have_their_defaults_and_are_validated() {
    let server = Server::start().await;
    let of_deployments = |mutation: (&str, &str), name| {
        mutating(
            name,
            &[mutation],
            json!({"matchConstraints": on("apps", &["deployments"], &["CREATE"])}),
        )
    };
    let sidecar = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'side', image: 'side:1'}]}}}}";
    bind(
        &server,
        &of_deployments(("ApplyConfiguration", sidecar), "p"),
    )
    .await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "main:1"}]}}}});
    let made = server.make(DEPLOYMENTS, &deployment).await.json();
    let containers = &made["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["name"], "main");
    assert_eq!(containers[1]["name"], "side");
    assert_eq!(containers[1]["imagePullPolicy"], "IfNotPresent");
    // an invalid change is refused as if the client had sent it
    let bad = "[JSONPatch{op: 'add', path: '/spec/replicas', value: -1}]";
    bind(&server, &of_deployments(("JSONPatch", bad), "q")).await;
    let again = over(deployment, json!({"metadata": {"name": "e"}}));
    let refused = server.post(DEPLOYMENTS, &again).await.is(422);
    assert!(
        refused
            .message()
            .contains("spec.replicas: Invalid value: -1"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn custom_resources_are_changed() {
    let server = Server::start().await;
    define_limits(&server, "Cluster").await;
    let limits = json!({"matchConstraints": on("example.com", &["limits"], &["CREATE"])});
    bind(
        &server,
        &mutating(
            "p",
            &[("ApplyConfiguration", "Object{most: object.most + 1}")],
            limits,
        ),
    )
    .await;
    let limit = json!({"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": "x"}, "most": 1});
    let made = server
        .make("/apis/example.com/v1/limits", &limit)
        .await
        .json();
    assert_eq!(made["most"], 2);
}

#[tokio::test]
async fn policies_that_want_it_see_what_others_made() {
    let first = |policy: &str| {
        mutating(
            "a",
            &[(
                "ApplyConfiguration",
                "Object{data: {'seen': has(object.data.late) ? 'late' : 'early'}}",
            )],
            json!({"reinvocationPolicy": policy}),
        )
    };
    let late = || {
        mutating(
            "b",
            &[("ApplyConfiguration", "Object{data: {'late': 'yes'}}")],
            json!({}),
        )
    };
    for (policy, seen) in [("Never", "early"), ("IfNeeded", "late")] {
        let made = mutated(&[first(policy), late()], json!({"a": "1"}))
            .await
            .is(201)
            .json();
        assert_eq!(
            made["data"],
            json!({"a": "1", "late": "yes", "seen": seen}),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn mutations_that_fail() {
    let one =
        |of: &'static str, text: &'static str, change: Value| mutating("p", &[(of, text)], change);
    for (of, text, change, code, message) in [
        (
            "ApplyConfiguration",
            "Object{data: {'b': object.data.nosuch}}",
            json!({}),
            403,
            "policy 'p' with binding 'p-binding' denied request: expression 'Object{data: {'b': object.data.nosuch}}' resulted in error: no such key: nosuch",
        ),
        (
            "ApplyConfiguration",
            "Object{nosuch: 1}",
            json!({}),
            403,
            "policy 'p' with binding 'p-binding' denied request: error applying patch: failed to convert patch object to typed object: .nosuch: field not declared in schema",
        ),
        (
            "ApplyConfiguration",
            "Object{metadata: Object.wrong{name: 'x'}}",
            json!({}),
            403,
            "policy 'p' with binding 'p-binding' denied request: type mismatch: unexpected type name \"Object.wrong\", expected \"Object.metadata\", which matches field name path from root Object type",
        ),
        (
            "JSONPatch",
            "[JSONPatch{op: 'remove', path: '/data/nosuch'}]",
            json!({}),
            403,
            "policy 'p' with binding 'p-binding' denied request: JSON Patch: error in remove for path: '/data/nosuch': Unable to remove nonexistent key: nosuch: missing value",
        ),
        (
            "JSONPatch",
            "[JSONPatch{op: 'add', path: '/nosuch', value: 1}]",
            json!({}),
            500,
            "Internal error occurred: strict decoding error: unknown field \"nosuch\"",
        ),
        (
            "JSONPatch",
            "[JSONPatch{op: 'remove', path: '/data/nosuch'}]",
            json!({"failurePolicy": "Ignore"}),
            201,
            "",
        ),
        (
            "JSONPatch",
            "[JSONPatch{op: 'remove', path: '/data/nosuch'}]",
            json!({"matchConditions": [{"name": "c", "expression": "has(object.data.nosuch)"}]}),
            201,
            "",
        ),
    ] {
        let answer = mutated(&[one(of, text, change)], json!({"a": "1"}))
            .await
            .is(code);
        assert_eq!(answer.message(), message, "{text}");
    }
}
