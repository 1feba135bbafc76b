//! What mutating policies change.

use serde_json::{Value, json};

use super::{Bound, DEPLOYMENTS, bind, define_limits, map, mutating, on, over};
use crate::server::{Answer, Server};

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
