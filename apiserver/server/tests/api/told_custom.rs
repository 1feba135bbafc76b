//! What is told of requests for custom objects, and of paths and empty lists: one line a rule, on objects that are made first.

use serde_json::{Value, json};

use crate::{server::Server, told::told};

const BOATS: &str = "/apis/sea.example.com/v1/namespaces/default/boats";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example.com"},
        "spec": {
            "group": "sea.example.com", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "name": {"type": "string", "maxLength": 3},
                        "crew": {"type": "integer"},
                        "cargo": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                    }},
                    "status": {"type": "object", "properties": {"crew": {"type": "integer"}}},
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.crew", "statusReplicasPath": ".status.crew"}},
            }],
        },
    })
}

async fn sailing() -> Server {
    sailing_by(&definition()).await
}

async fn sailing_by(definition: &Value) -> Server {
    let server = Server::start().await;
    server.make(DEFINITIONS, definition).await;
    let path = format!("{DEFINITIONS}/boats.sea.example.com");
    let established = |conditions: &Value| {
        conditions
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    };
    server
        .until(&path, |answer| {
            established(&answer.json()["status"]["conditions"])
        })
        .await;
    let boat = json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"crew": 2}});
    server.make(BOATS, &boat).await;
    server
}

#[tokio::test]
async fn rules_are_not_asked_of_an_object_without_a_name() {
    let mut ruled = definition();
    ruled["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{"rule": "self.crew > 0"}]);
    let server = sailing_by(&ruled).await;
    told(&server, &[
        ("POST /apis/sea.example.com/v1/namespaces/default/boats", r#"{"apiVersion":"sea.example.com/v1","kind":"Boat","spec":{"crew":0}}"#, 422, r#"Boat.sea.example.com "" is invalid: [metadata.name: Required value: name or generateName is required, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]"#),
    ])
    .await;
}

#[tokio::test]
async fn a_custom_object_says_what_it_is() {
    let server = sailing().await;
    told(&server, &[
        ("POST /apis/sea.example.com/v1/namespaces/default/boats", "{}", 400, "the object provided is unrecognized (must be of type Boat): Object 'Kind' is missing in '{}' ({})"),
        ("POST /apis/sea.example.com/v1/namespaces/default/boats", "null", 400, "Object 'Kind' is missing in 'null' (6e756c6c)"),
        ("POST /apis/sea.example.com/v1/namespaces/default/boats?fieldValidation=Ignore", r#"{"apiVersion":"sea.example.com/v1"}"#, 400, r#"Boat in version "v1" cannot be handled as a Boat: Object 'Kind' is missing in '{"apiVersion":"sea.example.com/v1"}'"#),
        ("POST /apis/sea.example.com/v1/namespaces/default/boats", r#"{"kind":"Boat","metadata":{"name":"a"}}"#, 400, "the API version in the data () does not match the expected API version (sea.example.com/v1)"),
        ("PUT /apis/sea.example.com/v1/namespaces/default/boats/b", r#"{"apiVersion":"v1","kind":"Boat","metadata":{"name":"b"}}"#, 400, "the API version in the data (v1) does not match the expected API version (sea.example.com/v1)"),
        ("POST /apis/sea.example.com/v1/namespaces/default/boats", r#"{"apiVersion":null,"kind":"Boat"}"#, 400, r#"Boat in version "" cannot be handled as a Boat: .apiVersion accessor error: <nil> is of the type <nil>, expected string"#),
        ("POST /apis/sea.example.com/v1/namespaces/default/boats", r#"{"apiVersion":"a/b/c","kind":"Boat"}"#, 400, r#"unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c","kind":" ...)"#),
        ("POST /apis/sea.example.com/v1/namespaces/default/boats/other?dryRun=All", r#"{"apiVersion":"sea.example.com/v1","kind":"Boat","metadata":{"name":"a"}}"#, 201, ""),
    ])
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_custom_objects_is_told_in_the_order_in_which_it_is_found() {
    let server = sailing().await;
    let strictly = "POST /apis/sea.example.com/v1/namespaces/default/boats?fieldValidation=Strict";
    told(&server, &[
        (strictly, r#"{"apiVersion":"sea.example.com/v1","kind":"Boat","metadata":{"zz":1,"name":"a","aa":1},"spec":{"crew":1,"crew":2},"foo":1}"#, 400, r#"strict decoding error: duplicate field "spec.crew", unknown field "metadata.aa", unknown field "metadata.zz", unknown field "foo""#),
        (strictly, r#"{"apiVersion":"sea.example.com/v1","kind":"Boat","metadata":{"name":"a"},"spec":{"cargo":{"apiVersion":"v1","kind":"Pod","metadata":{"foo":1}},"zz":1}}"#, 400, r#"strict decoding error: unknown field "spec.zz", unknown field "spec.cargo.metadata.foo""#),
        // no rule was passed over where there is none
        ("POST /apis/sea.example.com/v1/namespaces/default/boats", r#"{"apiVersion":"sea.example.com/v1","kind":"Boat","metadata":{"name":"a"},"spec":{"name":"long"}}"#, 422, r#"Boat.sea.example.com "a" is invalid: spec.name: Too long: may not be more than 3 bytes"#),
    ])
    .await;
}

#[tokio::test]
async fn a_scale_is_judged_by_what_becomes_of_its_object() {
    let server = sailing().await;
    told(&server, &[
        ("PATCH merge /apis/sea.example.com/v1/namespaces/default/boats/b/scale", r#"{"spec":{"replicas":-1}}"#, 422, r#"Boat.sea.example.com "b" is invalid: .spec.crew: Invalid value: -1: should be a non-negative integer"#),
        ("PATCH merge /apis/sea.example.com/v1/namespaces/default/boats/b/scale", r#"{"spec":{"replicas":"x"}}"#, 422, "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32"),
        ("PATCH strategic /apis/sea.example.com/v1/namespaces/default/boats/b/scale", r#"{"spec":{"replicas":1}}"#, 415, "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"),
        ("PUT /apis/sea.example.com/v1/namespaces/default/boats/b/scale", r#"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"b"},"spec":{"replicas":3}}"#, 200, ""),
    ])
    .await;
    assert_eq!(
        server.get(&format!("{BOATS}/b")).await.json()["spec"]["crew"],
        3
    );
}

/// The document of what a definition brought has the types of most groups.
#[tokio::test]
async fn options_are_known_in_most_groups() {
    let server = sailing().await;
    let path = "/openapi/v3/apis/sea.example.com/v1";
    server.until(path, |answer| answer.code == 200).await;
    let document = server.get(path).await.json();
    let of = "/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions/x-kubernetes-group-version-kind";
    let known = document.pointer(of).unwrap().as_array().unwrap();
    let has = |group: &str| known.iter().any(|known| known["group"] == group);
    assert_eq!((has("apps"), has("apiextensions.k8s.io")), (true, false));
    assert_eq!(known.len(), 53);
}

#[tokio::test]
async fn paths_lead_where_they_are_written_to() {
    let server = Server::start().await;
    for (path, code, text) in [
        ("//api/v1/namespaces", 404, "404 page not found\n"),
        ("/apis//apps/v1/deployments", 404, "404 page not found\n"),
        (
            "/api//v1/namespaces",
            404,
            "the server could not find the requested resource",
        ),
        (
            "/api/v1/namespaces/default//configmaps",
            404,
            "the server could not find the requested resource",
        ),
        ("/api/v1/namespaces//configmaps", 200, "ConfigMapList"),
        (
            "/api/v1/namespaces/default/configmaps/..",
            400,
            r#"Name parameter invalid: \"..\": may not be '..'"#,
        ),
        (
            "/api/v1/namespaces/default/configmaps/a%25b",
            400,
            r#"Name parameter invalid: \"a%b\": may not contain '%'"#,
        ),
        (
            "/api/v1/namespaces/default/configmaps?labelSelector=%zz",
            200,
            "ConfigMapList",
        ),
        (
            "/api/v1/namespaces/default/configmaps?continue=zzz&limit=1",
            400,
            "continue key is not valid: invalid character 'Ï' looking for beginning of value",
        ),
        ("/metrics/", 404, "404 page not found\n"),
    ] {
        let answer = server.get(path).await;
        let shown = answer.text();
        assert_eq!(answer.code, code, "{path}: {shown}");
        assert!(shown.contains(text), "{path}: {shown}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_refused_before_anybody_asks() {
    let server = Server::start().await;
    let answer = server.get("/api/v1/namespaces/%zz").await.is(400);
    assert_eq!(answer.text(), "400 Bad Request");
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn what_is_given_and_empty_counts_where_it_does() {
    let server = Server::start().await;
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
    server
        .make("/api/v1/namespaces/default/configmaps", &map)
        .await;
    let account = json!({"metadata": {"name": "default"}});
    server
        .make("/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let policy =
        json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    server
        .make(
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            &policy,
        )
        .await;
    told(&server, &[
        ("PATCH merge /api/v1/namespaces/default/configmaps/m", r#"{"metadata":{"managedFields":[]}}"#, 200, ""),
        ("PATCH merge /apis/networking.k8s.io/v1/namespaces/default/networkpolicies/p", r#"{"spec":{"ingress":[]}}"#, 200, ""),
        ("POST /api/v1/namespaces/default/pods", r#"{"metadata":{"name":"a"},"spec":{"overhead":{},"automountServiceAccountToken":false,"containers":[{"name":"c","image":"i"}]}}"#, 403, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        ("POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates", r#"{"metadata":{"name":"t"},"spec":{"metadata":{"finalizers":[]},"spec":{"devices":{}}}}"#, 422, "spec.metadata.finalizers: Forbidden: cannot be set"),
    ])
    .await;
    let metadata = |value: Value| value["metadata"].clone();
    let map = metadata(
        server
            .get("/api/v1/namespaces/default/configmaps/m")
            .await
            .json(),
    );
    assert_eq!(map.get("managedFields"), None);
    let path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/p";
    assert_eq!(metadata(server.get(path).await.json())["generation"], 2);
}

#[tokio::test]
async fn names_are_parts_of_paths() {
    let server = Server::start().await;
    told(&server, &[
        ("POST /apis/batch/v1/namespaces/default/jobs", r#"{"metadata":{"name":"a/b"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#, 422, ""),
        ("POST /apis/networking.k8s.io/v1/ipaddresses", r#"{"metadata":{"generateName":"ip-"},"spec":{"parentRef":{"resource":"services","namespace":"a","name":"b"}}}"#, 422, r#"metadata.name: Invalid value: "ip-": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)]"#),
    ])
    .await;
    let body = r#"{"metadata":{"name":"a/b"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#;
    let headers = [("content-type", "application/json")];
    let path = "/apis/batch/v1/namespaces/default/jobs";
    let answer = server.send("POST", path, &headers, body).await.is(422);
    // labels that it does not have yet are not held against it
    assert!(
        !answer.message().contains(" metadata.labels"),
        "{}",
        answer.message()
    );
}

/// Handlers of custom objects are found by the verb alone: they are asked by HEAD, and say themselves what they miss.
#[tokio::test]
async fn custom_objects_are_asked_in_all_ways() {
    let server = sailing().await;
    for path in [BOATS, &format!("{BOATS}/b"), &format!("{BOATS}/b/status")] {
        server.send("HEAD", path, &[], "").await.is(200);
    }
    let maps = "/api/v1/namespaces/default/configmaps";
    server.send("HEAD", maps, &[], "").await.is(405);
    let nothing = json!({});
    for refused in [
        server.put(BOATS, &nothing).await,
        server.patch(BOATS, "merge", &nothing).await,
    ] {
        assert_eq!(refused.is(400).message(), "name must be provided");
    }
    server.send("PATCH", BOATS, &[], "{}").await.is(415);
    let odd = server.send("FOO", BOATS, &[], "").await.is(405);
    assert_eq!(
        odd.message(),
        r#" is not supported on resources of kind "boats.sea.example.com""#
    );
}

/// A status that is written with the rest of the object is a part of what is wanted.
#[tokio::test]
async fn generations_of_objects_without_a_status_of_its_own() {
    let mut definition = definition();
    definition["spec"]["versions"][0]
        .as_object_mut()
        .unwrap()
        .remove("subresources");
    let server = sailing_by(&definition).await;
    let boat = format!("{BOATS}/b");
    for (change, generation) in [
        (json!({"status": {"crew": 1}}), 2),
        (json!({"spec": {"crew": 3}}), 3),
        (json!({"status": {"crew": 1}}), 3),
        (json!({"metadata": {"labels": {"a": "b"}}}), 3),
        (json!({"status": null}), 4),
    ] {
        let changed = server.patch(&boat, "merge", &change).await.is(200).json();
        assert_eq!(changed["metadata"]["generation"], generation, "{change}");
    }
}

#[tokio::test]
async fn patches_of_too_many_operations_are_too_large() {
    let server = sailing().await;
    let step = json!({"op": "test", "path": "/kind", "value": "Boat"});
    let many = |count: usize| Value::Array(vec![step.clone(); count]);
    let boat = format!("{BOATS}/b");
    server.patch(&boat, "json", &many(10_000)).await.is(200);
    let refused = server.patch(&boat, "json", &many(10_001)).await.is(413);
    let said = refused.json();
    assert_eq!(
        (&said["reason"], &said["message"]),
        (
            &json!("RequestEntityTooLarge"),
            &json!(
                "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
            )
        )
    );
}
