//! The Scale of custom objects: counts that are absent, what is applied, patches that are none; who owned fields at versions that are no more; and objects
//! that say that they are lists.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const KITES: &str = "/apis/sky.example.com/v1/namespaces/default/kites";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server with kites, whose tails are counted and may be absent.
async fn flying() -> Server {
    let server = Server::start().await;
    let scale = json!({"specReplicasPath": ".spec.tails", "statusReplicasPath": ".status.tails"});
    let version = |name: &str, served: bool| {
        json!({"name": name, "served": served, "storage": name == "v1", "subresources": {"scale": scale},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"tails": {"type": "integer"}, "color": {"type": "string"}}}}}}})
    };
    let definition = json!({
        "metadata": {"name": "kites.sky.example.com"},
        "spec": {"group": "sky.example.com", "scope": "Namespaced", "names": {"plural": "kites", "singular": "kite", "kind": "Kite"},
            "versions": [version("v1", true), version("v1alpha1", false)]}
    });
    server.make(DEFINITIONS, &definition).await;
    server.until(KITES, |answer| answer.code == 200).await;
    server
}

fn kite(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "sky.example.com/v1", "kind": "Kite", "metadata": {"name": name}, "spec": spec})
}

async fn apply(server: &Server, path: &str, query: &str, body: &Value) -> Answer {
    let media = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{path}?{query}");
    server.send("PATCH", &path, &media, body.to_string()).await
}

#[tokio::test]
async fn a_count_may_be_absent() {
    let server = flying().await;
    server.make(KITES, &kite("a", json!({}))).await;
    let scale = format!("{KITES}/a/scale");
    assert_eq!(
        server.get(&scale).await.is(500).message(),
        "Internal error occurred: the spec replicas field \".spec.tails\" does not exist"
    );
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(
        server
            .patch(&scale, "merge", &labels)
            .await
            .is(400)
            .message(),
        "the spec replicas field \".spec.tails\" cannot be empty"
    );
    let count = json!({"spec": {"replicas": 3}});
    server.patch(&scale, "merge", &count).await.is(200);
    assert_eq!(
        server.get(&scale).await.is(200).json()["spec"]["replicas"],
        3
    );
}

/// What changes nothing is taken, and what would take a count over is not, forced or not.
#[tokio::test]
async fn applied_scales_change_nothing() {
    let server = flying().await;
    server.make(KITES, &kite("a", json!({"tails": 2}))).await;
    let path = format!("{KITES}/a/scale");
    let scale = |count: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": count}});
    let other = apply(&server, &path, "fieldManager=x", &scale(3)).await;
    other.is(409);
    apply(&server, &path, "fieldManager=x", &scale(2))
        .await
        .is(200);
    for query in ["fieldManager=x&force=true", "fieldManager=y&force=true"] {
        let refused = apply(&server, &path, query, &scale(3)).await.is(500);
        assert_eq!(
            refused.message(),
            "failed to convert new object (/a; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1"
        );
    }
    assert_eq!(
        server.get(&path).await.is(200).json()["spec"]["replicas"],
        2
    );
}

/// A list for a merge patch takes the object's place where nobody looks at it before, and is no object then, whatever it is a patch of.
#[tokio::test]
async fn lists_are_no_objects() {
    let server = flying().await;
    server.make(KITES, &kite("a", json!({"tails": 2}))).await;
    server.make(MAPS, &json!({"metadata": {"name": "a"}})).await;
    for path in [
        format!("{MAPS}/a"),
        format!("{KITES}/a"),
        format!("{KITES}/a/scale"),
    ] {
        let ignored = format!("{path}?fieldValidation=Ignore");
        let said = server.patch(&ignored, "merge", &json!([{"a": null}])).await;
        let said = said.is(422).message();
        assert!(
            said.starts_with(" \"\" is invalid: patch: Invalid value: \"[{}]\": couldn't get version/kind; json parse error: json: cannot unmarshal array"),
            "{path}: {said}"
        );
        let said = server.patch(&ignored, "merge", &json!(1)).await.is(400);
        assert_eq!(said.message(), "Invalid JSON Patch", "{path}");
        let said = server.patch(&path, "merge", &json!([])).await.is(400);
        assert_eq!(
            said.message(),
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            "{path}"
        );
    }
}

/// The managers of an object after an update of it that says who managed it before, at these versions.
async fn managers_after(server: &Server, path: &str, versions: &[&str]) -> Vec<String> {
    let mut object = server.get(path).await.is(200).json();
    let entries = versions.iter().map(|version| {
        json!({"manager": version, "operation": "Update", "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:tails": {}}, "f:data": {}}})
    });
    object["metadata"]["managedFields"] = entries.collect();
    let new = server.put(path, &object).await.is(200).json();
    let entries = new["metadata"]["managedFields"].as_array();
    let entries = entries.into_iter().flatten();
    entries
        .map(|entry| entry["manager"].as_str().unwrap().to_string())
        .collect()
}

/// Who wrote at a version that is no more is forgotten. Custom objects cannot be converted to one, so that all are, and nothing can be applied.
#[tokio::test]
async fn versions_that_are_no_more() {
    let server = flying().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"a": "b"}});
    server.make(MAPS, &map).await;
    let map = format!("{MAPS}/a");
    for (versions, left) in [
        (&["v1", "v2"][..], &["v1"][..]),
        (&["v1", "apps/v1"], &["v1"]),
        (&["v1", "a/b/c"], &[]),
    ] {
        let found = managers_after(&server, &map, versions).await;
        assert_eq!(found, left, "{versions:?}");
    }
    server.make(KITES, &kite("a", json!({"tails": 2}))).await;
    let kite_a = format!("{KITES}/a");
    let (own, unserved) = ("sky.example.com/v1", "sky.example.com/v1alpha1");
    for (versions, left) in [
        (&[own, unserved][..], &[own, unserved][..]),
        (&[own, "sky.example.com/v9"], &[]),
        (&[own, "v1"], &[]),
    ] {
        let found = managers_after(&server, &kite_a, versions).await;
        assert_eq!(found, left, "{versions:?}");
    }
}

