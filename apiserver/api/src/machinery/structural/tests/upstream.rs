//! The definitions of real projects and their example objects, and what was recorded of a custom resource.

use std::{ops::ControlFlow, path::Path as File};

use serde_json::{Value, json};

use super::*;
use crate::machinery::{read::Read, schema::conform, yaml::read};

fn upstream() -> Option<std::path::PathBuf> {
    let data = std::env::var_os("UPSTREAM_DATA");
    if data.is_none() {
        skiff_testing::skipped("UPSTREAM_DATA does not name upstream's data");
    }
    data.map(Into::into)
}

fn documents(folder: &File) -> Vec<Value> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut documents = Vec::new();
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let text = std::fs::read_to_string(path).unwrap();
            documents.extend(
                read(&text)
                    .unwrap()
                    .into_iter()
                    .map(|document| document.value),
            );
        }
    }
    documents
}

#[test]
fn definitions_of_real_projects() {
    let Some(data) = upstream() else { return };
    let mut kinds = std::collections::BTreeMap::new();
    let (mut nodes, mut types) = (0, 0);
    for project in ["cert-manager", "prometheus-operator"] {
        for definition in documents(&data.join("crds").join(project)) {
            let spec = &definition["spec"];
            let group = spec["group"].as_str().unwrap();
            let kind = spec["names"]["kind"].as_str().unwrap();
            for version in spec["versions"].as_array().unwrap() {
                let name = version["name"].as_str().unwrap();
                let mut reader = Reader::default();
                let schema =
                    Structural::read_served(&mut reader, &version["schema"]["openAPIV3Schema"])
                        .unwrap();
                let mut rules = |_: &Default, _: &Path, _: &mut Errors| ControlFlow::Continue(());
                let wrong = schema.check_defaults(&Path::new("schema"), true, &mut rules);
                assert!(wrong.is_empty(), "{kind}: {}", wrong.message());
                let (of_kind, root) = schema.schema(group, name, kind).unwrap();
                nodes += reader.len();
                types += of_kind.types.len();
                kinds.insert(format!("{group}/{name} {kind}"), (schema, of_kind, root));
            }
        }
    }
    println!("{} kinds: {nodes} nodes, {types} types", kinds.len());
    let mut accepted = 0;
    for mut object in documents(&data.join("crds/prometheus-operator/examples")) {
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_string();
        let Some((schema, of_kind, root)) =
            kinds.get(&format!("{} {}", text("apiVersion"), text("kind")))
        else {
            continue;
        };
        conform(&mut object, of_kind.root(*root)).unwrap();
        let before = object.clone();
        assert_eq!(schema.coerce(&mut object, Malformed::Refused), Ok(vec![]));
        assert_eq!(object, before);
        schema.default(&mut object);
        let mut wrong = schema.validate(&object, &Path::WHOLE);
        wrong.extend(schema.validate_update(&object, &before, &Path::WHOLE));
        wrong.extend(schema.validate_list_types(&object, &Path::WHOLE));
        wrong.extend(schema.validate_metadata(&object, &Path::WHOLE));
        let partial = |text: &String| text == "spec.selector: Required value";
        if object.at("spec").some("scrapeClass").is_some() && wrong.texts().iter().all(partial) {
            // two show a part of an object alone
            continue;
        }
        assert!(wrong.is_empty(), "{}: {object}", wrong.message());
        accepted += 1;
    }
    assert!(accepted >= 14, "only {accepted} examples");
}

#[test]
fn recorded_custom_resources() {
    let Some(data) = upstream() else { return };
    let text = std::fs::read_to_string(data.join("recorded/custom.jsonl")).unwrap();
    let steps: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let definition = steps
        .iter()
        .find(|step| step["id"] == "custom/setup-crd")
        .unwrap();
    let schema = of(definition["body"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone());
    let mut compared = 0;
    for step in &steps {
        let id = step["id"].as_str().unwrap();
        if !id.starts_with("custom/create/")
            || ["/wrong-", "/status"].iter().any(|part| id.contains(part))
            || step["body"]["apiVersion"] != "sea.example.com/v1"
        {
            continue;
        }
        let mut object = step["body"].clone();
        let unknown = schema.coerce(&mut object, Malformed::Refused).unwrap();
        let texts: Vec<String> = unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        if id.ends_with("/Strict") && !unknown.is_empty() {
            let said = step["response"]["message"].as_str().unwrap();
            assert!(
                said.ends_with(&format!("strict decoding error: {}", texts.join(", "))),
                "{id}: {said}"
            );
            continue;
        }
        if id.ends_with("/Warn") {
            assert_eq!(
                step.get("warnings").cloned().unwrap_or(json!([])),
                json!(texts),
                "{id}"
            );
        }
        schema.default(&mut object);
        let mut found = schema.validate(&object, &Path::WHOLE);
        found.extend(schema.validate_list_types(&object, &Path::WHOLE));
        let found: Vec<Value> = found
            .0
            .iter()
            .map(|error| json!({"reason": error.kind.reason(), "message": error.body(), "field": error.field}))
            .collect();
        // what others say: names, paths of scales, rules
        let of_others = |cause: &&Value| {
            let message = cause["message"].as_str().unwrap();
            !["metadata.name"].contains(&cause["field"].as_str().unwrap_or_default())
                && ![
                    "accessor error",
                    "some validation rules",
                    "oars come in pairs",
                ]
                .iter()
                .any(|words| message.contains(words))
        };
        let causes = step["response"].at("details").list("causes").iter();
        let wanted: Vec<Value> = causes.filter(of_others).cloned().collect();
        assert_eq!(found, wanted, "{id}");
        if wanted.is_empty() && step["status"] == 201 {
            assert_eq!(object["spec"], step["response"]["spec"], "{id}");
        }
        compared += 1;
    }
    assert!(compared >= 50, "only {compared} answers");
}
