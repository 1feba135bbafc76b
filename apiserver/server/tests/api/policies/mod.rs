//! Admission policies: what is refused, warned of and changed because the cluster's own objects say so.

mod bindings;
mod matching;
mod mutations;
mod parameters;
mod verdicts;

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