/// What says that it is of another kind is not held to this one's schema, and nothing else is said of it.
#[tokio::test]
async fn lists_are_no_custom_objects() {
    let server = flying().await;
    let list = json!({"apiVersion": "sky.example.com/v1", "kind": "KiteList", "items": [{"odd": 1}], "odd": 1});
    for query in ["", "?fieldValidation=Strict"] {
        let refused = server.post(&format!("{KITES}{query}"), &list).await.is(422);
        assert_eq!(refused.warnings, [""; 0]);
        assert_eq!(
            refused.message(),
            "KiteList.sky.example.com \"\" is invalid: kind: Invalid value: \"KiteList\": must be Kite"
        );
    }
    let mut own = kite("a", json!({"tails": 1}));
    own["items"] = json!([]);
    let made = server.make(KITES, &own).await;
    assert_eq!(made.warnings, ["299 - \"unknown field \\\"items\\\"\""]);
    assert!(made.json().get("items").is_none());
}

/// A Scale is patched as anything is: what is asked for, what the patch says twice, and what it makes of the Scale is looked at.
#[tokio::test]
async fn patches_of_scales_are_read_like_any() {
    let server = flying().await;
    server.make(KITES, &kite("a", json!({"tails": 2}))).await;
    let path = format!("{KITES}/a/scale");
    let patch = async |query: &str, kind: &str, body: &str| {
        let media = format!("application/{kind}");
        let path = format!("{path}?{query}");
        let headers = [("content-type", media.as_str())];
        server
            .send("PATCH", &path, &headers, body.to_string())
            .await
    };
    let (merge, json, applies) = ("merge-patch+json", "json-patch+json", "apply-patch+yaml");
    for (query, kind, body, code, said) in [
        (
            "force=true",
            merge,
            "{}",
            422,
            "may not be specified for non-apply patch",
        ),
        (
            "",
            merge,
            r#"{"kind": "Foo"}"#,
            422,
            "no kind \"Foo\" is registered for version \"autoscaling/v1\"",
        ),
        (
            "",
            merge,
            r#"{"apiVersion": "foo/v1"}"#,
            422,
            "no kind \"Scale\" is registered for version \"foo/v1\"",
        ),
        (
            "fieldValidation=Ignore",
            json,
            "{",
            400,
            "unexpected end of JSON input",
        ),
        (
            "",
            json,
            "{",
            400,
            "error decoding patch: unexpected end of JSON input",
        ),
        (
            "fieldValidation=Strict",
            merge,
            r#"{"spec": {"replicas": 2, "replicas": 2}}"#,
            422,
            "duplicate field \"spec.replicas\"",
        ),
        (
            "fieldManager=x",
            applies,
            "{",
            400,
            "error decoding YAML: error converting YAML to JSON: yaml: line 1",
        ),
        (
            "fieldManager=x",
            applies,
            "[]",
            400,
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array",
        ),
        (
            "",
            applies,
            "{}",
            422,
            "fieldManager: Required value: is required for apply patch",
        ),
    ] {
        let refused = patch(query, kind, body).await.is(code).message();
        assert!(refused.contains(said), "{kind} {body}: {refused}");
    }
    let twice = patch("", merge, r#"{"spec": {"replicas": 2, "replicas": 2}}"#)
        .await
        .is(200);
    assert_eq!(
        twice.warnings,
        ["299 - \"duplicate field \\\"spec.replicas\\\"\""]
    );
    // whose it is, and who manages it, is not looked at
    patch("", merge, r#"{"metadata": {"uid": "x"}}"#)
        .await
        .is(200);
    patch(
        "",
        merge,
        r#"{"metadata": {"managedFields": [{"manager": "x"}]}}"#,
    )
    .await
    .is(200);
}

/// A custom object that is patched into another kind is told of as what it would be; its status is written whatever that says besides.
#[tokio::test]
async fn custom_objects_stay_what_they_are() {
    let server = flying().await;
    server.make(KITES, &kite("a", json!({"tails": 2}))).await;
    let path = format!("{KITES}/a");
    for (patch, said) in [
        (
            json!({"kind": "Foo"}),
            "Foo.sky.example.com \"a\" is invalid: kind: Invalid value: \"Foo\": must be Kite",
        ),
        (
            json!({"apiVersion": "foo/v1"}),
            "Kite.foo \"a\" is invalid: apiVersion: Invalid value: \"foo/v1\": must be sky.example.com/v1",
        ),
    ] {
        let refused = server.patch(&path, "merge", &patch).await.is(422);
        assert_eq!(refused.message(), said);
    }
    let none = server.patch(&path, "merge", &json!({"kind": null})).await;
    let none = none.is(422).message();
    assert!(none.contains("Object 'Kind' is missing in '{"), "{none}");
    let odd = server
        .patch(&path, "merge", &json!({"apiVersion": "a/b/c"}))
        .await;
    let odd = odd.is(422).message();
    assert!(
        odd.ends_with("unexpected GroupVersion string: a/b/c"),
        "{odd}"
    );
    let absent = server
        .patch(&path, "merge", &json!({"apiVersion": null}))
        .await;
    assert_eq!(
        absent.is(500).message(),
        "Internal error occurred: Object 'apiVersion' is missing in 'object has no apiVersion field'"
    );
}
