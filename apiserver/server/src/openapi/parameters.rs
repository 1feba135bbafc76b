//! Parameters of operations: what they are called and for, and where they stand. Those that all operations of a path take stand with the path, and what
//! operations of several paths share stands once in a document of version 2.
//!
//! Follows kube-openapi's `pkg/builder/openapi.go` (findCommonParameters) and `pkg/builder/parameters.go`.

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use serde_json::{Map, Value, json};
use skiff_api::machinery::{read::Read, schema::to_ordered_json};

/// Query parameters: name, type, what they are for.
static QUERIES: LazyLock<HashMap<&'static str, [&'static str; 2]>> = LazyLock::new(|| {
    let lines = include_str!("parameters.txt").lines();
    let rows = lines.filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.splitn(3, ' ').collect::<Vec<_>>().try_into().ok())
        .map(|[name, kind, words]: [&str; 3]| (name, [kind, words]))
        .collect()
});

/// Query parameters by their names, with blanks between.
pub fn queries(names: &str) -> impl Iterator<Item = Value> {
    names.split_whitespace().map(query)
}

pub fn query(name: &str) -> Value {
    let [kind, description] = QUERIES.get(name).copied().unwrap_or(["string", ""]);
    json!({"name": name, "in": "query", "type": kind, "description": description, "uniqueItems": true})
}

pub fn path(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "path", "type": "string", "description": description, "required": true, "uniqueItems": true})
}

pub fn body(schema: Value, required: bool) -> Value {
    let mut body = json!({"name": "body", "in": "body", "schema": schema});
    if required {
        body["required"] = true.into();
    }
    body
}

/// Sorted, as operations and paths show them.
fn sort(parameters: &mut [Value]) {
    parameters.sort_by(|a, b| {
        let key = |of: &Value| (of.text("name").to_owned(), of.text("in").to_owned());
        key(a).cmp(&key(b))
    });
}

/// What all operations of a path take, but for bodies, moves from them to the path.
pub fn lift(item: &mut Map<String, Value>) {
    let mut common: Option<Vec<Value>> = None;
    for operation in item.values() {
        let taken = operation.list("parameters");
        common = Some(match common {
            None => (taken.iter().filter(|one| one.text("in") != "body"))
                .cloned()
                .collect(),
            Some(common) => common
                .into_iter()
                .filter(|one| taken.contains(one))
                .collect(),
        });
    }
    let mut common = common.unwrap_or_default();
    for operation in item.values_mut().filter_map(Value::as_object_mut) {
        if let Some(parameters) = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut)
        {
            parameters.retain(|one| !common.contains(one));
            sort(parameters);
            if parameters.is_empty() {
                operation.remove("parameters");
            }
        }
    }
    if !common.is_empty() {
        sort(&mut common);
        item.insert("parameters".into(), common.into());
    }
}

/// The order of a parameter's fields, of whose text its name is made.
const ORDER: &[&str] = &[
    "uniqueItems",
    "type",
    "description",
    "name",
    "in",
    "required",
    "schema",
];

/// Whether paths of several kinds may share it. Clients look for `dryRun` and `fieldValidation` in the operations themselves.
fn is_shared(parameter: &Value) -> bool {
    match parameter.text("name") {
        "name" | "dryRun" | "fieldValidation" => false,
        "body" => {
            (parameter.at("schema").text("$ref")).starts_with("#/definitions/io.k8s.apimachinery")
        }
        _ => parameter.some("$ref").is_none(),
    }
}

/// The name of a shared parameter, which its text gives.
fn shared_name(parameter: &Value) -> String {
    let text = to_ordered_json(parameter, ORDER, false);
    // FNV of 64 bits, of which the first 48 are shown
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte)
    });
    let shown = URL_SAFE.encode(&hash.to_be_bytes()[..6]);
    format!("{}-{shown}", parameter.text("name"))
}

/// Puts the parameters that paths share into a place of the document of their own.
pub fn share(document: &mut Value) {
    let mut shared = Map::new();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for item in (paths.into_iter().flat_map(Map::values_mut)).filter_map(Value::as_object_mut) {
        for (of, value) in item {
            let parameters = match of.as_str() {
                "parameters" => Some(value),
                _ => value.get_mut("parameters"),
            };
            let parameters = parameters
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten();
            for parameter in parameters.filter(|one| is_shared(one)) {
                let name = shared_name(parameter);
                let reference = json!({"$ref": format!("#/parameters/{name}")});
                shared.insert(name, std::mem::replace(parameter, reference));
            }
        }
    }
    if !shared.is_empty() {
        document["parameters"] = shared.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_operations_take_stands_with_the_path() {
        let take = |names: &str| json!({"parameters": queries(names).collect::<Vec<_>>()});
        let mut item = json!({"get": take("watch pretty"), "post": take("pretty dryRun")});
        item["post"]["parameters"]
            .as_array_mut()
            .unwrap()
            .push(body(json!({}), true));
        lift(item.as_object_mut().unwrap());
        let names = |of: &Value| -> Vec<String> {
            let parameters = of["parameters"].as_array().into_iter().flatten();
            parameters.map(|one| one.text("name").to_owned()).collect()
        };
        assert_eq!(names(&item), ["pretty"]);
        assert_eq!(names(&item["get"]), ["watch"]);
        assert_eq!(names(&item["post"]), ["body", "dryRun"]);
        let mut alone = json!({"get": take("watch pretty")});
        lift(alone.as_object_mut().unwrap());
        assert_eq!(names(&alone), ["pretty", "watch"]);
        assert_eq!(alone["get"], json!({}));
    }

    /// The name is that of a parameter whose words are the same here and elsewhere.
    #[test]
    fn shared_parameters_have_names_that_their_text_gives() {
        let words = "object name and auth scope, such as for teams and projects";
        let mut document = json!({"paths": {"/a": {
            "get": {"parameters": [query("dryRun")]},
            "parameters": [path("name", "name of the A"), path("namespace", words)]
        }}});
        share(&mut document);
        let item = &document["paths"]["/a"];
        assert_eq!(
            item["parameters"][1],
            json!({"$ref": "#/parameters/namespace-vgWSWtn3"})
        );
        assert_eq!(
            document["parameters"]["namespace-vgWSWtn3"],
            path("namespace", words)
        );
        assert_eq!(item["parameters"][0]["name"], "name");
        assert_eq!(item["get"]["parameters"][0]["name"], "dryRun");
    }
}
