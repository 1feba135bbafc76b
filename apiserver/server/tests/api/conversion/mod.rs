//! Kinds whose versions a webhook converts: each version shows what the webhook makes of what is stored, whoever asks for it in which way.

mod admission;
mod failures;
mod managers;
mod storage;
mod verbs;

use serde_json::{Value, json};

use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.sea.example.com";

/// Where boats are in a version.
fn boats(version: &str) -> String {
    format!("/apis/sea.example.com/{version}/namespaces/default/boats")
}

/// The field in which a version has the number of oars.
fn field(version: &str) -> &'static str {
    match version {
        "v1" => "oars",
        _ => "paddles",
    }
}

/// A boat with so many oars.
fn boat(version: &str, name: &str, oars: i64) -> Value {
    json!({"apiVersion": format!("sea.example.com/{version}"), "kind": "Boat", "metadata": {"name": name}, "spec": {field(version): oars}})
}

/// Boats in two versions, the second of which is stored.
fn definition(webhook: Value) -> Value {
    let version = |name: &str, storage: bool| {
        let field = field(name);
        json!({"name": name, "served": true, "storage": storage,
            "subresources": {"status": {}, "scale": {"specReplicasPath": format!(".spec.{field}"), "statusReplicasPath": format!(".status.{field}")}},
            "additionalPrinterColumns": [{"name": field, "type": "integer", "jsonPath": format!(".spec.{field}")}],
            "selectableFields": [{"jsonPath": format!(".spec.{field}")}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    field: {"type": "integer", "minimum": 1}, "color": {"type": "string"},
                    "defaults": {"type": "object", "properties": {
                        "v1": if name == "v1" { json!({"type": "boolean", "default": true}) } else { json!({"type": "boolean"}) },
                        "v2": if name == "v2" { json!({"type": "boolean", "default": true}) } else { json!({"type": "boolean"}) }}}}},
                "status": {"type": "object", "properties": {field: {"type": "integer"}}}}}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example.com"},
        "spec": {"group": "sea.example.com", "scope": "Namespaced", "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
            "versions": [version("v1", false), version("v2", true)],
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1", "v1beta1"], "clientConfig": webhook}}}})
}

/// What a webhook that does its work makes of an object.
fn converted(mut object: Value, wanted: &Value) -> Value {
    let (from, to) = match wanted.as_str() {
        Some("sea.example.com/v1") => ("paddles", "oars"),
        _ => ("oars", "paddles"),
    };
    object["apiVersion"] = wanted.clone();
    for part in ["spec", "status"] {
        if let Some(part) = object.get_mut(part).and_then(Value::as_object_mut)
            && let Some(count) = part.remove(from)
        {
            part.insert(to.into(), count);
        }
    }
    object
}

/// The answer to a question, with what becomes of its objects changed by `change`.
fn answer(request: &Value, change: impl Fn(Value) -> Value) -> Reply {
    let objects = request["objects"].as_array().unwrap().iter();
    let objects = objects.map(|object| {
        assert_ne!(
            object["apiVersion"], request["desiredAPIVersion"],
            "it is asked about what is of the wanted version"
        );
        change(converted(object.clone(), &request["desiredAPIVersion"]))
    });
    Reply::Response(
        json!({"convertedObjects": objects.collect::<Vec<_>>(), "result": {"status": "Success"}}),
    )
}

/// A webhook that does its work.
async fn converter() -> Webhook {
    Webhook::start(|_, request| answer(request, |object| object)).await
}

/// A server with boats that a webhook converts.
async fn sailing(webhook: &Webhook) -> Server {
    let server = Server::start().await;
    establish(&server, &definition(webhook.config("/convert"))).await;
    server
}

async fn establish(server: &Server, definition: &Value) {
    let (collection, _) = DEFINITION.rsplit_once('/').unwrap();
    server.make(collection, definition).await;
    for version in ["v1", "v2"] {
        server
            .until(&boats(version), |answer| answer.code == 200)
            .await;
    }
}

/// Changes the definition, and waits until it is followed: a version warns of itself by the number of the change.
async fn redefine(server: &Server, change: impl Fn(&mut Value)) {
    let mut changed = server.get(DEFINITION).await.json();
    let told = format!("change {}", changed["metadata"]["resourceVersion"]);
    change(&mut changed);
    let version = &mut changed["spec"]["versions"][0];
    version["deprecated"] = true.into();
    version["deprecationWarning"] = told.replace('"', "").into();
    server.put(DEFINITION, &changed).await.is(200);
    // nobody is asked about what is not there
    server
        .until(&format!("{}/none", boats("v1")), |answer| {
            let warning = answer.warnings.concat();
            warning.contains(&told.replace('"', ""))
        })
        .await;
}

/// The numbers of objects that a webhook was asked about, question by question; forgotten with that.
fn asked(webhook: &Webhook) -> Vec<usize> {
    let questions = webhook.taken().into_iter();
    questions
        .map(|(_, request)| request["objects"].as_array().unwrap().len())
        .collect()
}
